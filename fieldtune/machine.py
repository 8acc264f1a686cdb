"""Looks at the machine for `doctor`: Python, libraries, files, disk, clock and TCP ports.

Each look changes nothing and gives one `Finding`. Must not know which program asks.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import socket
import struct
from importlib import import_module, metadata
from pathlib import Path

from fieldtune.file_errors import require_writable, sentence
from fieldtune.findings import Finding
from fieldtune.open_files import LEAST, TooFewFiles, raise_limit, require_open_files

LEAST_ROOM = 200_000_000
"""Bytes on a disk; with less, the next file of any size may be the one that fills it."""

ANSWER_S = 2.0
_WORKING = {"dev", "docs", "train"}  # extras that are no part of what is used
_STA_UNSYNC, _ADJTIMEX = 0x40, "i4x qqqqi"  # modes, offset, frequency, largest and mean error


def python() -> Finding:
    """Python's version against what fieldtune asks for."""
    from packaging.specifiers import SpecifierSet

    version = platform.python_version()
    try:
        wanted = str(metadata.metadata("fieldtune").json.get("requires_python", ""))
    except metadata.PackageNotFoundError:
        wanted = ""
    if SpecifierSet(wanted).contains(version, prereleases=True):
        return Finding("Python", version)
    return Finding("Python", version, f"fieldtune takes Python {wanted}: install one of these")


def libraries(extra: str = "") -> Finding:
    """Every requirement of fieldtune, those of `extra` included, against what is installed."""
    from packaging.requirements import Requirement

    what = f"fieldtune[{extra}]" if extra else "fieldtune"
    try:
        required = [Requirement(text) for text in metadata.requires("fieldtune") or ()]
    except metadata.PackageNotFoundError:
        cure = f'install it, which checks what it needs: pip install -e ".[{extra}]"'
        return Finding("libraries", "a checkout that was never installed", cure, needed=False)
    wanted = [
        one
        for one in required
        if one.marker is None or any(one.marker.evaluate({"extra": name}) for name in ("", extra))
    ]
    wrong = [problem for problem in map(_problem, wanted) if problem]
    if wrong:
        return Finding("libraries", ", ".join(wrong), f'pip install "{what}"')
    return Finding("libraries", f"all {len(wanted)} that {what} asks for are installed")


def known_extras() -> list[str]:
    """The optional parts of fieldtune, by name; none of a checkout that was never installed."""
    try:
        found = metadata.metadata("fieldtune").get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:
        return []
    return sorted(set(found) - _WORKING)


def extras() -> Finding:
    """Which optional parts of fieldtune are installed; none is needed."""
    from packaging.requirements import Requirement

    known = known_extras()
    required = [Requirement(text) for text in metadata.requires("fieldtune") or ()] if known else []
    there: list[str] = []
    absent: list[str] = []
    for extra in known:
        wanted = [
            one
            for one in required
            if one.marker is not None and one.marker.evaluate({"extra": extra})
        ]
        (absent if any(map(_problem, wanted)) else there).append(extra)
    found = f"{', '.join(there) or 'none'} installed"
    if absent:
        found += f'; not {", ".join(absent)} (pip install "fieldtune[{absent[0]}]")'
    return Finding("extras", found)


def imports(*modules: str) -> Finding:
    """Whether modules load: a wheel for another processor is installed all the same."""
    for name in modules:
        try:
            import_module(name)
        except Exception as error:  # whatever a broken module does
            first = (str(error) or type(error).__name__).splitlines()[0]
            cure = f"install {name} anew, from a wheel for {platform.machine()}"
            return Finding("imports", f"{name} does not load: {first}", cure)
    return Finding("imports", ", ".join(modules))


def open_files() -> Finding:
    """How many files and sockets this process may have open."""
    try:
        require_open_files()
    except TooFewFiles as error:
        found, cure = str(error).split(": ", 1)
        return Finding("open files", found, cure)
    return Finding("open files", f"{raise_limit()} allowed, {LEAST} needed")


def disk(subject: str, folder: Path, wanted: int, otherwise: str = "") -> Finding:
    """Whether `folder`, or where it would be made, can be written and has room.

    Args:
        wanted: bytes; with less room that is noted, and below `LEAST_ROOM` it has to be mended.
        otherwise: what else than freeing space would do, for the cure.
    """
    try:
        require_writable(folder / ".fieldtune-doctor")  # nobody has one of that name
        place = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
        there = os.statvfs(place)
    except OSError as error:
        return Finding(subject, sentence(error), "mount or free it, or set another folder")
    room = there.f_bavail * there.f_frsize
    cure = f"free some space on the disk of {place}" + (f", or {otherwise}" if otherwise else "")
    if there.f_favail == 0 < there.f_files:
        return Finding(subject, f"{folder}: no file can be added to its disk", cure)
    found = f"{folder}: {size(room)} free"
    if room < min(wanted, LEAST_ROOM):
        return Finding(subject, f"{found}, {size(min(wanted, LEAST_ROOM))} needed", cure)
    if room < wanted:
        return Finding(subject, f"{found}, {size(wanted)} wanted", cure, needed=False)
    return Finding(subject, found)


def size(count: int) -> str:
    """Bytes for people: in GB, or in MB below one."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def clock() -> Finding:
    """Whether the kernel's wall clock is kept by a time server (adjtimex(2))."""
    buffer = ctypes.create_string_buffer(512)  # struct timex, and room for what kernels add
    try:
        if ctypes.CDLL(None, use_errno=True).adjtimex(buffer) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    except (OSError, AttributeError) as error:
        return Finding("clock", f"not known: {error}", "look at its time server", needed=False)
    *_, error_us, _, status = struct.unpack_from(_ADJTIMEX, buffer)
    return clock_of(status, error_us)


def clock_of(status: int, error_us: int) -> Finding:
    """What the kernel's flags and its largest error, in microseconds, say."""
    if status & _STA_UNSYNC:
        return Finding(
            "clock",
            "kept by no time server",
            "turn one on (timedatectl set-ntp true, or chrony): times in journals and logs of "
            "several machines are compared by people",
            needed=False,
        )
    return Finding("clock", f"kept by a time server, to {error_us / 1e6:.3f} s at worst")


def port_to_open(subject: str, key: str, address: str) -> Finding:
    """Whether this machine could listen at `address` (tcp://HOST:PORT) now. Opens nothing."""
    place = _tcp(address)
    if place is None:
        return Finding(subject, f"{address}: no tcp:// in front, not tried")
    host, port = place
    try:
        kind, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(kind, socket.SOCK_STREAM) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as ZeroMQ does
            one.bind(where)
    except OSError as error:
        cure = f"end what listens there (`ss -ltnp`), or set {key} to another address"
        return Finding(subject, f"{address}: {error.strerror}", cure)
    return Finding(subject, f"{address}: free")


def port_to_reach(subject: str, address: str, cure: str) -> Finding:
    """Whether something listens at `address`, within `ANSWER_S`; says nothing to it."""
    place = _tcp(address)
    if place is None:
        return Finding(subject, f"{address}: no tcp:// in front, not tried")
    try:
        socket.create_connection(place, ANSWER_S).close()
    except OSError as error:
        found = f"{address}: {error.strerror or f'no answer within {ANSWER_S:g} s'}"
        return Finding(subject, found, cure, needed=False)
    return Finding(subject, f"{address}: something listens")


def _tcp(address: str) -> tuple[str, int] | None:
    found = re.fullmatch(r"tcp://(?:\[(.+)\]|([^:]+)):(\d{1,5})", address)
    if not found or int(found[3]) > 65535:
        return None
    host = found[1] or found[2]
    return "0.0.0.0" if host == "*" else host, int(found[3])


def _problem(requirement: object) -> str:
    from packaging.requirements import Requirement

    assert isinstance(requirement, Requirement)
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{requirement.name} is not installed"
    if requirement.specifier.contains(version, prereleases=True):
        return ""
    return f"{requirement.name} is {version}, expected {requirement.specifier}"

"""Where a picture goes: a file, a browser, Rerun's own viewer here, or one elsewhere.

Owns the server that a browser is served by. It must not know what is in the picture.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from fieldtune.child_process import ends_with_parent
from fieldtune.file_errors import require_writable
from fieldtune.robot.view.recording import NoViewer, Recording, rerun

PORT, WEB_PORT = 9877, 9090  # Rerun's own
MEMORY = "512MB"  # of the server: what is older is forgotten
_START_S = 20.0
_LEAST_URGENT = 10
_FIRST_TO_GO = 1000  # the kernel's oom_score_adj


@dataclass(frozen=True)
class Target:
    """At most one of `save` (a .rrd file), `web` (the address that a browser is served at) and
    `connect` (a viewer's `HOST:PORT`); none opens a viewer here. `port` and `web_port` are those of
    the browser's data and of its page."""

    save: Path | None = None
    web: str | None = None
    connect: str | None = None
    port: int = PORT
    web_port: int = WEB_PORT

    def __post_init__(self) -> None:
        given = [
            n
            for n, v in (("--save", self.save), ("--web", self.web), ("--connect", self.connect))
            if v
        ]
        if len(given) > 1:
            raise NoViewer(f"{' and '.join(given)}: a view goes to one place, give one of them")

    @property
    def stays(self) -> bool:
        """Whether there is something to look at only while this process lives."""
        return self.web is not None


@contextmanager
def opened(target: Target, name: str) -> Iterator[Recording]:
    """A recording that goes there; complete at the end of the block.

    Args:
        target: where to.
        name: of the recording. One of the same name in the viewer is added to.

    Raises:
        NoViewer: Rerun is not installed, or its viewer or server does not start.
        OSError: the file cannot be written.
    """
    rerun()
    if target.save is not None:
        require_writable(target.save)
    recording = Recording(name)
    with contextlib.ExitStack() as closing:
        if target.save is not None:
            recording.stream.save(str(target.save))
        elif target.web is not None:
            recording.connect(closing.enter_context(_served(target)))
        elif target.connect is not None:
            recording.connect(target.connect)
        else:
            _spawn(recording)
        try:
            yield recording
        finally:
            recording.stream.flush(blocking=True)
            recording.stream.disconnect()


def modest() -> None:
    """Make this process, and what it starts, the last to be given a processor and the first to be
    ended where memory is short: a robot may be driven on this computer."""
    with contextlib.suppress(OSError):
        os.nice(_LEAST_URGENT)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_FIRST_TO_GO), encoding="ascii")


@contextmanager
def ended_by_signals() -> Iterator[threading.Event]:
    """An event that is set by SIGINT and SIGTERM: what was written is completed then. A second
    SIGINT ends the process at once."""
    ended = threading.Event()

    def end(number: int, frame: object) -> None:  # noqa: ARG001
        if ended.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        ended.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def address(target: Target) -> str:
    """What a person types into her browser."""
    host = _reached(str(target.web))
    return f"http://{host}:{target.web_port}/?url=ws://{host}:{target.port}"


@contextmanager
def _served(target: Target) -> Iterator[str]:
    """Rerun's server as a child, which no viewer that hangs can fill; where to send to."""
    host = str(target.web)
    for port in (target.port, target.web_port):
        if _listens(host, port):
            raise NoViewer(f"port {port} is taken: give --port and --web-port, two that are free")
    inward = _free_port()
    command = [_program(), "--serve-web", "--bind", host]
    command += ["--port", str(inward), "--ws-server-port", str(target.port)]
    command += ["--web-viewer-port", str(target.web_port), "--server-memory-limit", MEMORY]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is this process's to answer: what is sent is shown first
        preexec_fn=ends_with_parent(),
        env=os.environ | {"RUST_LOG": "error"},
    )
    try:
        deadline = time.monotonic() + _START_S
        while not all(_listens(host, port) for port in (inward, target.port, target.web_port)):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                said = process.communicate()[1].strip().splitlines()
                raise NoViewer(
                    f"Rerun's server does not start: {said[-1] if said else 'it said nothing'}"
                )
            time.sleep(0.05)
        yield f"{_reached(host)}:{inward}"
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5.0)
        process.kill()
        process.wait()


def _program() -> str:
    """Rerun's own, and not the script that would start it and leave it behind."""
    found = find_spec("rerun_cli")
    places = [] if found is None else list(found.submodule_search_locations or [])
    for place in places:
        program = Path(place) / "rerun"
        if program.exists():
            return str(program)
    raise NoViewer("rerun-sdk has no program for this machine: give --save FILE, or --connect")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _reached(host: str) -> str:
    return "127.0.0.1" if host == "0.0.0.0" else host


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((_reached(host), port), 1.0).close()
    except OSError:
        return False
    return True


def _spawn(recording: Recording) -> None:
    try:
        recording.stream.spawn()
    except Exception as error:  # of Rerun's own kinds
        raise NoViewer(
            f"Rerun's viewer does not open here ({error}): give --web for a browser, or --save FILE"
        ) from error

"""A server for hardware that Fieldtune's `zmq` driver moves: the sockets around the rules.

    server = HardwareServer(plant, description, "tcp://127.0.0.1:5790")
    server.run()

Three files, this one, hardware_rules.py and hardware_frames.py, to be copied to where the hardware
is; they need Python 3.10 and pyzmq alone. `python hardware_server.py FILE` makes a key for it.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import signal
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq
from hardware_frames import MAX_FRAME_BYTES, Description
from hardware_rules import Plant, Rules
from zmq.utils import z85

log = logging.getLogger("hardware")

WATCH_MS = 2  # how late a lease can be noticed
_AT_ONCE = 16  # frames handled before the leases are looked at again
_LOOPBACK = re.compile(r"tcp://(127\.\d+\.\d+\.\d+|localhost):(\d+|\*)\Z|ipc://.+\Z")
_HEX = re.compile(r"[0-9a-f]{64}")
_PLANT = ("home", "homed", "sense", "apply", "hold")
_ZAP = "inproc://zeromq.zap.01"


class Mistake(Exception):
    """A setting that cannot be used. The message names it and the cure."""


class CannotServe(Exception):
    """An address or a key that cannot be used. The message says how to cure it."""


@dataclass(frozen=True)
class Keys:
    """CURVE: the server's key file, and the public keys (64 hexadecimal digits) that may talk."""

    secret: Path
    allowed: Sequence[str]


class HardwareServer:
    """Serves one plant at one address until told to stop; at rest before and after.

    Raises `CannotServe` for an address beyond this machine without keys, for unsound keys, and for
    a plant that lacks a method.
    """

    def __init__(
        self, plant: Plant, description: Description, address: str, keys: Keys | None = None
    ) -> None:
        if keys is None and not _LOOPBACK.match(address):
            raise CannotServe(
                f"{address!r} is not on the loopback interface: beyond it keys are required, "
                "--key FILE and --allow PUBLIC_KEY; without keys expected tcp://127.0.0.1:PORT or "
                "ipc://PATH"
            )
        if keys is not None and not address.startswith("tcp://"):
            raise CannotServe(f"{address!r}: ZMQ encrypts tcp:// alone, expected tcp://HOST:PORT")
        missing = [name for name in _PLANT if not callable(getattr(plant, name, None))]
        if missing:
            raise CannotServe(
                f"the plant {type(plant).__name__} has no method {', '.join(missing)}: a plant has "
                f"{', '.join(_PLANT)}"
            )
        self._curve = None if keys is None else _read_keys(keys)
        self._address = address
        self._rules = Rules(plant, description)
        self._stopping = False

    def stop(self) -> None:
        """End `run` soon. Safe in a signal handler."""
        self._stopping = True

    def run(self) -> None:
        """Bind, print the address to standard output, and serve until `stop`.

        Raises `CannotServe` for an address that cannot be bound.
        """
        context = zmq.Context()
        zap = self._gate(context)
        socket = context.socket(zmq.ROUTER)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.MAXMSGSIZE, MAX_FRAME_BYTES),
            (zmq.RCVHWM, 64),
            (zmq.SNDHWM, 64),
        ):
            socket.setsockopt(option, value)
        self._secure(socket)
        try:
            socket.bind(self._address)
        except zmq.ZMQError as error:
            context.destroy(linger=0)
            raise CannotServe(f"{self._address}: {error}") from None
        address = socket.getsockopt_string(zmq.LAST_ENDPOINT)
        print(f"serving {address.rstrip(chr(0))}", flush=True)
        try:
            self._serve(socket, zap)
        finally:
            self._rules.rest("the server ends")
            context.destroy(linger=200)

    def _serve(self, socket: zmq.Socket, zap: zmq.Socket | None) -> None:
        poller = zmq.Poller()
        for one in (socket, zap):
            if one is not None:
                poller.register(one, zmq.POLLIN)
        while not self._stopping:
            ready = dict(poller.poll(WATCH_MS))
            self._rules.watch()
            if zap is not None and zap in ready:
                zap.send_multipart(self._judge(zap.recv_multipart()))
            for _ in range(_AT_ONCE if socket in ready else 0):
                try:
                    sender, *frames = socket.recv_multipart(zmq.NOBLOCK)
                except zmq.Again:
                    break
                answer = self._rules.handle(frames[0] if len(frames) == 1 else b"")
                if answer is not None:
                    try:
                        socket.send_multipart([sender, answer], zmq.NOBLOCK)
                    except zmq.ZMQError:
                        log.debug("an answer found nobody to take it")

    def _gate(self, context: zmq.Context) -> zmq.Socket | None:
        """Where libzmq asks which keys may connect (0MQ RFC 27)."""
        if self._curve is None:
            return None
        zap = context.socket(zmq.REP)
        zap.setsockopt(zmq.LINGER, 0)
        zap.bind(_ZAP)
        return zap

    def _secure(self, socket: zmq.Socket) -> None:
        if self._curve is not None:
            socket.setsockopt(zmq.CURVE_SERVER, 1)
            socket.setsockopt(zmq.CURVE_SECRETKEY, self._curve[0])
            socket.setsockopt(zmq.ZAP_DOMAIN, b"hardware")

    def _judge(self, question: list[bytes]) -> list[bytes]:
        version, request = [*question, b"", b""][:2]
        allowed = (
            len(question) == 7
            and question[5] == b"CURVE"
            and self._curve is not None
            and question[6] in self._curve[1]
        )
        if not allowed:
            self._rules.tell("key", "somebody without an allowed key was turned away")
        # 300 rather than 400, because libzmq says nothing to the peer then.
        status = (b"200", b"OK") if allowed else (b"300", b"not allowed")
        return [version, request, *status, b"", b""]


def read_object(path: Path, known: Sequence[str]) -> dict[str, Any]:
    """A server's settings, a JSON object of known keys. Raises `Mistake`."""
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise Mistake(f"{path}: is no file")
    try:
        given = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise Mistake(f"{path}: {error}") from None
    if not isinstance(given, dict):
        raise Mistake(f"{path}: expected an object with the keys {', '.join(known)}")
    for key in given:
        if key not in known:
            raise Mistake(f"{path}: unknown key {key!r}; known: {', '.join(known)}")
    return given


def new_key(path: Path) -> str:
    """Write a secret key file that only its owner can read; return the public key."""
    public, secret = (z85.decode(half).hex() for half in zmq.curve_keypair())
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(f"fieldtune secret key 1\npublic: {public}\nsecret: {secret}\n")
    return public


def serve(plant: Plant, description: Description, arguments: argparse.Namespace) -> None:
    """Run a server from a command line made with `parser`, until SIGINT or SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    keys = Keys(arguments.key, arguments.allow) if arguments.key or arguments.allow else None
    try:
        server = HardwareServer(plant, description, arguments.address, keys)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: server.stop())
        server.run()
    except CannotServe as error:
        sys.exit(f"error: {error}")


def parser(what: str) -> argparse.ArgumentParser:
    """The arguments that every server takes."""
    made = argparse.ArgumentParser(description=what)
    made.add_argument("--address", default="tcp://127.0.0.1:5790", help="%(default)s")
    made.add_argument("--key", type=Path, help="this server's secret key file")
    made.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="PUBLIC_KEY",
        help="a robot's public key, as `fieldtune-robot keys show` prints it; may be repeated",
    )
    return made


def _read_keys(keys: Keys) -> tuple[bytes, frozenset[bytes]]:
    """The secret key as libzmq takes it, and the allowed public keys."""
    if not keys.secret or not keys.allowed:
        raise CannotServe("keys are half given: both --key FILE and --allow PUBLIC_KEY are needed")
    if keys.secret.exists() and not keys.secret.is_file():  # a pipe would be waited for
        raise CannotServe(f"{keys.secret}: is no file")
    try:
        text = keys.secret.read_text("ascii", "replace")
        mode = stat.S_IMODE(keys.secret.stat().st_mode)
    except OSError as error:
        raise CannotServe(f"{keys.secret}: cannot be read: {error.strerror}") from None
    if mode & 0o077:
        raise CannotServe(f"{keys.secret}: mode is {mode:04o}: `chmod 600 {keys.secret}`")
    found = re.fullmatch(
        r"fieldtune secret key 1\npublic: [0-9a-f]{64}\nsecret: ([0-9a-f]{64})\n", text
    )
    if found is None:
        raise CannotServe(f"{keys.secret}: is not a secret key file")
    for public in keys.allowed:
        if not _HEX.fullmatch(public):
            raise CannotServe(f"--allow {public[:80]!r}: expected 64 hexadecimal digits")
    secret = z85.encode(bytes.fromhex(found[1]))
    return secret, frozenset(bytes.fromhex(public) for public in keys.allowed)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python hardware_server.py FILE, where the secret key is to be written")
    try:
        print(f"public key: {new_key(Path(sys.argv[1]))}")
    except OSError as problem:
        sys.exit(f"error: {problem}")

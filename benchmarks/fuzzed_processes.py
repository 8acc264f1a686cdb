"""The processes whose sockets are fuzzed: their start, their log, and what they say in the end.

`python -m benchmarks.fuzzed_processes ROLE ...` is one of them: `bridge ADDRESS FOLDER` is the
robot's end of the bridge, `driver ADDRESS SERVER FOLDER` a `zmq` driver that reads without end.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import zmq

from benchmarks.processes import ROOT, environment
from fieldtune.robot.curve_keys import BridgeKeys

PATIENCE_S = 60.0
BATCH = 50
LINES = 400  # of a log, for a million frames: as good as none a frame
SERVERS = ROOT / "servers"


class Process:
    """One of them, with its log in `folder`. Its first line of output is the address, if any."""

    def __init__(self, folder: Path, *module: str, command: list[str] | None = None) -> None:
        self._log = folder / f"{module[0] if module else 'server'}.log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command or [sys.executable, "-m", *module],
                cwd=ROOT,
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), True)
        self.address = self._process.stdout.readline().strip().strip('"').removeprefix("serving ")

    @classmethod
    def server(cls, folder: Path, cpp: bool, *arguments: str) -> Self:
        """The hardware server's example with two joints."""
        script = [sys.executable, str(SERVERS / "serve_joints.py")]
        command = [str(joints_in_cpp())] if cpp else script
        return cls(folder, command=[*command, "--address", "tcp://127.0.0.1:*", *arguments])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()

    def heard(self) -> Any:
        """What it has said, as JSON; None while it has said nothing."""
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        line = self._process.stdout.readline()
        return json.loads(line) if line else None

    def end(self) -> Any:
        """What it says when its input ends."""
        said, _ = self._process.communicate(timeout=PATIENCE_S)
        return json.loads(said.splitlines()[-1])


@dataclass
class Result:
    """`broken` is empty when all promises were kept."""

    sent: int = 0
    lines: int = 0
    broken: list[str] = field(default_factory=list)

    def require(self, kept: bool, otherwise: str) -> None:
        if not kept:
            self.broken.append(otherwise)

    def require_alive(self, process: Process) -> None:
        """It runs, and has said why it dropped what it dropped, without filling the disk."""
        self.require(process.alive, "the process has died")
        self.lines = process.log.count("\n")
        self.require(0 < self.lines < LINES, f"its log has {self.lines} lines")


@contextmanager
def dealer(address: str, keys: BridgeKeys | None = None) -> Iterator[zmq.Socket[bytes]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.SNDTIMEO, round(1000 * PATIENCE_S))
    if keys is not None:
        keys.secure(socket)
    socket.connect(address)
    yield socket
    context.destroy(linger=0)


def joints_in_cpp() -> Path | None:
    """The C++ example, built; None where that cannot be done."""
    if shutil.which("make") and shutil.which("c++"):
        done = subprocess.run(["make", "-s", "-C", SERVERS / "cpp"], capture_output=True)
        if done.returncode == 0:
            return SERVERS / "cpp" / "build" / "serve_joints"
    return None


def _bridge(address: str, folder: str) -> None:
    from fieldtune.robot.bridge.client import BridgeClient

    home = Path(folder)
    journal, bundles = home / "journal.sqlite", home / "bundles"
    with BridgeClient(address, "robot", "any", "boot", journal, bundles) as bridge:
        print("ready", flush=True)
        sys.stdin.read()
        told = {"stop": bridge.stop_requested(), "emergency": bridge.emergency()}
        newest = bridge.newest_bundle()
    print(json.dumps(told | {"bundle": None if newest is None else str(newest)}))


def _driver(address: str, server: str, folder: str) -> None:
    from fieldtune.robot.drivers.driver import DriverFault
    from fieldtune.robot.drivers.hardware.description import write_description
    from fieldtune.robot.drivers.hardware.driver import ZmqDriver
    from fieldtune.robot.drivers.hardware.options import ZmqOptions, served_description

    def options(place: str) -> ZmqOptions:
        return ZmqOptions(
            address=place,
            description=Path(folder) / "joints.json",
            timeout_s=PATIENCE_S,
            connect_timeout_s=PATIENCE_S,
        )

    write_description(options(server).description, served_description(options(server)))
    driver = ZmqDriver("any", options(address))
    print("ready", flush=True)
    enough = threading.Event()

    def until_told() -> None:
        sys.stdin.readline()
        enough.set()

    threading.Thread(target=until_told, daemon=True).start()
    faults: list[str] = []
    reads = moved = 0
    driver.connect()
    while not enough.is_set() and not faults:
        try:
            moved += bool(driver.read().values.any())
            reads += 1
        except DriverFault as fault:
            faults.append(str(fault))
    driver.close()
    print(json.dumps({"reads": reads, "moved": moved, "faults": faults}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    roles: dict[str, Callable[..., None]] = {"bridge": _bridge, "driver": _driver}
    roles[sys.argv[1]](*sys.argv[2:])

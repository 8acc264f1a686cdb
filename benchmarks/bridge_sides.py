"""The two ends of the bridge and of a bare socket, the trainer's in a process of its own.

`python -m benchmarks.bridge_sides ROLE ...` serves until its input ends; its first line of output
is the address. Roles: `hub INBOX [KEYS]`, `pull FOLDER [SECRET]`, `robot ADDRESS FOLDER NAME ...`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from benchmarks import episodes
from fieldtune.files import write_atomically
from fieldtune.robot.bridge.client import BridgeClient
from fieldtune.robot.curve_keys import BridgeKeys, KeyPair
from fieldtune.robot.episodes.codec import address as content_address
from fieldtune.robot.journal.journal import Journal
from fieldtune.train.bridge.hub import Hub
from fieldtune.train.bridge.keys import open_keys

ROOT = Path(__file__).parents[1]
ANYWHERE = "tcp://127.0.0.1:*"
SIZES = {size.name: size for size in (episodes.REACH, episodes.CHEETAH, episodes.HUMANOID)}
_CONNECT_S = 30.0
_LOOK_S = 0.001


class Child:
    """A process in one of the roles. Closed by leaving the block."""

    def __init__(self, *role: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.bridge_sides", *role],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.said = self.hear()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, **what: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()

    def hear(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("an end of the bridge has died: see its message above")
        return json.loads(line)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Robot:
    """A robot's end of the bridge: its journal in `folder`, connected to the hub at `address`."""

    def __init__(
        self, address: str, folder: Path, name: str = "benchmark", keys: BridgeKeys | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._name = name
        self._journal = Journal.open(folder / "journal.sqlite")
        self._client = BridgeClient(
            address, name, "any", "benchmark", folder / "journal.sqlite", folder / "bundles", keys
        ).start()
        waited = time.monotonic() + _CONNECT_S
        while not self._client.connected():
            if time.monotonic() > waited:
                raise RuntimeError(f"no connection to {address} within {_CONNECT_S:g} s")
            time.sleep(0.01)

    def upload(self, size: episodes.Size, count: int) -> tuple[list[str], int, int]:
        """Record `count` episodes and wait until the trainer has confirmed all of them.

        Returns their content addresses, and when they were there and when confirmed, in ns.
        """
        addresses = episodes.fill(self._journal, size, count, self._name)
        began = time.monotonic_ns()
        while self._journal.pending(1):
            time.sleep(_LOOK_S)
        return addresses, began, time.monotonic_ns()

    def close(self) -> None:
        self._client.close()
        self._journal.close()


class Pusher:
    """A bare PUSH socket."""

    def __init__(self, address: str, own: KeyPair | None = None, server: str | None = None) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.PUSH)
        if own is not None and server is not None:
            BridgeKeys(own, server).secure(self._socket)
        self._socket.connect(address)

    def send(self, blobs: list[bytes]) -> None:
        for blob in blobs:
            self._socket.send(blob)

    def close(self) -> None:
        self._context.destroy(linger=0)


def _serve_hub(inbox: str, keys: str | None = None) -> None:
    opened = None if keys is None else open_keys(Path(keys))
    with Hub(ANYWHERE, Path(inbox), opened) as hub:
        print(json.dumps(hub.address), flush=True)
        sys.stdin.read()


def _serve_pull(folder: str, secret: str | None = None) -> None:
    """Receive what it is told to, and say when it had the last byte; `durable` writes and syncs
    each message as the trainer's inbox does."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.PULL)
    if secret is not None:
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, bytes.fromhex(secret))
    socket.bind(ANYWHERE)
    print(json.dumps(socket.getsockopt_string(zmq.LAST_ENDPOINT)), flush=True)
    for line in sys.stdin:
        told = json.loads(line)
        received = []
        for index in range(told["count"]):
            received.append(socket.recv())
            if told["durable"]:
                write_atomically(Path(folder) / str(index), received[-1])
        ended = time.monotonic_ns()
        addresses = [content_address(blob) for blob in received]
        print(json.dumps({"ended": ended, "addresses": addresses}), flush=True)
    context.destroy(linger=0)


def _serve_robot(address: str, folder: str, name: str) -> None:
    robot = Robot(address, Path(folder), name)
    print(json.dumps("connected"), flush=True)
    for line in sys.stdin:
        told = json.loads(line)
        _, began, ended = robot.upload(SIZES[told["size"]], told["count"])
        print(json.dumps({"began": began, "ended": ended}), flush=True)
    robot.close()


if __name__ == "__main__":
    roles: dict[str, Callable[..., None]] = {
        "hub": _serve_hub,
        "pull": _serve_pull,
        "robot": _serve_robot,
    }
    roles[sys.argv[1]](*sys.argv[2:])

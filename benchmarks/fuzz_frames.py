"""A million random and mutated frames on every socket: no crash, no state change, a reason logged.

`python -m benchmarks.fuzz_frames [SOCKET ...] [--count 1000000]`. Each socket belongs to a real
process that does its work before and after: `hub` and `hub-curve` (inside the session of a robot
whose key is allowed), `bridge` (its trainer is a liar), `server` and `server-cpp` (hardware
servers), and `driver` (the `zmq` driver, in front of whose true answers others come). A mutated
frame that still says what its sender may say is not sent: it is no fault to act on it. `strangers`
counts the bytes that come back to who has no key. The status is 1 where a promise is broken.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import zmq

from benchmarks import episodes
from benchmarks.bridge_sides import Robot
from benchmarks.fuzz_hardware import fuzz_driver, fuzz_server
from benchmarks.fuzzed_processes import BATCH, PATIENCE_S, Process, Result, dealer, joints_in_cpp
from benchmarks.machine import facts
from benchmarks.mutations import damaged
from benchmarks.strangers import strangers
from fieldtune.robot.bridge import wire
from fieldtune.robot.curve_keys import BridgeKeys, new_pair
from fieldtune.robot.journal.check import find_problems
from fieldtune.robot.journal.journal import EntryState, Journal
from fieldtune.train.bridge.keys import make_keys

_ID = "ab" * 32


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below, by its name."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).digest() for path in files}


def fuzz_hub(folder: Path, count: int, chance: random.Random, curve: bool = False) -> Result:
    """The trainer's ROUTER. Its inbox must stay as it is, and take a robot's episode afterwards."""
    result, own, theirs = Result(), None, None
    arguments = ["hub", str(folder / "inbox")]
    if curve:
        pairs = {"fuzzer": new_pair(), "honest": new_pair()}
        keys = make_keys(folder / "keys")
        for name, pair in pairs.items():
            keys.allowed.allow(name, pair.public)
        own, theirs = (BridgeKeys(pair, keys.own.public) for pair in pairs.values())
        arguments.append(str(folder / "keys"))
    with ExitStack() as undo:
        hub = undo.enter_context(Process(folder, "benchmarks.bridge_sides", *arguments))
        robot = Robot(hub.address, folder / "honest", "honest", theirs)
        undo.callback(robot.close)
        robot.upload(episodes.REACH, 2)
        before = contents(folder / "inbox")
        socket = undo.enter_context(dealer(hub.address, own))
        socket.send(wire.encode("fuzz", 0, wire.Hello("fuzzer", "any", "boot")))
        while result.sent < count:
            seeds = [wire.encode("fuzz", 1 + result.sent, body) for body in _FROM_A_ROBOT]
            frame = damaged(chance.choice(seeds), chance, seeds)
            if _is_said(frame, (wire.UploadChunk,)):
                continue
            socket.send_multipart([frame] if result.sent % 50 else [frame, b"another part"])
            result.sent += 1
            while result.sent % BATCH == 0 and socket.poll(0):
                socket.recv_multipart()
        last = wire.encode("end", 0, wire.Hello("fuzzer", "any", "boot"))
        socket.send(last)
        socket.send(wire.encode("end", 1, wire.UploadOffer(_ID, 77)))
        _await(socket, lambda body: isinstance(body, wire.UploadStatus) and body.sha256 == _ID)
        result.require(contents(folder / "inbox") == before, "the inbox has changed")
        result.require_alive(hub)
        addresses, _, _ = robot.upload(episodes.REACH, 1)
        arrived = (folder / "inbox" / f"{addresses[0]}.episode").exists()
        result.require(arrived, "an honest robot is not served any more")
    return result


_FROM_A_ROBOT = (
    wire.Hello("fuzzer", "any", "boot"),
    wire.Heartbeat(1, "running", "", 3),
    wire.UploadOffer("cd" * 32, 1000),
    wire.UploadChunk("cd" * 32, 1000, 0, b"x" * 50),
    wire.BundleRequest("cd" * 32, 0),
    wire.Stop(True),
    wire.Welcome(),
)
_FROM_A_TRAINER = (
    wire.Welcome(),
    wire.HeartbeatReply(1, 2, 3, None),
    wire.HeartbeatReply(1, 2, 3, "cd" * 32),
    wire.UploadStatus("cd" * 32, 10),
    wire.UploadDone("cd" * 32),
    wire.BundleChunk("cd" * 32, 100, 0, b"x" * 50),
    wire.Stop(True),
    wire.Refusal(wire.RefusalKind.LATER, "reason", "cd" * 32),
    wire.Hello("robot", "any", "boot"),
)


def _is_said(frame: bytes, bodies: tuple[type, ...], session: str = "") -> bool:
    """Whether this is a sound message with one of `bodies`, or from another than `session`."""
    try:
        message = wire.decode(frame)
    except wire.WireError:
        return False
    other = bool(session) and (message.session != session or message.sequence > 2**40)
    return other or isinstance(message.body, bodies)


def _await(socket: zmq.Socket[bytes], wanted: Callable[[Any], bool]) -> None:
    until = time.monotonic() + 10 * PATIENCE_S
    while time.monotonic() < until:
        if socket.poll(1000) and wanted(wire.decode(socket.recv_multipart()[-1]).body):
            return
    raise SystemExit("no answer to the last frame")


def fuzz_bridge(folder: Path, count: int, chance: random.Random) -> Result:
    """The robot's DEALER, which speaks to a liar. Journal and bundles must stay as they are."""
    result = Result()
    journal_path = folder / "robot" / "journal.sqlite"
    with Journal.open(journal_path) as journal:
        episodes.fill(journal, episodes.REACH, 3, "robot")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.setsockopt(zmq.SNDTIMEO, round(1000 * PATIENCE_S))
    address = f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}"
    robot = Process(folder, "benchmarks.fuzzed_processes", "bridge", address, str(folder / "robot"))
    with robot:
        liar = _Liar(socket)
        while result.sent < count:
            liar.listen()
            for _ in range(BATCH):
                seeds = [wire.encode("liar", liar.sequence, body) for body in _FROM_A_TRAINER]
                frame = damaged(chance.choice(seeds), chance, seeds)
                said = (wire.Stop, wire.UploadDone, wire.Refusal, wire.Welcome)
                if not _is_said(frame, said, "liar") and liar.send(frame):
                    result.sent += 1
        liar.end()
        result.require_alive(robot)
        told = robot.end()
        result.require(told == {"stop": False, "emergency": "", "bundle": None}, f"{told}")
    context.destroy(linger=0)
    with Journal.read(journal_path) as journal:
        states = {entry.state for entry in journal.entries()}
        result.require(not find_problems(journal), "the journal is damaged")
        result.require(states == {EntryState.PENDING}, f"its episodes are {states}")
    result.require(not [*folder.rglob("*.bundle")], "a bundle was stored")
    return result


class _Liar:
    """The trainer's end: says welcome to every hello, and enough sound words to be listened to."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket, self._robot, self.sequence = socket, b"", 0

    def say(self, body: wire.Body) -> None:
        self.sequence += 1
        self.send(wire.encode("liar", self.sequence, body))

    def send(self, frame: bytes) -> bool:
        try:
            self._socket.send_multipart([self._robot, frame])
        except zmq.ZMQError:  # it has hung up, and will be back
            self._robot = b""
            return False
        return True

    def listen(self) -> wire.Body | None:
        """The last that the robot said just now; waits for one who has hung up."""
        body = None
        while self._socket.poll(0 if self._robot else round(1000 * PATIENCE_S)):
            self._robot, frame = self._socket.recv_multipart()
            body = wire.decode(frame).body
            if isinstance(body, wire.Hello):
                self.say(wire.Welcome())
            elif isinstance(body, wire.Heartbeat):
                self.say(wire.HeartbeatReply(body.sent_ns, 1, 1, None))
        if not self._robot:
            raise SystemExit("the robot does not come back")
        return body

    def end(self) -> None:
        """Wait until it has heard everything: it asks for a bundle that was never named before."""
        until = time.monotonic() + 10 * PATIENCE_S
        while time.monotonic() < until:
            self.say(wire.HeartbeatReply(1, 1, 1, _ID))
            body = self.listen()
            if isinstance(body, wire.BundleRequest) and body.bundle_id == _ID:
                return
            time.sleep(0.05)
        raise SystemExit("the robot does not listen any more")


Fuzz = Callable[[Path, int, random.Random], Result]
SOCKETS: dict[str, Fuzz] = {
    "hub": fuzz_hub,
    "hub-curve": partial(fuzz_hub, curve=True),
    "bridge": fuzz_bridge,
    "server": fuzz_server,
    "server-cpp": partial(fuzz_server, cpp=True),
    "driver": fuzz_driver,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = [*SOCKETS, "strangers"]
    parser.add_argument("sockets", nargs="*", metavar="SOCKET", help=f"of {', '.join(known)}; all")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="2,000 frames each")
    options = parser.parse_args()
    count = 2_000 if options.quick else options.count
    print("\n".join(facts()), flush=True)
    print("\n| socket | frames | lines logged | seconds | promises broken |\n|---|---|---|---|---|")
    broken = []
    for name in options.sockets or known:
        if name == "server-cpp" and joints_in_cpp() is None:
            print(f"| {name} | – | – | – | not tried: no compiler with cppzmq here |", flush=True)
            continue
        with TemporaryDirectory(prefix="fieldtune-fuzz-") as folder:
            began = time.monotonic()
            if name == "strangers":
                for line, problem in strangers(Path(folder)):
                    print(line, flush=True)
                    broken += problem
                continue
            result = SOCKETS[name](Path(folder), count, random.Random(f"{options.seed} {name}"))
        took, problems = time.monotonic() - began, "; ".join(result.broken) or "none"
        numbers = f"{result.sent:,} | {result.lines} | {took:.0f}"
        print(f"| {name} | {numbers} | {problems} |", flush=True)
        broken += [f"{name}: {problem}" for problem in result.broken]
    if broken:
        raise SystemExit("BROKEN: " + "; ".join(broken))


if __name__ == "__main__":
    main()

"""Episodes over the bridge, against the same bytes over a bare ZMQ socket.

`python -m benchmarks.bridge [--quick]`. Robot and trainer are two processes on this machine. An
episode counts when the robot has noted the trainer's receipt: synced to the trainer's disk, checked
by hash and content, and synced again on the robot's. The bare socket promises none of it; a second
floor writes and syncs each message where it arrives.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import episodes
from benchmarks.alone import main
from benchmarks.bridge_sides import Child, Pusher, Robot
from benchmarks.figures import Goal, Role, Series, Table
from benchmarks.machine import filesystem
from benchmarks.turns import Effort, in_turns
from fieldtune.robot.curve_keys import BridgeKeys, new_pair
from fieldtune.robot.journal.journal import Journal
from fieldtune.train.bridge.keys import make_keys

OURS, OURS_CURVE = "Fieldtune's bridge", "Fieldtune's bridge, CURVE"
RAW, RAW_CURVE = "PUSH/PULL", "PUSH/PULL, CURVE"
DURABLE = "PUSH/PULL, each message synced to disk"
ROLES: dict[str, Role] = {
    OURS: "ours",
    OURS_CURVE: "ours",
    RAW: "floor",
    RAW_CURVE: "floor",
    DURABLE: "floor",
}


@dataclass
class Line:
    """Everything that one size of episode is sent over; `scale` is what one episode counts for."""

    size: episodes.Size
    count: int
    scale: float
    blobs: list[bytes]
    addresses: list[str]
    arrived: dict[str, list[str]] = field(default_factory=dict)

    def over_bridge(self, label: str, robot: Robot) -> float:
        addresses, began, ended = robot.upload(self.size, self.count)
        self.arrived[label] = addresses
        return self._rate(began, ended)

    def over_socket(self, label: str, pusher: Pusher, puller: Child, durable: bool) -> float:
        puller.tell(count=self.count, durable=durable)
        began = time.monotonic_ns()
        pusher.send(self.blobs)
        answer = puller.hear()
        self.arrived[label] = answer["addresses"]
        return self._rate(began, answer["ended"])

    def _rate(self, began: int, ended: int) -> float:
        return self.scale * self.count * 1e9 / (ended - began)


def recorded(folder: Path, size: episodes.Size, count: int) -> tuple[list[str], list[bytes]]:
    """Addresses and bytes of the first `count` episodes that a robot of this size records."""
    with Journal.open(folder / "journal.sqlite") as journal:
        addresses = episodes.fill(journal, size, count)
        return addresses, [journal.blob(number)[1] for number in range(1, count + 1)]


def measure_size(size: episodes.Size, count: int, unit: str, effort: Effort) -> Table:
    """One size of episode: `unit` is episodes/s or MB/s."""
    with TemporaryDirectory() as temporary, ExitStack() as closing:
        folder = Path(temporary)
        (folder / "recorded").mkdir()
        addresses, blobs = recorded(folder / "recorded", size, count)
        scale = 1.0 if unit == "episodes/s" else len(blobs[0]) / 1e6
        line = Line(size, count, scale, blobs, addresses)
        runs: dict[str, Callable[[], float]] = {}
        pair, server = new_pair(), new_pair()
        keys = make_keys(folder / "keys")
        keys.allowed.allow("benchmark", pair.public)
        for label, secured in ((OURS, False), (OURS_CURVE, True)):
            place = folder / label
            role = ["hub", str(place / "inbox"), *([str(folder / "keys")] if secured else [])]
            hub = closing.enter_context(Child(*role))
            trusted = BridgeKeys(pair, keys.own.public) if secured else None
            robot = Robot(hub.said, place, keys=trusted)
            closing.callback(robot.close)
            runs[label] = _turn(line.over_bridge, label, robot)
        for label, secured, durable in (
            (RAW, False, False),
            (RAW_CURVE, True, False),
            (DURABLE, False, True),
        ):
            place = folder / label.replace("/", "-")
            place.mkdir()
            role = ["pull", str(place), *([server.secret] if secured else [])]
            puller = closing.enter_context(Child(*role))
            pusher = Pusher(puller.said, *((pair, server.public) if secured else ()))
            closing.callback(pusher.close)
            runs[label] = _turn(line.over_socket, label, pusher, puller, durable)
        first = {label: run() for label, run in runs.items()}
        check = same_episodes(line)
        found = in_turns(runs, effort.rounds) if first else {}
        kind = filesystem(folder)
    return Table(
        title=f"Bridge, {size.name}",
        unit=unit,
        conditions=(
            f"{count} episodes of {size.steps} steps, {len(blobs[0]) / 1000:,.0f} kB each, from "
            f"one robot over tcp on this machine; one process at each end; disk: {kind}"
        ),
        series=[Series(label, ROLES[label], values) for label, values in found.items()],
        goals=[
            Goal("≥ 80 % of raw", OURS, RAW, at_least=0.8),
            Goal("≥ 80 % of raw, CURVE", OURS_CURVE, RAW_CURVE, at_least=0.8),
        ],
        checks=[check],
    )


def same_episodes(line: Line) -> str:
    """Raises `AssertionError` unless the same bytes arrived everywhere, by their sha256."""
    for label, arrived in line.arrived.items():
        if arrived != line.addresses:
            raise AssertionError(f"{label}: other episodes than were recorded have arrived")
    return f"the sha256 of all {line.count} episodes is the same at every end"


def _turn(function: Callable[..., float], *arguments: object) -> Callable[[], float]:
    return lambda: function(*arguments)


def measure(effort: Effort) -> Iterator[Table]:
    """Small episodes by number, large ones by size."""
    yield measure_size(episodes.REACH, effort.choose(400, 4), "episodes/s", effort)
    yield measure_size(episodes.HUMANOID, effort.choose(50, 2), "MB/s", effort)


if __name__ == "__main__":
    main(measure, __doc__.splitlines()[0])

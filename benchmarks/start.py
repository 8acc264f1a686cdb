"""How long a person or a robot waits for a command, and what memory a robot's daemon takes.

`python -m benchmarks.start [--quick]`. Every figure is of new processes with warm file caches. The
first action's time is the journal's, on the clock that both processes share. Memory is the most
that was resident, of a daemon that drives a robot behind a server of its own.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from benchmarks.alone import main
from benchmarks.cycle import make_bundle
from benchmarks.figures import Goal, Role, Series, Table
from benchmarks.processes import resident_mb
from benchmarks.turns import Effort, in_turns
from fieldtune.robot.drivers.hardware.description import write_description
from fieldtune.robot.drivers.hardware.options import ZmqOptions, served_description
from fieldtune.robot.journal.journal import Journal

BIN = Path(sys.executable).parent
HELP, ROBOT_HELP = "fieldtune --help", "fieldtune-robot --help"
EMPTY, TYPER = "an empty Python program", "Python importing typer and rich"
DAEMON = "fieldtune-robot run, simulated cheetah"
REMOTE = "fieldtune-robot run, over ZMQ"
LIBRARIES = "Python importing what the daemon stands on"
REMOTE_ROUNDS = 3  # an episode takes its time, and memory hardly varies
LOOK_S = 0.1
SERVER = Path(__file__).parents[1] / "servers" / "serve_sim.py"
_IMPORTS = "numpy, zmq, msgspec, pydantic, typer, onnxruntime, mujoco, gymnasium"


def seconds_of(command: list[str]) -> float:
    """From start to end of a process that must end well."""
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    elapsed = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")
    return elapsed


class DaemonStart:
    """`fieldtune-robot run` for one episode with a bundle that is there already."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._runs = folder.absolute(), count()
        self._bundle = folder / "policy.bundle"
        make_bundle(self._bundle)

    def seconds(self) -> float:
        """From the start of the process to its first action, in a state folder of its own."""
        state = self._folder / f"state-{next(self._runs)}"
        config = self._folder / "robot.yaml"
        robot = {
            "name": "benchmark",
            "family": "cheetah-vel",
            "driver": {"name": "sim", "time_scale": float("inf")},
            "state_dir": str(state),
        }
        config.write_text(yaml.safe_dump({"robot": robot}))
        command = [str(BIN / "fieldtune-robot"), "run", "--config", str(config)]
        command += ["--bundle", str(self._bundle), "--episodes", "1"]
        started = time.monotonic_ns()
        seconds_of(command)
        with Journal.read(state / "journal.sqlite") as journal:
            first = journal.steps(1)[0]
        acted = first.sense_ns + first.observation_age_ns + first.infer_ns + first.apply_ns
        return (acted - started) / 1e9


class RemoteDaemon:
    """`fieldtune-robot run` for one episode of a robot behind servers/serve_sim.py."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._runs = folder.absolute(), count()
        self._bundle = folder / "remote.bundle"
        make_bundle(self._bundle)
        with (folder / "server.log").open("w") as log:
            self._server = subprocess.Popen(
                [sys.executable, str(SERVER), "cheetah-vel", "--address", "tcp://127.0.0.1:*"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._server.stdout is not None
        address = self._server.stdout.readline().removeprefix("serving ").strip()
        self._driver = {"address": address, "description": str(folder / "description.json")}
        write_description(
            folder / "description.json", served_description(ZmqOptions(**self._driver))
        )

    def megabytes(self) -> float:
        """The most that was resident, in a state folder of its own."""
        number = next(self._runs)
        config, log = self._folder / "remote.yaml", self._folder / f"remote-{number}.log"
        robot = {
            "name": "benchmark",
            "family": "cheetah-vel",
            "driver": {"name": "zmq"} | self._driver,
            "state_dir": str(self._folder / f"remote-{number}"),
        }
        config.write_text(yaml.safe_dump({"robot": robot}))
        command = [str(BIN / "fieldtune-robot"), "run", "--config", str(config)]
        command += ["--bundle", str(self._bundle), "--episodes", "1"]
        with log.open("w") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output)
        most = 0.0  # by looking: what wait4 says has its parent's memory before exec in it
        while process.poll() is None:
            with contextlib.suppress(FileNotFoundError):  # it has just ended
                most = max(most, resident_mb(process.pid))
            time.sleep(LOOK_S)
        if process.returncode != 0:
            raise RuntimeError(
                f"the daemon left with {process.returncode}: {log.read_text()[-500:]}"
            )
        return most

    def close(self) -> None:
        self._server.terminate()
        self._server.wait()


def measure(effort: Effort) -> Iterator[Table]:
    """Help, then the daemon."""
    roles: dict[str, Role] = {HELP: "ours", ROBOT_HELP: "ours", TYPER: "floor", EMPTY: "floor"}
    python = sys.executable
    commands = {
        HELP: [str(BIN / "fieldtune"), "--help"],
        ROBOT_HELP: [str(BIN / "fieldtune-robot"), "--help"],
        TYPER: [python, "-c", "import typer, rich.console"],
        EMPTY: [python, "-c", "pass"],
    }
    runs = {label: partial(seconds_of, command) for label, command in commands.items()}
    yield _table(
        "Help",
        in_turns(runs, effort.rounds),
        roles,
        [Goal("< 0.3 s", HELP, at_most=0.3)],
        "processes started one after the other, nothing set in the environment but by the launcher",
    )
    with TemporaryDirectory() as temporary:
        start = DaemonStart(Path(temporary))
        daemon: dict[str, Callable[[], float]] = {
            DAEMON: start.seconds,
            LIBRARIES: partial(seconds_of, [python, "-c", f"import {_IMPORTS}"]),
        }
        yield _table(
            "Start of the daemon to its first action",
            in_turns(daemon, effort.rounds),
            {DAEMON: "ours", LIBRARIES: "floor"},
            [Goal("< 1 s", DAEMON, at_most=1.0)],
            "a bundle and a config that are there, a new journal, the simulated robot in the "
            f"daemon's own process; the floor imports {_IMPORTS}",
        )
        remote = RemoteDaemon(Path(temporary))
        try:
            found = [remote.megabytes() for _ in range(min(effort.rounds, REMOTE_ROUNDS))]
        finally:
            remote.close()
        yield Table(
            title="Memory of the daemon",
            unit="MB",
            conditions="the most that is resident in an episode of cheetah-vel at 20 Hz, policy of "
            "300x3, journal on disk, no trainer; the robot is a process of its own",
            series=[Series(REMOTE, "ours", found)],
            higher_is_better=False,
            goals=[Goal("< 150 MB", REMOTE, at_most=150.0)],
        )


def _table(
    title: str,
    found: dict[str, list[float]],
    roles: dict[str, Role],
    goals: list[Goal],
    conditions: str,
) -> Table:
    return Table(
        title=title,
        unit="s",
        conditions=f"{conditions}; {os.environ.get('OMP_NUM_THREADS', 'default')} thread",
        series=[Series(label, roles[label], values) for label, values in found.items()],
        higher_is_better=False,
        goals=goals,
    )


if __name__ == "__main__":
    main(measure, __doc__.splitlines()[0])

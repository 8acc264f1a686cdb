"""The robot's loop alone, with a view attached, and with a view that hangs.

`python -m benchmarks.view [--quick]`. The daemon drives, at 100 Hz, hardware that answers from
memory; `fieldtune-robot view` records it from its state folder, and is stopped by SIGSTOP in the
middle where it is to hang. The daemon's own report says how late its loop was.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from benchmarks import mass_robot
from benchmarks.alone import main
from benchmarks.figures import Goal, Role, Series, Table
from benchmarks.mass_bundle import make_mass_bundle
from benchmarks.processes import environment, terminate
from benchmarks.turns import Effort, in_turns
from fieldtune.robot.journal.journal import Journal, JournalError

ALONE, WATCHED, HUNG = "alone", "with a view", "with a view that hangs"
ROLES: dict[str, Role] = {ALONE: "floor", WATCHED: "ours", HUNG: "ours"}
PERIOD_S = 0.01
EPISODE = 500  # steps
ROBOT = [sys.executable, "-m", "fieldtune.robot.launch"]
_WAIT_S = 60.0
_NOISE = 1.25  # the 99th percentile of the same loop, twice


class Robot:
    """A daemon of the mass chain, and a view of it, in `folder`."""

    def __init__(self, folder: Path, episodes: int, steps: int) -> None:
        self._folder, self._episodes = folder, episodes
        self._plugin, self._config = folder / "plugin", folder / "run.yaml"
        self._bundle, self._state = folder / "chain.bundle", folder / "robot"
        self._summary, self.seen_mb = folder / "summary.json", 0.0
        mass_robot.install(self._plugin)
        make_mass_bundle(self._bundle, PERIOD_S, steps)
        reason = "what is measured is how late the loop is"
        settings = {
            "name": "chain-1",
            "family": mass_robot.FAMILY,
            "driver": {"name": "masses", "period_s": PERIOD_S},
            "state_dir": str(self._state),
            "limits": {
                "observation_age_s": 1.0,
                "late_fraction": 1.0,
                "loosen": {"observation_age_s": reason, "late_fraction": reason},
            },
        }
        self._config.write_text(yaml.safe_dump({"robot": settings}), encoding="utf-8")

    def p99_us(self, watched: bool, hangs: bool = False) -> float:
        """The 99th percentile of how far the loop's periods were off. Raises `RuntimeError` where
        the daemon, or a view that should be there, was not."""
        shutil.rmtree(self._state, ignore_errors=True)
        view = self._start("view", "--save", str(self._folder / "view.rrd")) if watched else None
        daemon = self._start(
            "run",
            *("--bundle", str(self._bundle), "--episodes", str(self._episodes)),
            *("--summary", str(self._summary)),
        )
        try:
            if hangs and view is not None:
                self._drives(daemon)
                view.send_signal(signal.SIGSTOP)
            status = daemon.wait(_WAIT_S + self._episodes * EPISODE * PERIOD_S * 3)
            if status:
                raise RuntimeError(f"the daemon ended with {status}: {self._said('run')}")
            if view is not None and view.poll() not in (None, 0):
                raise RuntimeError(f"the view ended with {view.poll()}: {self._said('view')}")
        finally:
            terminate(daemon, 10.0)
            if view is not None:
                view.send_signal(signal.SIGCONT)
                terminate(view, _WAIT_S)
        if view is not None:
            self.seen_mb = (self._folder / "view.rrd").stat().st_size / 1e6
            if self.seen_mb < 0.01:
                raise RuntimeError(f"the view has recorded nothing: {self._said('view')}")
        told = json.loads(self._summary.read_text(encoding="utf-8"))
        return float(told["cycles"]["jitter_us"]["p99"])

    def _start(self, command: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._folder / f"{command}.log").open("wb") as log:
            return subprocess.Popen(
                [*ROBOT, command, "--config", str(self._config), *arguments],
                env=environment(self._plugin),
                stdout=log,
                stderr=log,
            )

    def _drives(self, daemon: subprocess.Popen[bytes]) -> None:
        """Wait until steps are recorded."""
        deadline = time.monotonic() + _WAIT_S
        while time.monotonic() < deadline and daemon.poll() is None:
            try:
                with Journal.read(self._state / "journal.sqlite") as journal:
                    if any(entry.steps > 20 for entry in journal.entries()):
                        return
            except JournalError:
                pass
            time.sleep(0.05)
        raise RuntimeError(f"the daemon does not drive: {self._said('run')}")

    def _said(self, command: str) -> str:
        said = (self._folder / f"{command}.log").read_text(errors="replace")
        return said.strip()[-500:]


def measure(effort: Effort) -> Iterator[Table]:
    """The three in turns."""
    episodes, steps = effort.choose(2, 1), effort.choose(EPISODE, 60)
    with TemporaryDirectory() as temporary:
        robot = Robot(Path(temporary), episodes, steps)
        runs: dict[str, Callable[[], float]] = {
            ALONE: lambda: robot.p99_us(False),
            WATCHED: lambda: robot.p99_us(True),
            HUNG: lambda: robot.p99_us(True, hangs=True),
        }
        found = in_turns(runs, effort.rounds)
        check = f"each view has recorded the daemon's episodes, the last one {robot.seen_mb:.1f} MB"
    yield Table(
        title="Lateness of the loop, watched, 99th percentile",
        unit="µs",
        conditions=(
            f"{episodes * steps} periods of {PERIOD_S * 1e3:g} ms a round, hardware in the "
            "daemon's own process, journal with full sync; the view in its own, niced; one that "
            "hangs is stopped in the first episode and goes on when the daemon has ended"
        ),
        series=[Series(label, ROLES[label], values) for label, values in found.items()],
        higher_is_better=False,
        goals=[
            Goal(f"{label}: no later than {_NOISE:g}× alone", label, ALONE, at_most=_NOISE)
            for label in (WATCHED, HUNG)
        ],
        checks=[check],
    )


if __name__ == "__main__":
    main(measure, __doc__.splitlines()[0])

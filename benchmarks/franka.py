"""A Franka explores for 20 minutes and comes to rest from every fault, by its own physics.

`python -m benchmarks.franka [--minutes 20] [--faults 3] [--folder DIR]`, after `make franka`. The
arm is `benchmarks.franka_arm`, its server `servers/serve_franka.py`, both in .venv-franka; the
daemon is `fieldtune-robot run` with a bundle of a few updates, and uploads to a hub. First it
explores: everything recorded has to arrive, each once. Then each fault is done in the middle of an
episode, and the simulator's joints say when the arm stood still; the daemon has to end in fault.
`--lost-ticks` is for a machine with other work: a real arm's controller waits for 20.
"""

from __future__ import annotations

import argparse
import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import yaml

from benchmarks import franka_figures as figures
from benchmarks.bridge_sides import Child
from benchmarks.franka_arm import LOST_TICKS
from benchmarks.franka_lab import EVERY_MS, NAME, Lab
from benchmarks.ledger import Ledger
from benchmarks.pair import Unfit, run_fieldtune, wait_for
from benchmarks.processes import terminate
from benchmarks.proof import conclude, table

FAULT_EXIT = 3
REST_S = 0.6  # a lease of 0.2 s, braking, and a busy machine
_LAST_MINUTES = 0.2
STEPS = 12  # of an episode, before a fault
LEARNING: dict[str, Any] = {
    "family": "reach",
    "data": {"episodes_per_task": 4},
    "offline": {"updates": 300, "checkpoint_every": 300},
}


@dataclass(frozen=True)
class Fault:
    """What is done to the lab, and what undoes it. `watched` says who brings the arm to rest."""

    name: str
    watched: str
    do: Callable[[Lab], None]
    undo: Callable[[Lab], None]


def _again(lab: Lab) -> None:
    lab.serve()


def _nothing(lab: Lab) -> None:
    del lab


def _signal(whom: str, number: int) -> Callable[[Lab], None]:
    return lambda lab: getattr(lab, whom).send_signal(number)


FAULTS = (
    Fault("the daemon is killed", "lease", _signal("daemon", signal.SIGKILL), _nothing),
    Fault(
        "the daemon is stopped",
        "lease",
        _signal("daemon", signal.SIGSTOP),
        _signal("daemon", signal.SIGCONT),
    ),
    Fault("the server is killed", "controller", _signal("server", signal.SIGKILL), _again),
    Fault(
        "the server is stopped",
        "controller",
        _signal("server", signal.SIGSTOP),
        _signal("server", signal.SIGCONT),
    ),
    Fault(
        "the arm's cable is pulled",
        "controller",
        _signal("arm", signal.SIGHUP),
        _signal("arm", signal.SIGHUP),
    ),
    Fault("a collision: reflex", "controller", _signal("arm", signal.SIGUSR1), _nothing),
    Fault(
        "the user stop",
        "controller",
        _signal("arm", signal.SIGUSR2),
        _signal("arm", signal.SIGUSR2),
    ),
)


def provoke(lab: Lab, fault: Fault) -> tuple[float, int]:
    """Do it in an episode: seconds until the physics stood still, and how the daemon ended."""
    lab.run()
    wait_for(lambda: lab.daemon.poll() is not None or lab.steps() >= STEPS)
    if lab.daemon.poll() is not None:
        raise Unfit(f"before '{fault.name}' the daemon ended: {lab.folder / 'daemon.log'}")
    done_at = time.monotonic()
    fault.do(lab)
    time.sleep(2.0)
    rested_s = figures.rest_s(figures.physics(lab.log), done_at)
    fault.undo(lab)
    status = lab.daemon.wait(60.0)
    time.sleep(2.0)  # a link that is back
    moved_again = figures.rest_s(figures.physics(lab.log), done_at)
    lab.recover()
    return max(rested_s, moved_again), status


def explore(lab: Lab, ledger: Ledger, minutes: float) -> dict[str, Any]:
    """The daemon's summary of so long an exploration, ended as a person ends it."""
    summary = lab.folder / "summary.json"
    lab.run("--summary", str(summary))
    until = time.monotonic() + 60 * minutes
    while time.monotonic() < until and lab.daemon.poll() is None:
        time.sleep(min(10.0, max(0.0, until - time.monotonic())))
        ledger.look()
    status = terminate(lab.daemon, 120.0)
    if status:
        raise Unfit(f"exploring ended with {status}: {lab.folder / 'daemon.log'}")
    return dict(json.loads(summary.read_text(encoding="utf-8")))


def prepare(folder: Path) -> Path:
    """Data of the Panda, a few updates, and their bundle."""
    config, bundle = folder / "learning.yaml", folder / "panda.bundle"
    if bundle.exists():
        return bundle
    data = LEARNING["data"] | {"path": str(folder / "data")}
    robot = {"name": NAME, "family": "reach", "model": "panda"}
    config.write_text(yaml.safe_dump(LEARNING | {"data": data, "robot": robot}), encoding="utf-8")
    run_fieldtune("collect", "--config", config)
    run_fieldtune("train", "--config", config, "--run", folder / "run")
    run_fieldtune("export", "--run", folder / "run", "--out", bundle)
    return bundle


def told(lab: Lab, summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Rate, lateness and tracking of what was explored."""
    rows, episodes = (
        figures.physics(lab.log),
        figures.whole_episodes(lab.state_dir / "journal.sqlite"),
    )
    steps = [step for one in episodes for step in one.steps]
    ages_ms = np.array([step.observation_age_ns for step in steps]) / 1e6
    limited = sum("driver" in step.reason for step in steps)
    error = np.sqrt((figures.joints_error(rows) ** 2).mean())
    apart_mm = 1e3 * figures.from_the_family_m(episodes)
    ways = figures.moved_m(episodes)
    cycles = summary["cycles"]
    ticks = (len(rows) - 1) * EVERY_MS / (rows["at_s"][-1] - rows["at_s"][0])
    return [
        ("the simulator's ticks a second", f"{ticks:.0f}"),
        ("whole episodes, steps in them", f"{len(episodes)}, {len(steps)}"),
        ("way of the end effector an episode", f"{np.median(ways):.2f} m, up to {ways.max():.2f}"),
        ("rate", f"{cycles['rate_hz']:.2f} Hz, {summary['overruns']} overruns"),
        ("jitter p50, p99, max", _three(cycles["jitter_us"], 1e-3, "ms")),
        ("age of an observation p50, p99, max", _spread(ages_ms, "ms")),
        ("read p50, p99, max", _three(cycles["stages_us"]["read"], 1e-3, "ms")),
        ("apply p50, p99, max", _three(cycles["stages_us"]["apply"], 1e-3, "ms")),
        ("actions that the server's limits changed", f"{limited / len(steps):.1%}"),
        ("joint speed, commanded against real, RMS", f"{error:.4f} rad/s"),
        ("from the family's simulator after 1 s, median and worst", _apart(apart_mm[:, 20])),
        ("the same at the episode's end", _apart(apart_mm[:, -1])),
    ]


def _three(of: dict[str, float], factor: float, unit: str) -> str:
    return ", ".join(f"{of[name] * factor:.2f}" for name in ("p50", "p99", "max")) + f" {unit}"


def _spread(values: np.ndarray[Any, Any], unit: str) -> str:
    return ", ".join(f"{value:.1f}" for value in np.percentile(values, [50, 99, 100])) + f" {unit}"


def _apart(millimetres: np.ndarray[Any, Any]) -> str:
    return f"{np.median(millimetres):.1f} mm, {millimetres.max():.1f} mm"


def prove(folder: Path, options: argparse.Namespace) -> None:
    """All of it in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    bundle, rests, problems = prepare(folder), [], []
    with Child("hub", str(folder / "inbox")) as hub:
        lab = Lab(folder, bundle, hub.said, options.lost_ticks)
        ledger = Ledger(lab.state_dir / "journal.sqlite", folder / "inbox", NAME)
        try:
            explored = told(lab, explore(lab, ledger, options.minutes))
            print(table(("", ""), explored), flush=True)
            for fault in FAULTS:
                found = [provoke(lab, fault) for _ in range(options.faults)]
                times = [1e3 * seconds for seconds, _ in found]
                ends = sorted({status for _, status in found})
                row = (fault.name, fault.watched, f"{np.median(times):.0f}", f"{max(times):.0f}")
                rests.append((*row, ", ".join(map(str, ends))))
                print(rests[-1], flush=True)
                if max(times) > 1e3 * REST_S:
                    problems.append(f"{fault.name}: moving {max(times):.0f} ms later")
                if set(ends) - {FAULT_EXIT, -signal.SIGKILL}:
                    problems.append(f"{fault.name}: the daemon ended with {ends}")
            explore(lab, ledger, _LAST_MINUTES)  # uploads what the faults left
            ledger.settle()
        finally:
            lab.close()
    columns = ("fault", "who stops the arm", "at rest, ms: median", "most", "the daemon ends with")
    conclude([table(("", ""), ledger.counts()), table(columns, rests)], ledger.problems + problems)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--faults", type=int, default=3, help="of each kind; %(default)s")
    parser.add_argument("--lost-ticks", type=int, default=LOST_TICKS, help="%(default)s")
    parser.add_argument("--folder", type=Path, help="a new folder; a temporary one if absent")
    given = parser.parse_args()
    prove(given.folder or Path(mkdtemp(prefix="fieldtune-franka-")), given)

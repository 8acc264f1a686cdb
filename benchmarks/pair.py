"""One robot and one trainer as a user runs them, each a process of its own, to be ill-treated.

Prepares the little that they need: random data, a few updates, a bundle. Starts, kills and ends
them. It does not know what must hold afterwards (`benchmarks.ledger`).
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from fieldtune.export.bundle import pack_bundle, read_bundle
from fieldtune.export.manifest import Manifest
from fieldtune.files import write_atomically
from fieldtune.robot.journal.journal import Journal
from fieldtune.train.process_settings import environment

ROOT = Path(__file__).parents[1]
FAMILY = "cheetah-vel"
ROBOT = "proven"
TIME_SCALE = 20.0
WAIT_S = 600.0  # the machine may have other things to do
_NARROW = {name: [32] for name in ("encoder", "policy", "critic", "decoder")}
SETTINGS: dict[str, Any] = {
    "family": FAMILY,
    "algorithm": {"meta_batch": 4, "batch": 16, "networks": _NARROW},
    "offline": {"context": {"source": "transitions", "size": [8, 16]}, "updates": 10},
    "self_supervised": {  # publishes and saves all the time, and never comes to its end
        "context": {"source": "trajectories", "trajectories": 2, "size": [8, 16]},
        "updates": 100_000,
        "first_steps": 200,
        "steps": 1_000_000,
        "publish_every": 25,
        "checkpoint_every": 20,
    },
}


class Unfit(Exception):
    """The proof cannot go on: a process did not do what it has to do unharmed."""


@dataclass
class Member:
    """A process of the pair, and what it writes. `marker` is what it says when it is at work."""

    name: str
    marker: str
    process: subprocess.Popen[str]
    log: Path
    began: int  # where in the log its own words begin
    started: float

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def said(self) -> str:
        """Its log so far, without its predecessors'."""
        with self.log.open("rb") as file:
            file.seek(self.began)
            return file.read().decode(errors="replace")

    def at_work(self) -> bool:
        """Whether it has come to do what it is there for; also of the dead."""
        return self.marker in self.said()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()

    def end(self, number: int = signal.SIGTERM, wait_s: float = WAIT_S) -> int:
        """Ask it to end; its exit status. Raises `Unfit` when it does not end."""
        self.process.send_signal(number)
        return self.wait(wait_s)

    def wait(self, wait_s: float = WAIT_S) -> int:
        try:
            self.process.communicate(timeout=wait_s)
        except subprocess.TimeoutExpired:
            raise Unfit(
                f"{self.name} has not ended in {wait_s:g} s: {self.said()[-2000:]}"
            ) from None
        return int(self.process.returncode)


class Pair:
    """Their folders, their address, and the processes that run now.

    Args:
        folder: for logs and the config.
        template: what `prepare` has made.
        state_dir: the robot's; `run` the trainer's. Both may be on other disks.
        robot: keys of the `robot:` section beside those that the proof needs.
    """

    def __init__(
        self,
        folder: Path,
        template: Path,
        state_dir: Path | None = None,
        run: Path | None = None,
        **robot: Any,
    ) -> None:
        self.folder, self.template = folder, template
        self.state_dir = (state_dir or folder / "robot").absolute()
        self.run = run or folder / "run"
        folder.mkdir(parents=True, exist_ok=True)
        self.address = f"tcp://127.0.0.1:{_free_port()}"
        if not (self.run / "config.yaml").exists():
            shutil.copytree(template / "run", self.run, dirs_exist_ok=True)
        self.bundle = template / "published.bundle"  # of a trainer that does not learn
        self.config = folder / "robot.yaml"
        settings = {
            "name": ROBOT,
            "family": FAMILY,
            "driver": {"name": "sim", "time_scale": TIME_SCALE},
            "state_dir": str(self.state_dir),
            "bridge": self.address,
            # Time runs twenty times as fast, on a machine that has other things to do.
            "limits": {
                "observation_age_s": 100.0,
                "late_fraction": 1.0,
                "loosen": dict.fromkeys(
                    ("observation_age_s", "late_fraction"), "simulated, faster than real time"
                ),
            },
        }
        self.config.write_text(yaml.safe_dump({"robot": settings | robot}))
        self._members: list[Member] = []

    @property
    def journal(self) -> Path:
        return self.state_dir / "journal.sqlite"

    @property
    def inbox(self) -> Path:
        return self.run / "inbox"

    def robot(self, *arguments: str) -> Member:
        """The robot's daemon, as `fieldtune-robot run`."""
        command = ("-m", "fieldtune.robot.launch", "run", "--config", self.config, *arguments)
        return self._start("robot", " in use", *command)

    def storing(self) -> Member:
        """A trainer that stores and publishes, and does not learn."""
        script = ROOT / "tests" / "trainer_process.py"
        return self._start("storing", "tcp://", script, self.address, self.inbox, self.bundle)

    def learning(self) -> Member:
        """The trainer, as `fieldtune finetune`."""
        where = ("--run", self.run, "--address", self.address)
        return self._start(
            "learning", "published", "-m", "fieldtune.train.launch", "finetune", *where
        )

    def receives(self) -> bool:
        """Whether an episode is half received now."""
        return any((self.inbox / "partial").glob("*/*"))

    def end(self, robot: Member, trainer: Member) -> None:
        """Let all be uploaded, and end both. Raises `Unfit`."""
        wait_for(trainer.at_work, trainer)
        wait_for(robot.at_work, robot)
        wait_for(self._delivered, robot, trainer)
        status = robot.end()
        if status != 0:
            raise Unfit(f"the robot ended with {status}: {robot.said()[-2000:]}")
        trainer.kill()

    def _delivered(self) -> bool:
        with Journal.read(self.journal) as journal:
            return not journal.pending(1)

    def close(self) -> None:
        """Kill what still runs."""
        for member in self._members:
            if member.alive:
                member.kill()

    def _start(self, name: str, marker: str, *arguments: object) -> Member:
        path = self.folder / f"{name}.log"
        with path.open("a") as log:
            began = log.seek(0, os.SEEK_END)
            process = subprocess.Popen(
                [sys.executable, *map(str, arguments)],
                cwd=ROOT,
                env=environment(os.environ) | {"PYTHONPATH": str(ROOT)},
                text=True,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        member = Member(name, marker, process, path, began, time.monotonic())
        self._members = [one for one in self._members if one.alive] + [member]
        return member


def wait_for(condition: Callable[[], bool], *members: Member, wait_s: float = WAIT_S) -> None:
    """Raises `Unfit` when it does not come true, or one of `members` has ended."""
    deadline = time.monotonic() + wait_s
    while not condition():
        for member in members:
            if not member.alive:
                status = member.process.returncode
                raise Unfit(f"{member.name} has ended with {status}: {member.said()[-2000:]}")
        if time.monotonic() > deadline:
            said = "".join(member.said()[-2000:] for member in members)
            raise Unfit(f"waited {wait_s:g} s in vain: {said}")
        time.sleep(0.01)


def prepare(template: Path) -> None:
    """Data, a run with its first phase done, and a bundle. What is there already is kept."""
    published = template / "published.bundle"
    if published.exists():
        return
    if template.exists():
        shutil.rmtree(template)
    template.mkdir(parents=True)
    _random_data(template / "data")
    config = template / "run.yaml"
    robot = {"name": ROBOT, "family": FAMILY}
    data = {"path": str((template / "data").absolute())}
    config.write_text(yaml.safe_dump(SETTINGS | {"robot": robot, "data": data}))
    run_fieldtune("train", "--config", config, "--run", template / "run")
    run_fieldtune("export", "--run", template / "run", "--out", published)


def shortened(bundle: Path, out: Path, horizon: int) -> Path:
    """The same policy with shorter episodes."""
    whole = read_bundle(bundle)
    fields = whole.manifest.model_dump() | {"horizon": horizon}
    write_atomically(out, pack_bundle(Manifest(**fields), whole.graphs))
    return out


def _random_data(folder: Path) -> None:
    from fieldtune.sim.registry import family as make_family
    from fieldtune.sim.rollout import rollout
    from fieldtune.train.data.dataset import write_dataset

    family, rng, made = make_family(FAMILY), np.random.default_rng(0), []
    width = sum(field.width for field in family.action_fields)
    for split, tasks in enumerate((family.split().train, family.split().test)):
        simulator = family.simulator(len(tasks))
        seeds = np.arange(len(tasks)) + 10_000 * split
        owners = list(range(len(tasks)))
        made.append(
            rollout(
                simulator,
                family,
                lambda seen: rng.uniform(-1, 1, (len(seen), width)),
                seeds,
                tasks,
                owners,
            )
        )
        simulator.close()
    write_dataset(folder, family, train=made[0], test=made[1], how={"policy": "random"})


def run_fieldtune(*arguments: object) -> None:
    """One command of the trainer's. Raises `Unfit` with what it said."""
    command = [sys.executable, "-m", "fieldtune.train.launch", *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(os.environ) | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise Unfit(f"{' '.join(command)}: {done.stderr[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

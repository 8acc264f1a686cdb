"""A simulated Franka, its server and a daemon that explores with it: processes in one folder.

Starts them, and says how far the daemon is. It does not know what is done to them, nor what must
hold (`benchmarks.franka`).
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.pair import Unfit
from benchmarks.processes import ROOT, environment, terminate
from fieldtune.robot.journal.journal import Journal, JournalError
from fieldtune.robot.safety.latch import release

PYTHON = ROOT / ".venv-franka" / "bin" / "python"
ADDRESS, HOSTNAME, NAME = "tcp://127.0.0.1:5791", "127.0.0.1", "franka-1"
EVERY_MS = 4  # a record of the physics
ARM: dict[str, Any] = {
    "robot": HOSTNAME,
    "arm": "fr3",
    "workspace": {"low": [0.18, -0.3, -0.05], "high": [0.73, 0.3, 0.4]},
    "home_speed_rad_s": 0.6,
    "realtime": False,
}


class Lab:
    """The arm, its server, the hub and the daemon: processes in one folder."""

    def __init__(self, folder: Path, bundle: Path, hub: str, lost_ticks: int) -> None:
        self.folder, self.log, self.state_dir = folder, folder / "physics.bin", folder / "robot"
        self._bundle = bundle
        words = ["--hostname", HOSTNAME, "--log", self.log, "--every", EVERY_MS]
        words += ["--lost-ticks", lost_ticks]
        self.arm = self._start("arm", ROOT / "benchmarks" / "franka_arm.py", *words)
        self._settings = folder / "arm.json"
        self._settings.write_text(json.dumps(ARM))
        self.serve()
        self.config = folder / "run.yaml"
        settings: dict[str, Any] = {
            "name": NAME,
            "family": "reach",
            "model": "panda",
            "driver": {"name": "zmq", "address": ADDRESS, "description": "franka.json"},
            "state_dir": str(self.state_dir),
            "bridge": hub,
            "realtime": {"priority": None, "lock_memory": False},
        }
        self.config.write_text(yaml.safe_dump({"robot": settings}), encoding="utf-8")
        described = ("fieldtune.robot.launch", "describe", "--config", str(self.config))
        subprocess.run([sys.executable, "-m", *described], env=environment(), check=True)

    def serve(self) -> None:
        words = [self._settings, "--address", ADDRESS]
        self.server = self._start("server", ROOT / "servers" / "serve_franka.py", *words)

    def run(self, *arguments: str) -> None:
        """Start the daemon."""
        self._before = self._last()[0]
        words = ["run", "--config", self.config, "--bundle", self._bundle, *arguments]
        with (self.folder / "daemon.log").open("ab") as log:
            self.daemon = subprocess.Popen(
                [sys.executable, "-m", "fieldtune.robot.launch", *map(str, words)],
                env=environment(),
                stdout=log,
                stderr=log,
            )

    def steps(self) -> int:
        """Of the episode that this daemon has open; 0 where it has none."""
        number, steps = self._last()
        return steps if number > self._before else 0

    def _last(self) -> tuple[int, int]:
        """The last episode's number, and its steps while it is open."""
        try:
            with Journal.read(self.state_dir / "journal.sqlite") as journal:
                last = list(journal.entries())[-1:]
        except JournalError:
            return 0, 0
        return (last[0].number, last[0].steps if last[0].footer is None else 0) if last else (0, 0)

    def recover(self) -> None:
        """What a person does who has looked at the arm and at the fault."""
        self.server.send_signal(signal.SIGUSR1)
        time.sleep(1.0)
        release(self.state_dir / "fault.txt")

    def close(self) -> None:
        for process in (self.daemon, self.server, self.arm):
            process.send_signal(signal.SIGCONT)
            terminate(process, 30.0)

    def _start(self, name: str, *words: object) -> subprocess.Popen[bytes]:
        """A process of .venv-franka, when it has said its first line."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [PYTHON, *map(str, words)], env=environment(), stdout=subprocess.PIPE, stderr=log
            )
        assert process.stdout is not None
        if not process.stdout.readline():
            raise Unfit(f"the {name} does not start: {self.folder / name}.log")
        return process

"""`fieldtune demo`: the whole loop, each step by the command that a user would run.

The robot is a process of its own and is reached over ZMQ only; what it knows of the policy it has
from bundles, and what the trainer knows of its episodes came over the bridge.
"""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from robot import settings
from train.collect import collect
from train.config import RunConfig
from train.console import progress
from train.evaluation import Evaluation, evaluate_run, write_metrics
from train.finetune import Finetune, FinetuneProgress
from train.hub import Hub
from train.in_process import train_in_process
from train.offline import train_offline
from train.report import write_report
from train.run import Run, RunError, open_run

ROBOT_EXIT_S = 120.0
ADAPT_S = 300.0


def run_demo(config: Path, folder: Path, seed: int, overrides: Sequence[str]) -> Evaluation:
    """Run or continue the loop in `folder`; leaves `report.html` and `metrics.json` there.

    Raises:
        RunError: the robot's process failed; its log is in the folder.
    """
    started = time.monotonic()
    console = Console()
    folder.mkdir(parents=True, exist_ok=True)
    config = _settled_config(config, folder, seed, overrides)
    resolved = settings.load(RunConfig, config)

    if not Path(resolved.data.path).exists():
        _say(console, "1 of 6", "collect labelled data for many tasks")
        with progress("collecting", "episodes") as advance:
            collect(resolved, advance)
    run = open_run(resolved, folder)

    _say(console, "2 of 6", "phase 1: meta-train on the data")
    updates = resolved.offline.updates
    with progress("training", "updates") as advance:
        train_offline(run, on_update=lambda done: advance(done, updates))

    _say(console, "3 of 6", "phase 2: a robot explores without rewards, the trainer labels")
    published, swapped = _phase_two(run, config)

    _say(console, "4 of 6", "the oracle: phase 2 with true rewards, for comparison")
    updates = resolved.self_supervised.updates
    with progress("training", "updates") as advance:
        train_in_process(
            run,
            run.oracle_checkpoint,
            true_rewards=True,
            on_update=lambda done: advance(done, updates),
        )

    _say(console, "5 of 6", "the robot adapts to a held-out task from two rewarded episodes")
    adapted = _adapt(run, config)

    _say(console, "6 of 6", "measure all of it on held-out tasks")
    with progress("evaluating", "phases") as advance:
        evaluation = evaluate_run(run, advance)
    steps = evaluation.phases["after"].steps
    wall = round(time.monotonic() - started, 1)
    extra = {
        "reward_free_steps": steps,
        "bundles_published": published,
        "bundles_swapped": swapped,
        "wall_seconds": wall,
    }
    write_metrics(folder / "metrics.json", evaluation, extra)
    write_report(
        run,
        evaluation,
        facts={
            "Reward-free steps on the robot": str(steps),
            "Bundles published / swapped by the robot": f"{published} / {swapped}",
            "Robot on a held-out task, return by episode": adapted,
            "Wall time": f"{wall:.0f} s",
        },
    )
    return evaluation


def _settled_config(config: Path, folder: Path, seed: int, overrides: Sequence[str]) -> Path:
    """The demo's own copy of the configuration, which trainer and robot both read."""
    path = folder / "demo.yaml"
    ours = [
        f"seed={seed}",
        f"data.path={json.dumps(str(folder / 'data'))}",
        f"robot.seed={seed}",
        f"robot.state_dir={json.dumps(str(folder / 'robot'))}",
        f"robot.bridge={json.dumps(f'tcp://127.0.0.1:{_free_port()}')}",
        "robot.keys={}",  # both ends are on this machine
        "robot.driver.time_scale=.inf",
    ]
    settings.dump(settings.load(RunConfig, config, overrides=[*ours, *overrides]), path)
    return path


def _phase_two(run: Run, config: Path) -> tuple[int, int]:
    """Robot and trainer at work together; how many bundles were published, and swapped to."""
    summary = run.folder / "robot-summary.json"
    total = run.config.self_supervised.updates
    address = run.config.robot.bridge
    assert address is not None
    with _logged(run.folder / "trainer.log"), Hub(address, run.folder / "inbox") as hub:
        finetune = Finetune(run, hub)
        if finetune.phase.updates < total:
            command = ["run", "--config", str(config), "--summary", str(summary)]
            with (
                _robot(command, run.folder / "robot.log") as robot,
                progress("finetuning", "updates") as advance,
            ):

                def show(now: FinetuneProgress) -> None:
                    if robot.poll() is not None and now.updates < total and not finetune.phase.full:
                        raise RunError(
                            f"the robot left with exit code {robot.returncode}; "
                            f"see {run.folder / 'robot.log'}"
                        )
                    note = f"{now.steps} steps, {now.bundles} bundles"
                    advance(now.updates, total, note)

                finetune.work(show)
                robot.wait(ROBOT_EXIT_S)
    return finetune.bundles, _swapped(summary)


def _adapt(run: Run, config: Path) -> str:
    """`fieldtune-robot adapt` on the first held-out task; its returns as text."""
    task = [float(value) for value in run.dataset.test_tasks[0]]
    summary = run.folder / "adapt-summary.json"
    command = ["adapt", "--config", str(config), "--summary", str(summary)]
    command += [f"robot.driver.task={json.dumps(task)}"]
    with _robot(command, run.folder / "adapt.log") as robot:
        code = robot.wait(ADAPT_S)
    if code != 0:
        raise RunError(f"adapt left with exit code {code}; see {run.folder / 'adapt.log'}")
    returns = json.loads(summary.read_text())["returns"]
    context = ", ".join(f"{value:.2f}" for value in returns["context"])
    acting = ", ".join(f"{value:.2f}" for value in returns["adapted"])
    return f"exploring {context}; then {acting}"


@contextmanager
def _robot(arguments: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The robot's own process, ended with this one's block; its output goes to `log`."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "robot.launch", *arguments], stdout=output, stderr=output
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Send the trainer's log lines to a file, so that they do not cut the progress bar."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(message)s"))
    ours = logging.getLogger("train")
    ours.setLevel(logging.INFO)
    ours.addHandler(handler)
    try:
        yield
    finally:
        ours.removeHandler(handler)
        handler.close()


def _swapped(summary: Path) -> int:
    try:
        return int(json.loads(summary.read_text())["bundles_swapped"])
    except OSError as error:
        raise RunError(f"{summary}: the robot left no summary ({error}); see its log") from error


def _say(console: Console, number: str, what: str) -> None:
    console.print(f"[bold]{number}[/bold] {what}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

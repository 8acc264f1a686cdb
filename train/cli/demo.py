"""`fieldtune demo`: the whole loop, each step by the command that a user would run.

The robot is a process of its own and is reached over ZMQ only; what it knows of the policy it has
from bundles, and what the trainer knows of its episodes came over the bridge. Killed at any moment,
the demo takes its robot with it, and the same command goes on.
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

from fieldtune import settings
from fieldtune.child_process import ends_with_parent
from fieldtune.file_errors import require_writable
from fieldtune.robot.episodes.episode import Mode
from fieldtune.robot.journal.file import writer
from fieldtune.robot.journal.journal import Journal, JournalError
from fieldtune.sim.label_only import require_simulator
from fieldtune.sim.registry import family as make_family
from fieldtune.train.alone import alone, training
from fieldtune.train.bridge.hub import Hub
from fieldtune.train.collecting.collect import collect
from fieldtune.train.console import progress
from fieldtune.train.evaluation.measure import evaluate_run
from fieldtune.train.evaluation.results import (
    Evaluation,
    EvaluationError,
    load_evaluation,
    write_metrics,
)
from fieldtune.train.phases.finetune import Finetune, FinetuneProgress
from fieldtune.train.phases.in_simulation import train_in_process
from fieldtune.train.phases.offline import train_offline
from fieldtune.train.reports.report import require_report_writable, write_report
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.runs.opening import open_run
from fieldtune.train.runs.run import Run, RunError

ROBOT_EXIT_S = 120.0
ADAPT_S = 300.0
EARLIER_S = 60.0  # for the robot of a demo that was killed to come to rest
LOOK_S = 0.2


def run_demo(config: Path, folder: Path, seed: int, overrides: Sequence[str]) -> Evaluation:
    """Run or continue the loop in `folder`; leaves `report.html` and `metrics.json` there.

    Args:
        config: the YAML file that the demo's own settings are put over.
        folder: of the run, with the data, the robot's state and the logs.
        seed: of the trainer and of the robot.
        overrides: `a.b=value`, which replace the file's settings and the demo's.

    Raises:
        ConfigError: the file or an override is wrong.
        RunError: the robot's process failed; its log is in the folder.
        InUse: another demo runs there.
    """
    with alone(folder / ".demo.lock", str(folder), "choose another folder with --out"):
        return _run(config, folder, seed, overrides)


def _run(config: Path, folder: Path, seed: int, overrides: Sequence[str]) -> Evaluation:
    started = time.monotonic()
    require_report_writable(folder)
    require_writable(folder / "metrics.json")
    console = Console()
    config = _settled_config(config, folder, seed, overrides)
    resolved = load_config(config)
    require_simulator(make_family(resolved.family, **resolved.family_options), "fieldtune demo")

    if not Path(resolved.data.path).exists():
        _say(console, "1 of 6", "collect labelled data for many tasks")
        with progress("collecting", "episodes") as advance:
            collect(resolved, advance)
    run = open_run(resolved, folder, option="--out")

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

    if (known := _reported(run)) is not None:
        console.print("finished before, and reported; --out names another folder for another demo")
        return known

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


def _reported(run: Run) -> Evaluation | None:
    """What the report of these very checkpoints was drawn from; None where it is to be made."""
    made = [run.offline_checkpoint, run.finetune_checkpoint, run.oracle_checkpoint]
    told = [run.folder / name for name in ("metrics.json", "evaluation.json", "report.html")]
    try:
        newest = max(path.stat().st_mtime_ns for path in made)
        if min(path.stat().st_mtime_ns for path in told) < newest:
            return None
        return load_evaluation(run.folder / "evaluation.json")
    except (FileNotFoundError, EvaluationError):
        return None


def _settled_config(config: Path, folder: Path, seed: int, overrides: Sequence[str]) -> Path:
    """The demo's own copy of the configuration, which trainer and robot both read."""
    path, here = folder / "demo.yaml", folder.absolute()
    ours = [
        f"seed={seed}",
        f"data.path={json.dumps(str(here / 'data'))}",
        f"robot.seed={seed}",
        "evaluation.context_episodes=4",  # eight take a minute and a half more
        f"robot.state_dir={json.dumps(str(here / 'robot'))}",
        f"robot.bridge={json.dumps(f'tcp://127.0.0.1:{_free_port()}')}",
        "robot.keys={}",  # both ends are on this machine
        "robot.driver.time_scale=.inf",
    ]
    settings.dump(load_config(config, overrides=[*ours, *overrides]), path)
    return path


def _phase_two(run: Run, config: Path) -> tuple[int, int]:
    """Robot and trainer at work together; how many bundles were published, and swapped to."""
    summary = run.folder / "robot-summary.json"
    total = run.config.self_supervised.updates
    address = run.config.robot.bridge
    assert address is not None
    with (
        training(run.finetune_checkpoint),
        _logged(run.folder / "trainer.log"),
        Hub(address, run.folder / "inbox") as hub,
    ):
        finetune = Finetune(run, hub)
        if finetune.phase.updates < total:
            command = ["run", "--config", str(config), "--summary", str(summary)]
            log = run.folder / "robot.log"
            with (
                _robot(run, command, log) as robot,
                progress("finetuning", "updates") as advance,
            ):

                def show(now: FinetuneProgress) -> None:
                    if robot.poll() is not None and now.updates < total and not finetune.phase.full:
                        raise RunError(
                            f"the robot left with exit code {robot.returncode}; see {log}"
                        )
                    note = f"{now.steps} steps, {now.bundles} bundles"
                    advance(now.updates, total, note)

                finetune.work(show)
                _end_of(robot, ROBOT_EXIT_S, log)
    return finetune.bundles, _swapped(run.config.robot.journal)


def _adapt(run: Run, config: Path) -> str:
    """`fieldtune-robot adapt` on the first held-out task; its returns as text."""
    task = [float(value) for value in run.dataset.test_tasks[0]]
    summary, log = run.folder / "adapt-summary.json", run.folder / "adapt.log"
    command = ["adapt", "--config", str(config), "--summary", str(summary)]
    command += [f"robot.driver.task={json.dumps(task)}"]
    with _robot(run, command, log) as robot:
        code = _end_of(robot, ADAPT_S, log)
    if code != 0:
        raise RunError(f"adapt left with exit code {code}; see {log}")
    returns = json.loads(summary.read_text())["returns"]
    context = ", ".join(f"{value:.2f}" for value in returns["context"])
    acting = ", ".join(f"{value:.2f}" for value in returns["adapted"])
    return f"exploring {context}; then {acting}"


def _end_of(robot: subprocess.Popen[bytes], patience_s: float, log: Path) -> int:
    """Its exit code. Raises `RunError` where it does not end by itself."""
    try:
        return robot.wait(patience_s)
    except subprocess.TimeoutExpired:
        raise RunError(f"the robot did not end in {patience_s:g} s; see {log}") from None


@contextmanager
def _robot(run: Run, arguments: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The robot's own process, ended with this one's block or process; its output goes to `log`."""
    _wait_for_earlier(run.config.robot.journal)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "fieldtune.robot.launch", *arguments],
            stdout=output,
            stderr=output,
            preexec_fn=ends_with_parent(),
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
    ours = logging.getLogger("fieldtune.train")
    ours.setLevel(logging.INFO)
    ours.addHandler(handler)
    try:
        yield
    finally:
        ours.removeHandler(handler)
        handler.close()


def _wait_for_earlier(journal: Path) -> None:
    """Let the robot of a demo that was killed come to rest: it was asked to when that died.

    Raises `RunError` where it does not.
    """
    deadline = time.monotonic() + EARLIER_S
    while (process := writer(journal)) is not None:
        if time.monotonic() > deadline:
            raise RunError(
                f"{journal}: process {process}, the robot of an earlier demo, still records: end "
                "it and run the same command again"
            )
        time.sleep(LOOK_S)


def _swapped(journal: Path) -> int:
    """How many bundles the robot went on to, by its own journal: also those of a robot that was
    killed, which leaves no summary."""
    try:
        with Journal.read(journal) as known:
            explored = [e.header for e in known.entries() if e.header.mode is not Mode.ADAPT]
    except JournalError as error:
        raise RunError(f"{error}; see the robot's log") from error
    return max(0, len({header.bundle_id for header in explored}) - 1)


def _say(console: Console, number: str, what: str) -> None:
    console.print(f"[bold]{number}[/bold] {what}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

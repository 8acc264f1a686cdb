from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fieldtune.sim.registry import family as make_family
from fieldtune.train.collecting.agent_replay import collect_replay
from fieldtune.train.collecting.resumable import resumable_collection
from fieldtune.train.collecting.unfinished import CannotResume
from fieldtune.train.config import AgentReplay

ROOT = Path(__file__).parents[3]
HOPPER = make_family("hopper-params")
SMALL = AgentReplay(rounds=2, updates_per_round=2)
SAME = {"family": "hopper-params", "seed": 0}
WAIT_S = 240


class StoppedHere(Exception):
    pass


def collected(folder, *, stop_at=None, asked=SAME):
    """Collect into `folder`; stop like a power cut when progress is told for the n-th time."""
    told = []

    def on_progress(*now):
        told.append(now)
        if len(told) == stop_at:
            raise StoppedHere

    with resumable_collection(folder, asked) as kept:
        return collect_replay(HOPPER, 0, 2, SMALL, on_progress, kept), told


def same(ones, others):
    return len(ones) == len(others) and all(
        (one.task_index, one.terminated) == (other.task_index, other.terminated)
        and np.array_equal(one.observations, other.observations)
        and np.array_equal(one.actions, other.actions)
        and np.array_equal(one.rewards, other.rewards)
        and np.array_equal(one.signals, other.signals)
        for one, other in zip(ones, others, strict=True)
    )


@pytest.fixture(scope="module")
def whole():
    return collect_replay(HOPPER, 0, 2, SMALL)


@pytest.mark.parametrize("stop_at", [1, 2, 3, 4])
def test_a_run_stopped_at_any_moment_goes_on_to_the_same_data(tmp_path, whole, stop_at):
    folder = tmp_path / "kept"
    with pytest.raises(StoppedHere):
        collected(folder, stop_at=stop_at)
    data, told = collected(folder)
    assert same(data.train, whole.train)
    assert same(data.test, whole.test)
    assert data.return_by_round == whole.return_by_round
    rounds_done = (stop_at - 1) // 2
    assert told[0][0] == (64 if rounds_done else 32)
    assert not folder.exists()


def test_a_run_that_ended_before_its_dataset_was_written_does_nothing_again(tmp_path, whole):
    def write():
        with resumable_collection(tmp_path / "kept", SAME) as kept:
            data = collect_replay(HOPPER, 0, 2, SMALL, lambda *now: told.append(now), kept)
            if len(told) > 1:
                raise OSError(28, "No space left on device")
            return data

    told = []
    with pytest.raises(OSError, match="No space"):
        write()
    told.clear()
    assert same(write().train, whole.train)
    assert [now[:2] for now in told] == [(128, 128)]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 1}, r"begun with seed = 0, now 1: go on with 0, or remove the folder"),
        ({"family": "ant-dir"}, r"family = 'hopper-params', now 'ant-dir'"),
    ],
)
def test_a_run_asked_for_something_else_is_refused_by_key(tmp_path, changed, message):
    folder = tmp_path / "kept"
    with pytest.raises(StoppedHere):
        collected(folder, stop_at=3)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(CannotResume, match=message):
        collected(folder, asked=SAME | changed)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_other_libraries_are_refused_since_they_would_change_the_bits(tmp_path, monkeypatch):
    folder = tmp_path / "kept"
    with pytest.raises(StoppedHere):
        collected(folder, stop_at=3)
    monkeypatch.setattr(
        "fieldtune.train.collecting.resumable.version", lambda name: f"other {name}"
    )
    with pytest.raises(CannotResume, match=r"begun with mujoco = .*, now 'other mujoco'"):
        collected(folder)


def test_two_processes_never_collect_the_same_dataset(tmp_path):
    with (
        resumable_collection(tmp_path / "kept", SAME),
        pytest.raises(CannotResume, match=rf"process {os.getpid()} is collecting"),
        resumable_collection(tmp_path / "kept", SAME),
    ):
        pass


def test_a_damaged_round_is_named(tmp_path):
    folder = tmp_path / "kept"
    with pytest.raises(StoppedHere):
        collected(folder, stop_at=3)
    (folder / "round-0000.safetensors").write_bytes(b"x" * 99)
    with pytest.raises(CannotResume, match=r"round-0000.safetensors: not a readable round"):
        collected(folder)


@pytest.mark.slow
def test_a_dataset_survives_kill_9_and_is_the_same_byte_for_byte(write_config, tmp_path):
    """Killed between its rounds and while it writes the dataset, wherever chance has it."""
    config = write_config(tmp_path / "run.yaml")

    def start(name):
        agent = ["data.episodes_per_task=1", "data.agent={rounds: 3, updates_per_round: 30}"]
        path = f"data.path={tmp_path / name}"
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "fieldtune.train.launch",
                "collect",
                "--config",
                config,
                path,
                *agent,
            ],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finished(process):
        output, _ = process.communicate(timeout=WAIT_S)
        assert process.returncode == 0, output

    finished(start("whole"))
    chance = random.Random(0)
    beside = tmp_path / ".killed.collecting"
    for awaited in (
        beside / "round-0001.safetensors",
        tmp_path / ".killed.partial",
    ):
        process = start("killed")
        deadline = time.monotonic() + WAIT_S
        while not awaited.exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not (tmp_path / "killed").exists()
        assert beside.exists()
    finished(start("killed"))
    files = {
        path.relative_to(tmp_path / "whole")
        for path in (tmp_path / "whole").rglob("*")
        if path.is_file()
    }
    assert len(files) > 1
    for path in files:
        whole, killed = (tmp_path / name / path for name in ("whole", "killed"))
        assert whole.read_bytes() == killed.read_bytes(), path
    assert {path.name for path in tmp_path.iterdir()} == {"run.yaml", "whole", "killed"}

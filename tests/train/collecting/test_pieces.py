"""Scripted data are the same, bit for bit, whoever makes its pieces and however often it is cut."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fieldtune.sim.registry import family
from fieldtune.train.collecting.collect import collect
from fieldtune.train.collecting.pieces import (
    Asked,
    ScriptedData,
    read_piece,
    require_begun_so,
    write_piece,
)
from fieldtune.train.collecting.spreading import WorkerFailed, in_this_process, on_cores
from fieldtune.train.collecting.unfinished import SIMULATION, CannotResume
from fieldtune.train.config import Randomisation
from fieldtune.train.data.dataset import DatasetError, read_dataset

ASKED = Asked(
    family="reach", robot=None, randomisation=Randomisation(), seed=0, episodes_per_task=9
)
ROOT = Path(__file__).parents[3]
WAIT_S = 120


def test_pieces_are_every_episode_of_every_task_once():
    pieces = ScriptedData(ASKED).pieces()
    episodes = [(p.split, p.task, n) for p in pieces for n in range(p.first, p.stop)]
    split = family("reach").split()
    assert episodes == [
        (name, task, n)
        for name, tasks in (("train", split.train), ("test", split.test))
        for task in range(len(tasks))
        for n in range(9)
    ]


@pytest.mark.slow
def test_two_workers_make_the_same_dataset_as_one_process_that_was_stopped(make_config, tmp_path):
    """And a piece that is made is not made again."""
    configured = ["family=reach", "robot.family=reach", "data.episodes_per_task=1"]
    made, told = [], []

    def stopped(asked, folder, pieces, on_made):
        in_this_process(asked, folder, pieces[:20], on_made)
        raise KeyboardInterrupt

    def counting(asked, folder, pieces, on_made):
        made.extend(pieces)
        in_this_process(asked, folder, pieces, on_made)

    alone = make_config(*configured, f"data.path={tmp_path / 'alone'}")
    with pytest.raises(KeyboardInterrupt):
        collect(alone, spread=stopped)
    with pytest.raises(DatasetError, match=r"begun with seed = 0, now 1: go on with 0, or remove"):
        collect(make_config(*configured, f"data.path={tmp_path / 'alone'}", "seed=1"))
    one = collect(alone, lambda *now: told.append(now), spread=counting)
    assert len(made) == 90
    assert told[0][:2] == (20, 110)
    assert [now[0] for now in told] == list(range(20, 111))
    two = collect(make_config(*configured, f"data.path={tmp_path / 'both'}", "workers=2"))
    assert one == two
    known = family("reach")
    digests = {read_dataset(tmp_path / name, known).digest for name in ("alone", "both")}
    assert len(digests) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"alone", "both"}


@pytest.mark.slow
def test_a_worker_that_is_killed_or_cannot_write_is_the_commands_error(tmp_path):
    pieces = ScriptedData(ASKED).pieces()[:4]

    def kill(_):
        for worker in _children(os.getpid()):
            os.kill(worker, signal.SIGKILL)

    with pytest.raises(WorkerFailed, match=r"task \d of split 'train': .* with signal 9: run"):
        on_cores(2)(ASKED, tmp_path, pieces, kill)
    with pytest.raises(WorkerFailed, match=r"task 0 of split 'train': .*No such file"):
        on_cores(2)(ASKED, tmp_path / "missing", [pieces[0], pieces[0]], lambda _: None)
    assert _children(os.getpid()) == []


@pytest.mark.slow
def test_what_a_worker_prints_or_raises_is_told_and_none_is_waited_for(tmp_path, monkeypatch):
    """A package that prints when it is imported, a script that fails, an interpreter that ends."""
    pieces = ScriptedData(ASKED).pieces()[:2]
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "worker = 'fieldtune.train.collecting.spreading' in sys.orig_argv\n"
        "if worker: print('hello', flush=True)\n"
        "if worker and os.environ.get('UNSTABLE'):\n"
        "    from fieldtune.train.collecting import pieces\n"
        "    def fail(*_): raise RuntimeError('simulation is unstable')\n"
        "    pieces.ScriptedData.make = fail\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    made = []
    on_cores(2)(ASKED, tmp_path, pieces, made.append)
    assert sorted(made, key=pieces.index) == pieces
    monkeypatch.setenv("UNSTABLE", "1")
    with pytest.raises(WorkerFailed, match=r"'train': RuntimeError: simulation is unstable$"):
        on_cores(2)(ASKED, tmp_path, pieces, made.append)
    ends = tmp_path / "python"
    ends.write_text("#!/bin/sh\nexit 7\n")
    ends.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(ends))
    with pytest.raises(WorkerFailed, match=r"'train': .* ended with status 7: run the same"):
        on_cores(2)(ASKED, tmp_path, pieces, made.append)


@pytest.mark.slow
def test_a_failure_does_not_wait_for_the_pieces_that_others_still_make(tmp_path, monkeypatch):
    """The first piece fails at once, while the second one is never done."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, time\n"
        "if 'fieldtune.train.collecting.spreading' in sys.orig_argv:\n"
        "    from fieldtune.train.collecting import pieces\n"
        "    def make(_, piece):\n"
        "        while piece.first: time.sleep(1)\n"
        "        raise RuntimeError('simulation is unstable')\n"
        "    pieces.ScriptedData.make = make\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    pieces = ScriptedData(ASKED).pieces()[:2]
    with pytest.raises(WorkerFailed, match=r"RuntimeError: simulation is unstable$"):
        on_cores(2)(ASKED, tmp_path, pieces, lambda _: None)


def test_pieces_of_other_code_or_with_other_episodes_are_refused(tmp_path, monkeypatch):
    piece = ScriptedData(ASKED).pieces()[0]
    require_begun_so(tmp_path, ASKED)
    monkeypatch.setitem(SIMULATION, "fieldtune's simulation", "another")
    with pytest.raises(CannotResume, match=r"begun with fieldtune's simulation = '[0-9a-f]{12}'"):
        require_begun_so(tmp_path, ASKED)
    write_piece(tmp_path, piece, [])
    with pytest.raises(CannotResume, match=r"not 8 episodes of task 0\); remove it and run"):
        read_piece(tmp_path, piece)


@pytest.mark.slow
def test_workers_end_in_the_middle_of_a_piece_when_their_parent_is_killed(tmp_path):
    script = (
        "from fieldtune.train.collecting.spreading import on_cores\n"
        "from fieldtune.train.collecting.pieces import Asked, ScriptedData\n"
        f"asked = Asked.model_validate_json({ASKED.model_dump_json()!r})\n"
        "from pathlib import Path\n"
        f"on_cores(2)(asked, Path({str(tmp_path)!r}), ScriptedData(asked).pieces(), print)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    parent.stdout.readline()  # a piece is made
    workers = _children(parent.pid)
    assert len(workers) == 2
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + WAIT_S
    while any(_alive(worker) for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _children(parent: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            after_name = status.read_text().rpartition(")")[2].split()
            if int(after_name[1]) == parent and after_name[0] != "Z":
                found.append(int(status.parent.name))
    return found


def _alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

"""Seeds that share a process come to what each comes to alone, and fail each for itself."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from itertools import pairwise

import msgspec
import pytest

from fieldtune.train.runs.run import Run
from fieldtune.train.study import job as job_module
from fieldtune.train.study.job import run_job
from fieldtune.train.study.plan import DATA, Job, Study, processes
from fieldtune.train.study.runners import LocalRunner, local_runner
from fieldtune.train.study.scheduler import StudyError, open_study, run_study
from fieldtune.train.study.together import run_together
from fieldtune.train.turns import Turns, let_others

METHODS = ("offline", "trained", "longer-offline")
CORES = len(os.sched_getaffinity(0))


@pytest.fixture
def make_study(tmp_path, make_config):
    """`make_study(name)`: a study of two seeds, whose data are there."""

    def make(name):
        config = make_config(
            "evaluation.context_episodes=1", "evaluation.repeats=1", "offline.checkpoint_every=2"
        )
        open_study(tmp_path / name, Study(config=config, seeds=2))
        done = Job(tmp_path / name, DATA).result
        done.parent.mkdir()
        done.write_text("{}")
        return tmp_path / name

    return make


@pytest.fixture
def short(monkeypatch, short_family, small_dataset):
    """Jobs of this process have short episodes and few tasks."""

    def open_run(config, folder):
        (folder / "checkpoints").mkdir(exist_ok=True)
        return Run(config, folder, short_family, small_dataset)

    monkeypatch.setattr(job_module, "open_run", open_run)


def found(job):
    """All that a job leaves of weights, draws and results; its time is another each time."""
    result = msgspec.json.decode(job.result.read_bytes())
    assert result.pop("cpu_s") > 0
    return result, kept(job.folder / "checkpoints" / f"{job.name}.safetensors")


def kept(checkpoint):
    """All of the file; the format has its keys in any order."""
    whole = checkpoint.read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    return json.loads(whole[8:end]), whole[end:]


def broken_off(after):
    """In the place of `let_others`: ends every job at its update number `after`."""
    updates = Counter()

    def let():
        updates[threading.get_ident()] += 1
        if updates[threading.get_ident()] == after:
            raise KeyboardInterrupt
        let_others()

    return let


@pytest.mark.usefixtures("short")
def test_two_seeds_broken_off_in_one_process_leave_what_each_leaves_alone(make_study, monkeypatch):
    apart, together = make_study("apart"), make_study("together")
    who, take = [], Turns.take
    monkeypatch.setattr(
        Turns, "take", lambda turns: (take(turns), who.append(threading.get_ident()))
    )
    for method in METHODS:
        alone, shared = (
            [Job(folder, method, seed) for seed in range(2)] for folder in (apart, together)
        )
        for job in alone:
            run_job(job)
        who.clear()
        with monkeypatch.context() as patch:
            patch.setattr(job_module, "let_others", broken_off(after=5))
            assert set(run_together(shared, run_job)) == set(shared)
        assert run_together(shared, run_job) == []
        turned = sum(one != other for one, other in pairwise(who))
        assert turned > 10, "they did not run side by side"
        for one, other in zip(shared, alone, strict=True):
            assert found(one) == found(other)
            assert one.progress.read_text() == other.progress.read_text()


def test_a_seed_that_fails_says_so_in_its_own_log_and_the_other_one_is_done(make_study):
    """In a process of their own, which a study starts."""
    folder = make_study("study")
    sound, damaged = (Job(folder, "meta-bc", seed) for seed in range(2))
    checkpoint = damaged.folder / "checkpoints" / "meta-bc.safetensors"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"no weights")
    together = []
    with pytest.raises(StudyError, match=r"^seed 1: meta-bc failed; (.|\n)*seed-1(.|\n)*readable"):
        run_study(
            folder, 2, LocalRunner(1, 2), lambda _, running: together.append(running), ["meta-bc"]
        )
    assert [sound, damaged] in together
    assert sound.done
    assert not damaged.done
    for job in (sound, damaged):
        assert "device: cpu" in job.log.read_text()
    assert "readable" not in sound.log.read_text()


def test_a_process_waits_for_all_the_seeds_that_it_has_room_for(tmp_path):
    def of(method, *seeds):
        return [Job(tmp_path, method, seed) for seed in seeds]

    ready, running = [*of("trained", 0, 1, 2), *of("oracle", 0)], of("offline", 3)
    assert processes(ready, running, 2) == [of("trained", 0, 1)]
    assert processes(ready, [], 2) == [of("trained", 0, 1), of("trained", 2), of("oracle", 0)]
    assert processes(ready, running, 1) == [[job] for job in ready]


@pytest.mark.parametrize(
    ("asked", "on_gpu", "room"),
    [
        ((None, 1), True, (CORES, 1)),
        ((None, 5), True, (1, 5)),
        ((None, 2), True, (1, 2)),
        ((3, 1), True, (3, 1)),
        ((None, 1), False, (CORES, 1)),
        ((1, 4), False, (1, 4)),
    ],
)
def test_seeds_share_a_process_where_that_is_asked_for(asked, on_gpu, room):
    runner = local_runner(*asked, seeds=5, methods=9, on_gpu=on_gpu)
    assert (runner.slots, runner.together) == room


def test_a_study_that_is_interrupted_asks_all_of_its_processes_before_it_waits_for_one(make_study):
    folder, told = make_study("asked"), []

    class Endless:
        def __init__(self, seed):
            self.seed = seed

        def poll(self):
            return None

        def ask(self):
            told.append(("ask", self.seed))

        def stop(self):
            told.append(("stop", self.seed))

    class Runner:
        slots, together = 2, 1

        def start(self, jobs):
            return Endless(jobs[0].seed)

        def close(self):
            pass

    def interrupted(_, running):
        if len(running) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(folder, 2, Runner(), interrupted)
    assert told == [("ask", 0), ("ask", 1), ("stop", 0), ("stop", 1)]

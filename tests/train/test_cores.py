"""The key `workers`: how many simulate at once, divided among a study's jobs, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fieldtune.train import cores
from fieldtune.train.runs.opening import open_run
from fieldtune.train.study import runners
from fieldtune.train.study.plan import Job
from fieldtune.train.study.runners import LocalRunner, local_runner


@pytest.fixture(autouse=True)
def of_eight_cores(monkeypatch):
    monkeypatch.delenv(cores.SHARE, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(cores, "QUOTA", Path("/nowhere"))


def test_auto_is_every_core_or_what_a_study_leaves(monkeypatch):
    assert cores.workers("auto") == 8
    assert [cores.share(slots) for slots in (1, 3, 8, 20)] == [8, 2, 1, 1]
    monkeypatch.setenv(cores.SHARE, "3")
    assert cores.workers("auto") == 3
    assert cores.share(2) == 1
    assert cores.workers(5) == 5
    monkeypatch.setenv(cores.SHARE, "some")
    with pytest.raises(cores.WrongShare, match="FIELDTUNE_WORKERS is 'some', expected a whole num"):
        cores.workers("auto")


@pytest.mark.parametrize(
    ("limit", "cores_worth"),
    [("250000 100000", 3), ("50000 100000", 1), ("max 100000", 8), ("1600000 100000", 8)],
)
def test_a_containers_limit_counts(monkeypatch, tmp_path, limit, cores_worth):
    (tmp_path / "cpu.max").write_text(f"{limit}\n")
    monkeypatch.setattr(cores, "QUOTA", tmp_path / "cpu.max")
    assert cores.workers("auto") == cores_worth


def test_a_studys_jobs_divide_the_cores_and_its_data_have_all(monkeypatch, tmp_path):
    started = {}

    def start(*asked):
        started[asked[1]] = asked[-1][cores.SHARE]

    monkeypatch.setattr(runners, "run_command", start)
    runner = LocalRunner(3)
    runner.start([Job(tmp_path, "collect")])
    runner.start([Job(tmp_path, "offline", 0)])
    runner.start([Job(tmp_path, "trained", seed) for seed in range(2)])
    assert started == {"collect": "8", "offline": "2", "trained": "1"}
    assert local_runner(None, 1, seeds=1, methods=2, on_gpu=False).slots == 2
    assert local_runner(None, 2, seeds=3, methods=1, on_gpu=False).slots == 2


def test_a_run_goes_on_with_other_workers_and_its_file_says_so(make_config, tmp_path):
    for asked in ("workers=1", "workers=4"):
        run = open_run(make_config(asked), tmp_path / "run")
        assert f"workers: {asked[-1]}\n" in (run.folder / "config.yaml").read_text()

"""The proofs by fuzzing, small: they run, find nothing, and would notice what they look for."""

from __future__ import annotations

import random
import sys

import pytest

from benchmarks import damaged_files, fuzz_files, fuzz_frames
from benchmarks.damaged_files import Configs, Verdict
from benchmarks.mutations import damaged, damaged_yaml


def run(main, monkeypatch, *arguments) -> None:
    monkeypatch.setattr(sys, "argv", ["fuzz", *arguments])
    main()


def test_the_same_chance_does_the_same_damage():
    for make in (lambda chance: damaged(b"sound" * 9, chance), lambda c: damaged_yaml("a: 1", c)):
        assert make(random.Random(7)) == make(random.Random(7))
    assert len({damaged(b"sound" * 9, random.Random(seed)) for seed in range(100)}) > 90


def test_another_exception_and_a_changed_file_are_noticed(tmp_path, monkeypatch):
    for folder in ("sound", "own"):
        (tmp_path / folder).mkdir()
    Configs.prepare(tmp_path / "sound")
    configs = Configs(tmp_path / "own", tmp_path / "sound", 0)

    def raising(*_, **__):
        raise KeyError("not documented")

    monkeypatch.setattr(damaged_files, "load", raising)
    assert configs.judge(1).how == "another exception"
    monkeypatch.setattr(Configs, "open", lambda _, path: path.write_text("else") and "sound")
    assert configs.judge(1).how == "changed"


@pytest.mark.slow
def test_a_process_that_dies_or_hangs_costs_one_file(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz_files, "PATIENCE_S", 20.0)
    worker = fuzz_files.Worker("configs", 0, tmp_path, tmp_path)  # no sound file: it dies of that
    worker.give(0)
    while (said := worker.take()) is None:
        pass
    assert said == Verdict("crashed", "the process ended with 1")
    worker.close()


@pytest.mark.slow
def test_damaged_files_are_refused_or_sound(monkeypatch, capsys):
    run(fuzz_files.main, monkeypatch, "--quick", "--workers", "1")
    assert capsys.readouterr().out.count("| 40 |") == 3


@pytest.mark.slow
def test_frames_of_all_kinds_break_no_promise(monkeypatch, capsys):
    run(fuzz_frames.main, monkeypatch, "--quick")
    assert capsys.readouterr().out.count("| none |") >= 5

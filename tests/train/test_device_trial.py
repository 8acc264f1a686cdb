"""A GPU is tried where it harms nobody, and what came of it is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fieldtune.train.device import DeviceError
from fieldtune.train.device_trial import Trial, outcome, tried
from fieldtune.train.study import command

REACH = Path(__file__).parents[2] / "configs" / "reach.yaml"


def begin_study(folder, device):
    command.run_command_line(
        "reach",
        [f"device={device}"],
        seeds=5,
        preset="lean",
        folder=folder,
        config=REACH,
        runner_name="local",
        slots=None,
    )


def test_a_gpu_that_refuses_another_process_is_said_and_not_counted_on(monkeypatch):
    """This process is made to believe in one; the one that tries it has none."""
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert tried("auto") == Trial(works=False)  # and nothing to say: there is none
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    found = tried("auto")
    assert not found.works
    assert "device: cpu (auto: this torch" in found.said


def test_what_was_found_is_taken():
    assert outcome("auto", "device: cuda:0, a card\nfound\tcuda\n", "") == Trial(works=True)
    with pytest.raises(DeviceError, match="cuda:1 refuses the first number"):
        outcome("cuda:1", "refused\tdevice is 'cuda:1', but cuda:1 refuses the first number", "")


def test_a_trial_that_ends_without_an_answer_is_no_gpu():
    assert "(auto: trying the GPU ended in 'Segfault')" in outcome("auto", "", "Segfault").said
    with pytest.raises(DeviceError, match=r"'cuda'.*'Segfault'.*set device=cpu$"):
        outcome("cuda", "half a line", "Segfault")


def test_a_study_on_a_gpu_that_refuses_says_so_and_takes_a_process_a_seed(
    monkeypatch, tmp_path, capsys
):
    class Begun(Exception):
        pass

    def begun(_folder, _seeds, runner, *_):
        assert runner.together == 1
        raise Begun

    refused = Trial(works=False, said="device: cpu (auto: cuda:0 refuses the first number)")
    monkeypatch.setattr(command, "tried", lambda _: refused)
    monkeypatch.setattr(command, "run_study", begun)
    with pytest.raises(Begun):
        begin_study(tmp_path / "s", "auto")
    assert "cuda:0 refuses" in capsys.readouterr().out


def test_a_study_whose_gpu_cannot_be_had_creates_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match=r"device is 'cuda'.*set device=cpu$"):
        begin_study(tmp_path / "s", "cuda")
    assert not (tmp_path / "s").exists()

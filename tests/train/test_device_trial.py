"""A GPU is tried where it harms nobody, and what came of it is said."""

from __future__ import annotations

import pytest
import torch

from fieldtune.train.device import DeviceError
from fieldtune.train.device_trial import Trial, outcome, tried


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

"""A step that is called on the CPU, and is a graph on a GPU: the same results."""

from __future__ import annotations

import pytest
import torch

from fieldtune.train.captured import WARM_UP, Captured

needs_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no GPU here: only one can hold a graph"
)


class Counting:
    """A step on a buffer: adds one, and says what it has come to."""

    def __init__(self, device):
        self.value = torch.zeros((), device=device)

    def __call__(self):
        self.value += 1
        return {"value": self.value}


def test_on_a_cpu_each_call_is_a_step():
    counting = Counting("cpu")
    captured = Captured(torch.device("cpu"), counting)
    assert [captured()["value"].item() for _ in range(3)] == [1, 2, 3]


@needs_cuda
def test_a_graph_makes_as_many_steps_as_were_asked_for_and_what_it_said_stays():
    device = torch.device("cuda", torch.cuda.current_device())
    captured = Captured(device, Counting(device))
    said = [captured("one")["value"] for _ in range(WARM_UP + 3)]
    said += [captured("other")["value"] for _ in range(WARM_UP + 2)]
    said += [captured("one")["value"]]
    replayed = [value.item() for value in said[WARM_UP : WARM_UP + 3]]
    assert replayed == [WARM_UP + 1, WARM_UP + 2, WARM_UP + 3]
    assert said[-1].item() == len(said)

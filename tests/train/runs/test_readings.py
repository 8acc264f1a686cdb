from __future__ import annotations

import pytest
import torch

from fieldtune.train.runs.readings import EVERY, Readings, numbers

ELSEWHERE = torch.device("cuda")  # nothing is computed there: it only says that reading is dear


def metrics(update):
    return {"loss": torch.tensor(update / 4), "robots": update}


@pytest.mark.parametrize("device", [torch.device("cpu"), ELSEWHERE])
def test_every_update_is_heard_once_in_order_with_its_own_numbers(device):
    heard, again = [], []
    readings = Readings(
        device, lambda *one: heard.append(one), lambda update, _: again.append(update)
    )
    for update in range(1, EVERY + 4):
        readings.add(update, metrics(update))
    readings.read()
    assert heard == [(n, {"loss": n / 4, "robots": float(n)}) for n in range(1, EVERY + 4)]
    assert again == list(range(1, EVERY + 4))


def test_a_cpu_is_read_at_each_update_and_a_gpu_every_so_many():
    heard = {}
    for device in (torch.device("cpu"), ELSEWHERE):
        heard[device.type] = []
        readings = Readings(device, lambda n, _, to=heard[device.type]: to.append(n))
        for update in range(1, EVERY):
            readings.add(update, metrics(update))
    assert len(heard["cpu"]) == EVERY - 1
    assert heard["cuda"] == []


def test_numbers_are_those_of_the_tensors():
    assert numbers({"a": torch.tensor(0.5), "b": 2, "c": torch.tensor(-1.0)}) == {
        "a": 0.5,
        "b": 2.0,
        "c": -1.0,
    }
    assert numbers({}) == {}

from __future__ import annotations

import pytest

from fieldtune.settings import ConfigError
from fieldtune.train.cluster.request import Machine, Request, room
from fieldtune.train.study.ray_runner import request_of

CPU, GPU = Machine("a", "a", 4, 0), Machine("b", "b", 16, 2)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (Request(), 20),
        (Request(3), 1 + 5),
        (Request(1, 1.0), 2),
        (Request(1, 0.4), 4),  # two a GPU: no task is spread over both
        (Request(1, 1 / 3), 6),
        (Request(6, 0.25), 2),
        (Request(17), 0),
    ],
)
def test_room_is_by_machine_and_by_gpu(request_, expected):
    assert room([CPU, GPU], request_) == expected


@pytest.mark.parametrize(
    ("device", "gpus", "machines", "expected"),
    [
        ("auto", None, [CPU, GPU], 1.0),
        ("auto", None, [CPU], 0.0),
        ("auto", 0.25, [GPU], 0.25),
        ("auto", 0.0, [GPU], 0.0),
        ("cuda", None, [CPU], 1.0),  # which no machine has room for: an error, and no CPU's run
        ("cuda:0", 0.5, [GPU], 0.5),
        ("cpu", None, [GPU], 0.0),
    ],
)
def test_a_job_takes_the_gpu_that_its_device_asks_for(device, gpus, machines, expected):
    assert request_of(device, 2, gpus, machines) == Request(2, expected)


@pytest.mark.parametrize(
    ("device", "gpus", "message"),
    [
        ("cpu", 0.5, "--gpus-per-job is 0.5, but device is 'cpu'"),
        ("cuda", 0.0, "--gpus-per-job is 0, but device is 'cuda'"),
        ("cuda:1", None, "device is 'cuda:1', but Ray chooses"),
    ],
)
def test_a_device_that_contradicts_the_share_of_a_gpu_is_refused(device, gpus, message):
    with pytest.raises(ConfigError, match=message):
        request_of(device, None, gpus, [GPU])

"""Which device is taken and why, what is said where none can be had, and that arrays and tensors
meet in one file alone: what mixes devices is found without a GPU."""

from __future__ import annotations

import ast
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from fieldtune.settings import ConfigError
from fieldtune.train import device
from fieldtune.train.device import CPU, DeviceError, resolve
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.runs.opening import open_run

TRAIN = Path(__file__).parents[2] / "train"
MADE_WITHOUT_TENSOR = {"zeros", "ones", "full", "arange", "empty", "rand", "randn", "randint"}
ON_THE_CPU = {  # what is made there on purpose, or moves with its module
    "agent/graphs.py",  # buffers
    "algorithms/task_conditioned_sac.py",  # a parameter
    "runs/bundles.py",  # beside the copy that a bundle is made from
}
ITS_OWN = "device.py"
GPU = torch.device("cuda", 0)  # named only: there is none


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """What was resolved before, here or in another test."""
    monkeypatch.setattr(device, "_known", device._Known())


@pytest.fixture
def with_cuda(monkeypatch):
    """A torch built with CUDA, on a machine with two GPUs that take any number."""
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a card")
    monkeypatch.setattr(torch, "zeros", lambda *_, device: torch.ones(1))  # noqa: ARG005
    return monkeypatch


def raising(error):
    def call(*_, **__):
        raise error

    return call


def test_the_cpu_is_taken_when_asked_for_whatever_there_is(with_cuda):  # noqa: ARG001
    assert resolve("cpu") == CPU


@pytest.mark.parametrize(("asked", "index"), [("auto", 0), ("cuda", 0), ("cuda:1", 1)])
def test_a_gpu_that_is_there_is_taken_and_named(with_cuda, caplog, asked, index):  # noqa: ARG001
    caplog.set_level(logging.INFO)
    assert resolve(asked) == torch.device("cuda", index)
    assert f"device: cuda:{index}, a card" in caplog.text


def test_auto_says_why_it_took_the_cpu(monkeypatch, caplog):
    monkeypatch.setattr(torch.version, "cuda", None)
    caplog.set_level(logging.INFO)
    assert resolve("auto") == CPU
    assert "device: cpu (auto: this torch" in caplog.text
    assert "built without CUDA" in caplog.text


def test_a_torch_without_cuda_is_one_sentence(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(DeviceError, match=r"device is 'cuda'.*without CUDA.*set device=cpu$"):
        resolve("cuda")


def test_a_gpu_that_is_not_there_is_one_sentence(with_cuda):  # noqa: ARG001
    with pytest.raises(DeviceError, match=r"'cuda:2'.* 2 GPUs \(cuda:0, cuda:1\): choose"):
        resolve("cuda:2")


def test_an_old_driver_is_one_sentence_and_auto_goes_on_without(with_cuda, caplog):
    old = RuntimeError("The NVIDIA driver on your system is too old (found 11040).\nUpdate it at")
    with_cuda.setattr(torch.cuda, "init", raising(old))
    with pytest.raises(DeviceError, match=r"too old \(found 11040\)\): see to the NVIDIA driver"):
        resolve("cuda")
    caplog.set_level(logging.INFO)
    assert resolve("auto") == CPU
    assert "too old" in caplog.text


def test_a_gpu_that_is_full_already_is_one_sentence(with_cuda):
    with_cuda.setattr(torch, "zeros", raising(torch.OutOfMemoryError("CUDA out of memory.")))
    with pytest.raises(DeviceError, match=r"'cuda'.*CUDA out of memory.*set device=cpu"):
        resolve("cuda")


def test_memory_that_runs_out_later_is_one_sentence():
    full = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore advice")
    with (
        pytest.raises(
            DeviceError,
            match=r"device is 'cuda:0', but its memory.*2 GiB\).*--together.*meta_batch",
        ),
        device.memory_explained("cuda:0"),
    ):
        raise full


@pytest.mark.parametrize("value", ["gpu", "cuda:", "cuda:-1", "CUDA", "mps"])
def test_what_is_no_device_is_refused_with_the_key(write_config, tmp_path, value):
    path = write_config(tmp_path / "some.yaml")
    with pytest.raises(ConfigError, match=r"'?device'?.*expected auto, cpu, cuda or cuda:N"):
        load_config(path, overrides=[f'device="{value}"'])


def test_a_run_goes_on_with_another_device_and_keeps_it(write_config, tmp_path):
    path, folder = write_config(tmp_path / "some.yaml"), tmp_path / "run"
    open_run(load_config(path, overrides=["device=auto"]), folder)
    open_run(load_config(path, overrides=["device=cpu"]), folder)
    assert load_config(folder / "config.yaml").device == "cpu"


def test_a_device_that_cannot_be_had_creates_nothing(write_config, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.version, "cuda", None)
    config = load_config(write_config(tmp_path / "some.yaml"), overrides=["device=cuda"])
    with pytest.raises(DeviceError):
        open_run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_arrays_and_tensors_keep_their_numbers_on_the_way():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    tensor = device.from_numpy(array).requires_grad_()
    assert np.array_equal(device.to_numpy(tensor), array)


def test_a_draw_between_leaves_the_random_state_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    with device.random_state_kept():
        torch.rand(7)
    assert torch.equal(torch.rand(4), expected)


def test_a_checkpoint_of_a_cpu_gives_a_gpu_the_same_state_every_time(monkeypatch):
    """And its own where it kept one; the CPU's in any case."""
    given = []
    monkeypatch.setattr(torch.cuda, "manual_seed", given.append)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, _: given.append(state))
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(device.random_states(CPU))
        torch.rand(3)
        device.restore_random_states(states[-1], GPU)
        assert torch.equal(torch.get_rng_state(), states[-1]["torch"])
    assert given[0] == given[1] != given[2]
    device.restore_random_states(states[0] | {"cuda": states[2]["torch"]}, GPU)
    assert given[3] is states[2]["torch"]
    device.restore_random_states(states[0] | {"cuda": states[2]["torch"]}, CPU)
    assert len(given) == 4, "a GPU that is not used is left alone"


def crossings(path):
    """Calls that work on the CPU alone, or make a tensor there, with their lines."""
    name = path.relative_to(TRAIN).as_posix()
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        called = ast.unparse(node.func)
        made = called.startswith("torch.") and node.func.attr in MADE_WITHOUT_TENSOR
        given = any(keyword.arg == "device" for keyword in node.keywords)
        if (
            called in ("torch.from_numpy", "torch.random.fork_rng")
            or node.func.attr == "numpy"
            or (made and not given and name not in ON_THE_CPU)
        ):
            yield f"{name}:{node.lineno} {called}"


def test_nothing_else_crosses_between_numpy_and_torch_or_makes_tensors_just_anywhere():
    found = [c for path in sorted(TRAIN.rglob("*.py")) for c in crossings(path)]
    assert [crossing for crossing in found if not crossing.startswith(ITS_OWN)] == []
    assert len(found) >= 3, "the search finds device.py's own"

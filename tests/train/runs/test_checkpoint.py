from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fieldtune.train.config import Networks
from fieldtune.train.runs.checkpoint import (
    AVERAGE,
    CheckpointError,
    Progress,
    load_checkpoint,
    load_networks,
    read_facts,
    save_checkpoint,
)


@pytest.fixture
def train(make_batch):
    """Some updates with draws from `rng` and from torch's stream."""

    def go(learner, rng, updates=3):
        for _ in range(updates):
            seed = int(rng.integers(1000))
            learner.update(make_batch(seed, rows=7), make_batch(seed + 1))

    return go


@pytest.fixture
def path(tmp_path):
    return tmp_path / "some.safetensors"


@pytest.fixture
def saved(make_learner, train, path):
    """A learner of three updates, its generator, and its checkpoint at `path`."""
    learner, rng = make_learner(), np.random.default_rng(3)
    train(learner, rng)
    arrays = {"rows": np.arange(6).reshape(2, 3), "average.policy": np.float32([0.5])}
    save_checkpoint(path, learner, rng, Progress({"updates": 3, "note": "é"}, arrays))
    return learner, rng


def test_a_learner_goes_on_from_a_checkpoint_bit_for_bit(
    saved, make_learner, train, path, state, same
):
    learner, rng = saved
    before = torch.get_rng_state()
    train(learner, rng)
    resumed, other = make_learner(seed=99), np.random.default_rng(99)
    load_checkpoint(path, resumed, other)
    assert torch.equal(torch.get_rng_state(), before)
    train(resumed, other)
    assert same(state(learner), state(resumed))
    assert rng.bit_generator.state == other.bit_generator.state


@pytest.mark.usefixtures("saved")
def test_what_is_saved_beside_the_learner_comes_back(make_learner, path):
    progress = load_checkpoint(path, make_learner(), np.random.default_rng(0))
    assert progress.facts == read_facts(path) == {"updates": 3, "note": "é"}
    assert progress.arrays.keys() == {"rows", "average.policy"}
    np.testing.assert_array_equal(progress.arrays["rows"], np.arange(6).reshape(2, 3))


def test_networks_alone_can_be_loaded(saved, make_learner, path, same):
    learner, _ = saved
    agent = make_learner(seed=99).agent
    load_networks(path, agent)
    assert same(dict(agent.state_dict()), dict(learner.agent.state_dict()))


def test_an_optimiser_that_never_stepped_is_restored_as_such(make_learner, path):
    save_checkpoint(path, make_learner(), np.random.default_rng(0), Progress())
    learner = make_learner(seed=1)
    load_checkpoint(path, learner, np.random.default_rng(0))
    assert learner.optimisers["critic"].state_dict()["state"] == {}


@pytest.mark.usefixtures("saved")
def test_nothing_in_the_file_is_pickled(path):
    """A length, JSON of text and numbers, then the tensors' plain bytes up to the end."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    assert all(isinstance(text, str) for text in header.pop("__metadata__").values())
    ends = sorted(tuple(entry["data_offsets"]) for entry in header.values())
    assert [begin for begin, _ in ends] == [0, *(end for _, end in ends[:-1])]
    assert start + ends[-1][1] == len(data)


def test_a_checkpoint_replaces_the_one_before_and_leaves_nothing_beside_it(saved, path):
    learner, rng = saved
    save_checkpoint(path, learner, rng, Progress({"updates": 4}))
    assert read_facts(path) == {"updates": 4}
    assert list(path.parent.iterdir()) == [path]


def edited(path, change):
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
    tensors = load_file(path)
    change(tensors, metadata)
    save_file(tensors, path, metadata=metadata)


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def another_format(path):
    edited(path, lambda _, metadata: metadata.update(format="fieldtune-checkpoint-9"))


def without_constants(path):
    edited(path, lambda _, metadata: metadata.update(format="fieldtune-checkpoint-1"))


def no_format(path):
    edited(path, lambda _, metadata: metadata.clear())


def lacks_a_weight(path):
    edited(path, lambda tensors, _: tensors.pop("agent.policy.body.0.bias"))


def has_a_weight_too_many(path):
    edited(path, lambda tensors, _: tensors.update({"agent.other": torch.zeros(1)}))


def lacks_some_optimiser_state(path):
    def drop(tensors, _):
        for name in [name for name in tensors if name.startswith("optimiser.decoder.0.")]:
            del tensors[name]

    edited(path, drop)


@pytest.mark.usefixtures("saved")
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "no such checkpoint; run `fieldtune train` first"),
        (lambda path: path.write_bytes(b"garbage" * 100), "not a readable checkpoint"),
        (lambda path: path.write_bytes(b""), "not a readable checkpoint"),
        (cut, "not a readable checkpoint"),
        (another_format, "format 'fieldtune-checkpoint-9', expected 'fieldtune-checkpoint-2'"),
        (without_constants, "another version, before inputs had floors and ranges: go on with"),
        (no_format, "format None"),
        (lacks_a_weight, "agent.policy.body.0.bias is absent, expected [8]"),
        (has_a_weight_too_many, "agent.other is [1], expected absent"),
        (lacks_some_optimiser_state, "optimiser 'decoder' has state for 3 tensors, expected 4"),
    ],
)
def test_what_cannot_be_resumed_from_is_named_and_changes_nothing(
    make_learner, path, damage, message, state, same
):
    damage(path)
    learner, rng = make_learner(seed=5), np.random.default_rng(5)
    before, numbers = state(learner), rng.bit_generator.state
    stream = torch.get_rng_state()
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path, learner, rng)
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert same(before, state(learner))
    assert rng.bit_generator.state == numbers
    assert torch.equal(torch.get_rng_state(), stream)


@pytest.mark.usefixtures("saved")
@pytest.mark.parametrize("name", ["encoder", "policy", "critic", "decoder"])
def test_networks_of_other_widths_are_refused_and_left_alone(make_learner, path, name, state, same):
    widths = {"encoder": (8,), "policy": (8,), "critic": (8,), "decoder": (8,)} | {name: (9,)}
    learner = make_learner(networks=Networks(**widths))
    before = state(learner)
    with pytest.raises(CheckpointError, match=r"use the config.yaml saved with the run"):
        load_checkpoint(path, learner, np.random.default_rng(0))
    assert same(before, state(learner))


@pytest.mark.usefixtures("saved")
def test_an_average_is_not_found_where_there_is_none(make_learner, path):
    with pytest.raises(CheckpointError, match="weights do not fit"):
        load_networks(path, make_learner().agent, prefix=AVERAGE)

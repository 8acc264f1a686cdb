"""Further offline updates learn as phase 2 does, from nothing but phase 1's data."""

from __future__ import annotations

import pytest
import torch

from fieldtune.train.phases.longer_offline import train_longer_offline
from fieldtune.train.runs.checkpoint import CheckpointError, load_networks, read_facts
from fieldtune.train.runs.origin import LONGER_OFFLINE, SELF_SUPERVISED
from fieldtune.train.runs.run import RunError
from fieldtune.train.runs.trained import after_offline, averaged


class Killed(Exception):
    pass


def weights(algorithm):
    return {name: t.clone() for name, t in algorithm.networks.state_dict().items()}


def test_it_is_measured_by_averaged_weights_and_resumes_bit_for_bit(make_trained, same):
    """Phase 2's eight updates, a checkpoint every three."""
    whole, broken = make_trained(folder="whole"), make_trained(folder="broken")
    done = []
    path = whole.folder / "checkpoints" / "longer-offline.safetensors"
    train_longer_offline(whole, path, done.append)
    assert done == list(range(1, 9))

    def kill(update):
        if update == 5:
            raise Killed

    again = broken.folder / "checkpoints" / "longer-offline.safetensors"
    with pytest.raises(Killed):
        train_longer_offline(broken, again, kill)
    assert read_facts(again)["updates"] == 3
    torch.manual_seed(99)
    train_longer_offline(broken, again)
    found = weights(averaged(whole, path, LONGER_OFFLINE))
    assert same(found, weights(averaged(broken, again, LONGER_OFFLINE)))
    assert not same(found, weights(after_offline(whole)))
    assert read_facts(path)["steps"] == 0


def test_its_average_is_phase_twos(make_trained, same):
    run = make_trained("self_supervised.average_rate=1.0")
    path = run.folder / "checkpoints" / "longer-offline.safetensors"
    train_longer_offline(run, path)
    last = after_offline(run)
    average = averaged(run, path, LONGER_OFFLINE)
    load_networks(path, last.networks)
    assert same(dict(average.networks.named_parameters()), dict(last.networks.named_parameters()))


def test_it_begins_at_the_end_of_phase_1_and_is_no_phase_2(make_trained):
    run = make_trained()
    path = run.folder / "checkpoints" / "longer-offline.safetensors"
    train_longer_offline(run, path)
    with pytest.raises(CheckpointError, match="it is of phase 'longer-offline'"):
        averaged(run, path, SELF_SUPERVISED)
    early = make_trained("offline.updates=7", folder="early")
    with pytest.raises(RunError, match="phase 2 begins from its end"):
        train_longer_offline(early, early.folder / "checkpoints" / "longer-offline.safetensors")

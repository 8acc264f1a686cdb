"""Acting and labelling on a device of its own: nothing is mixed, one transfer a step each way.

The device is torch's `meta`, which refuses both to be mixed with the CPU and to be read; what is
read back is counted, and is zeros.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fieldtune.train.agent import actor as acting
from fieldtune.train.agent import by_likelihood
from fieldtune.train.agent.actor import Acting
from fieldtune.train.agent.by_likelihood import ByLikelihood
from fieldtune.train.agent.likelihood import Particles
from fieldtune.train.agent.units import context_of
from fieldtune.train.data.replay import Replay, Trajectory
from fieldtune.train.device import device_of, from_numpy
from fieldtune.train.phases import labelling

META = torch.device("meta")
COPIES = 3
S, A, R = np.zeros((COPIES, 3)), np.zeros((COPIES, 2)), np.zeros(COPIES)


@pytest.fixture
def crossings(monkeypatch):
    """What went there and what came back, in order."""
    known = []

    def there(array, device):
        known.append("there")
        return from_numpy(array, device)

    def back(tensor):
        assert tensor.device == META
        known.append("back")
        return np.zeros(tuple(tensor.shape))

    for module in (acting, by_likelihood, labelling):
        monkeypatch.setattr(module, "to_numpy", back)
    for module in (acting, labelling):
        monkeypatch.setattr(module, "from_numpy", there)
    return known


@pytest.fixture
def agent(make_learner):
    return make_learner().agent.to(META)


@pytest.fixture
def adaptive(agent, request):
    if request.param == "encoder":
        return agent
    return ByLikelihood(agent, Particles(torch.randn(5, 2, device=META), 0.5))


@pytest.mark.parametrize("adaptive", ["encoder", "likelihood"], indirect=True)
@pytest.mark.parametrize("hold", ["step", "episode"])
def test_a_step_is_one_transfer_each_way_and_what_is_heeded_is_one(adaptive, crossings, hold):
    nothing = context_of(adaptive, [])
    assert device_of(adaptive) == nothing.reward.device == META
    actor = adaptive.adapt([nothing] * COPIES, Acting(z_hold=hold))
    actor.begin(None)
    assert crossings == []
    assert actor.act(S, None).shape == (COPIES, 2)
    assert crossings == ["there", "back"]
    actor.heed(S, A, R, S)
    assert crossings == ["there", "back", "there"]
    assert actor.embeddings.shape == (COPIES, 2)


def test_labels_are_decoded_where_the_agent_is(agent, crossings):
    trajectory = Trajectory(
        np.zeros((8, 3), np.float32), np.zeros((7, 2), np.float32), np.zeros(7, np.float32), False
    )
    offline = Replay(2, 20, 3, 2, device=META)
    offline.add(0, trajectory)
    z = labelling.task_embeddings(agent, offline, np.random.default_rng(0), [0], 5)
    assert labelling.decoded(agent, trajectory, z[0]).shape == (7,)
    assert crossings == ["there", "there", "back"]

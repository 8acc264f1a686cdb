"""What a run's algorithm is before it has learned anything."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fieldtune.settings import ConfigError
from fieldtune.train.phases.offline import train_offline
from fieldtune.train.runs.untrained import unseen, untrained, untrained_from_seed


def test_an_untrained_algorithm_follows_from_its_seed(make_run, state, same):
    run = make_run()
    first, again, other = (untrained_from_seed(run, 1e-3, seed) for seed in (3, 3, 4))
    assert same(state(first[0]), state(again[0]))
    assert first[1].random() == again[1].random()
    assert not same(state(first[0])["networks"], state(other[0])["networks"])


def test_what_is_unseen_changes_nothing_that_a_network_says(make_run):
    """Neither in training units nor in the graphs of a bundle, which a robot runs."""
    run = make_run("algorithm.unseen=[joint_velocity, torso_position]")
    hidden = unseen(run)
    assert hidden.sum() == 6 + 3
    learner = train_offline(run)
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(20, len(hidden)))
    other = np.where(hidden, seen + rng.normal(0, 9, seen.shape), seen)
    known = learner.normalisation
    np.testing.assert_array_equal(known.observation(seen), known.observation(other))
    assert not known.observation(seen)[:, hidden].any()
    policy = learner.graphs().policy
    z = torch.zeros(20, run.config.algorithm.latent_size)
    acted = [policy(torch.tensor(each).float(), z)[0] for each in (seen, other)]
    assert torch.equal(*acted)
    whole = untrained(make_run(folder="whole")).normalisation
    assert not np.array_equal(whole.observation(seen), whole.observation(other))
    shown = ~hidden
    np.testing.assert_array_equal(
        whole.observation(seen)[:, shown], known.observation(seen)[:, shown]
    )


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ("[elbow]", "algorithm.unseen has 'elbow': expected some of root_height, root_pitch"),
        (
            "[root_height, root_pitch, joint_position, root_velocity, root_pitch_velocity, "
            "joint_velocity, torso_position]",
            "algorithm.unseen has every field",
        ),
    ],
)
def test_fields_that_cannot_be_unseen_are_refused(make_run, names, says):
    with pytest.raises(ConfigError, match=says):
        untrained(make_run(f"algorithm.unseen={names}"))

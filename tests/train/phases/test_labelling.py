from __future__ import annotations

import numpy as np
import torch

from fieldtune.train.phases.labelling import decoded_rewards, task_embeddings
from fieldtune.train.runs.replays import offline_replay


def test_labels_are_the_decoders_output_step_by_step_in_the_familys_units(agent, random_episodes):
    episode, z = random_episodes[0][0], torch.tensor([0.5, -1.0, 2.0])
    constants = agent.normalisation
    expected = []
    for s, a in zip(episode.observations[:-1], episode.actions, strict=True):
        s = torch.tensor((s - constants.observation_mean) / constants.observation_std).float()
        a = torch.tensor((a - constants.action_centre) / constants.action_half_range).float()
        expected.append(agent.decoder(s, a, z).item() * constants.reward_std)
    found = decoded_rewards(agent, episode, z)
    np.testing.assert_allclose(found, np.array(expected) + constants.reward_mean, rtol=1e-5)


def test_embeddings_are_draws_from_the_posterior_of_offline_contexts(run, agent):
    offline = offline_replay(run, agent)
    torch.manual_seed(1)
    found = task_embeddings(agent, offline, np.random.default_rng(2), [4, 0], context=16)
    context = offline.context(np.random.default_rng(2), [4, 0], 16, None)
    mean, variance = agent.infer(context)
    torch.manual_seed(1)
    torch.testing.assert_close(found, mean + variance.sqrt() * torch.randn(2, 3))
    assert not found.requires_grad


def test_longer_contexts_give_surer_embeddings(run, agent):
    offline = offline_replay(run, agent)

    def spread(context):
        rng = np.random.default_rng(0)
        draws = [task_embeddings(agent, offline, rng, [0], context) for _ in range(60)]
        return torch.cat(draws).std(dim=0).mean()

    assert spread(256) < spread(2)

"""VariBAD's recurrent VAE: a belief over tasks after every step of a trial, and what it minimises.

Zintgraf et al. 2020 (arXiv 1910.08348), sec. 3. A trial is whole episodes of one task, one after
another, their steps in order. Knows networks and batches; no policy, and nothing of files.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fieldtune.train.agent.agent import Shape
from fieldtune.train.agent.networks import Decoder, DynamicsDecoder, mlp
from fieldtune.train.agent.normalisation import Normalisation
from fieldtune.train.algorithms import losses
from fieldtune.train.algorithms.behaviour_regularised import gaussian_kl
from fieldtune.train.algorithms.decoding import Unexplained
from fieldtune.train.config import Distribution, Networks
from fieldtune.train.data.replay import Batch


class RecurrentEncoder(nn.Module):
    """q(m|τ_:t), a Gaussian over the task m after t steps: a GRU over embedded (a, r, s').

    Before the first step its memory is zero, and what it says of that is learned too. `hidden` are
    the widths of layers on a step, and last of the memory.
    """

    def __init__(
        self,
        shape: Shape,
        normalisation: Normalisation,
        latent: int,
        embedding: int,
        hidden: Sequence[int],
        distribution: Distribution,
    ) -> None:
        super().__init__()
        self.rewards = normalisation.reward_low, normalisation.reward_high
        self.least_variance = distribution.least_variance
        *before, self.memory = hidden
        self.embed_action = nn.Linear(shape.action, embedding)
        self.embed_reward = nn.Linear(1, embedding)
        self.embed_next = nn.Linear(shape.observation, embedding)
        self.before = mlp([3 * embedding, *before]) if before else nn.Identity()
        self.gru = nn.GRU(before[-1] if before else 3 * embedding, self.memory, batch_first=True)
        self.gaussian = nn.Linear(self.memory, 2 * latent)
        for name, weights in self.gru.named_parameters():
            if name.startswith("bias"):  # as released
                nn.init.zeros_(weights)
            else:
                nn.init.orthogonal_(weights)

    def nothing(self, trials: int) -> Tensor:
        """The memory before any step, `(trial, memory)`."""
        return self.gaussian.weight.new_zeros(trials, self.memory)

    def memories(self, steps: Batch, before: Tensor) -> Tensor:
        """The memory after each of `steps`, `(trial, step, memory)`.

        Args:
            steps: `(trial, step, ...)`, at least one. Rewards beyond the range of the data are
                read as its end.
            before: the memory before them, `(trial, memory)`.
        """
        with torch.autocast(before.device.type, enabled=False):  # errors of a memory add up
            reward = steps.reward.clamp(*self.rewards).unsqueeze(-1)
            parts = (
                self.embed_action(steps.action),
                self.embed_reward(reward),
                self.embed_next(steps.next_observation),
            )
            step = F.relu(self.before(F.relu(torch.cat(parts, dim=-1))))
            return self.gru(step, before.unsqueeze(0))[0]

    def belief(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of q(m|τ_:t), `(..., latent)`, of `(..., memory)`."""
        with torch.autocast(memory.device.type, enabled=False):
            mean, raw = self.gaussian(memory).chunk(2, dim=-1)
        return mean, F.softplus(raw) + self.least_variance

    def beliefs(self, trials: Batch) -> tuple[Tensor, Tensor]:
        """q(m|τ_:t) of every t from 0, before any step, on: mean and variance, `(trial, step + 1,
        latent)`, of trials `(trial, step, ...)`."""
        nothing = self.nothing(len(trials.reward))
        after = self.memories(trials, nothing)
        return self.belief(torch.cat([nothing.unsqueeze(1), after], dim=1))


class TrialDecoder(nn.Module):
    """p(r|s,a,s',m), and p(s'|s,a,m) where a family's tasks differ in their dynamics."""

    def __init__(self, shape: Shape, normalisation: Normalisation, latent: int, widths: Networks):
        super().__init__()
        self.sparse = shape.sparse_reward
        self.reward_mean, self.reward_std = normalisation.reward_mean, normalisation.reward_std
        sizes = shape.observation, shape.action, latent
        self.reward = Decoder(2 * shape.observation, *sizes[1:], widths.decoder)
        self.dynamics = DynamicsDecoder(*sizes, widths.dynamics) if shape.next_in_context else None

    def unexplained(self, rows: Batch, m: Tensor) -> Unexplained:
        """What each of some m leaves unexplained of steps of its trial, past ones and future ones:
        (r(s,a,s',m) − r)², of sparse rewards −log p(r|s,a,s',m), and the share of s' − s; means
        over trials, m and steps.

        Args:
            rows: `(trial, step, ...)`.
            m: `(trial, belief, latent)`.
        """
        several = (len(m), m.shape[1], rows.reward.shape[1])

        def every(column: Tensor) -> Tensor:
            return column.unsqueeze(1).expand(*several, *column.shape[2:])

        s, a, reached = every(rows.observation), every(rows.action), every(rows.next_observation)
        m, reward = m.unsqueeze(2).expand(*several, m.shape[-1]), every(rows.reward)
        predicted = self.reward(torch.cat([s, reached], dim=-1), a, m).squeeze(-1)
        if self.sparse:
            error = losses.success_loss(predicted, self._success(reward))
        else:
            error = losses.reconstruction_loss(predicted, reward)
        if self.dynamics is None:
            return Unexplained(error, None)
        moved = self.dynamics(s, a, m)
        return Unexplained(
            error, losses.dynamics_loss(moved.flatten(0, 2), (reached - s).flatten(0, 2))
        )

    def _success(self, reward: Tensor) -> Tensor:
        """1 where a standardised reward is 0 in the family's units, 0 where it is −1."""
        return (reward * self.reward_std + self.reward_mean + 1.0).clamp(0.0, 1.0)


def kl_to_previous(mean: Tensor, variance: Tensor, counted: Tensor) -> Tensor:
    """Σ_t KL(q(m|τ_:t) ‖ q(m|τ_:t−1)), with N(0, I) before q(m|τ_:0): `(trial,)`.

    Args:
        mean, variance: `(trial, step + 1, latent)`.
        counted: 1 for a step of the trial, 0 for what fills it up, `(trial, step)`.
    """
    log_std = 0.5 * variance.log()
    first = losses.kl_to_prior(mean[:, 0], variance[:, 0])
    moved = gaussian_kl(mean[:, 1:], log_std[:, 1:], mean[:, :-1], log_std[:, :-1])
    return first + (counted * moved).sum(dim=1)


def drawn(counted: Tensor, number: int) -> Tensor:
    """Places of `number` of each trial's own, drawn with replacement, `(trial, number)`.

    Args:
        counted: 1 for one of its own, else 0, `(trial, place)`.
        number: how many; as many as there are places where these are fewer.
    """
    return torch.multinomial(counted, min(number, counted.shape[1]), replacement=True)


def at(column: Tensor, places: Tensor) -> Tensor:
    """What stands there: of `(trial, place, ...)` at `(trial, number)`, `(trial, number, ...)`."""
    return column[torch.arange(len(column), device=column.device).unsqueeze(1), places]

"""BOReL: a belief over tasks that moves at every step, and soft actor-critic on (s, belief).

Dorfman, Shenfeld and Tamar 2021 (arXiv 2008.02598): VariBAD offline, in the Bayes-adaptive MDP
whose states are s⁺ = (s, b). One gradient step, and how it acts; knows nothing of files.

Their reward relabelling, a task's trajectories paid by another task's reward function, is
`data.relabelled`: it is done as the data are read (`fieldtune.train.data.relabelled`), for every
method of a study alike. Without it the data may tell tasks apart by where their own policies went
(the paper's MDP ambiguity), which a policy that explores does not repeat.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator
from torch import Generator, Tensor, nn
from torch.optim import Adam

from fieldtune.sim.family import Array
from fieldtune.train.agent.actor import MEAN_ACTION, Acting, Actor, act_by, rewarded_step
from fieldtune.train.agent.agent import Shape
from fieldtune.train.agent.networks import Critic, Policy
from fieldtune.train.agent.normalisation import Normalisation
from fieldtune.train.agent.posterior import sample
from fieldtune.train.agent.squashed_gaussian import sample_with_log_prob
from fieldtune.train.algorithms import losses
from fieldtune.train.algorithms.algorithm import Metrics, WholeEpisodes
from fieldtune.train.algorithms.optimisation import adam, gradient_step
from fieldtune.train.algorithms.varibad import (
    RecurrentEncoder,
    TrialDecoder,
    at,
    drawn,
    kl_to_previous,
)
from fieldtune.train.config import EncoderSettings, Size
from fieldtune.train.data.replay import Batch, stack_tasks
from fieldtune.train.device import to_numpy


class BorelSettings(EncoderSettings):
    """Of beliefs and of the soft actor-critic on them: target critics follow at `target_rate` an
    update, and learn rewards `reward_scale` times what they are. The last width of
    `networks.encoder` is that of the memory; `batch` rows of each task are drawn from its trials.
    """

    name: Literal["borel"] = "borel"
    target_rate: float = Field(default=0.005, gt=0, le=1)
    reward_scale: float = Field(default=1.0, gt=0)
    embedding: Size = Field(default=16, description="width of what a, r and s' each become first")
    trials: Size = Field(default=2, description="of each task in an update; the release's VAE: 8")
    episodes: Size = Field(
        default=2,
        description="of a trial, which the belief goes through; 2 as released: of 1 alone it may "
        "tell the episode's rewards, and not the task's",
    )
    elbo_terms: Size = Field(
        default=8, description="beliefs of a trial that reconstruct it in an update, at random t"
    )
    decoded: Size = Field(
        default=32, description="steps of a trial, past and future, that each of these reconstructs"
    )
    belief_kl_weight: float = Field(
        default=0.05,
        ge=0,
        description="of KL(belief ‖ previous belief) beside the errors of a whole trial, summed; "
        "0.05 as released",
    )
    entropy_coefficient: float = Field(
        default=0.2,
        ge=0,
        description="α, in units of scaled reward; the release's is 0.2, on a point robot 0.01",
    )

    @field_validator("n_step")
    @classmethod
    def _one_step(cls, n_step: int) -> int:
        if n_step != 1:
            raise ValueError("expected 1: a target has the belief of the next step")
        return n_step


class BorelNetworks(nn.Module):
    """Encoder and decoders of the belief; policy and critics that are told it."""

    def __init__(self, shape: Shape, normalisation: Normalisation, settings: BorelSettings) -> None:
        super().__init__()
        self.normalisation = normalisation
        widths, ends, latent = settings.networks, settings.distribution, settings.latent_size
        sizes = shape.observation, shape.action, 2 * latent
        self.encoder = RecurrentEncoder(
            shape, normalisation, latent, settings.embedding, widths.encoder, ends
        )
        self.decoder = TrialDecoder(shape, normalisation, latent, widths)
        self.policy = Policy(*sizes, widths.policy, ends)
        self.critics = nn.ModuleList(
            Critic(*sizes, widths.critic, widths.critic_layer_norm) for _ in range(2)
        )
        self.targets = copy.deepcopy(self.critics).requires_grad_(False)


class Borel:
    """Beliefs and behaviour learn side by side, as in VariBAD: each update has a step of both, and
    no gradient of the critics reaches the belief. The release trains the VAE to its end first.

    A trial in the data is whole episodes of a task in any order; the belief goes through all of
    them, and beyond the last of an episode values go on from where it ended, as at any time limit.
    """

    Settings = BorelSettings
    why_not_exported = (
        "its policy acts on the memory of a recurrent network, and a bundle holds policies that "
        "are told one z"
    )

    def __init__(
        self, networks: BorelNetworks, settings: BorelSettings, learning_rate: float
    ) -> None:
        self._networks, self.settings = networks, settings
        self._optimisers = {
            "belief": adam(learning_rate, networks.encoder, networks.decoder),
            "critic": adam(learning_rate, networks.critics),
            "policy": adam(learning_rate, networks.policy),
        }

    @classmethod
    def fresh(
        cls,
        shape: Shape,
        normalisation: Normalisation,
        settings: BorelSettings,
        learning_rate: float,
    ) -> Self:
        """One that has learned nothing: `fieldtune.train.algorithms.registry.AlgorithmClass`."""
        return cls(BorelNetworks(shape, normalisation, settings), settings, learning_rate)

    @property
    def networks(self) -> BorelNetworks:
        return self._networks

    @property
    def optimisers(self) -> Mapping[str, Adam]:
        return self._optimisers

    @property
    def normalisation(self) -> Normalisation:
        return self.networks.normalisation

    @property
    def whole_episodes(self) -> WholeEpisodes:
        """See `fieldtune.train.algorithms.algorithm.whole_episodes`."""
        return WholeEpisodes(self.settings.trials, self.settings.episodes)

    def update(self, context: Batch, batch: Batch) -> Metrics:
        """One step of the belief on the trials in `context`; then of critics and actor on rows of
        those in `batch`, then of the target critics."""
        metrics = self._belief_step(context)
        rows, b, b_next = self.rows(batch)
        metrics |= self._critic_step(rows, b, b_next)
        metrics |= self._actor_step(rows.observation, b)
        networks = self.networks
        with torch.no_grad():
            torch._foreach_lerp_(
                list(networks.targets.parameters()),
                list(networks.critics.parameters()),
                self.settings.target_rate,
            )
        return metrics

    def _belief_step(self, trials: Batch) -> Metrics:
        """−Σ_t ELBO_t, ELBO_t = E_{m ~ q(m|τ_:t)} log p(τ_:H|m) − w·KL(q(m|τ_:t) ‖ q(m|τ_:t−1))
        (Zintgraf et al. 2020, eq. 8 and 9): of all H steps, for every t. Divided by as many terms,
        and by H."""
        encoder, decoder, settings = self.networks.encoder, self.networks.decoder, self.settings
        counted = trials.belonging
        mean, variance = encoder.beliefs(trials)
        kl = kl_to_previous(mean, variance, counted)

        when = drawn(torch.cat([counted[:, :1], counted], dim=1), settings.elbo_terms)
        steps = drawn(counted, settings.decoded)
        m = sample(at(mean, when), at(variance, when))
        rows = trials._replace(counted=None).each(lambda column: at(column, steps))
        left = decoder.unexplained(rows, m)

        length = counted.sum(dim=1)
        loss = left.both + settings.belief_kl_weight * (kl / (length * (length + 1.0))).mean()
        gradient_step(loss, self._optimisers["belief"])
        deviation = variance.detach()[:, -1].sqrt().mean()
        return left.metrics | {"encoder/kl": kl.detach().mean(), "encoder/posterior_std": deviation}

    @torch.no_grad()
    def rows(self, trials: Batch) -> tuple[Batch, Tensor, Tensor]:
        """`batch` steps of each task, `(row, ...)`, with the belief before and after each, `(row,
        2 · latent)`."""
        counted, (mean, variance) = trials.belonging, self.networks.encoder.beliefs(trials)
        steps = drawn(counted, -(-self.settings.batch // self.settings.trials))
        b = belief(mean, variance)
        rows = trials._replace(counted=None).each(lambda column: at(column, steps).flatten(0, 1))
        return rows, at(b, steps).flatten(0, 1), at(b, steps + 1).flatten(0, 1)

    def _critic_step(self, rows: Batch, b: Tensor, b_next: Tensor) -> Metrics:
        """(r + γ·(1−d)·(min Q_target(s',b',a') − α·log π(a'|s',b')) − Q(s,b,a))², a' ~ π."""
        networks, settings = self.networks, self.settings
        constants = self.normalisation
        reward = rows.reward + constants.reward_mean / constants.reward_std  # not standardised
        s_next = rows.next_observation
        with torch.no_grad():
            a_next, log_prob_next = sample_with_log_prob(*networks.policy(s_next, b_next))
            value = least(networks.targets, s_next, a_next, b_next)
            value = value - settings.entropy_coefficient * log_prob_next
            reward = settings.reward_scale * reward
            target = losses.critic_target(reward, rows.done, value, settings.discount)
        q1, q2 = (q(rows.observation, rows.action, b) for q in networks.critics)
        loss = losses.critic_loss(q1, q2, target)
        gradient_step(loss, self._optimisers["critic"])
        return {"critic/loss": loss.detach(), "critic/q": q1.detach().mean()}

    def _actor_step(self, observation: Tensor, b: Tensor) -> Metrics:
        """α·log π(ã|s,b) − min Q(s,b,ã), ã ~ π."""
        networks = self.networks
        action, log_prob = sample_with_log_prob(*networks.policy(observation, b))
        value = least(networks.critics, observation, action, b)
        loss = (self.settings.entropy_coefficient * log_prob - value).mean()
        gradient_step(loss, self._optimisers["policy"])
        return {"actor/loss": loss.detach(), "actor/entropy": -log_prob.detach().mean()}

    @torch.no_grad()
    def adapt(self, context: Sequence[Batch], acting: Acting = MEAN_ACTION) -> Actor:
        """The belief after each task's context, whose transitions are steps in their order, and
        which goes on from there at every step."""
        known = []
        for _, alike in groupby(context, key=lambda batch: batch.reward.shape[1]):
            known.append(self._memory_after(stack_tasks(list(alike))))
        return BeliefActor(self.networks, torch.cat(known), acting)

    def _memory_after(self, trials: Batch) -> Tensor:
        """`(trial, memory)` of `(trial, step, ...)`, of which there may be none."""
        encoder = self.networks.encoder
        nothing = encoder.nothing(len(trials.reward))
        if not trials.reward.shape[1]:
            return nothing
        memories = torch.cat([nothing.unsqueeze(1), encoder.memories(trials, nothing)], dim=1)
        last = trials.belonging.sum(dim=1, keepdim=True).long()
        return at(memories, last).squeeze(1)


class BeliefActor:
    """π(a|s,b), whose belief moves at every step: `fieldtune.train.agent.actor.HeedingActor`.

    Args:
        networks: encoder and policy.
        memory: of what each copy has seen, `(copy, memory)`.
        acting: how actions are drawn; no z is.
    """

    always_heeds = True

    def __init__(self, networks: BorelNetworks, memory: Tensor, acting: Acting) -> None:
        self._networks, self._acting = networks, acting
        self._remember(memory)

    @property
    def embeddings(self) -> NDArray[np.float64]:
        """The beliefs' means, `(copy, latent)`."""
        return to_numpy(self._belief.chunk(2, dim=-1)[0].double())

    def begin(self, rng: Generator | None) -> None:
        """The belief stays: of another episode of the same task."""

    @torch.no_grad()
    def act(self, s: Array, rng: Generator | None) -> Array:
        networks = self._networks
        constants = networks.normalisation
        return act_by(networks.policy, constants, s, self._belief, self._acting, rng)

    @torch.no_grad()
    def heed(self, s: Array, a: Array, r: Array, reached: Array) -> None:
        """See `HeedingActor.heed`: the belief after one more step."""
        constants, device = self._networks.normalisation, self._memory.device
        step = rewarded_step(constants, s, a, r, reached, device)
        self._remember(self._networks.encoder.memories(step, self._memory)[:, -1])

    def _remember(self, memory: Tensor) -> None:
        self._memory = memory
        with torch.no_grad():
            self._belief = belief(*self._networks.encoder.belief(memory))


def belief(mean: Tensor, variance: Tensor) -> Tensor:
    """b as policy and critics are told it: mean and log-variance, `(..., 2 · latent)`."""
    return torch.cat([mean, variance.log()], dim=-1)


def least(critics: nn.ModuleList, s: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """min Q(s,b,a), `(row,)`."""
    first, second = (q(s, a, b) for q in critics)
    return torch.min(first, second)

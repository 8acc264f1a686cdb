"""Acting in a batch of simulated copies: single episodes, and whole trials.

What a trial is (K exploration episodes, adapted anew after each) is the same here as on the robot.
Knows what adapts and acts by its protocol alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from fieldtune.sim.family import Array, BatchSimulator, TaskFamily
from fieldtune.sim.rollout import Heed, LabelledEpisode, rollout
from fieldtune.train.agent.actor import MEAN_ACTION, Acting, Actor, Adaptive, always_heeds
from fieldtune.train.agent.units import context_of
from fieldtune.train.data.replay import Batch
from fieldtune.train.turns import aside, computing

Relabel = Callable[[LabelledEpisode, int], NDArray[np.float64]]


@torch.no_grad()
def adapt_to(
    adaptive: Adaptive,
    contexts: Sequence[Sequence[LabelledEpisode]],
    acting: Acting = MEAN_ACTION,
) -> Actor:
    """One actor for as many copies as there are `contexts`, each adapted to its own episodes.

    Args:
        adaptive: an agent or an algorithm; its weights stay as they are.
        contexts: the episodes of each copy, in physical units; none means before any.
        acting: how actions are drawn.
    """
    return adaptive.adapt([context_of(adaptive, episodes) for episodes in contexts], acting)


@torch.no_grad()
def run_episodes(
    actor: Actor,
    family: TaskFamily,
    simulator: BatchSimulator,
    seeds: NDArray[np.int64],
    tasks: Array,
    heed: Heed | None = None,
) -> list[LabelledEpisode]:
    """One episode in each copy; what the actor draws is from torch's global random state, of the
    device that it acts on. While copies are stepped, other jobs of this process compute.

    Args:
        actor: acts in all copies.
        family: of the tasks.
        simulator: as many copies.
        seeds: of the start states, `(copy,)`.
        tasks: `(copy, parameter)`, whose true rewards label the episodes.
        heed: told each rewarded step as it happens: `ParticleActor.heed`, for an actor that adapts
            within the episode; its own, of one that always does.
    """
    actor.begin(None)
    if heed is None and always_heeds(actor):
        heed = actor.heed
    act = computing()(lambda s: actor.act(s, None))
    heeding = None if heed is None else computing()(heed)
    with aside():
        return rollout(simulator, family, act, seeds, tasks, heed=heeding)


def explore(
    adaptive: Adaptive,
    family: TaskFamily,
    simulator: BatchSimulator,
    tasks: Array,
    rng: np.random.Generator,
    *,
    prior_episodes: int,
    posterior_episodes: int,
    acting: Acting,
    relabel: Relabel | None = None,
    known: Callable[[], Sequence[Batch]] | None = None,
) -> list[list[LabelledEpisode]]:
    """One trial in each copy: episodes before anything is known of the task, then episodes
    adapted to what the trial has seen so far, or to what else is known of it.

    Args:
        tasks: `(copy, parameter)`, the tasks whose true rewards label the episodes.
        rng: of the start states.
        relabel: `(episode, copy)` → rewards `(T,)` to use instead of the true ones.
        known: contexts of all copies (`Adaptive.adapt`), asked for anew before each adapted
            episode, which follows them in the place of what the trial has seen.

    Returns:
        Per copy, its episodes in order, labelled with the rewards that made its context.

    Raises:
        ValueError: an episode is to follow its true rewards, and `relabel` takes their place.
    """
    if acting.follows_rewards and relabel is not None:
        raise ValueError("exploration without rewards cannot follow them: see Acting.with_rewards")
    trials: list[list[LabelledEpisode]] = [[] for _ in range(simulator.n_envs)]
    for index in range(prior_episodes + posterior_episodes):
        adapted = index >= prior_episodes
        contexts = trials if adapted else [[] for _ in trials]
        seeds = rng.integers(2**31, size=simulator.n_envs)
        if adapted and known is not None:
            actor = adaptive.adapt(known(), acting)
        else:
            actor = adapt_to(adaptive, contexts, acting)
        for copy, episode in enumerate(run_episodes(actor, family, simulator, seeds, tasks)):
            if relabel is not None:
                episode = replace(episode, rewards=relabel(episode, copy))
            trials[copy].append(episode)
    return trials

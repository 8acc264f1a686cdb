"""How a phase's updates are made: on a CPU from draws of numpy's, on a GPU from data and draws that
are there already, a whole update as one graph.

The algorithm's losses are the same code either way. Knows replays and algorithms by their
protocols; not when anything is saved or read.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fieldtune.train.algorithms.algorithm import (
    Algorithm,
    Metrics,
    SelfSupervised,
    capturable,
    whole_episodes,
)
from fieldtune.train.captured import Captured
from fieldtune.train.config import Context, RunConfig
from fieldtune.train.data import device_sampling, sampling
from fieldtune.train.data.replay import Batch, Replay
from fieldtune.train.data.resident_replay import ResidentReplay
from fieldtune.train.device import device_of, in_precision

Update = Callable[[], Metrics]
After = Callable[[], None]


def nothing() -> None:
    """What follows an update where nothing does."""


def draws_there(learner: Algorithm) -> bool:
    """Whether data and draws are on the learner's own device: on a GPU, where it can be captured.

    On a CPU they are numpy's, and a run repeats bit for bit what it was before there were others.
    """
    rows = whole_episodes(learner) is None
    return device_of(learner).type != "cpu" and rows and capturable(learner)


def offline_updates(
    learner: Algorithm,
    replay: Replay,
    rng: np.random.Generator,
    config: RunConfig,
    after: After = nothing,
) -> Update:
    """Makes one update from labelled data at each call, and gives its metrics.

    Args:
        learner: what is trained.
        replay: the training tasks' labelled data, which stays as it is.
        rng: of numpy's draws.
        config: its sections `algorithm` and `offline`.
        after: what else belongs to each update, on the learner's device.
    """
    settings, phase, device = config.algorithm, config.offline, device_of(learner)
    whole = whole_episodes(learner)

    def plain() -> Metrics:
        if whole is None:
            draws = sampling.draw_offline(replay, rng, settings, phase)
        else:
            draws = sampling.draw_episodes(replay, rng, settings, whole.trials, whole.episodes)
        with in_precision(settings.precision, device):
            metrics = learner.update(*draws)
        after()
        return metrics

    if not draws_there(learner):
        return plain
    resident = ResidentReplay(replay, device)

    def step() -> Metrics:
        draws = device_sampling.draw_offline(resident, settings, phase)
        with in_precision(settings.precision, device):
            metrics = learner.update(*draws)
        after()
        return metrics

    return Captured(device, step)


class UnionUpdates:
    """Makes one update of phase 2 at each call, and gives its metrics.

    Args:
        learner: what is trained.
        offline: the training tasks' labelled data, which stays as it is.
        labelled: exploration, which grows between updates.
        rng: of numpy's draws.
        config: its sections `algorithm` and `self_supervised`.
        true_rewards: whether exploration carries the family's rewards.
        after: what else belongs to each update, on the learner's device.
        offline_context: draw every context from offline data, and like this.
    """

    def __init__(
        self,
        learner: SelfSupervised,
        offline: Replay,
        labelled: Replay,
        rng: np.random.Generator,
        config: RunConfig,
        *,
        true_rewards: bool,
        after: After,
        offline_context: Context | None = None,
    ) -> None:
        self._offline_context = offline_context
        self._learner, self._rng, self._after = learner, rng, after
        self._settings, self._phase = config.algorithm, config.self_supervised
        self._true_rewards = true_rewards
        self._replays = offline, labelled
        self._resident: tuple[ResidentReplay, ResidentReplay] | None = None
        device = device_of(learner)
        if draws_there(learner):
            self._resident = ResidentReplay(offline, device), ResidentReplay(labelled, device)
        self._context_offline = False
        self._captured = Captured(device, self._step)

    def __call__(self) -> Metrics:
        if self._resident is None:
            draws = sampling.draw_union(
                *self._replays, self._rng, self._settings, self._phase, self._offline_context
            )
            return self._update(*draws)
        offline, labelled = self._resident
        if labelled.refresh():
            self._captured.forget()
        self._context_offline = self._offline_context is not None or bool(
            self._rng.random() < self._phase.drawn_offline
        )
        return self._captured((self._context_offline, offline.shape, labelled.shape))

    def _step(self) -> Metrics:
        assert self._resident is not None
        draws = device_sampling.draw_union(
            *self._resident,
            self._settings,
            self._phase,
            self._offline_context,
            context_offline=self._context_offline,
        )
        return self._update(*draws)

    def _update(self, context: Batch, batch: Batch) -> Metrics:
        with in_precision(self._settings.precision, device_of(self._learner)):
            metrics = self._learner.self_supervised_update(
                context, batch, self._phase, true_rewards=self._true_rewards
            )
        self._after()
        return metrics

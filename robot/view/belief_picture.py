"""Beliefs as they are seen: particles that narrow, how many count, and rewards beside predictions.

Knows beliefs and a recording; not the journal.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np

from fieldtune.robot.episodes.episode import Mode, Step
from fieldtune.robot.policy.policy import PolicyError
from fieldtune.robot.view.belief_space import (
    Space,
    at,
    cloud,
    known_points,
    latent_space,
    narrowness,
)
from fieldtune.robot.view.beliefs import Beliefs, Believed
from fieldtune.robot.view.news import News
from fieldtune.robot.view.recording import SERIES, Recording, Times, path

log = logging.getLogger(__name__)

CLOUDS_AN_EPISODE = 25
_ACTED = np.array([[235, 64, 52]], dtype=np.uint8)


class BeliefPicture:
    """Draws one bundle's beliefs into `belief`, and what it predicts into `reward`.

    Args:
        recording: to draw into.
        beliefs: of the bundle.
        space: where a z is drawn; z's own where not given.
        under: the entity that all of it is put under.
        clouds: how many are drawn of an episode that informs, about.
    """

    def __init__(
        self,
        recording: Recording,
        beliefs: Beliefs,
        space: Space | None = None,
        under: Sequence[str] = (),
        clouds: int = CLOUDS_AN_EPISODE,
    ) -> None:
        self._recording, self._beliefs, self._under = recording, beliefs, under
        policy = beliefs.policy
        known = known_points(policy.task_embeddings, policy.particles)
        self._space = space or latent_space(known)
        self.axes = self._space.says
        self.dimensions = len(at(self._space, known[0]))
        self._every = max(1, policy.manifest.horizon // clouds)
        self._acted: tuple[float, ...] = ()
        self._trouble = ""
        what, _ = narrowness(beliefs.posterior)
        recording.series(self._at("belief", "known"), what, SERIES[1], width=2.0)

    def tell(self, news: News, times: Callable[[Sequence[int]], Times]) -> None:
        """Draw what one episode's news change. `times` are of steps, by their index."""
        if not news.steps and news.rewards is None and not news.ended:
            return
        try:
            believed = self._beliefs.hear(news)
            predicted = self._beliefs.predicted(news.steps)
        except (PolicyError, ValueError) as error:
            if str(error) != self._trouble:
                log.warning("beliefs are not shown: %s", error)
            self._trouble = str(error)
            return
        if predicted:
            when = times([step.index for step in news.steps])
            self._recording.scalars(self._at("reward", "predicted"), when, predicted)
        self._acting(news.steps, times)
        self._kept(news, times)
        self._believed(believed, times)

    def _kept(self, news: News, times: Callable[[Sequence[int]], Times]) -> None:
        """What an episode begins with; all through one that follows its context."""
        steps = [step.index for step in news.steps]
        if news.entry.header.mode is not Mode.POSTERIOR:
            steps = [index for index in steps if index == 0]
        if steps:
            known = narrowness(self._beliefs.base)[1]
            when = times(steps)
            self._recording.scalars(self._at("belief", "known"), when, [known] * len(steps))
            if steps[0] == 0:
                self._cloud(self._beliefs.base, times([0]))

    def _believed(
        self, believed: Sequence[Believed], times: Callable[[Sequence[int]], Times]
    ) -> None:
        if not believed:
            return
        when = times([one.step for one in believed])
        known = [narrowness(one.posterior)[1] for one in believed]
        self._recording.scalars(self._at("belief", "known"), when, known)
        labels = [one.label for one in believed if one.label is not None]
        if len(labels) == len(believed):
            self._recording.scalars(self._at("reward", "label"), when, labels)
        for one in believed:
            if one.step and (one.step % self._every == 0 or one is believed[-1]):
                self._cloud(one.posterior, times([one.step]))

    def _cloud(self, posterior: object, when: Times) -> None:
        drawn = cloud(posterior, self._space)  # type: ignore[arg-type]
        self._recording.cloud(
            self._at("belief", "tasks"), when, drawn.positions, drawn.radii, drawn.colours
        )

    def _acting(self, steps: Sequence[Step], times: Callable[[Sequence[int]], Times]) -> None:
        """The z that is acted on, whenever it is another."""
        for step in steps:
            z = tuple(step.z)
            if z == self._acted:
                continue
            self._acted = z
            place = at(self._space, z)[None]
            radius = np.array([self._space.size * 0.025])
            self._recording.cloud(
                self._at("belief", "acted_on"),
                times([step.index]),
                place,
                radius,
                _ACTED,
                ["acted on"],
            )

    def _at(self, *parts: str) -> str:
        return path(*self._under, *parts)

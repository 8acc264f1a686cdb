"""One robot's picture: what the news of its journal look like, entity by entity.

Joins fields, a model, beliefs and a recording. It must not know whether the news are of now or of
last year, nor where the recording goes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fieldtune.export.bundle import Bundle
from fieldtune.robot.episodes.episode import EndReason, EpisodeHeader, Step
from fieldtune.robot.journal.entry import Entry
from fieldtune.robot.mcap.schemas import Names, Part, split
from fieldtune.robot.policy.policy import Policy, PolicyError
from fieldtune.robot.timing.clock import SECOND_NS
from fieldtune.robot.view.belief_picture import BeliefPicture
from fieldtune.robot.view.beliefs import Beliefs
from fieldtune.robot.view.layout import Shown, layout
from fieldtune.robot.view.model import Model, NoModel
from fieldtune.robot.view.news import News
from fieldtune.robot.view.recording import SERIES, Recording, Times, path
from fieldtune.robot.view.space_picture import APPLIED, LIMITED, REQUESTED, SpacePicture
from fieldtune.robot.view.tables import joints, recorded

log = logging.getLogger(__name__)

_BAD = (EndReason.FAULT, EndReason.LATE, EndReason.INTERRUPTED)
_KEPT = 8  # episodes whose times are remembered, for rewards that come late
_TABLE_NS = SECOND_NS // 2

ModelOf = Callable[[str, Names], Model]


@dataclass
class _Episode:
    """What must be remembered of one: its steps' times, and what it was worth."""

    shift_ns: int
    first_number: int
    ns: list[int] = field(default_factory=list)
    rewards: dict[int, float] = field(default_factory=dict)


class RobotPicture:
    """Draws news in their order.

    Args:
        recording: to draw into.
        names: an episode's fields.
        bundle: by its id; None where it is not there any more.
        model: of a robot by its name, for these fields. May raise `NoModel`.
        live: whether a status is shown beside it.
    """

    def __init__(
        self,
        recording: Recording,
        names: Callable[[EpisodeHeader], Names],
        bundle: Callable[[str], Bundle | None],
        model: ModelOf,
        *,
        live: bool,
    ) -> None:
        self._recording, self._live = recording, live
        self._names, self._bundle, self._model_of = names, bundle, model
        self._bundle_id = ""
        self._parts: dict[str, list[Part]] = {}
        self._space: SpacePicture | None = None
        self._beliefs: BeliefPicture | None = None
        self._episodes: dict[int, _Episode] = {}
        self._finished: dict[int, tuple[Entry, float | None]] = {}
        self._next_number = 0
        self._reason = ""
        self._table_ns = 0
        self._known: tuple[object, ...] | None = None
        self._fields: Names | None = None
        self._shown: Shown | None = None

    @property
    def now(self) -> int:
        """The running number of the latest step."""
        return max(0, self._next_number - 1)

    def tell(self, news: News) -> None:
        """Draw what is new of one episode."""
        header = news.entry.header
        episode = self._episodes.get(header.number)
        if episode is None:
            shift = 0 if news.entry.wall_ns is None else news.entry.wall_ns - header.started_ns
            episode = _Episode(shift, self._next_number)
            self._episodes[header.number] = episode
            self._episodes.pop(header.number - _KEPT, None)
        if news.begun:
            self._begin(header, episode)
        if news.steps:
            if header.bundle_id != self._bundle_id:
                self._take_bundle(header, news.steps[0], episode)
            self._steps(header, news.steps, episode)
        if news.rewards is not None:
            self._given(news.rewards, episode)
        if self._beliefs is not None and header.bundle_id == self._bundle_id:
            self._beliefs.tell(news, lambda steps: self._times(episode, steps))
        if news.ended:
            self._end(news, episode)

    def _take_bundle(self, header: EpisodeHeader, step: Step, episode: _Episode) -> None:
        began = _began(header, episode)
        if self._bundle_id:
            what = f"bundle {header.bundle_id[:12]} took the place of {self._bundle_id[:12]}"
            self._recording.event(began, what)
        self._bundle_id = header.bundle_id
        bundle = self._bundle(header.bundle_id)
        names = self._names(header)
        robot = header.robot if bundle is None else bundle.manifest.robot
        known = robot, tuple(names.observation), tuple(names.action)
        if known != self._known:
            self._known, self._fields = known, names
            self._space = SpacePicture(
                self._recording, self._model(robot, names, began), names, header.period_s
            )
            self._parts = {
                "observation": split("", names.observation, len(step.observation)),
                "action": split("", names.action, len(step.applied)),
            }
        self._beliefs = self._beliefs_of(header, bundle, began)
        self._describe()

    def _model(self, robot: str, names: Names, began: Times) -> Model | None:
        try:
            return self._model_of(robot, names)
        except NoModel as error:
            self._recording.event(began, f"no model in 3-D: {error}", "WARN")
            return None

    def _beliefs_of(
        self, header: EpisodeHeader, bundle: Bundle | None, began: Times
    ) -> BeliefPicture | None:
        why = "its file is not here: give --bundles FOLDER"
        try:
            if bundle is not None:
                return BeliefPicture(self._recording, Beliefs(Policy(bundle)))
        except PolicyError as error:
            why = str(error)
        text = f"bundle {header.bundle_id[:12]}: nothing of beliefs is shown: {why}"
        log.warning("%s", text)
        self._recording.event(began, text, "WARN")
        return None

    def _describe(self) -> None:
        recording = self._recording
        for part in self._parts["action"]:
            name = _name(part)
            for i in range(part.stop - part.start):
                shade = SERIES[i % len(SERIES)]
                applied = path("action", name, "applied", str(i))
                requested = path("action", name, "requested", str(i))
                recording.series(applied, f"{i} applied", shade, width=2.5)
                pale = tuple(int(128 + value / 2) for value in shade)
                recording.series(requested, f"{i} requested", pale, width=1.0)  # type: ignore[arg-type]
        for part in self._parts["observation"]:
            for i in range(part.stop - part.start):
                where = path("observation", _name(part), str(i))
                recording.series(where, f"{i}", SERIES[i % len(SERIES)])
        recording.series("limits/touched", "limits touched", LIMITED, width=2.0)
        recording.series("timing/observation_age", "observation's age, ms", SERIES[0])
        recording.series("timing/inference", "inference, ms", SERIES[1])
        recording.series("timing/apply", "apply, ms", SERIES[2])
        recording.series("timing/overrun", "overrun", LIMITED)
        recording.series("reward/predicted", "predicted, in the task acted on", REQUESTED)
        recording.series("reward/label", "label of the robot's own", SERIES[4])
        recording.series("reward/given", "given", APPLIED, width=2.5)
        assert self._space is not None
        shown = Shown(
            actions=[_name(part) for part in self._parts["action"]],
            observations=[_name(part) for part in self._parts["observation"]],
            space=self._space.anything,
            belief=None if self._beliefs is None else self._beliefs.dimensions,
            belief_axes="" if self._beliefs is None else self._beliefs.axes,
            live=self._live,
        )
        if shown != self._shown:  # else what a person has arranged stays as it is
            self._shown = shown
            recording.arrange(layout(shown))

    def _begin(self, header: EpisodeHeader, episode: _Episode) -> None:
        label = "" if header.label_task is None else f", labelled as task {header.label_task}"
        text = (
            f"episode {header.number} begins: {header.mode.said}, trial {header.trial}"
            f"{label}, bundle {header.bundle_id[:12]}"
        )
        self._recording.event(_began(header, episode), text)
        self._reason = ""

    def _steps(self, header: EpisodeHeader, steps: Sequence[Step], episode: _Episode) -> None:
        recording = self._recording
        episode.ns += [step.sense_ns + episode.shift_ns for step in steps]
        times = self._times(episode, [step.index for step in steps])
        self._next_number = max(self._next_number, int(times.numbers.max()) + 1)  # type: ignore[union-attr]
        for part in self._parts["observation"]:
            values = np.array([step.observation[part.start : part.stop] for step in steps])
            for i in range(values.shape[1]):
                recording.scalars(path("observation", _name(part), str(i)), times, values[:, i])
        for part in self._parts["action"]:
            for what in ("requested", "applied"):
                values = np.array([getattr(step, what)[part.start : part.stop] for step in steps])
                for i in range(values.shape[1]):
                    where = path("action", _name(part), what, str(i))
                    recording.scalars(where, times, values[:, i])
        touched = [len(step.reason.split("; ")) if step.reason else 0 for step in steps]
        recording.scalars("limits/touched", times, touched)
        for name, get in (
            ("observation_age", lambda s: s.observation_age_ns / 1e6),
            ("inference", lambda s: s.infer_ns / 1e6),
            ("apply", lambda s: s.apply_ns / 1e6),
            ("overrun", lambda s: float(s.overrun)),
        ):
            recording.scalars(f"timing/{name}", times, [get(step) for step in steps])
        self._reasons(header.number, steps, times)
        assert self._space is not None
        self._space.draw(steps, times)
        if self._fields is not None and times.ns[-1] - self._table_ns >= _TABLE_NS:
            self._table_ns = int(times.ns[-1])
            recording.document("numbers", times.at([-1]), joints(steps[-1], self._fields))

    def _reasons(self, number: int, steps: Sequence[Step], times: Times) -> None:
        """Each reason when it comes, and not again at each step that it stays."""
        for i, step in enumerate(steps):
            if step.reason != self._reason and step.reason:
                text = f"episode {number}, step {step.index}: limited: {step.reason}"
                self._recording.event(times.at([i]), text, "WARN")
            self._reason = step.reason

    def _given(self, rewards: dict[int, float], episode: _Episode) -> None:
        known = sorted(step for step in rewards if step < len(episode.ns))
        fresh = [step for step in known if episode.rewards.get(step) != rewards[step]]
        episode.rewards = {step: rewards[step] for step in known}
        if fresh:
            values = [rewards[step] for step in fresh]
            self._recording.scalars("reward/given", self._times(episode, fresh), values)

    def _end(self, news: News, episode: _Episode) -> None:
        entry, footer = news.entry, news.entry.footer
        assert footer is not None
        last = episode.ns[-1] if episode.ns else entry.header.started_ns + episode.shift_ns
        worth = f", return {sum(episode.rewards.values()):.2f}" if episode.rewards else ""
        text = f"episode {entry.number} ended: {footer.end_reason}, {footer.steps} steps{worth}"
        text = f"{text}: {footer.fault}".removesuffix(": ")
        number = episode.first_number + max(0, len(episode.ns) - 1)
        times = Times(np.array([last], dtype=np.int64), np.array([number]))
        self._recording.event(times, text, "ERROR" if footer.end_reason in _BAD else "INFO")
        returned = sum(episode.rewards.values()) if episode.rewards else None
        self._finished[entry.number] = (entry, returned)
        if not self._live:
            self._recording.document("status", None, recorded(self._finished))

    def _times(self, episode: _Episode, steps: Sequence[int]) -> Times:
        chosen = np.asarray(steps, dtype=np.int64)
        ns: NDArray[np.int64] = np.array(episode.ns, dtype=np.int64)[chosen]
        return Times(ns, episode.first_number + chosen)


def _began(header: EpisodeHeader, episode: _Episode) -> Times:
    """When an episode began: with its first step."""
    ns = header.started_ns + episode.shift_ns
    return Times(np.array([ns], dtype=np.int64), np.array([episode.first_number]))


def _name(part: Part) -> str:
    return part.topic.removeprefix("/") or "all"

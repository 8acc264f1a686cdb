"""The robot in space: its bodies, the points that it observes, and where its actions push.

Knows fields and a model; not episodes, nor the journal.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fieldtune.robot.episodes.episode import Step
from fieldtune.robot.mcap.schemas import Names
from fieldtune.robot.view.model import Model
from fieldtune.robot.view.recording import SERIES, Colour, Recording, Times, path
from fieldtune.robot.view.scene import places, pushes

WORLD = "world"
REQUESTED, APPLIED, LIMITED = (255, 152, 56), (80, 200, 120), (235, 64, 52)
_POSE_S = 0.03  # no oftener: nobody sees more
_BALL_M = 0.012
_ARROW = 3.0  # times as long as the displacement that it means


class SpacePicture:
    """Draws steps into `world`.

    Args:
        recording: to draw into.
        model: of the robot; None where none is known.
        names: the fields.
        period_s: between steps.
    """

    def __init__(
        self,
        recording: Recording,
        model: Model | None,
        names: Names,
        period_s: float,
    ) -> None:
        self._recording, self._model = recording, model
        self._places, self._pushes = (
            places(names.observation),
            pushes(names.action, names.observation),
        )
        self._stride = max(1, round(_POSE_S / period_s)) if period_s > 0 else 1
        self.anything = model is not None or bool(self._places)
        if not self.anything:
            return
        recording.upright(WORLD)
        for body in [] if model is None else model.bodies:
            recording.body(path(WORLD, "robot", body.name), body)
        for index, place in enumerate(self._places):
            colour: Colour = SERIES[index % len(SERIES)]
            recording.ball(path(WORLD, place.name), place.name, colour, _BALL_M)

    def draw(self, steps: Sequence[Step], times: Times) -> None:
        """Steps in order, and when they were."""
        chosen = [i for i, step in enumerate(steps) if step.index % self._stride == 0]
        if not self.anything or not chosen:
            return
        times = times.at(np.array(chosen))
        observed = np.array([steps[i].observation for i in chosen])
        if self._model is not None:
            positions, turns = self._model.poses(observed)
            for index, body in enumerate(self._model.bodies):
                where = path(WORLD, "robot", body.name)
                self._recording.poses(where, times, positions[:, index], turns[:, index])
        for place in self._places:
            points = observed[:, place.start : place.start + 3] * place.factor
            self._recording.ball_at(path(WORLD, place.name), times, points)
        for push in self._pushes:
            origins = observed[:, push.at.start : push.at.start + 3] * push.at.factor
            limited = np.array([bool(steps[i].reason) for i in chosen])[:, None]
            for what, colour in (("requested", REQUESTED), ("applied", APPLIED)):
                values = np.array([getattr(steps[i], what) for i in chosen])
                vectors = values[:, push.start : push.start + 3] * push.factor * _ARROW
                shade = colour if what == "requested" else LIMITED
                colours = np.where(limited, shade, colour).astype(np.uint8)
                where = path(WORLD, "action", what, push.name)
                self._recording.arrows(where, times, origins, vectors, colours)

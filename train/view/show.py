"""A run shown: what its folder holds, and what comes while somebody looks.

Joins event files, the fleet and the inbox with a recording. It must not know networks, and loads
no torch.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fieldtune.export.bundle import Bundle, BundleError, read_bundle
from fieldtune.robot.policy.policy import Policy, PolicyError
from fieldtune.robot.view.belief_picture import BeliefPicture
from fieldtune.robot.view.belief_space import Space
from fieldtune.robot.view.beliefs import Beliefs
from fieldtune.robot.view.recording import SERIES, Recording, Times, moment, path
from fieldtune.train.bridge.fleet import Watcher
from fieldtune.train.view.event_files import EventFiles
from fieldtune.train.view.fleet_table import fleet_table
from fieldtune.train.view.layout import layout
from fieldtune.train.view.received import Arrivals, Received

log = logging.getLogger(__name__)

LOOK_S = 2.0
UPDATE = "update"
CLOUDS_AN_EPISODE = 3  # of many episodes, each a thousand points

SpaceOf = Callable[[Bundle], Space | None]


class RunPicture:
    """Draws a run's folder into a recording.

    Args:
        recording: to draw into.
        run: the folder.
        space: where a bundle's z are drawn; None for z's own space.
    """

    def __init__(self, recording: Recording, run: Path, space: SpaceOf) -> None:
        self._recording, self._run, self._space_of = recording, run, space
        self._events = EventFiles(run / "tensorboard")
        self._arrivals, self._watcher = Arrivals(run / "inbox"), Watcher(run)
        self._curves: dict[str, list[str]] = {}
        self._beliefs: dict[str, BeliefPicture] = {}
        self._shown: dict[str, tuple[int, str]] = {}
        self._policy: Policy | None = None
        self._bundle_id, self._trouble = "", ""
        self._states: dict[str, str | None] = {}
        self._steps: dict[str, int] = {}

    def look(self) -> int:
        """Draw what is new; how much that was."""
        changed = self._draw_curves()
        if changed:
            self._arrange()
        self._draw_fleet()
        self._take_bundle()
        count = 0
        for received in self._arrivals.look():
            self._draw_episode(received)
            count += 1
        return count + changed

    def _arrange(self) -> None:
        """Before what is new is drawn: much of it may follow."""
        self._recording.arrange(layout(self._curves, self._shown))

    def _draw_curves(self) -> bool:
        changed = False
        for points in self._events.look():
            where = path("curves", points.phase, points.name)
            names = self._curves.setdefault(points.phase, [])
            if points.name not in names:
                names.append(points.name)
                self._recording.series(where, points.name, SERIES[len(names) % len(SERIES)])
                changed = True
            times = Times(np.array(points.wall_ns), np.array(points.updates), UPDATE)
            self._recording.scalars(where, times, points.values)
        return changed

    def _take_bundle(self) -> None:
        place = self._run / "bundles" / "latest.bundle"
        if not place.exists():
            return
        try:
            bundle = read_bundle(place)
            if bundle.id == self._bundle_id:
                return
            self._policy, before = Policy(bundle), self._bundle_id
        except (BundleError, PolicyError, OSError) as error:
            if str(error) != self._trouble:
                log.warning("%s: %s", place, error)
            self._trouble = str(error)
            return
        self._bundle_id = bundle.id
        self._space = self._space_of(bundle)
        self._beliefs.clear()  # what robots did is read by what was learned since
        what = f"took the place of {before[:12]}" if before else "is the newest"
        when = moment(place.stat().st_mtime_ns)
        self._recording.event(when, f"bundle {bundle.id[:12]} {what}")

    def _draw_episode(self, received: Received) -> None:
        header, footer = received.news.entry.header, received.news.entry.footer
        assert footer is not None
        robot, when = received.robot, moment(received.wall_ns)
        text = (
            f"robot {robot}, episode {header.number}: {footer.end_reason}, {footer.steps} steps, "
            f"z from the {header.mode}, bundle {header.bundle_id[:12]}"
        )
        level = "ERROR" if footer.fault else "INFO"
        self._recording.event(when, f"{text}: {footer.fault}".removesuffix(": "), level)
        self._steps[robot] = self._steps.get(robot, 0) + footer.steps
        self._recording.scalars(path("robots", robot, "steps"), when, [self._steps[robot]])
        if self._policy is None:
            return
        picture = self._beliefs.get(robot)
        if picture is None:
            beliefs = Beliefs(self._policy)
            under = ("robots", robot)
            picture = BeliefPicture(
                self._recording, beliefs, self._space, under=under, clouds=CLOUDS_AN_EPISODE
            )
            self._beliefs[robot] = picture
            if self._shown.get(robot) != (picture.dimensions, picture.axes):
                self._shown[robot] = picture.dimensions, picture.axes
                self._arrange()
        period_ns = round(header.period_s * 1e9)
        began = received.wall_ns - period_ns * footer.steps

        def times(steps: Sequence[int]) -> Times:
            return Times(began + period_ns * np.asarray(steps, dtype=np.int64))

        picture.tell(received.news, times)

    def _draw_fleet(self) -> None:
        view, now = self._watcher.look(), moment(time.time_ns())
        self._recording.document("fleet", now, fleet_table(view))
        for line in view.robots:
            state = line.state if line.present else "silent"
            if self._states.get(line.robot, "") != state:
                level = "ERROR" if state == "fault" else "INFO"
                self._recording.event(now, f"robot {line.robot}: {state or 'connected'}", level)
            self._states[line.robot] = state


def show_run(picture: RunPicture, ended: threading.Event, *, once: bool) -> None:
    """Draw a run until `ended` is set, or all that is there now where `once`."""
    while picture.look() or not once:
        if ended.wait(0.0 if once else LOOK_S):
            return

"""The posterior followed while an episode runs, on a thread of its own; the loop only reads z.

Owns that thread. It must not know where rewards come from, drivers, or the loop.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fieldtune.robot.policy.evidence import Evidence, Transition, certainty
from fieldtune.robot.policy.policy import Policy
from fieldtune.robot.policy.posterior import Posterior
from fieldtune.robot.timing.realtime import prioritise

log = logging.getLogger(__name__)

Array = NDArray[np.float64]

LOOK_S = 0.02  # rewards also come between two transitions
AT_ONCE = 8  # inferences between two words: where each takes long, z still comes as they do
TELL_S = 1.0
PATIENCE_S = 10.0  # without progress, where no robot in motion waits for it


@dataclass(frozen=True)
class Followed:
    """What the follower knew at one moment: published as a whole, and read without a lock.

    The first `transitions` of the episode were weighed by then, `rewards` are those that counted.
    """

    z: Array
    posterior: Posterior
    transitions: int = 0
    rewards: Mapping[int, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return (
            f"step {self.transitions}: return {sum(self.rewards.values()):.2f} over "
            f"{len(self.rewards)} rewarded steps, {certainty(self.posterior)}"
        )


class Follower:
    """Follows the posterior through one episode. `now` is its latest word, for any thread;
    `complete` is how many transitions it was given; `trouble` says why there will be no further
    word, and is empty while there will be.

    Args:
        policy: whose graphs are asked, on the follower's thread.
        base: what is known before the episode.
        first_z: acted with until a reward says otherwise, `(latent,)`.
        so_far: the rewards known by now, by step (`fieldtune.robot.rewards.streams.LiveRewards`).
        priority: of the thread, where it is permitted: right below a loop in real time, so that
            no other program puts it aside while it holds the interpreter's lock.
        name: of the episode, for the log.
    """

    def __init__(
        self,
        policy: Policy,
        base: Posterior,
        first_z: Array,
        so_far: Callable[[], Mapping[int, float]],
        *,
        priority: int | None = None,
        name: str = "this episode",
    ) -> None:
        self.now = Followed(first_z, base)
        self.complete = 0
        self.trouble = ""
        self._evidence = Evidence(policy, base)
        self._base, self._first_z = base, first_z
        self.name = name
        self._so_far, self._priority = so_far, priority
        self._queue: queue.SimpleQueue[Transition | Mapping[int, float]] = queue.SimpleQueue()
        self._news, self._closing = threading.Event(), threading.Event()
        self._moves, self._settled = 0, False
        self._told_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)

    def start(self) -> Follower:
        self._thread.start()
        return self

    def put(self, observation: Array, action: Array, next_observation: Array) -> None:
        """One more transition is complete. For the loop: never waits."""
        self.complete += 1
        self._queue.put((observation, action, next_observation))

    def catch_up(self, stopped: Callable[[], object]) -> None:
        """Wait until every transition so far is heard: for a robot whose time stands still
        meanwhile.

        Args:
            stopped: asked every 20 ms; true ends the wait.
        """
        self._wait(lambda: self.now.transitions >= self.complete, stopped)

    def finish(
        self, rewards: Mapping[int, float], stopped: Callable[[], object]
    ) -> Posterior | None:
        """The episode is over, and these are its rewards: the posterior, or None with `trouble`.

        Args:
            rewards: by step.
            stopped: asked every 20 ms; true ends the wait.
        """
        self._queue.put(rewards)
        self._wait(lambda: self._settled or not self._thread.is_alive(), stopped)
        if not self._settled:  # whatever ended the thread, or this wait for it
            self._give_up("it ended before it had heard all rewards")
            return None
        return self.now.posterior

    def close(self) -> None:
        """No further word is wanted. Safe to call twice; a thread that hangs is left behind."""
        self._closing.set()

    def _wait(self, done: Callable[[], bool], stopped: Callable[[], object]) -> None:
        moves, since_s = self._moves, time.monotonic()
        while not (done() or self.trouble or stopped()):
            self._news.wait(LOOK_S)
            self._news.clear()
            if self._moves != moves:
                moves, since_s = self._moves, time.monotonic()
            elif time.monotonic() - since_s > PATIENCE_S:
                self._give_up(f"it has not answered for {PATIENCE_S:g} s")

    def _run(self) -> None:
        final: Mapping[int, float] | None = None
        try:
            prioritise(self._priority, contextlib.ExitStack())  # the thread's end takes it back
            while final is None and not (self.trouble or self._closing.is_set()):
                final = self._take(wait=self._evidence.weighed == self._evidence.transitions)
                if final is None:
                    self._evidence.heed(self._so_far(), self._moved, AT_ONCE)
                else:
                    self._evidence.heed(final, self._moved)
                    self._evidence.settle()
                self._publish()
                if final is None:  # the last word is told by who waits for it
                    self._tell()
            self._settled = final is not None and not self.trouble
            self._news.set()
        except BaseException as error:  # a plug-in's exit too: the robot goes on with its z
            self._give_up(f"{error.__class__.__name__}: {error}")

    def _take(self, *, wait: bool) -> Mapping[int, float] | None:
        """Hear what is there; return the final rewards once they are."""
        with contextlib.suppress(queue.Empty):
            item = self._queue.get(wait, LOOK_S)
            while isinstance(item, tuple):
                self._evidence.add(item)
                item = self._queue.get_nowait()
            return item
        return None

    def _publish(self) -> None:
        evidence = self._evidence
        if self.trouble or evidence.weighed < self.now.transitions:
            return  # given up meanwhile, or early rewards came or changed: not told by halves
        known = evidence.posterior
        z = self._first_z if known is self._base else known.likeliest
        self.now = Followed(z, known, evidence.weighed, evidence.rewards)
        self._moved()
        self._news.set()

    def _tell(self) -> None:
        if not self.trouble and time.monotonic() - self._told_s >= TELL_S:
            self._told_s = time.monotonic()
            log.info("%s, %s", self.name, self.now)

    def _moved(self) -> None:
        self._moves += 1

    def _give_up(self, why: str) -> None:
        if not self.trouble:
            self.trouble = f"the posterior is followed no further: {why}"
            log.error("%s: %s; z stays as it was", self.name, self.trouble)
        self._news.set()


class FollowedZ:
    """z for each step: the follower's, taken anew every so many. `lags` are how many transitions it
    had not weighed yet, each time.

    Args:
        follower: of the episode.
        every: how many steps one z is held.
        patient: wait for the follower first, for a robot whose time stands still meanwhile.
        stopped: ends such a wait.
    """

    def __init__(
        self, follower: Follower, every: int, *, patient: bool, stopped: Callable[[], object]
    ) -> None:
        self._follower, self._every = follower, every
        self._patient, self._stopped = patient, stopped
        self._held = follower.now.z
        self._steps = 0
        self.lags: list[int] = []

    def next(self) -> Array:
        """The z of the next step, `(latent,)`."""
        if self._steps % self._every == 0:
            if self._patient:
                self._follower.catch_up(self._stopped)
            now = self._follower.now
            self._held = now.z
            self.lags.append(self._follower.complete - now.transitions)
        self._steps += 1
        return self._held

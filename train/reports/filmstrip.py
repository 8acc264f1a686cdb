"""One held-out task in pictures: the single robot explores, infers the task, and does it.

The robot is the family's own reference environment, filmed while it runs the same trial as
everywhere else (`fieldtune.train.agent.trials`). Knows nothing of pages or runs.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.image import imsave
from numpy.typing import NDArray

from fieldtune.sim.family import Array, SingleRobot, TaskFamily
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.agent.actor import Acting, Adaptive
from fieldtune.train.agent.trials import adapt_to, explore, run_episodes
from fieldtune.train.device import random_state_kept

Image = NDArray[np.uint8]

WHEN = (0.0, 0.1, 0.25, 0.5, 1.0)  # shares of the horizon: what there is to see happens early


class NoPicture(Exception):
    """This machine cannot render. The message says why and what to install."""


@dataclass(frozen=True)
class Frame:
    """What the robot looked like after `step` steps; `reward` of the last, None at the start."""

    step: int
    reward: float | None
    image: Image


@dataclass(frozen=True)
class Film:
    """One episode: its return with true rewards, and a handful of frames."""

    episode_return: float
    frames: tuple[Frame, ...]


@dataclass(frozen=True)
class Adaptation:
    """A trial on one task: exploration with z from the prior, then mean actions given its context.

    `task` counts within the tasks that were offered.
    """

    task: int
    exploration: tuple[Film, ...]
    adapted: Film


def film(
    adaptive: Adaptive,
    family: TaskFamily,
    tasks: Array,
    *,
    exploration_episodes: int,
    exploring: Acting,
    seed: int,
    size: int = 240,
    posterior_sampling: bool = False,
) -> Adaptation:
    """Run the meta-test trial on one robot and keep frames `(size, size, 3)` of each episode.

    Args:
        tasks: `(task, parameter)`; the one that shows best is filmed, the first if none shows.
        seed: of start states, z and actions; torch's own random state is left as it was.
        posterior_sampling: whether exploration draws by what its earlier episodes said.

    Raises:
        NoPicture: before any exploration, if this machine cannot render.
    """
    robot = family.single_robot()
    sampled = max(0, exploration_episodes - 1) if posterior_sampling else 0
    try:
        set_up = FilmedRobot(robot, size, {round(share * family.horizon) for share in WHEN})
        chosen = _clearest(set_up, tasks)
        task = tasks[chosen : chosen + 1]
        with random_state_kept():
            torch.manual_seed(seed)
            rng = np.random.default_rng(seed)
            trial = explore(
                adaptive,
                family,
                set_up,
                task,
                rng,
                prior_episodes=exploration_episodes - sampled,
                posterior_episodes=sampled,
                acting=exploring,
            )[0]
            (episode,) = run_episodes(
                adapt_to(adaptive, [trial]),
                family,
                set_up,
                rng.integers(2**31, size=1),
                task,
            )
    finally:
        robot.close()
    *explored, adapted = (
        _developed(episode, images)
        for episode, images in zip([*trial, episode], set_up.reels, strict=True)
    )
    return Adaptation(chosen, tuple(explored), adapted)


def strip(film: Film, gap: int = 6) -> Image:
    """A film's frames side by side, `gap` white pixels between."""
    images = [frame.image for frame in film.frames]
    blank = np.full((images[0].shape[0], gap, 3), 255, dtype=np.uint8)
    pieces = [piece for image in images for piece in (blank, image)][1:]
    return np.concatenate(pieces, axis=1)


def png(image: Image) -> bytes:
    """`image` as a PNG file."""
    buffer = io.BytesIO()
    imsave(buffer, image, format="png")
    return buffer.getvalue()


class FilmedRobot:
    """A `BatchSimulator` of one robot that keeps an image at each of `steps`, reel by episode.

    Args:
        robot: what is filmed.
        size: of the images, `(size, size, 3)`.
        steps: at which there is one; where an episode ends early, there is one of its end.
    """

    n_envs = 1

    def __init__(self, robot: SingleRobot, size: int, steps: set[int]) -> None:
        self._robot, self._size, self._steps = robot, size, steps
        self._now = 0
        self.reels: list[dict[int, Image]] = []

    def reset(self, seeds: NDArray[np.int64], tasks: Array) -> Array:
        observation = self._robot.reset(int(seeds[0]), tasks[0])
        self.reels.append({})
        self._now = 0
        self._shoot()
        return observation[None]

    def step(self, actions: Array) -> tuple[Array, NDArray[np.bool_]]:
        observation, terminated = self._robot.step(actions[0])
        self._now += 1
        if terminated or self._now in self._steps:
            self._shoot()
        return observation[None], np.array([terminated])

    def signals(self) -> Array:
        return self._robot.signals()[None]

    def close(self) -> None:
        self._robot.close()

    def _shoot(self) -> None:
        try:
            self.reels[-1][self._now] = self._robot.render(self._size, self._size).copy()
        except (
            RuntimeError
        ) as error:  # what `fieldtune.sim.physics.rendering` raises without a graphics context
            raise NoPicture(str(error)) from error


def _clearest(set_up: FilmedRobot, tasks: Array) -> int:
    """The task of which most pixels can be seen at the start, behind or before the robot.

    From one start state the frames differ only in what the task adds to the scene, so that is where
    a frame differs from the median of all.
    """
    for task in tasks:
        set_up.reset(np.zeros(1, dtype=np.int64), task[None])
    frames = np.stack([reel[0] for reel in set_up.reels]).astype(np.int16)
    set_up.reels.clear()
    changed = np.abs(frames - np.median(frames, axis=0)).max(axis=-1) > 30
    return int(changed.sum(axis=(1, 2)).argmax())


def _developed(episode: LabelledEpisode, images: dict[int, Image]) -> Film:
    frames = (
        Frame(step, float(episode.rewards[step - 1]) if step else None, image)
        for step, image in images.items()
    )
    return Film(float(episode.rewards.sum()), tuple(frames))

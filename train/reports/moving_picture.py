"""A moving picture of one robot on one task: before it knows anything, exploring, adapted.

The robot is the family's own reference environment. Knows trials and images; no runs, no files.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from fieldtune.sim.family import Array, TaskFamily
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.agent.actor import Acting, Adaptive
from fieldtune.train.agent.trials import adapt_to, explore, run_episodes
from fieldtune.train.charts import AFTER, BEFORE, INK, MUTED, OFFLINE, SURFACE, number
from fieldtune.train.device import random_state_kept
from fieldtune.train.reports.filmstrip import FilmedRobot, Image

FORMATS: Final = {".gif": "GIF", ".webp": "WEBP"}
COLOURS_OF_A_GIF = 128
STILL_S = 1.2  # how long an episode's end stands
BAR = 0.16  # of the picture's height, for what is said


@dataclass(frozen=True)
class Shot:
    """One episode on film.

    Attributes:
        title: what the robot is doing, for people.
        colour: of the title.
        images: by the step after which each was taken; the start is 0.
        rewards: of each step, `(T,)`.
        success_reward: the family's; None where it has no success.
    """

    title: str
    colour: str
    images: dict[int, Image]
    rewards: Array
    success_reward: float | None

    def there(self, step: int) -> bool:
        """Whether it was in a state of success after so many steps."""
        least = self.success_reward
        return bool(step and least is not None and self.rewards[step - 1] >= least)

    def said(self, step: int) -> str:
        """What there is to say after so many steps."""
        if self.success_reward is None:
            return f"return {number(self.rewards[:step].sum())}"
        if step < len(self.rewards):
            return "there" if self.there(step) else "not yet"
        return "success" if self.there(step) else "failed"


def shoot(
    adaptive: Adaptive,
    family: TaskFamily,
    task: Array,
    *,
    exploration_episodes: int,
    posterior_sampling: bool,
    exploring: Acting,
    seed: int,
    every: int,
    size: int,
    progress: Callable[[int, int], object] = lambda *_: None,
) -> list[Shot]:
    """Film the episode before anything is known, those that explore, and the adapted one.

    Args:
        task: `(parameter,)`.
        posterior_sampling: whether each exploration episode follows what those before it said, as
            by likelihood; else z is drawn from the prior.
        exploring: how actions are drawn then; before and after, the mean action.
        seed: of start states, z and actions; torch's own random state is left as it was.
        every: so many steps there is an image `(size, size, 3)`.
        progress: told episodes done and in all.

    Raises:
        NoPicture: before any episode, if this machine cannot render.
    """
    tasks, count = task[None], exploration_episodes + 2
    steps = {*range(0, family.horizon, every), family.horizon}
    robot = family.single_robot()
    shots: list[Shot] = []
    try:
        set_up = FilmedRobot(robot, size, steps)

        def keep(title: str, colour: str, episode: LabelledEpisode) -> None:
            reel = set_up.reels[len(shots)]
            shots.append(Shot(title, colour, reel, episode.rewards, family.success_reward))
            progress(len(shots), count)

        def act(context: list[LabelledEpisode]) -> LabelledEpisode:
            actor = adapt_to(adaptive, [context])
            (episode,) = run_episodes(actor, family, set_up, rng.integers(2**31, size=1), tasks)
            return episode

        with random_state_kept():
            torch.manual_seed(seed)
            rng = np.random.default_rng(seed)
            keep("before: it knows nothing of the task", BEFORE, act([]))
            (trial,) = explore(
                adaptive,
                family,
                set_up,
                tasks,
                rng,
                prior_episodes=0 if posterior_sampling else exploration_episodes,
                posterior_episodes=exploration_episodes if posterior_sampling else 0,
                acting=exploring,
            )
            for index, episode in enumerate(trial, start=1):
                keep(f"exploring, {index} of {len(trial)}", OFFLINE, episode)
            keep("adapted", AFTER, act(trial))
    finally:
        robot.close()
    return shots


def animated(shots: list[Shot], period_s: float, suffix: str) -> bytes:
    """The shots one after another at the robot's own pace, as one file that repeats for ever.

    Args:
        period_s: of a control step.
        suffix: `.gif`, or `.webp`, a third as large.
    """
    frames, durations = [], []
    for shot in shots:
        steps = sorted(shot.images)
        shown = [step for step in steps if step <= len(shot.rewards)]
        for step, following in zip(shown, [*shown[1:], None], strict=True):
            frames.append(_titled(shot, step))
            lasts = STILL_S if following is None else (following - step) * period_s
            durations.append(round(1000 * lasts))
    if suffix == ".gif":
        frames = [frame.quantize(COLOURS_OF_A_GIF, dither=Pillow.Dither.NONE) for frame in frames]
    buffer = io.BytesIO()
    frames[0].save(
        buffer,
        format=FORMATS[suffix],
        save_all=True,
        append_images=frames[1:],
        duration=durations,
        loop=0,
        **({"optimize": True} if suffix == ".gif" else {"quality": 75, "method": 4}),
    )
    return buffer.getvalue()


def _titled(shot: Shot, step: int) -> Pillow.Image:
    """The image below what is going on, and what came of it so far."""
    picture = Pillow.fromarray(shot.images[step])
    width, bar = picture.width, round(BAR * picture.height)
    whole = Pillow.new("RGB", (width, picture.height + bar), SURFACE)
    whole.paste(picture, (0, bar))
    draw = ImageDraw.Draw(whole)
    font = ImageFont.load_default(size=max(9, round(0.34 * bar)))
    margin = round(0.1 * bar)
    draw.text((margin, margin), shot.title, fill=shot.colour, font=font)
    ended = shot.success_reward is not None and step == len(shot.rewards)
    colour = MUTED if not ended else AFTER if shot.there(step) else INK
    draw.text((margin, bar // 2), shot.said(step), fill=colour, font=font)
    return whole

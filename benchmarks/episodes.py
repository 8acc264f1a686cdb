"""Episodes like those of real families, for what stores and carries them.

Knows the episode contract; not who stores or carries.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fieldtune.robot.episodes import codec
from fieldtune.robot.episodes.episode import EndReason, EpisodeFooter, EpisodeHeader, Mode, Step
from fieldtune.robot.journal.journal import Journal


@dataclass(frozen=True)
class Size:
    """How much of an episode there is. `name` says whose it is."""

    name: str
    steps: int
    observation: int
    action: int


REACH = Size("reach", 50, 20, 3)
CHEETAH = Size("cheetah-vel", 200, 20, 6)
HUMANOID = Size("humanoid-dir", 200, 376, 17)
LATENT = 5


def header(size: Size, number: int, robot: str = "benchmark") -> EpisodeHeader:
    """Of episode `number`."""
    return EpisodeHeader(
        robot=robot,
        family=size.name,
        boot_session="benchmark",
        number=number,
        trial=number,
        bundle_id="b" * 64,
        mode=Mode.PRIOR,
        seed=0,
        started_ns=number * 1_000_000_000,
        period_s=0.05,
    )


def steps(size: Size, seed: int) -> list[Step]:
    """`size.steps` of them, random numbers."""
    rng = np.random.default_rng(seed)
    observations = rng.standard_normal((size.steps, size.observation)).tolist()
    actions = rng.uniform(-1, 1, (size.steps, size.action)).tolist()
    z = rng.standard_normal(LATENT).tolist()
    return [
        Step(
            index=index,
            sense_ns=50_000_000 * index,
            observation=observation,
            observation_age_ns=120_000,
            requested=action,
            applied=action,
            reason="",
            z=z,
            infer_ns=16_000,
            apply_ns=30_000,
            overrun=False,
        )
        for index, (observation, action) in enumerate(zip(observations, actions, strict=True))
    ]


def footer(size: Size) -> EpisodeFooter:
    return EpisodeFooter(
        end_reason=EndReason.HORIZON,
        steps=size.steps,
        final_observation=[0.0] * size.observation,
    )


def records(size: Size, seed: int) -> list[bytes]:
    """The packed steps."""
    return [codec.pack(step) for step in steps(size, seed)]


def fill(journal: Journal, size: Size, count: int, robot: str = "benchmark") -> list[str]:
    """Add `count` finished episodes in one transaction; return their content addresses.

    They differ in their headers only: making random numbers is not what is timed.
    """
    packed = records(size, 0)
    found = []
    with journal.transaction():
        first = journal.next_number()
        for number in range(first, first + count):
            journal.begin(header(size, number, robot))
            journal.add(number, *packed)
            found.append(journal.finish(number, footer(size)))
    return found

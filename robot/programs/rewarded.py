"""The rewards of an episode that has ended: asked for, checked, and into the journal.

It must not know who gives them, nor what they are used for.
"""

from __future__ import annotations

import logging

from fieldtune.robot.programs.session import Attempt, RobotSession
from fieldtune.robot.rewards.streams import RewardStream

log = logging.getLogger(__name__)

MOST_REWARD = 1e30  # graphs are float32; no number is no more than anything


def gather(robot: RobotSession, stream: RewardStream, attempt: Attempt) -> dict[int, float]:
    """The episode's rewards by step, in the journal too; what a source says of no step, or is no
    number, is left out and told."""
    said = stream.collect(lambda: not robot.may_go_on())
    rewards = {
        step: reward
        for step, reward in said.items()
        if 0 <= step < attempt.steps and abs(reward) <= MOST_REWARD
    }
    if len(rewards) < len(said):
        left = [step for step in said if step not in rewards]
        log.warning(
            "episode %d: %d rewards of %s are left out: step %d has %s, expected steps 0 to %d "
            "and numbers",
            attempt.number,
            len(left),
            stream.source,
            left[0],
            said[left[0]],
            attempt.steps - 1,
        )
    robot.recorder.reward(attempt.number, rewards, stream.source)
    log.info(
        "episode %d: %d of %d steps rewarded by %s, %.2f in all",
        attempt.number,
        len(rewards),
        attempt.steps,
        stream.source,
        sum(rewards.values()),
    )
    return rewards

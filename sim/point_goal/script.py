"""Scripted data for `point-goal`: most of it at the own goal, some at another's, some nowhere.

Knows what an observation and a task are here; how episodes are made is
`fieldtune.sim.noisy_script`'s.
"""

from __future__ import annotations

from fieldtune.sim.family import Array
from fieldtune.sim.noisy_script import NoisyScript


def towards(observation: Array, task: Array) -> Array:
    """Straight to the goal, and there in one step where that is far enough; `(env, 2)`."""
    return task - observation


SCRIPT = NoisyScript(towards)

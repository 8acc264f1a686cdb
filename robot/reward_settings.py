"""The `robot.rewards` section: who says what a transition was worth, when the robot adapts.

Holds the schema and its defaults. It must not know how rewards are gathered.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from fieldtune.config_paths import FolderOf
from fieldtune.robot.reward_source import RewardSourceName

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Key = Annotated[str, Field(min_length=1, max_length=1)]


class RewardsConfig(BaseModel):
    """Where rewards come from, and what happens to those that come late or not at all.

    `keys` says what each key is worth. `command` is a program and its arguments, one text each; it
    runs in `folder`, that of the file which names the command where not given.

    A key press, or a number without a step, rewards the transition under way `delay_s` before it
    came. After an episode's end `patience_s` is given for late ones; later ones are dropped. With
    `sticky` a reward goes on for the transitions after it, until the next one. What then has no
    reward does not join the context.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: RewardSourceName = RewardSourceName.DRIVER
    keys: dict[Key, FiniteFloat] = {}
    command: tuple[str, ...] = ()
    folder: Annotated[Path, FolderOf("command")] = Path()
    delay_s: Seconds = 0.0
    patience_s: Seconds = 2.0
    sticky: bool = False

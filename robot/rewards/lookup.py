"""The stream of rewards that the settings ask for, found by its name. Knows none from inside.

A source of rewards is a plug-in of the group `fieldtune.rewards` (`fieldtune.plugins`): whatever,
called with the settings and the driver, gives a `fieldtune.robot.rewards.streams.RewardStream`.
"""

from __future__ import annotations

from fieldtune import plugins
from fieldtune.robot.config import RewardsConfig
from fieldtune.robot.drivers.driver import Driver
from fieldtune.robot.rewards.streams import RewardStream


def reward_stream(settings: RewardsConfig, driver: Driver) -> RewardStream:
    """The stream, closed.

    Raises:
        NoRewards: these settings or this driver give none.
        PluginError: another package's source cannot be loaded.
    """
    stream: RewardStream = plugins.load("fieldtune.rewards", settings.source)(settings, driver)
    return stream

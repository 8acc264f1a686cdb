"""Which stream of rewards the settings ask for. Joins all of them; knows none from inside."""

from __future__ import annotations

from fieldtune.robot.drivers.driver import Driver
from fieldtune.robot.reward_settings import RewardsConfig
from fieldtune.robot.reward_source import RewardSourceName
from fieldtune.robot.rewards.command import CommandRewards
from fieldtune.robot.rewards.driver import DriverRewards, RewardSource
from fieldtune.robot.rewards.keyboard import KeyRewards
from fieldtune.robot.rewards.streams import NoRewards, RewardStream


def reward_stream(settings: RewardsConfig, driver: Driver) -> RewardStream:
    """The stream, closed. Raises `NoRewards` where these settings or this driver give none."""
    if settings.source is RewardSourceName.KEYS:
        return KeyRewards(settings)
    if settings.source is RewardSourceName.COMMAND:
        return CommandRewards(settings)
    if isinstance(driver, RewardSource):
        return DriverRewards(driver)
    raise NoRewards(
        f"driver of {driver.robot!r} measures no rewards, and adapting needs them: let a person "
        "give them (robot.rewards.source=keys), or a program (robot.rewards.source=command); or "
        "explore without rewards with `fieldtune-robot run`"
    )

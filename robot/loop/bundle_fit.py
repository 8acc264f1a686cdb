"""Whether a bundle is one for this robot, and which is the newest in its state folder.

Knows what driver, config and manifest say of themselves. It must not know what a bundle does, nor
whether it stood its trial.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fieldtune.errors import UserError
from fieldtune.export.bundle import BundleError, BundleMismatch, check_compatible
from fieldtune.export.manifest import Manifest
from fieldtune.robot.bundles.store import stored_bundles
from fieldtune.robot.config import RobotConfig
from fieldtune.robot.drivers.driver import Driver
from fieldtune.robot.policy.policy import PolicyError
from fieldtune.robot.safety.build import LimitsError, build_limits
from fieldtune.robot.safety.fault import Implausible
from fieldtune.robot.safety.limits import Limits


class BundleRefused(UserError):
    """A bundle that this robot will not run. The message names the bundle and why."""


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn what is wrong with a bundle, raised inside, into `BundleRefused` with its name."""
    try:
        yield
    except (BundleError, LimitsError, PolicyError, Implausible) as error:
        raise BundleRefused(f"bundle {path.name} refused: {error}") from error
    except MemoryError as error:
        raise BundleRefused(f"bundle {path.name} refused: there is no memory for it") from error


def newest_bundle(config: RobotConfig) -> Path:
    """The newest bundle file in the state folder. Raises `BundleRefused` when there is none."""
    found = stored_bundles(config.bundles)
    if not found:
        bridge = "" if config.bridge else "set robot.bridge to the trainer's address and "
        raise BundleRefused(
            f"no bundle to run in {config.bundles}: put one there, give --bundle, or {bridge}"
            "`run`, which gets one from the trainer; `check --connect` tries the robot without any"
        )
    return found[0]


def fit(manifest: Manifest, config: RobotConfig, driver: Driver) -> Limits:
    """The robot's limits under a bundle.

    Args:
        manifest: the bundle's.
        config: whose family and limits hold.
        driver: the robot, connected or not.

    Raises:
        BundleMismatch: the two do not belong together.
        LimitsError: there are no such limits.
    """
    if manifest.family != config.family:
        raise BundleMismatch(
            f"it is for the task family {manifest.family!r}, this robot serves "
            f"{config.family!r}: export for this family or change robot.family"
        )
    check_compatible(
        manifest,
        robot=driver.robot,
        observation_fields=driver.observation_fields,
        action_fields=driver.action_fields,
        period_s=driver.period_s,
    )
    return build_limits(
        config.limits,
        observation_fields=driver.observation_fields,
        robot_action_fields=driver.action_fields,
        policy_action_fields=manifest.action_fields,
        period_s=driver.period_s,
        observation_seen=manifest.observation_seen,
    )

"""LeRobot's own SO-101 follower with a motor bus that is memory; run in LeRobot's environment.

Everything but the bus is LeRobot's: how it connects, what it senses, how it clips a goal.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from lerobot.robots import Robot, RobotConfig
from lerobot.robots.so_follower.config_so_follower import SOFollowerRobotConfig
from lerobot.robots.so_follower.so_follower import SOFollower

MOTORS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")


@RobotConfig.register_subclass("mock_arm")
@dataclass(kw_only=True)
class MockArmConfig(SOFollowerRobotConfig):
    port: str = "memory"


class Memory:
    """A bus whose motors are wherever they were last sent. Offers what `SOFollower` calls."""

    is_calibrated = True

    def __init__(self) -> None:
        self.motors = dict.fromkeys(MOTORS)
        self.is_connected = False
        self._positions = dict.fromkeys(MOTORS, 0.0)

    def connect(self) -> None:
        self.is_connected = True

    def disconnect(self, disable_torque: bool) -> None:  # noqa: ARG002
        self.is_connected = False

    def torque_disabled(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def configure_motors(self) -> None:
        pass

    def write(self, name: str, motor: str, value: int) -> None:
        pass

    def sync_read(self, name: str, **_: int) -> dict[str, float]:
        assert name == "Present_Position"
        return dict(self._positions)

    def sync_write(self, name: str, values: dict[str, float]) -> None:
        assert name == "Goal_Position"
        self._positions.update(values)


class MockArm(SOFollower):
    config_class = MockArmConfig
    name = "mock_arm"

    def __init__(self, config: MockArmConfig) -> None:
        Robot.__init__(self, config)
        self.config = config
        self.bus = Memory()
        self.cameras = {}

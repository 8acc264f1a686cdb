"""The driver: the one short interface between fieldtune's control loop and this robot.

fieldtune's docs/drivers.md says what a driver may do and what becomes of its mistakes. Every call
returns within a control period, or raises.
"""

import time

import numpy as np
from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.drivers.driver import DriverFault, Observation
from pydantic import BaseModel, ConfigDict, Field

from rover_velocity.pretend_rover import PretendRover
from rover_velocity.wheels import FASTEST, wheels_for

CLOSE = 0.05  # rad: turned
HOME_TIMEOUT_S = 30.0


def bounded(name, unit, width, most):
    return FieldSpec(name=name, unit=unit, low=(-most,) * width, high=(most,) * width)


class Options(BaseModel):
    """The keys of `robot.driver` beside `name`; a key that is not here is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    port: str = "pretend"  # where the motor controller is: /dev/ttyACM0 ...
    turning: float = Field(default=2.0, gt=0, le=3.0)  # rad/s, while homing


class RoverVelocityDriver:
    """Implements `fieldtune.robot.drivers.driver.Driver`."""

    Options = Options

    # Those of the family that the bundle was trained for: a bundle of another is refused.
    robot = "rover"
    period_s = 0.05
    time_scale = 1.0  # of all real hardware
    observation_fields = (
        bounded("heading", "1", 2, 1.0),
        bounded("velocity", "m/s", 2, 1.5),
        bounded("turning", "rad/s", 1, 10.0),
        bounded("wheel_speed", "rad/s", 2, 20.0),
    )
    action_fields = (bounded("wheel_speed_command", "rad/s", 2, FASTEST),)

    def __init__(self, family: str, options: Options):
        """Nothing is opened here."""
        self._options = options
        self._base: PretendRover | None = None

    def connect(self):
        """Open the hardware. What goes wrong is a `DriverFault` that says what to do."""
        if self._options.port != "pretend":
            raise DriverFault(
                f"robot.driver.port is {self._options.port!r}: this example only has the rover "
                "'pretend'; open yours here"
            )
        self._base = PretendRover()

    def home(self, seed: int):
        """Turn on the spot to one of all headings, which `seed` chooses: the floor is wide.

        An emergency stop leaves it by an exception that is no `Exception`: let it through.
        """
        base = self._connected()
        goal = np.random.default_rng(seed).uniform(-np.pi, np.pi)
        most, deadline = self._options.turning, time.monotonic() + HOME_TIMEOUT_S
        try:
            while abs(gap := _short_way(goal - base.state()[0])) > CLOSE:
                if time.monotonic() > deadline:
                    raise DriverFault(
                        f"homing took more than {HOME_TIMEOUT_S} s, {gap:.2f} rad are left: free "
                        "the rover, or raise robot.driver.turning"
                    )
                base.command(wheels_for(0.0, np.clip(3.0 * gap, -most, most)))
                time.sleep(0.01)
            base.stop()
            while np.abs(base.state()[1]).max() > 0.05:
                time.sleep(0.01)
        finally:
            base.stop()

    def read(self) -> Observation:
        """What was sensed last, and *when it was sensed*; never waits for newer."""
        heading, wheels, forward, turning, sensed_ns = self._connected().state()
        ahead = np.array([np.cos(heading), np.sin(heading)])
        values = np.concatenate([ahead, forward * ahead, [turning], wheels])
        return Observation(values, sensed_ns)

    def apply(self, action):
        """Command one action, and return what the hardware really got."""
        return self._connected().command(action)

    def hold(self):
        """Stop where it is. What it raises is a fault of its own: the robot may still move."""
        self._connected().stop()

    def close(self):
        """Hold, then release. May be called twice."""
        if self._base is not None:
            self._base.stop()
            self._base = None

    def _connected(self) -> PretendRover:
        if self._base is None:
            raise DriverFault("the rover is not connected: call connect() first")
        return self._base


def _short_way(angle):
    """The same turn in rad within ±π."""
    return (angle + np.pi) % (2.0 * np.pi) - np.pi

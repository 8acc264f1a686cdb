"""The driver: the one short interface between fieldtune's control loop and this robot.

fieldtune's docs/drivers.md says what a driver may do and what becomes of its mistakes. Every call
returns within a control period, or raises.
"""

import time

import numpy as np
from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.drivers.driver import DriverFault, Observation
from pydantic import BaseModel, ConfigDict, Field

from ur5e_reach.kinematics import HOME, tip, tip_and_jacobian
from ur5e_reach.pretend_arm import FASTEST, PretendArm

START_NOISE = 0.05  # rad: where episodes start, about HOME
CLOSE = 0.005  # rad: homed
HOME_TIMEOUT_S = 30.0
FLOOR, SLOWING_S = 0.04, 0.2  # m over the table; towards it no faster than what is left in this


def bounded(name, unit, width, most):
    return FieldSpec(name=name, unit=unit, low=(-most,) * width, high=(most,) * width)


class Options(BaseModel):
    """The keys of `robot.driver` beside `name`; a key that is not here is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    host: str = "pretend"  # the arm's address
    home_speed: float = Field(default=0.8, gt=0, le=FASTEST)  # rad/s


class Ur5eReachDriver:
    """Implements `fieldtune.robot.drivers.driver.Driver`."""

    Options = Options

    # Those of the family that the bundle was trained for: a bundle of another is refused.
    robot = "ur5e"
    period_s = 0.05
    time_scale = 1.0  # of all real hardware
    observation_fields = (
        bounded("joint_position", "rad", 6, 6.3),
        bounded("joint_velocity", "rad/s", 6, 3.2),
        bounded("tip_position", "m", 3, 1.2),
    )
    action_fields = (bounded("joint_velocity_command", "rad/s", 6, 1.0),)

    def __init__(self, family: str, options: Options):
        """Nothing is opened here."""
        self._options = options
        self._arm: PretendArm | None = None

    def connect(self):
        """Open the hardware. What goes wrong is a `DriverFault` that says what to do."""
        if self._options.host != "pretend":
            raise DriverFault(
                f"robot.driver.host is {self._options.host!r}: this example only has the arm "
                "'pretend'; pretend_arm.py says how to open yours here"
            )
        self._arm = PretendArm()

    def home(self, seed: int):
        """To the start of an episode, slowly; `seed` chooses among starts.

        An emergency stop leaves it by an exception that is no `Exception`: let it through.
        """
        arm = self._connected()
        goal = HOME + np.random.default_rng(seed).uniform(-START_NOISE, START_NOISE, 6)
        speed, deadline = self._options.home_speed, time.monotonic() + HOME_TIMEOUT_S
        try:
            while np.abs(gap := goal - arm.state()[0]).max() > CLOSE:
                if time.monotonic() > deadline:
                    raise DriverFault(
                        f"homing took more than {HOME_TIMEOUT_S} s, {gap} rad are left: free the "
                        "arm, or raise robot.driver.home_speed"
                    )
                arm.command(np.clip(4.0 * gap, -speed, speed))
                time.sleep(0.01)
            arm.stop()
            while np.abs(arm.state()[1]).max() > 1e-3:
                time.sleep(0.01)
        finally:
            arm.stop()

    def read(self) -> Observation:
        """What was sensed last, and *when it was sensed*; never waits for newer."""
        position, velocity, sensed_ns = self._connected().state()
        return Observation(np.concatenate([position, velocity, tip(position)]), sensed_ns)

    def apply(self, action):
        """Command one action, and return what the hardware really got."""
        arm = self._connected()
        return arm.command(above_the_floor(arm.state()[0], action))

    def hold(self):
        """Stop where it is. What it raises is a fault of its own: the robot may still move."""
        self._connected().stop()

    def close(self):
        """Hold, then release. May be called twice."""
        if self._arm is not None:
            self._arm.close()
            self._arm = None

    def _connected(self) -> PretendArm:
        if self._arm is None:
            raise DriverFault("the arm is not connected: call connect() first")
        return self._arm


def above_the_floor(position, velocity):
    """Joint velocities in rad/s, those asked for but for what would bring the tip down too fast.

    A policy knows nothing of tables. What a limit in robot.yaml cannot say, since it is about the
    tip and commands are about joints, a driver can: the loop records what it returns.
    """
    reached, jacobian = tip_and_jacobian(position)
    rise = jacobian[2]  # m/s of the tip, upwards, by rad/s of each joint
    too_fast = (FLOOR - reached[2]) / SLOWING_S - rise @ velocity
    return velocity if too_fast <= 0.0 else velocity + rise * too_fast / (rise @ rise)

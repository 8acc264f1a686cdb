"""The driver: the one short interface between fieldtune's control loop and this bench.

fieldtune's docs/drivers.md says what a driver may do and what becomes of its mistakes. Every call
returns within a control period, or raises.
"""

import time

import numpy as np
from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.drivers.driver import DriverFault, Observation
from pydantic import BaseModel, ConfigDict, Field

from bench_logs.pretend_bench import FASTEST, PretendBench

START = 0.02  # m: where episodes start, within START_NOISE
START_NOISE = 0.01
CLOSE = 5e-4  # m: homed
HOME_TIMEOUT_S = 30.0
SCALE = 50.0  # N: a reward of -1 is so much too much or too little


class Options(BaseModel):
    """The keys of `robot.driver` beside `name`; a key that is not here is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    port: str = "pretend"  # where the bench is: /dev/ttyUSB0 ...
    home_speed: float = Field(default=0.03, gt=0, le=FASTEST)  # m/s
    wanted_force: float | None = Field(default=None, ge=0)  # N: what the bench's own test asks for


class BenchLogsDriver:
    """Implements `fieldtune.robot.drivers.driver.Driver`."""

    Options = Options

    # Those of bench-logs.yaml: a bundle of another family is refused.
    robot = "bench"
    period_s = 0.1
    time_scale = 1.0  # of all real hardware
    observation_fields = (
        FieldSpec(name="position", unit="m", low=(0.0,), high=(0.1,)),
        FieldSpec(name="force", unit="N", low=(-5.0,), high=(130.0,)),
    )
    action_fields = (
        FieldSpec(name="velocity_command", unit="m/s", low=(-FASTEST,), high=(FASTEST,)),
    )

    def __init__(self, family: str, options: Options):
        """Nothing is opened here."""
        self._options = options
        self._bench: PretendBench | None = None

    def connect(self):
        """Open the hardware. What goes wrong is a `DriverFault` that says what to do."""
        if self._options.port != "pretend":
            raise DriverFault(
                f"robot.driver.port is {self._options.port!r}: this example only has the bench "
                "'pretend'; open yours here"
            )
        self._bench = PretendBench()

    def home(self, seed: int):
        """To the start of an episode, slowly; `seed` chooses among starts.

        An emergency stop leaves it by an exception that is no `Exception`: let it through.
        """
        bench = self._connected()
        goal = START + np.random.default_rng(seed).uniform(-START_NOISE, START_NOISE)
        speed, deadline = self._options.home_speed, time.monotonic() + HOME_TIMEOUT_S
        try:
            while abs(gap := goal - bench.state()[0]) > CLOSE:
                if time.monotonic() > deadline:
                    raise DriverFault(
                        f"homing took more than {HOME_TIMEOUT_S} s, {1000 * gap:.1f} mm are left: "
                        "free the carriage, or raise robot.driver.home_speed"
                    )
                bench.command(np.clip(4.0 * gap, -speed, speed))
                time.sleep(0.01)
        finally:
            bench.stop()

    def read(self) -> Observation:
        """What was sensed last, and *when it was sensed*; never waits for newer."""
        position, force, sensed_ns = self._connected().state()
        return Observation(np.array([position, force]), sensed_ns)

    def apply(self, action):
        """Command one action, and return what the hardware really got."""
        return np.array([self._connected().command(action[0])])

    def hold(self):
        """Stop where it is. What it raises is a fault of its own: the robot may still move."""
        self._connected().stop()

    def close(self):
        """Hold, then release. May be called twice."""
        if self._bench is not None:
            self._bench.stop()
            self._bench = None

    def reward(self, observation, action, next_observation):
        """What the bench's own test says of a step, where it runs one: how far the force is off.
        `fieldtune-robot adapt` asks for it, and nobody else."""
        wanted = self._options.wanted_force
        return float("nan") if wanted is None else -abs(next_observation[1] - wanted) / SCALE

    def _connected(self) -> PretendBench:
        if self._bench is None:
            raise DriverFault("the bench is not connected: call connect() first")
        return self._bench

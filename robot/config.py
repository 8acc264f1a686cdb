"""The `robot:` section of a run's YAML: what a person may set about one robot.

Holds the schema and its defaults. It must not know how any of it is carried out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    JsonValue,
    NonNegativeInt,
    PositiveInt,
    field_validator,
    model_validator,
)
from typing_extensions import Self

from fieldtune import plugins
from fieldtune.config_paths import FolderOf, PathText
from fieldtune.str_enum import StrEnum

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Key = Annotated[str, Field(min_length=1, max_length=1)]
LATE_FRACTION = 0.2


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ZHold(StrEnum):
    """How long one draw of z lasts."""

    EPISODE = "episode"
    STEP = "step"


class DriverConfig(BaseModel):
    """Which driver, by its `name`, and that driver's own keys beside it (docs/drivers.md)."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = "sim"

    @property
    def options(self) -> dict[str, Any]:
        """Every key but `name`, for the driver to check."""
        return dict(self.model_extra or {})

    @model_validator(mode="after")
    def _knows_no_model(self) -> Self:
        """Runs made before `robot.model` would train for another robot if it were passed over."""
        if self.name == "sim" and "model" in self.options:
            raise ValueError(
                "which robot it is, is no key of the driver's: write 'robot.model' in the place of "
                "'robot.driver.model', also in the config.yaml of a run from before"
            )
        return self


class ExplorationConfig(_Section):
    """One trial: `prior_episodes` with z from the prior, then `posterior_episodes` with z from the
    posterior.

    A draw of z lasts `z_hold`: an `episode`, a `step`, or so many steps. Actions are drawn with
    `action_noise` times the policy's own spread: at 0 they are its mean, and what one episode tries
    that another does not comes from z alone.

    `follow_rewards` is for episodes that explore with rewards (`adapt`, and where adaptation is
    measured): a bundle with particles goes on with the likeliest by the rewards so far, where these
    come while the episode runs, so that one episode may rule out several tasks.
    """

    prior_episodes: PositiveInt = 2
    posterior_episodes: NonNegativeInt = 2
    z_hold: ZHold | PositiveInt = ZHold.EPISODE
    action_noise: float = Field(default=1.0, ge=0, le=1)
    follow_rewards: bool = False


class CommandKind(StrEnum):
    """What an action field tells joints: where to be, how far to go in one period, how fast to go,
    or how hard to push."""

    POSITION = "position"
    DISPLACEMENT = "displacement"
    VELOCITY = "velocity"
    EFFORT = "effort"


class BoxConfig(_Section):
    """Bounds `low` and `high` on an observation field's components; null in the place of a side
    leaves it open.

    With `action`, an action field of the same width whose positive direction raises the
    observation, motion further outwards is blocked at the bound. Without, leaving the box is a
    fault. `command_kind` says what `action` commands (a displacement, a velocity or an effort, so
    that 0 is rest) where neither `joints` nor its unit does.
    """

    low: tuple[FiniteFloat | None, ...]
    high: tuple[FiniteFloat | None, ...]
    action: str | None = None
    command_kind: CommandKind | None = None


class JointsConfig(_Section):
    """A group of joints, and the fields whose components they are, in the order of `names`.

    `position`, `velocity` and `effort` are observation fields, `command` an action field, which is
    a `command_kind`. Fields are in rad, deg, m, mm, these a second, N m or N. `wraps` says of which
    joints an angle and the same a whole turn on are one place: true for all, false for none, or
    names; where not given, those that the model lets turn without end.
    """

    names: tuple[str, ...] = Field(min_length=1)
    position: str | None = None
    velocity: str | None = None
    effort: str | None = None
    command: str | None = None
    command_kind: CommandKind | None = None
    wraps: bool | tuple[str, ...] | None = None


class Loosenable(StrEnum):
    """Limits that a person may loosen, each by its own name."""

    OBSERVATION_AGE_S = "observation_age_s"
    LATE_FRACTION = "late_fraction"
    JOINT_POSITION = "joint_position"
    JOINT_VELOCITY = "joint_velocity"
    JOINT_EFFORT = "joint_effort"


class LimitsConfig(_Section):
    """Limits that tighten those of the robot, of its model and of the bundle.

    `action_range` and `action_rate` (largest change a second) are by action field,
    one number for all components; `box` is by observation field. `observation_age_s` is ten
    control periods where not given. An observation that stays the same to the last bit for
    `frozen_periods` is a fault; null allows it. `late_fraction` is the share of control periods,
    over two seconds, that may be left out since the one before ran over; above it, the episode ends
    in a fault and is not learned from. `max_run_s` ends a run, in wall-clock seconds.

    `model` is the robot's MJCF or URDF file, or `package://PACKAGE/PATH` in an installed Python
    package; `joints` says which fields its joints are. `joint_position` (rad, m), `joint_velocity`
    (rad/s, m/s), `joint_acceleration` (rad/s², m/s²) and `joint_effort` (N m, N) are by joint. To
    allow more than the model does, an older observation or more periods left out, `loosen` names
    that limit and says why.
    """

    action_range: dict[str, tuple[FiniteFloat, FiniteFloat]] = {}
    action_rate: dict[str, Positive] = {}
    box: dict[str, BoxConfig] = {}
    model: Annotated[str | None, PathText()] = None
    joints: tuple[JointsConfig, ...] = ()
    joint_position: dict[str, tuple[FiniteFloat, FiniteFloat]] = {}
    joint_velocity: dict[str, Positive] = {}
    joint_acceleration: dict[str, Positive] = {}
    joint_effort: dict[str, Positive] = {}
    loosen: dict[Loosenable, Annotated[str, Field(min_length=1)]] = {}
    observation_age_s: Positive | None = None
    frozen_periods: Annotated[int, Field(ge=2)] | None = 100
    late_fraction: Annotated[float, Field(gt=0, le=1)] = LATE_FRACTION
    max_run_s: Positive | None = None


class RealtimeConfig(_Section):
    """What to ask of the operating system, for a robot in real time (`time_scale` 1).

    `priority` is the loop's under SCHED_FIFO, null for none; `lock_memory` keeps the process out of
    swap. What is not permitted is said at start, and the robot runs without.
    """

    priority: Annotated[int, Field(ge=1, le=99)] | None = 50
    lock_memory: bool = True


class PolicyConfig(_Section):
    """What computes a bundle's graphs here: ONNX Runtime's `providers`, the first that is to be
    used and after it those to fall back to. `tolerance` is how far from the processor's, relative,
    an output may be; what the bundle allows itself where not given.
    """

    providers: tuple[Literal["cpu", "cuda", "openvino", "tensorrt"], ...] = Field(
        default=("cpu",), min_length=1
    )
    tolerance: Positive | None = None


class KeysConfig(_Section):
    """CURVE keys of the bridge, required where its address is not on this machine.

    `trainer` is the trainer's public key, 64 hexadecimal digits; setting it turns encryption and
    authentication on. `secret` is this robot's own key file; `robot.key` in `state_dir` where not
    given.
    """

    trainer: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    secret: Path | None = None


class RewardsConfig(_Section):
    """Where rewards come from when the robot adapts, and what becomes of those that are late.

    `source` is `driver` (the robot measures them itself, as the simulated one does), `keys` (a
    person at the terminal), `command` (a program that prints them), or a plug-in's name.

    `keys` says what each key is worth. `command` is a program and its arguments, one text each; it
    runs in `folder`, that of the file which names the command where not given.

    A key press, or a number without a step, rewards the transition under way `delay_s` before it
    came. After an episode's end `patience_s` is given for late ones; later ones are dropped. With
    `sticky` a reward goes on for the transitions after it, until the next one. What then has no
    reward does not join the context.
    """

    source: str = "driver"
    keys: dict[Key, FiniteFloat] = {}
    command: tuple[str, ...] = ()
    folder: Annotated[Path, FolderOf("command")] = Path()
    delay_s: Seconds = 0.0
    patience_s: Seconds = 2.0
    sticky: bool = False

    @field_validator("source")
    @classmethod
    def _is_offered(cls, name: str) -> str:
        if not plugins.is_known("fieldtune.rewards", name):
            *others, last = map(repr, plugins.names("fieldtune.rewards"))
            raise ValueError(f"expected {', '.join(others)} or {last}")
        return name


class AdaptationConfig(_Section):
    """Adaptation within the episode (`fieldtune-robot adapt --continuous`): z is chosen anew
    `every` so many steps, by the rewards known then."""

    every: PositiveInt = 1


class RobotConfig(_Section):
    """One robot's daemon.

    `name` is what the trainer knows it by, and `seed` what its draws follow from. `family` is the
    task family that it serves: bundles of another are refused. `model` is which of the family's
    robots it is, where there are several; a driver of another is refused. `family_options` are the
    family's own, for data, training and simulated robots. `bridge` is the trainer's ZMQ address;
    without it the robot works alone. `state_dir` holds the journal, the bundles and a latched
    fault.

    Every relative path, also a driver's, starts in the folder of the file that names it, or where
    it is typed on a command line (`fieldtune.config_paths`).

    `journal_quota_mb` bounds the journal and the bundles together: above it, episodes that the
    trainer has acknowledged are deleted, and while others fill it no new one begins; bundles from
    the trainer may take half of it. Null sets no bound. A bundle that faults within its first
    `probation_episodes` on this robot never runs again, once another has passed.
    """

    name: str = Field(min_length=1)
    family: str = Field(min_length=1)
    model: str | None = None
    family_options: dict[str, JsonValue] = {}
    driver: DriverConfig = DriverConfig()
    bridge: Annotated[str | None, PathText("ipc://")] = None
    keys: KeysConfig = KeysConfig()
    state_dir: Path = Path("runs/robot")
    journal_quota_mb: PositiveInt | None = 10_000
    exploration: ExplorationConfig = ExplorationConfig()
    probation_episodes: PositiveInt = 2
    limits: LimitsConfig = LimitsConfig()
    realtime: RealtimeConfig = RealtimeConfig()
    policy: PolicyConfig = PolicyConfig()
    rewards: RewardsConfig = RewardsConfig()
    adaptation: AdaptationConfig = AdaptationConfig()
    seed: NonNegativeInt = 0

    @field_validator("family_options")
    @classmethod
    def _have_no_robot(cls, given: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if "robot" in given:
            raise ValueError(
                "which robot it is, is no option of the family's here: write 'robot.model' in the "
                "place of 'robot.family_options.robot'"
            )
        return given

    @property
    def journal(self) -> Path:
        return self.state_dir / "journal.sqlite"

    @property
    def journal_quota_bytes(self) -> int | None:
        return None if self.journal_quota_mb is None else self.journal_quota_mb * 1_000_000

    @property
    def bundle_quota_bytes(self) -> int | None:
        return None if self.journal_quota_bytes is None else self.journal_quota_bytes // 2

    @property
    def bundles(self) -> Path:
        return self.state_dir / "bundles"

    @property
    def tasks(self) -> Path:
        return self.state_dir / "tasks"

    @property
    def status(self) -> Path:
        return self.state_dir / "status.json"

    @property
    def bundle_record(self) -> Path:
        return self.state_dir / "bundles.json"

    @property
    def latch(self) -> Path:
        return self.state_dir / "fault.txt"

    @property
    def faults(self) -> Path:
        return self.state_dir / "faults.jsonl"

    @property
    def secret_key(self) -> Path:
        return self.keys.secret or self.state_dir / "robot.key"

"""A run's configuration: one YAML file, every key validated, defaults stated here once.

Defaults are the compute-lean ones (docs/settings.md says why); `configs/` overrides per family.
What algorithms derive their sections from stands in `train/algorithm_settings.py`, and has its
names here too.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, JsonValue, SerializeAsAny, model_validator

from fieldtune import plugins
from fieldtune.config_paths import PathText
from fieldtune.robot.config import RobotConfig
from fieldtune.train.algorithm_settings import (
    AlgorithmSettings,
    CriticSettings,
    Distribution,
    EncoderSettings,
    LatentSettings,
    Networks,
    Section,
    Size,
)

__all__ = (
    "NO_TRACKER",
    "ONLY_WHERE",
    "AgentReplay",
    "AlgorithmSettings",
    "Context",
    "CriticSettings",
    "Data",
    "Device",
    "Distribution",
    "EncoderSettings",
    "Evaluation",
    "Inference",
    "LatentSettings",
    "Networks",
    "Offline",
    "Online",
    "Randomisation",
    "RunConfig",
    "Section",
    "SelfSupervised",
    "Size",
    "Slice",
    "Trackers",
    "Workers",
)


class Context(Section):
    """How a context h is drawn from a task's data.

    `source` is `trajectories`, which draws from one to so many whole episodes, as at test time, or
    `transitions`, which draws from all of the task's data, as the reference does. `size` is the
    range of context lengths, in transitions.
    """

    source: Literal["trajectories", "transitions"]
    trajectories: int = Field(default=3, ge=1)
    size: tuple[Size, Size] = (32, 128)

    @model_validator(mode="after")
    def _ordered(self) -> Context:
        if not 1 <= self.size[0] <= self.size[1]:
            raise ValueError(
                f"size {list(self.size)} must be [smallest, largest] with smallest ≥ 1"
            )
        return self


class Offline(Section):
    """Phase 1: `updates` in all, saved after every `checkpoint_every`. `batch` is `algorithm.batch`
    where not given."""

    batch: Size | None = None
    context: Context = Context(source="transitions")
    average_rate: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="of the running average of the weights, which is what phase 1 leaves; 1: the "
        "last weights",
    )
    updates: int = Field(default=12_000, ge=1)
    checkpoint_every: int = Field(default=2_000, ge=1)


def _require_first_steps(first_steps: int, steps: int) -> None:
    if first_steps > steps:
        raise ValueError(
            f"first_steps {first_steps} must not exceed steps {steps}: the first update would "
            "never come"
        )


class SelfSupervised(Section):
    """Phase 2: `updates` in all at Adam's `learning_rate`, saved after every `checkpoint_every`; a
    bundle goes to the robots after every `publish_every`, with weights averaged at `average_rate`.
    `encoder: frozen` is the paper's variant; `trained` is ours (docs/settings.md). The policy's
    loss has the critics' −Q `q_weight` times, divided by the mean of |Q| where `scale_by_q`. Labels
    follow from z of `label_context` transitions of a task's data.

    `offline_share` is that of each batch, and of contexts over updates; `pooled`: what offline data
    are of a task's one buffer, which exploration joins, as in the reference. Tasks without
    exploration are trained on too then, and contexts mix both unless they are of offline data
    alone.
    """

    encoder: Literal["trained", "frozen"] = "trained"
    context: Context = Context(source="trajectories")
    updates: int = Field(default=8_000, ge=1)
    first_steps: int = Field(
        default=2_000, ge=1, description="reward-free steps before the first update"
    )
    steps: int = Field(default=20_000, ge=1, description="reward-free steps to train on in all")
    learning_rate: float = Field(default=3e-4, gt=0)
    keep_optimisers: bool = Field(
        default=False, description="begin with the states of Adam that phase 1 ended with"
    )
    offline_share: Annotated[float, Field(ge=0, le=1)] | Literal["pooled"] = 0.25
    q_weight: float = Field(default=1.0, ge=0)
    scale_by_q: bool = True
    contexts: Literal["offline", "both"] | None = Field(
        default=None,
        description="whether contexts are of offline data alone or of labelled exploration too; "
        "null: of offline data where z is inferred by likelihood, which asks the encoder of "
        "nothing else, and of both with true rewards or where the encoder infers",
    )
    label_context: Size = 256
    labels: int = Field(
        default=1, ge=1, description="training tasks each trajectory is labelled for"
    )
    label_z: Literal["trial", "trajectory"] = Field(
        default="trial",
        description="how long a simulated robot keeps the z that labels; episodes of real robots "
        "are labelled one by one",
    )
    posterior_from: Literal["trial", "buffer"] = Field(
        default="trial",
        description="what a simulated robot's posterior episodes infer z from: what the trial has "
        "seen, or `label_context` transitions of the task's pooled buffer, as in the reference",
    )
    average_rate: float = Field(default=0.002, gt=0, le=1)
    publish_every: int = Field(default=1_000, ge=1)
    checkpoint_every: int = Field(default=1_000, ge=1)

    @model_validator(mode="after")
    def _can_begin(self) -> SelfSupervised:
        _require_first_steps(self.first_steps, self.steps)
        if self.posterior_from == "buffer" and not self.pooled:
            raise ValueError(
                "posterior_from 'buffer' needs offline_share 'pooled': a task has no one buffer "
                "without"
            )
        return self

    @property
    def pooled(self) -> bool:
        """Whether offline data and exploration are drawn from one buffer a task."""
        return self.offline_share == "pooled"

    @property
    def drawn_offline(self) -> float:
        """The share of rows and contexts that is drawn from offline data alone."""
        return 0.0 if self.offline_share == "pooled" else self.offline_share


class Online(Section):
    """A study's `online`: PEARL in the simulator with true rewards, `updates` in all, saved after
    every `checkpoint_every`. Its settings are `pearl`'s (`methods`), contexts and the average of
    its weights phase 1's, and a trial's episodes the robot's."""

    steps: int = Field(default=200_000, ge=1, description="of the environment, in all")
    first_steps: int = Field(default=4_000, ge=1, description="before the first update")
    updates: int = Field(default=20_000, ge=1)
    checkpoint_every: int = Field(default=2_000, ge=1)

    @model_validator(mode="after")
    def _can_begin(self) -> Online:
        _require_first_steps(self.first_steps, self.steps)
        return self


class Evaluation(Section):
    """The meta-test protocol: adaptation is measured after 0 to K exploration episodes.

    Tables quote the episode after two of them, or after all where K is less. Each held-out task is
    measured `repeats` times.
    """

    context_episodes: int = Field(default=8, ge=1, description="K")
    action_noise: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="of exploration episodes: 0 is the mean action, as in the reference; null: as "
        "the robot explores",
    )
    repeats: int = Field(default=4, ge=1)


Slice = Literal["whole", "end"]


class AgentReplay(Section):
    """The agent, told the task, whose replay the data is a slice of; a round is 64 episodes.

    It learns for `rounds`, with `updates_per_round` at Adam's `learning_rate` after each, networks
    `hidden` wide and future rewards worth `discount` a step.

    `slice` of each task's episodes: `whole`, evenly from the first to the last; `end`, the last
    ones, as the reference does for ant-dir. Of those kept, `relabelled` were acted for other tasks
    and carry this one's rewards.
    """

    rounds: int = Field(default=14, ge=1)
    updates_per_round: int = Field(default=1_500, ge=1)
    hidden: tuple[Size, ...] = (128, 128)
    learning_rate: float = Field(default=1e-3, gt=0)
    discount: float = Field(default=0.99, ge=0, lt=1)
    slice: Slice = "whole"
    relabelled: int = Field(default=0, ge=0)


class Data(Section):
    """The labelled dataset: where it is, and how much `fieldtune collect` makes.

    A relative `path` starts in the folder of the file that names it. A script makes
    `episodes_per_task`; `agent` is for families without one. `relabelled` is of what is learned
    from the data, whoever made them.
    """

    path: Annotated[str, PathText()] = "data"
    episodes_per_task: int = Field(default=24, ge=1)
    agent: AgentReplay | None = None
    relabelled: int = Field(
        default=0,
        ge=0,
        description="other tasks' episodes that each task is given when the data are read, with "
        "its own rewards, half of them successes where rewards are sparse; not on disk",
    )


class Randomisation(Section):
    """What simulated arms draw anew for every episode of data and of exploration in process.

    Ranges are [smallest, largest]: factors of the `mass` of what can be moved, of `friction` and of
    the motors' torques (`actuator_gain`); `latency`, control periods from an action to its effect.
    `observation_noise` is a standard deviation by unit, in that unit. What each does:
    `fieldtune.sim.manipulation.variation`.
    """

    mass: tuple[float, float] = (1.0, 1.0)
    friction: tuple[float, float] = (1.0, 1.0)
    actuator_gain: tuple[float, float] = (1.0, 1.0)
    observation_noise: dict[str, float] = Field(default_factory=dict)
    latency: tuple[int, int] = (0, 0)


Inference = Literal["likelihood", "encoder"]


def _device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?", value):
        raise ValueError(f"{value!r} is no device: expected auto, cpu, cuda or cuda:N")
    return value


Device = Annotated[str, AfterValidator(_device)]
Workers = Literal["auto"] | Annotated[int, Field(ge=1, le=1024)]

NO_TRACKER = "none"


def _trackers(given: str | tuple[str, ...]) -> str | tuple[str, ...]:
    names = (given,) if isinstance(given, str) else given
    for name in names:
        alone = name == NO_TRACKER and len(names) == 1
        if not alone and not plugins.is_known("fieldtune.trackers", name):
            known = ", ".join(plugins.names("fieldtune.trackers"))
            raise ValueError(f"{name!r}: expected {known}, a list of these, or {NO_TRACKER}")
    if len(set(names)) < len(names):
        raise ValueError("one of them is named twice")
    return given


Trackers = Annotated[str | tuple[str, ...], AfterValidator(_trackers)]

# Keys that say where a run computes and where its curves go, and not what it is.
ONLY_WHERE = ("device", "workers", "tracker")


class RunConfig(Section):
    """Everything that one run of a task `family` is made from; every draw follows from `seed`.

    `device` is where networks learn and act: `auto` is a GPU if there is one (docs/gpu.md). A run
    that was begun on one device may go on, on another.

    `tracker` is where learning curves go: `tensorboard`, `wandb`, `mlflow`, `trackio`, a package's
    own, a list of these, or `none` (docs/tracking.md).

    `workers` is how many processes simulate at once: `auto` is one a core, of which a study gives
    each of its jobs a share. It changes nothing of what is made.

    `inference` is what phase 2's exploration and the robot infer z by: the `likelihood` of the
    decoder over particles (docs/inference.md), or the `encoder`, as in the paper. An algorithm that
    learns no decoder is given one; one without an encoder has an inference of its own.

    `methods` are settings of a study's other algorithms, by name, such as `focal: {divergence: 1}`:
    what they share with `algorithm` is as there, where it is not set here (docs/methods.md).

    `family_file` is the YAML file that defines `family`, where it has labelled data alone
    (docs/families.md).

    A file is checked against a model with the chosen algorithm's own section
    (`fieldtune.train.runs.config_file`).
    """

    family: str
    family_file: Annotated[str | None, PathText()] = None
    seed: int = Field(default=0, ge=0)
    device: Device = "auto"
    workers: Workers = "auto"
    tracker: Trackers = "tensorboard"
    data: Data = Data()
    algorithm: SerializeAsAny[AlgorithmSettings]
    methods: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    inference: Inference = "likelihood"
    offline: Offline = Offline()
    self_supervised: SelfSupervised = SelfSupervised()
    online: Online = Online()
    evaluation: Evaluation = Evaluation()
    randomisation: Randomisation = Randomisation()
    robot: RobotConfig

    @property
    def trackers(self) -> tuple[str, ...]:
        """The names in `tracker`; empty for `none`."""
        names = (self.tracker,) if isinstance(self.tracker, str) else self.tracker
        return tuple(name for name in names if name != NO_TRACKER)

    @property
    def family_options(self) -> dict[str, Any]:
        """What the family is made with: `robot.model` and `family_file`, if any, and
        `robot.family_options`."""
        told = {} if self.robot.model is None else {"robot": self.robot.model}
        told |= {} if self.family_file is None else {"family_file": self.family_file}
        return told | self.robot.family_options

    @model_validator(mode="after")
    def _one_family(self) -> RunConfig:
        if self.robot.family != self.family:
            raise ValueError(
                f"family is {self.family!r} but robot.family is {self.robot.family!r}: "
                "a robot only takes bundles of its own family"
            )
        return self

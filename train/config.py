"""A run's configuration: one YAML file, every key validated, defaults stated here once.

Defaults are the compute-lean ones (docs/settings.md says why); `configs/` overrides per family.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fieldtune.config_paths import PathText
from fieldtune.robot.config import RobotConfig


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Networks(_Section):
    """Hidden widths of each network."""

    encoder: tuple[int, ...] = (128, 128, 128)
    policy: tuple[int, ...] = (128, 128, 128)
    critic: tuple[int, ...] = (128, 128, 128)
    decoder: tuple[int, ...] = (64, 64)
    dynamics: tuple[int, ...] = (128, 128)
    critic_layer_norm: bool = True


class Context(_Section):
    """How a context h is drawn from a task's data.

    `trajectories` draws from one to that many whole episodes, as at test time; `transitions` draws
    from all of the task's data, as the reference does. `size` is the range of context lengths.
    """

    source: Literal["trajectories", "transitions"]
    trajectories: int = Field(3, ge=1)
    size: tuple[int, int] = (32, 128)

    @model_validator(mode="after")
    def _ordered(self) -> Context:
        if not 1 <= self.size[0] <= self.size[1]:
            raise ValueError(
                f"size {list(self.size)} must be [smallest, largest] with smallest ≥ 1"
            )
        return self


class Advantage(_Section):
    """How advantages weigh the actor's log-likelihood.

    `standardised`: exp(A / (temperature · std A)), clipped; scale set by the data.
    `softmax`: softmax(A / temperature) over the flattened batch times its size (reference: 100).
    `over` is what an action's value is compared with: that of an action `sampled` from the policy,
    as in the reference, or of the policy's `mean` action, which does not add a draw's noise to A.
    """

    weights: Literal["standardised", "softmax"] = "standardised"
    over: Literal["sampled", "mean"] = "sampled"
    temperature: float = Field(0.5, gt=0)
    clip: float = Field(20.0, gt=0)


class Algorithm(_Section):
    """SMAC's settings that both phases share (Pong et al. 2022, sec. 5 and appendix)."""

    latent_size: int = Field(5, ge=1)
    networks: Networks = Networks()
    advantage: Advantage = Advantage()
    meta_batch: int = Field(8, ge=1)
    batch: int = Field(64, ge=1)
    discount: float = Field(0.99, ge=0, lt=1)
    n_step: int = Field(
        1, ge=1, description="steps of true reward before the critic's own estimate; paper: 1"
    )
    target_rate: float = Field(0.005, gt=0, le=1)
    learning_rate: float = Field(1e-3, gt=0)
    reward_scale: float = Field(1.0, gt=0)
    kl_weight: float = Field(0.1, ge=0)
    dynamics_weight: float = Field(
        1.0, ge=0, description="of the error in s', where dynamics vary; the paper has none"
    )


class Offline(_Section):
    """Phase 1."""

    context: Context = Context(source="transitions")
    updates: int = Field(12_000, ge=1)
    checkpoint_every: int = Field(2_000, ge=1)


class SelfSupervised(_Section):
    """Phase 2. `encoder: frozen` is the paper's variant; `trained` is ours (ALGORITHM.md)."""

    encoder: Literal["trained", "frozen"] = "trained"
    context: Context = Context(source="trajectories")
    updates: int = Field(8_000, ge=1)
    first_steps: int = Field(2_000, ge=1, description="reward-free steps before the first update")
    steps: int = Field(20_000, ge=1, description="reward-free steps to train on in all")
    learning_rate: float = Field(3e-4, gt=0)
    offline_share: float = Field(0.25, ge=0, le=1)
    q_weight: float = Field(1.0, ge=0)
    scale_by_q: bool = True
    label_context: int = Field(256, ge=1)
    labels: int = Field(1, ge=1, description="training tasks each trajectory is labelled for")
    average_rate: float = Field(0.002, gt=0, le=1)
    publish_every: int = Field(1_000, ge=1)
    checkpoint_every: int = Field(1_000, ge=1)

    @model_validator(mode="after")
    def _can_begin(self) -> SelfSupervised:
        if self.first_steps > self.steps:
            raise ValueError(
                f"first_steps {self.first_steps} must not exceed steps {self.steps}: "
                "the first update would never come"
            )
        return self


class Evaluation(_Section):
    """The meta-test protocol: K exploration episodes, then the reported one."""

    context_episodes: int = Field(2, ge=1)
    repeats: int = Field(4, ge=1)


Slice = Literal["whole", "end"]


class AgentReplay(_Section):
    """The agent, told the task, whose replay the data is a slice of; a round is 64 episodes.

    `slice` of each task's episodes: `whole`, evenly from the first to the last; `end`, the last
    ones, as the reference does for ant-dir. Of those kept, `relabelled` were acted for other tasks
    and carry this one's rewards.
    """

    rounds: int = Field(default=14, ge=1)
    updates_per_round: int = Field(default=1_500, ge=1)
    hidden: tuple[int, ...] = (128, 128)
    learning_rate: float = Field(default=1e-3, gt=0)
    discount: float = Field(default=0.99, ge=0, lt=1)
    slice: Slice = "whole"
    relabelled: int = Field(default=0, ge=0)


class Data(_Section):
    """The labelled dataset: where it is, and how much `fieldtune collect` makes.

    A relative `path` starts in the folder of the file that names it. `agent` is for families
    without a script.
    """

    path: Annotated[str, PathText()] = "data"
    episodes_per_task: int = Field(24, ge=1)
    agent: AgentReplay | None = None


class Randomisation(_Section):
    """What simulated arms draw anew for every episode of data and of exploration in process.

    Ranges are [smallest, largest]: factors of the masses of what can be moved, of friction and of
    the motors' torques; control periods from an action to its effect. Noise is by unit. What each
    does: `fieldtune.sim.manipulation.variation`.
    """

    mass: tuple[float, float] = (1.0, 1.0)
    friction: tuple[float, float] = (1.0, 1.0)
    actuator_gain: tuple[float, float] = (1.0, 1.0)
    observation_noise: dict[str, float] = {}
    latency: tuple[int, int] = (0, 0)


class RunConfig(_Section):
    """Everything one run is made from."""

    family: str
    seed: int = Field(0, ge=0)
    data: Data = Data()
    algorithm: Algorithm = Algorithm()
    offline: Offline = Offline()
    self_supervised: SelfSupervised = SelfSupervised()
    evaluation: Evaluation = Evaluation()
    randomisation: Randomisation = Randomisation()
    robot: RobotConfig

    @property
    def family_options(self) -> dict[str, str]:
        """What the family is made with: the simulated robot's `robot.driver.model`, if any."""
        driver = self.robot.driver
        model = driver.options.get("model") if driver.name == "sim" else None
        return {} if model is None else {"robot": str(model)}

    @model_validator(mode="after")
    def _one_family(self) -> RunConfig:
        if self.robot.family != self.family:
            raise ValueError(
                f"family is {self.family!r} but robot.family is {self.robot.family!r}: "
                "a robot only takes bundles of its own family"
            )
        return self

"""What an algorithm's section of a run's configuration derives from: the keys that its base has.

Knows pydantic alone: no algorithm, and no other section of the file (`fieldtune.train.config`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Size = Annotated[int, Field(ge=1, le=1_000_000)]
"""Of an array's axis: more is a slip of the keys, and fails in ways of its own."""

ActionErrorWeight = Annotated[
    float,
    Field(
        ge=0,
        description="of the mean action's squared error beside −log π in what the actor imitates "
        "by; the paper has none",
    ),
]


class Section(BaseModel):
    """A mapping of known keys; its values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Networks(Section):
    """Hidden widths of each network: `encoder`, `policy`, `critic` (`critic_layer_norm`: each layer
    normalised), reward `decoder`, and the decoder of s' where bodies differ, `dynamics`."""

    encoder: tuple[Size, ...] = (128, 128, 128)
    policy: tuple[Size, ...] = (128, 128, 128)
    critic: tuple[Size, ...] = (128, 128, 128)
    decoder: tuple[Size, ...] = (64, 64)
    dynamics: tuple[Size, ...] = (128, 128)
    critic_layer_norm: bool = True


class AlgorithmSettings(Section):
    """What every algorithm's section has: which algorithm, and what is drawn and handed to it.

    Each algorithm derives a section of its own, beside its code, and is found by `name`
    (`fieldtune.train.algorithms.registry`); `fieldtune.train.runs.config_file` loads a run's.

    An update is of `meta_batch` tasks and `batch` transitions of each, at Adam's `learning_rate`.
    `discount` is what a reward one step later is worth.
    """

    name: str
    meta_batch: Size = 8
    repeat_tasks: bool = Field(
        default=False,
        description="draw a meta-batch's tasks with replacement, as the reference does",
    )
    batch: Size = 64
    discount: float = Field(default=0.99, ge=0, lt=1)
    n_step: int = Field(
        default=1,
        ge=1,
        description="steps of true reward before the critic's own estimate; paper: 1",
    )
    learning_rate: float = Field(default=1e-3, gt=0)
    unseen: tuple[str, ...] = Field(
        default=(),
        description="observation fields that no network is shown, on the robot neither: hundreds "
        "of numbers that a task hardly depends on are learned by heart",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description="of the layers between the first and the last, in updates alone; wide networks "
        "learn faster in bfloat16 where the processor has it",
    )


class Distribution(Section):
    """Where the Gaussians of policy and encoder end; the reference: [−20, 2], 1e-6 and 1e-7.

    `log_std` is the range of the policy's, before squashing. An action of the data at a bound
    counts as `action_edge` inside, in [−1, 1]. `least_variance` is added to a context factor's.
    """

    log_std: tuple[float, float] = (-5.0, 1.0)
    action_edge: float = Field(default=1e-3, ge=1e-7, le=0.1)  # float32 ends at 6e-8
    least_variance: float = Field(default=1e-6, ge=1e-12)

    @model_validator(mode="after")
    def _ordered(self) -> Distribution:
        low, high = self.log_std
        if not -50 <= low < high <= 10:
            raise ValueError(
                f"log_std {list(self.log_std)} must be [smallest, largest] within -50 and 10"
            )
        return self


class EncoderSettings(AlgorithmSettings):
    """Of algorithms that infer z, `latent_size` wide, with an encoder, on the networks of
    `train/agent`."""

    latent_size: Size = 5
    networks: Networks = Networks()
    distribution: Distribution = Distribution()


class LatentSettings(EncoderSettings):
    """Of those that infer a distribution of z. The loss has its KL divergence to the prior
    `kl_weight` times.

    With `prior_factor` the posterior is the product of the context's factors and of the prior
    N(0, I) (docs/authors-choices.md); without, of the context's alone, as in the reference.
    """

    prior_factor: bool = True
    kl_weight: float = Field(default=0.1, ge=0)


class CriticSettings(LatentSettings):
    """Of those that learn critics: target critics follow at `target_rate` an update, and learn
    rewards `reward_scale` times what they are."""

    target_rate: float = Field(default=0.005, gt=0, le=1)
    reward_scale: float = Field(default=1.0, gt=0)

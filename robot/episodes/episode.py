"""The episode contract: what one run of the robot leaves behind. It carries no reward."""

from __future__ import annotations

from typing import Annotated

import msgspec

from fieldtune.str_enum import StrEnum

EPISODE_VERSION = 1


class EndReason(StrEnum):
    """Why an episode stopped. One that is late kept no control period: it teaches nothing."""

    HORIZON = "horizon"
    TERMINATED = "terminated"
    STOPPED = "stopped"
    FAULT = "fault"
    LATE = "late"  # a fault too
    INTERRUPTED = "interrupted"  # the process died; closed by the next start


class Mode(StrEnum):
    """Where the episode's z came from."""

    PRIOR = "prior"
    POSTERIOR = "posterior"
    ADAPT = "adapt"


Vector = Annotated[list[float], msgspec.Meta(max_length=4096)]


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One control period. Times are this robot's monotonic clock, in nanoseconds.

    `infer_ns` and `apply_ns` are how long inference and the driver's `apply` took.
    `reason` says why `applied` differs from `requested`; empty when it does not. `signals` are what
    was measured on the way to `observation`, so that the transition before can be scored later;
    left out where nothing was.
    """

    index: int
    sense_ns: int
    observation: Vector
    observation_age_ns: int
    requested: Vector
    applied: Vector
    reason: str
    z: Vector
    infer_ns: int
    apply_ns: int
    overrun: bool
    signals: Vector | msgspec.UnsetType = msgspec.UNSET


class EpisodeHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known when an episode starts.

    `trial` groups episodes that share one context. `label_task` is the index of the bundle's task
    embedding that labelled it; None where true rewards did.
    """

    robot: str
    family: str
    boot_session: str
    number: int
    trial: int
    bundle_id: str
    mode: Mode
    seed: int
    started_ns: int
    period_s: float
    label_task: int | None = None
    version: int = EPISODE_VERSION


class EpisodeFooter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known when an episode has ended.

    `final_observation` is what the last step led to, `final_signals` what was measured on the way.
    `clock_offset_ns` is trainer minus robot, with its uncertainty; both are None until the bridge
    has measured them.
    """

    end_reason: EndReason
    steps: int
    final_observation: Vector
    clock_offset_ns: int | None = None
    clock_uncertainty_ns: int | None = None
    fault: str = ""
    final_signals: Vector | msgspec.UnsetType = msgspec.UNSET


class Episode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A finished episode, as uploaded: its content address is the sha256 of its msgpack bytes."""

    header: EpisodeHeader
    steps: list[Step]
    footer: EpisodeFooter

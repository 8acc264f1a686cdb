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
    """Where the episode's actions came from: a policy, by where its z did, or who acted instead."""

    PRIOR = "prior"
    POSTERIOR = "posterior"
    ADAPT = "adapt"
    GUIDED = "guided"  # a person moved the robot by hand; nothing was commanded
    TELEOPERATED = "teleoperated"  # a person commanded, through the driver
    SCRIPTED = "scripted"  # a program did

    @property
    def said(self) -> str:
        """As a person reads it."""
        if self in RECORDED:
            return str(self)
        return "z from rewards" if self is Mode.ADAPT else f"z from the {self}"


RECORDED = frozenset({Mode.GUIDED, Mode.TELEOPERATED, Mode.SCRIPTED})
"""Of episodes that no policy acted: data for phase 1, and no exploration."""


Vector = Annotated[list[float], msgspec.Meta(max_length=4096)]
Said = Annotated[str, msgspec.Meta(max_length=1024)]

BEYOND = "beyond"
"""Begins the `reason` of a guided step that is out of the action's range, as no command can be."""


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One control period. Times are this robot's monotonic clock, in nanoseconds.

    `infer_ns` and `apply_ns` are how long inference and the driver's `apply` took.
    `reason` says why `applied` differs from `requested`; empty when it does not. Where a person
    guided the robot both are what was measured, and z is empty. `signals` are what was measured on
    the way to `observation`, so that the transition before can be scored later; left out where
    nothing was.
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


class ToldTask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The task of an episode, as a person told it: by `name`, by the family's `parameters` in its
    units, or both; empty where not told."""

    name: Said = ""
    parameters: Vector = []


class EpisodeHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known when an episode starts.

    `trial` groups episodes that share one context. `label_task` is the index of the bundle's task
    embedding that labelled it; None where true rewards did. `task` is what a person said that it
    is; `by` who gave the actions of a recorded one, which ran no bundle: `bundle_id` is empty then.
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
    task: ToldTask | msgspec.UnsetType = msgspec.UNSET
    by: Said | msgspec.UnsetType = msgspec.UNSET


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

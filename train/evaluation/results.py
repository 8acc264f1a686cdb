"""What an evaluation found, and its file. Measures nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from fieldtune.errors import UserError
from fieldtune.files import write_atomically
from fieldtune.train.evaluation.calibration import Calibration
from fieldtune.train.evaluation.protocol import QUOTED

Inference = Literal["encoder", "likelihood"]

HEADLINES = {"before": "online_before", "after": "online_after", "oracle": "oracle"}
"""A phase's return from own exploration by its encoder, as `metrics.json` calls it."""

WELL_EXPLAINED = 0.9  # of rewards' variance: labels of that are good enough to learn from
BY_HEART = 2.0  # times as much unexplained of tasks never seen as of those trained on

AGAINST_BY_HEART = (
    "it has learned these by heart. Give each task other tasks' episodes with its own rewards, or "
    "more of them (`data.relabelled`), or show the networks less (`algorithm.unseen`)"
)
"""What mends it (docs/results/README.md, humanoid-dir)."""


class EvaluationError(UserError):
    """There is nothing to evaluate, or the file is not an evaluation."""


@dataclass(frozen=True)
class FirstEpisode:
    """The first episode of all, in which what is inferred follows every step.

    Attributes:
        returns: `(task, repeat)`.
        rewards: mean by step, `(step,)`; an episode that is over has none, so that they sum to the
            mean return.
        successes: 1 or 0 for each return; None where the family has no success.
    """

    returns: list[list[float]]
    rewards: list[float]
    successes: list[list[float]] | None = None


@dataclass(frozen=True)
class Swapped:
    """The episode that is quoted, acted in each task by what was explored in another one.

    What own exploration is worth is the own return less this: where both are alike, what was
    inferred says nothing of the task, however good the policy.

    Attributes:
        returns: `(task, repeat)`, from the same start states as the own.
        successes: 1 or 0 for each return; None where the family has no success.
    """

    returns: list[list[float]]
    successes: list[list[float]] | None = None


@dataclass(frozen=True)
class Adapted:
    """How one inference adapts to the held-out tasks.

    Attributes:
        returns: by number of context episodes, `(K+1, task, repeat)`.
        embeddings: what is known of each task after `quoted` of them, `(task, repeat, latent)`.
        first_episode: None where what acts does not adapt within an episode.
        successes: 1 or 0 for each return; None where the family has no success.
        effective_particles, unlike: by number of context episodes, `(K+1,)`: how many particles
            still count, mean, and the share of contexts that are unlike the training tasks'. None
            of an encoder.
        swapped: None where there is one task alone, or an earlier version measured.
    """

    returns: list[list[list[float]]]
    embeddings: list[list[list[float]]]
    first_episode: FirstEpisode | None = None
    successes: list[list[list[float]]] | None = None
    effective_particles: list[float] | None = None
    unlike: list[float] | None = None
    swapped: Swapped | None = None

    @property
    def quoted(self) -> int:
        """The number of context episodes that tables quote: two, or all where there are less."""
        return min(QUOTED, len(self.returns) - 1)

    @property
    def mean_return(self) -> float:
        """After `quoted` context episodes."""
        return float(np.mean(self.returns[self.quoted]))

    @property
    def success(self) -> float | None:
        """The share of successes likewise."""
        return None if self.successes is None else float(np.mean(self.successes[self.quoted]))


@dataclass(frozen=True)
class PhaseResult:
    """One phase's adaptation on the held-out tasks.

    Attributes:
        encoder: as it infers by its own encoder; of an algorithm without one, by what it has.
        likelihood: the same weights, inferring by the decoder's likelihood; None without a decoder.
        offline_returns: with offline contexts, by the encoder, `(task, repeat)`.
        offline_embeddings: `(task, repeat, latent)`; nothing of a task where what is known of it is
            in no numbers (`placed`).
        updates, steps: gradient steps of this phase, reward-free steps it learned from.
        offline_successes: 1 or 0 for each return; None where the family has no success.
    """

    encoder: Adapted
    likelihood: Adapted | None
    offline_returns: list[list[float]]
    offline_embeddings: list[list[list[float]]]
    updates: int
    steps: int
    offline_successes: list[list[float]] | None = None

    @property
    def placed(self) -> bool:
        """Whether what is known of tasks is in numbers, so that contexts can be told apart by it;
        an algorithm that adapts its weights has none."""
        return all(len(known) > 0 for task in self.offline_embeddings for known in task)

    @property
    def inferences(self) -> Iterator[tuple[Inference, Adapted]]:
        """Those that were measured, by name."""
        yield "encoder", self.encoder
        if self.likelihood is not None:
            yield "likelihood", self.likelihood


@dataclass(frozen=True)
class DynamicsExplained:
    """Share of s' − s that (s,a,z) explains: with the task's own z, and with other tasks'.

    Where both are alike, z says nothing of the body.
    """

    own: float
    other: float


@dataclass(frozen=True)
class DecoderError:
    """The reward decoder on held-out tasks: z from one draw of a task's data, errors on another.

    `explained` is 1 − (mean squared error) / (variance of the rewards), `trained` the same of the
    tasks trained on; None in results of before. `calibration` of success, where rewards are sparse;
    `dynamics` where they vary.
    """

    root_mean_square: float
    explained: float
    calibration: Calibration | None = None
    dynamics: DynamicsExplained | None = None
    trained: float | None = None

    @property
    def by_heart(self) -> bool:
        """Whether far more is left unexplained of tasks never seen than of those trained on."""
        if self.trained is None or self.explained >= WELL_EXPLAINED:
            return False
        return 1.0 - self.explained > BY_HEART * (1.0 - self.trained)


@dataclass(frozen=True)
class Evaluation:
    """What a report is drawn from. `phases` has `before`, and `after` and `oracle` if trained."""

    family: str
    seed: int
    dataset: str
    period_s: float
    phases: dict[str, PhaseResult]
    decoder: DecoderError
    random: float
    scripted: float | None
    random_success: float | None = None
    scripted_success: float | None = None

    @property
    def returns(self) -> dict[str, float | None]:
        """The table of the README, by the names that `metrics.json` uses."""
        phases = self.phases

        def by_encoder(phase: str) -> float | None:
            return phases[phase].encoder.mean_return if phase in phases else None

        return {
            "offline_context": float(np.mean(phases["before"].offline_returns)),
            **{headline: by_encoder(phase) for phase, headline in HEADLINES.items()},
            **{
                f"likelihood_{name}": phase.likelihood.mean_return
                for name, phase in phases.items()
                if phase.likelihood is not None
            },
            **{f"first_episode_{name}": float(np.mean(f.returns)) for name, f in self._first()},
            "random": self.random,
            "scripted": self.scripted,
        }

    @property
    def success(self) -> dict[str, float] | None:
        """Share of successes by the same names; None where the family has no success."""
        offline = self.phases["before"].offline_successes
        if offline is None:
            return None
        found = {"offline_context": float(np.mean(offline))}
        for inference in ("encoder", "likelihood"):
            for name, phase in self.phases.items():
                adapted = dict(phase.inferences).get(inference)
                if adapted is not None and adapted.success is not None:
                    headline = HEADLINES[name] if inference == "encoder" else f"likelihood_{name}"
                    found[headline] = adapted.success
        for name, first in self._first():
            if first.successes is not None:
                found[f"first_episode_{name}"] = float(np.mean(first.successes))
        references = {"random": self.random_success, "scripted": self.scripted_success}
        return found | {name: share for name, share in references.items() if share is not None}

    @property
    def recovered(self) -> float | None:
        """(after − before) / (nearer of oracle and offline context − before); None if undefined."""
        returns = self.returns
        before, after = returns["online_before"], returns["online_after"]
        goals = [g for g in (returns["oracle"], returns["offline_context"]) if g is not None]
        if before is None or after is None or min(goals) <= before:
            return None
        return (after - before) / (min(goals) - before)

    def _first(self) -> Iterator[tuple[str, FirstEpisode]]:
        """Each phase's first episode, by likelihood."""
        for name, phase in self.phases.items():
            if phase.likelihood is not None and phase.likelihood.first_episode is not None:
                yield name, phase.likelihood.first_episode


def save_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Write atomically, for `load_evaluation`."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(evaluation)))


def load_evaluation(path: Path) -> Evaluation:
    """Raises `EvaluationError` when the file is missing, something else or of another version."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Evaluation)
    except (OSError, msgspec.DecodeError) as error:
        raise EvaluationError(
            f"{path}: not an evaluation of this version ({error}): run "
            f"`fieldtune evaluate --run {path.parent}` again, which trains nothing"
        ) from error


def write_metrics(path: Path, evaluation: Evaluation, extra: dict[str, float | int]) -> None:
    """Write `metrics.json`, one run's numbers for another program, atomically.

    Args:
        path: the file.
        evaluation: whose returns, successes if any and curves are written.
        extra: more numbers by name.
    """
    metrics = {
        "family": evaluation.family,
        "seed": evaluation.seed,
        "context_episodes": evaluation.phases["before"].encoder.quoted,
        "return": evaluation.returns,
        **({} if evaluation.success is None else {"success": evaluation.success}),
        "curves": {
            name: {inference: _curve(adapted) for inference, adapted in phase.inferences}
            for name, phase in evaluation.phases.items()
        },
        **extra,
    }
    write_atomically(path, (json.dumps(metrics, indent=2) + "\n").encode())


def _curve(adapted: Adapted) -> dict[str, object]:
    """Means over (task, repeat): the first episode, and by number of context episodes."""
    first = adapted.first_episode

    def means(values: list) -> list[float]:
        return [float(np.mean(each)) for each in values]

    found: dict[str, object] = {
        "first_episode": None if first is None else float(np.mean(first.returns)),
        "return": means(adapted.returns),
    }
    if adapted.successes is not None:
        found["success"] = means(adapted.successes)
    if adapted.effective_particles is not None:
        found["effective_particles"] = adapted.effective_particles
        found["unlike"] = adapted.unlike
    if adapted.swapped is not None:
        found["swapped"] = float(np.mean(adapted.swapped.returns))
    return found

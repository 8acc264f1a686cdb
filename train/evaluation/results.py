"""What an evaluation found, and its file. Measures nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from fieldtune.errors import UserError
from fieldtune.files import write_atomically
from fieldtune.train.evaluation.calibration import Calibration


class EvaluationError(UserError):
    """There is nothing to evaluate, or the file is not an evaluation."""


@dataclass(frozen=True)
class PhaseResult:
    """One phase's adaptation on the held-out tasks.

    Attributes:
        curve: return by number of context episodes, `(K+1, task, repeat)`.
        offline_returns: with offline contexts, `(task, repeat)`.
        online_embeddings, offline_embeddings: posterior means, `(task, repeat, latent)`.
        updates, steps: gradient steps of this phase, reward-free steps it learned from.
        successes, offline_successes: 1 or 0 for each return; None where the family has no success.
        likelihood_curve, likelihood_successes: as `curve` and `successes`, the same agent inferring
            by its decoder's likelihood; None where it was not measured.
        first_episode, first_successes: with no exploration at all, the likelihood followed at every
            step of the one episode, `(task, repeat)`.
    """

    curve: list[list[list[float]]]
    offline_returns: list[list[float]]
    online_embeddings: list[list[list[float]]]
    offline_embeddings: list[list[list[float]]]
    updates: int
    steps: int
    successes: list[list[list[float]]] | None = None
    offline_successes: list[list[float]] | None = None
    likelihood_curve: list[list[list[float]]] | None = None
    likelihood_successes: list[list[list[float]]] | None = None
    first_episode: list[list[float]] | None = None
    first_successes: list[list[float]] | None = None


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

    `explained` is 1 − (mean squared error) / (variance of the rewards). `calibration` of success,
    where rewards are sparse; `dynamics` where they vary.
    """

    root_mean_square: float
    explained: float
    calibration: Calibration | None = None
    dynamics: DynamicsExplained | None = None


@dataclass(frozen=True)
class Evaluation:
    """What a report is drawn from. `phases` has `before`, and `after` and `oracle` if trained."""

    family: str
    seed: int
    dataset: str
    phases: dict[str, PhaseResult]
    decoder: DecoderError
    random: float
    scripted: float | None

    @property
    def returns(self) -> dict[str, float | None]:
        """The table of the README, by the names that `metrics.json` uses."""

        def online(phase: str) -> float | None:
            result = self.phases.get(phase)
            return None if result is None else float(np.mean(result.curve[-1]))

        by_likelihood = {
            f"likelihood_{name}": float(np.mean(result.likelihood_curve[-1]))
            for name, result in self.phases.items()
            if result.likelihood_curve is not None
        }
        within = {
            f"first_episode_{name}": float(np.mean(result.first_episode))
            for name, result in self.phases.items()
            if result.first_episode is not None
        }
        return {
            "offline_context": float(np.mean(self.phases["before"].offline_returns)),
            "online_before": online("before"),
            "online_after": online("after"),
            "oracle": online("oracle"),
            **by_likelihood,
            **within,
            "random": self.random,
            "scripted": self.scripted,
        }

    @property
    def success(self) -> dict[str, float] | None:
        """Share of successes by the same names; None where the family has no success."""
        before = self.phases["before"]
        if before.offline_successes is None:
            return None
        names = {"online_before": "before", "online_after": "after", "oracle": "oracle"}
        found = {name: self.phases[phase] for name, phase in names.items() if phase in self.phases}
        return (
            {"offline_context": float(np.mean(before.offline_successes))}
            | {
                name: float(np.mean(result.successes[-1]))
                for name, result in found.items()
                if result.successes is not None
            }
            | {
                f"likelihood_{name}": float(np.mean(result.likelihood_successes[-1]))
                for name, result in self.phases.items()
                if result.likelihood_successes is not None
            }
            | {
                f"first_episode_{name}": float(np.mean(result.first_successes))
                for name, result in self.phases.items()
                if result.first_successes is not None
            }
        )

    @property
    def recovered(self) -> float | None:
        """(after − before) / (nearer of oracle and offline context − before); None if undefined."""
        returns = self.returns
        before, after = returns["online_before"], returns["online_after"]
        goals = [g for g in (returns["oracle"], returns["offline_context"]) if g is not None]
        if before is None or after is None or min(goals) <= before:
            return None
        return (after - before) / (min(goals) - before)


def save_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Write atomically, for `load_evaluation`."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(evaluation)))


def load_evaluation(path: Path) -> Evaluation:
    """Raises `EvaluationError` when the file is missing or something else."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Evaluation)
    except (OSError, msgspec.DecodeError) as error:
        raise EvaluationError(f"{path}: not an evaluation ({error})") from error


def write_metrics(path: Path, evaluation: Evaluation, extra: dict[str, float | int]) -> None:
    """Write `metrics.json`, one run's numbers for another program, atomically.

    Args:
        path: the file.
        evaluation: whose returns, and successes if any, are written.
        extra: more numbers by name.
    """
    metrics = {
        "family": evaluation.family,
        "seed": evaluation.seed,
        "return": evaluation.returns,
        **({} if evaluation.success is None else {"success": evaluation.success}),
        **extra,
    }
    write_atomically(path, (json.dumps(metrics, indent=2) + "\n").encode())

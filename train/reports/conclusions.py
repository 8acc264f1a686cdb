"""What an evaluation's numbers say: intervals over tasks, the shift in z-space, and plain words.

Pure functions of an `Evaluation`. Knows nothing of figures or pages.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fieldtune.train.evaluation.measure import Evaluation, PhaseResult

Floats = NDArray[np.float64]

LEVEL = 0.95  # of every interval
RESAMPLES = 4000
NEGLIGIBLE = 0.05  # of the gain over random actions: a smaller drop is no collapse
POOR_DECODER = 0.5  # explained variance under which labels carry more error than reward


@dataclass(frozen=True)
class Interval:
    """A mean over tasks and its bootstrap interval over tasks, at `LEVEL`."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Shift:
    """How far contexts from own exploration lie from offline ones, in z-space.

    `distance` is the mean over tasks of the distance between the two centroids of a task, `spread`
    the root mean square distance of the tasks' offline centroids from their mean.
    """

    distance: float
    spread: float

    @property
    def relative(self) -> float:
        """`distance / spread`: at 1, a context lands as far off as tasks lie apart."""
        return self.distance / self.spread if self.spread > 0 else float("inf")


def over_tasks(returns: ArrayLike) -> Floats:
    """`(..., task, repeat)` averaged over repeats: `(..., task)`."""
    return np.asarray(returns, dtype=np.float64).mean(axis=-1)


def interval(values: ArrayLike) -> Interval:
    """Percentile bootstrap of the mean of `values` `(task,)`; the same input gives the same one."""
    tasks = np.asarray(values, dtype=np.float64)
    draws = np.random.default_rng(0).integers(len(tasks), size=(RESAMPLES, len(tasks)))
    edge = 50 * (1 - LEVEL)
    low, high = np.percentile(tasks[draws].mean(axis=1), [edge, 100 - edge])
    return Interval(float(tasks.mean()), float(low), float(high))


def shift(phase: PhaseResult) -> Shift:
    """The shift of one phase's posterior means."""
    offline = np.asarray(phase.offline_embeddings).mean(axis=1)
    online = np.asarray(phase.online_embeddings).mean(axis=1)
    spread = np.sqrt(np.square(offline - offline.mean(axis=0)).sum(axis=1).mean())
    return Shift(float(np.linalg.norm(online - offline, axis=1).mean()), float(spread))


def number(value: float) -> str:
    """A return for people: a true minus sign, and no digits that mean nothing; – for none."""
    if not np.isfinite(value):  # e.g. a shift by the spread of one task
        return "–"
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}".replace("-", "−")


def percent(share: float) -> str:
    return f"{100 * share:.0f}\N{NO-BREAK SPACE}%".replace("-", "−")


def sentences(evaluation: Evaluation) -> list[str]:
    """The result in plain language, good or bad, computed from the numbers alone."""
    return [*_collapse(evaluation), *_recovery(evaluation), _labels(evaluation)]


def _collapse(evaluation: Evaluation) -> list[str]:
    before = evaluation.phases["before"]
    offline = float(np.mean(before.offline_returns))
    online = float(np.mean(before.curve[-1]))
    tasks, episodes = len(before.offline_returns), len(before.curve) - 1
    gain, drop = offline - evaluation.random, offline - online
    own = f"{episodes} episode{'s' if episodes > 1 else ''} of its own exploration"
    first = (
        f"On {tasks} task{'s' if tasks > 1 else ''} that it never trained on, the policy returns "
        f"{number(offline)} when it infers the task from labelled offline data."
    )
    if gain <= 0:
        return [
            first,
            f"From {own} it returns {number(online)}. Random actions return "
            f"{number(evaluation.random)}: phase 1 has not learned these tasks, and what follows "
            "says little.",
        ]
    if drop <= NEGLIGIBLE * gain:
        return [
            first,
            f"From {own} it returns {number(online)}: there is no collapse here to recover from.",
        ]
    lost = (
        f"less than random actions ({number(evaluation.random)})"
        if online < evaluation.random
        else f"{percent(drop / gain)} of what it had gained over random actions "
        f"({number(evaluation.random)}) is lost"
    )
    return [first, f"From {own} the return falls to {number(online)}: {lost}."]


def _recovery(evaluation: Evaluation) -> list[str]:
    before, after = evaluation.phases["before"], evaluation.phases.get("after")
    if after is None:
        return ["Phase 2, the learning from exploration without rewards, has not been run."]
    gained = over_tasks(after.curve[-1]) - over_tasks(before.curve[-1])
    change = interval(gained)
    if len(gained) == 1:
        verdict = "one task alone does not say whether that is better"
    elif change.low > 0:
        verdict = "better than before it"
    elif change.high < 0:
        verdict = "worse than before it"
    else:
        verdict = "no difference that these tasks can show"
    result = number(float(np.mean(after.curve[-1])))
    said = [
        f"After phase 2, {after.updates:,} updates on {after.steps:,} steps explored without "
        f"rewards, it "
        f"returns {result}: {verdict} (change {_signed(change.mean)}, "
        f"{percent(LEVEL)} interval over tasks {_signed(change.low)} to {_signed(change.high)}; "
        f"better on {int((gained > 0).sum())} of {len(gained)} tasks)."
    ]
    share = evaluation.recovered
    oracle = evaluation.returns["oracle"]
    goal = nearer_goal(evaluation)
    if share is None:
        said.append(f"There was nothing to recover: before phase 2 it was already at {goal}.")
    elif share > 0:
        amount = percent(share) if share < 1 else f"the whole distance ({percent(share)})"
        of = "of the distance to" if share < 1 else "to"
        said.append(f"That is {amount} {of} {goal}.")
    if oracle is not None:
        said.append(f"The same phase with true rewards, the oracle, returns {number(oracle)}.")
    return said


def nearer_goal(evaluation: Evaluation) -> str:
    """What `Evaluation.recovered` measures against, in words."""
    oracle, offline = evaluation.returns["oracle"], evaluation.returns["offline_context"]
    if oracle is None or (offline is not None and offline <= oracle):
        return "the offline-context return" + (
            "" if oracle is None else ", which is nearer than the oracle"
        )
    return "the oracle, which is nearer than the offline-context return"


def _labels(evaluation: Evaluation) -> str:
    decoder = evaluation.decoder
    quality = (
        f"The decoder that makes the labels explains {percent(decoder.explained)} of the variance "
        "of rewards on the held-out tasks"
    )
    if decoder.explained < POOR_DECODER:
        return f"{quality}: too little to learn from, so look there first."
    return f"{quality}."


def _signed(value: float) -> str:
    return ("+" if value >= 0 else "") + number(value)

"""How far a classifier's probabilities can be believed: what sparse decoders are judged by.

Pure functions of probabilities and outcomes. Sources: Brier 1950; Naeini et al. 2015 for the
expected calibration error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 10  # of equal width


@dataclass(frozen=True)
class Bin:
    """The predictions of one range: their mean, how often it happened, how many there are."""

    predicted: float
    observed: float
    count: int


@dataclass(frozen=True)
class Calibration:
    """One classifier on one set of outcomes.

    Attributes:
        brier: mean squared difference between probability and outcome.
        expected_error: |mean probability − observed share| of a bin, averaged over predictions.
        found: share of what happened that was given a probability above one half; None of nothing.
        ruled_out: share of what did not happen that was given one of at most that; likewise.
        bins: those that hold a prediction, in order; the reliability diagram.
    """

    brier: float
    expected_error: float
    found: float | None
    ruled_out: float | None
    bins: list[Bin]


def calibration(probability: NDArray[np.float64], happened: NDArray[np.bool_]) -> Calibration:
    """Judge probabilities `(n,)` by what `happened` `(n,)`; n is at least 1."""
    outcome = happened.astype(np.float64)
    place = np.minimum((probability * BINS).astype(int), BINS - 1)
    bins = [
        Bin(
            predicted=float(probability[place == index].mean()),
            observed=float(outcome[place == index].mean()),
            count=int((place == index).sum()),
        )
        for index in range(BINS)
        if (place == index).any()
    ]
    off = sum(each.count * abs(each.predicted - each.observed) for each in bins)
    likely = probability > 0.5
    return Calibration(
        brier=float(np.square(probability - outcome).mean()),
        expected_error=off / len(outcome),
        found=_share(likely[happened]),
        ruled_out=_share(~likely[~happened]),
        bins=bins,
    )


def _share(values: NDArray[np.bool_]) -> float | None:
    return float(values.mean()) if len(values) else None

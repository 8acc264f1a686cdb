"""A study's cells: the return of every (seed, task, repeat), by method, inference and context.

What `metrics.json` holds and every number of the page is computed from, so that anybody can compute
a table again (docs/results/README.md has the layout).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from fieldtune.train.evaluation.results import Adapted, EvaluationError, Inference
from fieldtune.train.runs.origin import TOLD
from fieldtune.train.study.plan import Method
from fieldtune.train.study.results import JobResult, Results, ToldResult

DIGITS = 3  # of a return; a table shows one
Repeats = list[list[list[float]]]  # (seed, task, repeat)


class Cells(msgspec.Struct, frozen=True, omit_defaults=True):
    """One method, by one inference.

    Attributes:
        returns: by number of context episodes, `(K+1, seed, task, repeat)`.
        first_episode: of the first episode, followed step by step, `(seed, task, repeat)`.
        rewards: of that episode by step, mean over (task, repeat), `(seed, step)`.
        successes, first_successes: 1 or 0 for each return; absent where the family has none.
        effective_particles, unlike: by number of context episodes, `(K+1, seed)`, by likelihood.
        swapped, swapped_successes: as tables quote, acted by what was explored in another task,
            `(seed, task, repeat)`; absent where an earlier version measured.
    """

    method: Method
    inference: Inference
    returns: list[Repeats]
    first_episode: Repeats | None = None
    rewards: list[list[float]] | None = None
    successes: list[Repeats] | None = None
    first_successes: Repeats | None = None
    effective_particles: list[list[float]] | None = None
    unlike: list[list[float]] | None = None
    swapped: Repeats | None = None
    swapped_successes: Repeats | None = None

    @property
    def episodes(self) -> int:
        """K."""
        return len(self.returns) - 1


class OfflineCells(msgspec.Struct, frozen=True, omit_defaults=True):
    """One method with contexts from offline data, or told the task, `(seed, task, repeat)`."""

    method: Method
    returns: Repeats
    successes: Repeats | None = None


class Metrics(msgspec.Struct, frozen=True):
    """What of a study's `metrics.json` can be computed with; it has the page's tables besides.

    `told` is of cloning that was told the held-out tasks, one record or none.
    """

    family: str
    seeds: int
    period_s: float
    random: float
    cells: list[Cells]
    offline_context: list[OfflineCells]
    told: list[OfflineCells] = []


def all_cells(results: Results) -> list[Cells]:
    """Every method by every inference that each of its seeds was measured by."""
    return [
        _cells(method, inference, [dict(result.final.inferences)[inference] for result in found])
        for method, found in results.items()
        for inference, _ in found[0].final.inferences
        if all(inference in dict(result.final.inferences) for result in found)
    ]


def offline_cells(results: Results) -> list[OfflineCells]:
    """Likewise with offline contexts, by the encoder."""
    return [_offline(method, found) for method, found in results.items()]


def told_cells(found: Sequence[ToldResult]) -> list[OfflineCells]:
    """One record of every seed's; none of none."""
    if not found:
        return []
    reached = [one.reached for one in found]
    ended = [one.successes for one in reached if one.successes is not None]
    returns = _rounded([one.returns for one in reached])
    return [OfflineCells(TOLD, returns, _rounded(ended) if ended else None)]


def read_metrics(path: Path) -> Metrics:
    """Raises `EvaluationError` when the file is missing, something else or of another version."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Metrics)
    except (OSError, msgspec.DecodeError) as error:
        raise EvaluationError(
            f"{path}: not the metrics.json of a study of this version ({error}): run its "
            "`fieldtune study` again, which trains nothing that is done"
        ) from error


def encode_metrics(tables: dict[str, object], metrics: Metrics) -> bytes:
    """The file: tables by name, then the cells, one line for each method and inference."""
    known = msgspec.to_builtins(metrics)
    lists = {name: known.pop(name) for name in ("cells", "offline_context", "told")}
    text = json.dumps({**known, **tables}, indent=2, allow_nan=False).removesuffix("\n}")
    for name, records in lists.items():
        rows = [json.dumps(one, separators=(",", ":"), allow_nan=False) for one in records]
        if rows:
            text += f',\n  "{name}": [\n    ' + ",\n    ".join(rows) + "\n  ]"
    return f"{text}\n}}\n".encode()


def _cells(method: Method, inference: Inference, found: Sequence[Adapted]) -> Cells:
    first = [one.first_episode for one in found if one.first_episode is not None]
    ended = [one.successes for one in found if one.successes is not None]
    first_ended = [one.successes for one in first if one.successes is not None]
    particles = [one.effective_particles for one in found if one.effective_particles is not None]
    unlike = [one.unlike for one in found if one.unlike is not None]
    swapped = [one.swapped for one in found if one.swapped is not None]
    swapped_ended = [one.successes for one in swapped if one.successes is not None]
    whole = len(swapped) == len(found)
    return Cells(
        method=method,
        inference=inference,
        returns=_rounded(_by_episodes([one.returns for one in found])),
        first_episode=_rounded([one.returns for one in first]) if first else None,
        rewards=_rounded([one.rewards for one in first], DIGITS + 1) if first else None,
        successes=_rounded(_by_episodes(ended)) if ended else None,
        first_successes=_rounded(first_ended) if first_ended else None,
        effective_particles=_rounded(_by_episodes(particles)) if particles else None,
        unlike=_rounded(_by_episodes(unlike)) if unlike else None,
        swapped=_rounded([one.returns for one in swapped]) if whole else None,
        swapped_successes=_rounded(swapped_ended) if whole and swapped_ended else None,
    )


def _offline(method: Method, found: Sequence[JobResult]) -> OfflineCells:
    known = [r.final.offline_successes for r in found]
    ended = [each for each in known if each is not None]
    returns = _rounded([result.final.offline_returns for result in found])
    return OfflineCells(method, returns, _rounded(ended) if ended else None)


def _by_episodes(seeds: Sequence[list]) -> NDArray[np.float64]:
    """`(seed, K+1, ...)` as `(K+1, seed, ...)`."""
    return np.swapaxes(np.asarray(seeds, dtype=np.float64), 0, 1)


def _rounded(values: object, digits: int = DIGITS) -> list:
    return np.round(np.asarray(values, dtype=np.float64), digits).tolist()

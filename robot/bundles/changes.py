"""What changed between two bundles: what they say, their weights, and what they do.

Knows manifests, and actions on the same samples. It must not know why somebody compares them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fieldtune.export.bundle import Bundle
from fieldtune.export.differences import WITHIN, mean_actions, run_rows, samples_within
from fieldtune.robot.bundles.facts import Facts, facts

SAMPLES = 1024
_POLICY = "policy.onnx"


@dataclass(frozen=True)
class Change:
    """One fact that differs; None where a side has none."""

    what: str
    before: Any
    after: Any


@dataclass(frozen=True)
class ActionDifference:
    """How far mean actions lie apart, as a share of each component's range.

    `field` is the action field, `mean` and `largest` over all samples and components of it; None
    where a side gives something that is no number.
    """

    field: str
    mean: float | None
    largest: float | None


@dataclass(frozen=True)
class Comparison:
    """`actions` is None where the two do not take the same inputs and give the same actions."""

    changes: tuple[Change, ...]
    actions: tuple[ActionDifference, ...] | None
    samples: str


def compare(before: Bundle, after: Bundle) -> Comparison:
    """Two verified bundles, held against each other. The samples are within `before`'s ranges."""
    known, now = _flat(facts(before)), _flat(facts(after))
    for name, one, other in (
        ("z of tasks", before.manifest.task_embeddings, after.manifest.task_embeddings),
        ("particles", _particles(before), _particles(after)),
    ):
        if one != other:
            known[name], now[name] = f"{len(one)} of one set", f"{len(other)} of another"
    found = [
        Change(what, known.get(what), now.get(what))
        for what in dict.fromkeys((*known, *now))
        if known.get(what) != now.get(what)
    ]
    return Comparison(tuple(found), _actions(before, after), f"{SAMPLES} {WITHIN}")


def _particles(bundle: Bundle) -> tuple[Any, ...]:
    known = bundle.manifest.likelihood
    return () if known is None else known.particles


def _actions(before: Bundle, after: Bundle) -> tuple[ActionDifference, ...] | None:
    first, second = before.manifest, after.manifest
    same = (first.observation_fields, first.action_fields, first.latent_size) == (
        second.observation_fields,
        second.action_fields,
        second.latent_size,
    )
    if not same:
        return None
    drawn = samples_within(first, before.graphs["decoder.onnx"], SAMPLES)
    acted = [
        mean_actions(one.manifest, run_rows(one.graphs[_POLICY], one.manifest.signatures[_POLICY],
                                            drawn)[0])
        for one in (before, after)
    ]  # fmt: skip
    found, start = [], 0
    for field in first.action_fields:
        part = slice(start, start + field.width)
        reach = np.array(field.high) - np.array(field.low)
        apart = np.abs(acted[0][:, part] - acted[1][:, part]) / reach
        known = np.isfinite(apart).all()
        sizes = (float(apart.mean()), float(apart.max())) if known else (None, None)
        found.append(ActionDifference(field.name, *sizes))
        start = part.stop
    return tuple(found)


def _flat(content: Facts, above: str = "") -> Facts:
    """Nested facts as one level, names joined by dots; fields by their own names."""
    found: Facts = {}
    for key, value in content.items():
        name = f"{above}{key}"
        if isinstance(value, list) and value and isinstance(value[0], dict):
            value = {one.get("name", str(index)): one for index, one in enumerate(value)}
        if isinstance(value, dict):
            found |= _flat(value, f"{name}.")
        else:
            found[name] = value
    return found

"""What a bundle says of itself, in flat facts: for `bundle inspect`, and for comparing two.

Knows the manifest. It must not know inference, robots' settings, nor how a terminal prints.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from fieldtune.export.bundle import Bundle
from fieldtune.export.manifest import FieldSpec, Manifest

Facts = dict[str, Any]


def facts(bundle: Bundle) -> Facts:
    """Everything about a bundle but its weights, z and particles, in names for programs."""
    manifest = bundle.manifest
    return {
        "id": bundle.id,
        "schema_version": manifest.schema_version,
        "family": manifest.family,
        "robot": manifest.robot,
        "period_s": manifest.period_s,
        "horizon": manifest.horizon,
        "observation_fields": [_field(one) for one in manifest.observation_fields],
        "action_fields": [_field(one) for one in manifest.action_fields],
        "observation_seen": [_field(one) for one in manifest.observation_seen or ()],
        "latent_size": manifest.latent_size,
        "task_embeddings": len(manifest.task_embeddings),
        "inference": _inference(manifest),
        "context_has_next_observation": manifest.context_has_next_observation,
        "sparse_reward": manifest.sparse_reward,
        "provenance": manifest.provenance.model_dump(),
        "parity": {name: one.relative for name, one in manifest.parity.items()},
        "conversions": [_conversion(manifest, index) for index in range(len(manifest.conversions))],
        "files": {name: {"bytes": one.size, "sha256": one.sha256}
                  for name, one in manifest.files.items()},
    }  # fmt: skip


def lines(bundle: Bundle) -> Iterator[tuple[str, str]]:
    """The same for a person: what stands to the left, and what to the right of it."""
    known, manifest = facts(bundle), bundle.manifest
    yield "bundle", bundle.id
    yield "for", f"{manifest.family}, robot {manifest.robot}"
    rate = f"{1 / manifest.period_s:g} Hz, {manifest.horizon} steps an episode"
    yield "loop", rate
    for kind, fields in (
        ("observation", manifest.observation_fields),
        ("action", manifest.action_fields),
    ):
        for field in fields:
            yield kind, f"{field.name} ({field.width}, {field.unit}) {_range(field)}"
    for field in manifest.observation_seen or ():
        yield "in the data", f"{field.name} {_range(field)}"
    yield "z", f"{manifest.latent_size} numbers, {known['task_embeddings']} tasks' embeddings"
    inference = known["inference"]
    told = ", ".join(f"{key} {value}" for key, value in inference.items() if key != "by")
    yield "inference", f"by {inference['by']}" + (f": {told}" if told else "")
    yield "rewards", "−1 or 0" if manifest.sparse_reward else "any"
    for key, value in known["provenance"].items():
        if value is not None:
            yield key, str(value)
    for name, relative in known["parity"].items():
        yield "parity", f"{name} {relative:.1e} (relative, to torch)"
    for step in known["conversions"]:
        worst = max(step["difference"], key=step["difference"].__getitem__)
        yield (
            "converted",
            f"to {step['to']} from {step['source'][:12]}: at most {step['difference'][worst]:.1e} "
            f"(relative, {worst}), {step['tolerance']:g} allowed, on {step['samples']}",
        )
    for name, file in known["files"].items():
        yield name, f"{file['bytes']} bytes, sha256 {file['sha256'][:12]}"


def _inference(manifest: Manifest) -> Facts:
    known = manifest.likelihood
    if known is None:
        return {"by": "the encoder", "prior_factor": manifest.prior_factor}
    return {
        "by": "likelihood",
        "particles": len(known.particles),
        "temper": known.temper,
        "unlike_below": known.unlike_below,
    }


def _conversion(manifest: Manifest, index: int) -> Facts:
    step = manifest.conversions[index]
    found = {name: one.relative for name, one in step.difference.items()}
    return step.model_dump(exclude={"difference"}) | {"difference": found}


def _field(field: FieldSpec) -> Facts:
    """With infinities as the manifest writes them."""
    spelled: Facts = json.loads(field.model_dump_json())
    return spelled


def _range(field: FieldSpec) -> str:
    pairs = list(zip(field.low, field.high, strict=True))
    if len(set(pairs)) == 1:
        pairs = pairs[:1]
    return " ".join(f"[{low:g}, {high:g}]" for low, high in pairs)

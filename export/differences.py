"""How far apart two sets of graphs are on the same inputs, and inputs that a manifest implies.

Runs graphs by ONNX Runtime and knows neither torch nor datasets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from fieldtune.errors import UserError
from fieldtune.export.making import Difference
from fieldtune.export.manifest import FieldSpec, Manifest, Signature
from fieldtune.export.sessions import CPU, open_session

Array = NDArray[np.float32]
Samples = Mapping[str, Array]

WITHIN = "draws within the ranges that the manifest states"
_UNBOUNDED = 10.0  # to each side of 0, where neither data nor bounds say more


class GraphRefused(UserError):
    """ONNX Runtime refuses a graph that is sound as far as a reader can see."""


def samples_within(manifest: Manifest, decoder: bytes, count: int, seed: int = 0) -> Samples:
    """Inputs of all graphs, `(sample, width)` each, within what the manifest states.

    Observations are drawn from the range of the training data, or from the fields' bounds in a
    bundle that does not state one; actions from their bounds; z from the particles or, without any,
    the tasks' embeddings; rewards are the decoder's for another
    sample's z, of −1 and 0 where rewards are sparse.

    Args:
        manifest: the bundle's.
        decoder: its `decoder.onnx`.
        count: of samples.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    known = manifest.likelihood
    where = manifest.task_embeddings if known is None else known.particles
    z = np.array(where, dtype=np.float32)[rng.integers(len(where), size=count)]
    seen = manifest.observation_seen or manifest.observation_fields
    drawn: dict[str, Array] = {
        "observation": _uniform(seen, count, rng),
        "next_observation": _uniform(seen, count, rng),
        "action": _uniform(manifest.action_fields, count, rng),
        "z": z,
    }
    of_others = {**drawn, "z": np.roll(z, 1, axis=0)}  # with its own z, no reward is unlikely
    rewards = run_rows(decoder, manifest.signatures["decoder.onnx"], of_others)[0]
    if manifest.sparse_reward:
        rewards = np.where(rng.random(rewards.shape) < rewards + 1.0, 0.0, -1.0)
    return {**drawn, "reward": rewards.astype(np.float32)}


def run_rows(graph: bytes, signature: Signature, samples: Samples) -> list[Array]:
    """Each output of a graph on every sample, `(sample, width)`, on the processor.

    Raises `GraphRefused`.
    """
    try:
        return run_session(open_session(graph, CPU)[0], signature, samples)
    except MemoryError:
        raise
    except Exception as error:  # onnxruntime's exceptions share no public base
        outputs = ", ".join(name for name, _ in signature.outputs)
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise GraphRefused(
            f"ONNX Runtime cannot run the graph that gives {outputs} ({said}): "
            "`bundle verify` shows whether a robot would take it; export the bundle again"
        ) from error


def run_session(
    session: onnxruntime.InferenceSession, signature: Signature, samples: Samples
) -> list[Array]:
    """The same by a session that is open."""
    outputs = [name for name, _ in signature.outputs]
    return in_pieces(lambda inputs: session.run(outputs, inputs), signature, samples)


def in_pieces(
    compute: Callable[[dict[str, Array]], Sequence[Array]], signature: Signature, samples: Samples
) -> list[Array]:
    """What `compute` gives for all samples, each output `(sample, width)`: asked in pieces of the
    signature's batch where that is fixed, the last one filled up with its first row."""
    inputs = {name: samples[name] for name, _ in signature.inputs}
    count = len(next(iter(inputs.values())))
    batch = signature.batch or count
    pieces = []
    for first in range(0, count, batch):
        rows = np.arange(first, first + batch)
        rows[rows >= count] = first
        found = compute({name: value[rows] for name, value in inputs.items()})
        pieces.append([output[: count - first] for output in found])
    return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]


def differences(
    signatures: Mapping[str, Signature],
    wanted: Mapping[str, Sequence[Array]],
    found: Mapping[str, Sequence[Array]],
) -> dict[str, Difference]:
    """The largest difference of every output, keyed as the manifest's parity: `policy.mean`.

    Args:
        signatures: of the graphs, by name.
        wanted, found: each graph's outputs in order, `(sample, width)`.

    Raises:
        ValueError: a number that is not finite; the message names the output.
    """
    measured = {}
    for name, signature in signatures.items():
        for (output, _), want, got in zip(
            signature.outputs, wanted[name], found[name], strict=True
        ):
            key = f"{name.removesuffix('.onnx')}.{output}"
            if not (np.isfinite(want).all() and np.isfinite(got).all()):
                raise ValueError(f"{key} is not finite")
            absolute = float(np.abs(want.astype(np.float64) - got).max())
            scale = float(np.abs(want).max())
            measured[key] = Difference(
                relative=absolute / scale if scale else absolute,
                absolute=absolute,
                samples=len(want),
            )
    return measured


def outputs_of(
    manifest: Manifest, graphs: Mapping[str, bytes], samples: Samples
) -> dict[str, list[Array]]:
    """Every graph's outputs on the samples, on the processor."""
    return {
        name: run_rows(graphs[name], signature, samples)
        for name, signature in manifest.signatures.items()
    }


def mean_actions(manifest: Manifest, means: Array) -> NDArray[np.float64]:
    """What a robot would be told, `(sample, action)`, of the policy's means: squashed, physical."""
    low = np.array([value for field in manifest.action_fields for value in field.low])
    high = np.array([value for field in manifest.action_fields for value in field.high])
    actions: NDArray[np.float64] = (high + low) / 2 + (high - low) / 2 * np.tanh(
        means.astype(np.float64)
    )
    return actions


def _uniform(fields: Sequence[FieldSpec], count: int, rng: np.random.Generator) -> Array:
    low = np.array([value for field in fields for value in field.low])
    high = np.array([value for field in fields for value in field.high])
    low = np.where(np.isfinite(low), low, np.minimum(-_UNBOUNDED, high))
    high = np.where(np.isfinite(high), high, np.maximum(_UNBOUNDED, low))
    return (low + (high - low) * rng.random((count, len(low)))).astype(np.float32)

"""One graph of a bundle, run by ONNX Runtime, and whether a provider computes what it should.

Knows sessions, widths and shapes. It must not know what a graph means, nor where inputs come from.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fieldtune.errors import UserError
from fieldtune.export.bundle import Bundle
from fieldtune.export.differences import (
    Samples,
    differences,
    outputs_of,
    run_session,
    samples_within,
)
from fieldtune.export.sessions import CPU, ProviderError, open_session

Array = NDArray[np.float64]

DEVICE_SAMPLES = 64


class PolicyError(UserError):
    """A graph cannot be loaded, or gives what no policy may give."""


class Graph:
    """One ONNX session and the names of its inputs, in order. `provider` is what computes it."""

    def __init__(self, bundle: Bundle, name: str, providers: Sequence[str] = CPU) -> None:
        """Raises `PolicyError` when ONNX Runtime refuses the graph, or no provider can be used."""
        self.name = name
        self._signature = bundle.manifest.signatures[name]
        self._inputs = self._signature.inputs
        self._outputs = [output for output, _ in self._signature.outputs]
        self._widths = [width for _, width in self._signature.outputs]
        try:
            self._session, self.provider = open_session(bundle.graphs[name], providers)
        except ProviderError as error:
            raise PolicyError(str(error)) from error
        except Exception as error:  # onnxruntime's exceptions share no public base
            raise PolicyError(f"bundle {bundle.id[:12]}, {name}: {error}") from error
        rows = [shape[0] for one in self._session.get_inputs() if (shape := one.shape)]
        self._fixed: int | None = rows[0] if rows and isinstance(rows[0], int) else None

    def __call__(self, *values: Array) -> list[Array]:
        """Each output `(width,)`, of inputs `(width,)`."""
        feed = {}
        for (name, width), value in zip(self._inputs, values, strict=True):
            self._require_width(name, width, len(value))
            feed[name] = np.asarray(value, dtype=np.float32)[np.newaxis]
        return [output[0] for output in self._run(feed, 1)]

    def rows(self, *values: Array) -> list[Array]:
        """Each output `(row, width)`. The last input is `(row, width)`; the others are `(width,)`,
        the same for every row."""
        *same, each = values
        at_once = self._fixed or len(each)
        if at_once == len(each):
            return self._rows(*values)
        pieces = (each[i : i + at_once] for i in range(0, len(each), at_once))
        parts = [self._padded(same, piece, at_once) for piece in pieces]
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]

    def _padded(self, same: Sequence[Array], each: Array, count: int) -> list[Array]:
        """Of no more rows than a graph of fixed shapes takes."""
        whole = np.resize(each, (count, each.shape[1]))
        return [output[: len(each)] for output in self._rows(*same, whole)]

    def _rows(self, *values: Array) -> list[Array]:
        count, feed = len(values[-1]), {}
        for (name, width), value in zip(self._inputs, values, strict=True):
            self._require_width(name, width, value.shape[-1])
            feed[name] = np.empty((count, width), dtype=np.float32)
            feed[name][:] = value
        return self._run(feed, count)

    def on(self, samples: Samples) -> list[NDArray[np.float32]]:
        """Each output on samples, `(sample, width)`. Raises what ONNX Runtime does."""
        return run_session(self._session, self._signature, samples)

    def _require_width(self, name: str, width: int, found: int) -> None:
        if found != width:
            raise PolicyError(f"{self.name}: input {name!r} is {found} wide, expected {width}")

    def _run(self, feed: dict[str, NDArray[np.float32]], count: int) -> list[Array]:
        try:
            outputs = self._session.run(self._outputs, feed)
        except Exception as error:
            raise PolicyError(f"{self.name} cannot be run: {error}") from error
        expected = [(count, width) for width in self._widths]
        if [output.shape for output in outputs] != expected:
            raise PolicyError(
                f"{self.name} gives {', '.join(self._outputs)} of shapes "
                f"{[output.shape for output in outputs]}, expected {expected}"
            )
        return [output.astype(np.float64) for output in outputs]


def require_parity(bundle: Bundle, graphs: Sequence[Graph], tolerance: float | None) -> None:
    """Compare what providers compute with the processor; nothing to do where all run there.

    Args:
        bundle: whose graphs they are.
        graphs: all of them, opened.
        tolerance: the largest relative difference; the bundle's own where None.

    Raises:
        PolicyError: an output is further off, is no number, or cannot be computed.
    """
    if all(graph.provider == "cpu" for graph in graphs):
        return
    manifest = bundle.manifest
    allowed = manifest.tolerance if tolerance is None else tolerance
    where = ", ".join(sorted({graph.provider for graph in graphs} - {"cpu"}))
    try:
        samples = samples_within(manifest, bundle.graphs["decoder.onnx"], DEVICE_SAMPLES)
        wanted = outputs_of(manifest, bundle.graphs, samples)
        found = {graph.name: graph.on(samples) for graph in graphs}
        measured = differences(manifest.signatures, wanted, found)
    except Exception as error:  # onnxruntime's exceptions share no public base
        raise PolicyError(f"provider {where}: {error}") from error
    for output, difference in measured.items():
        if not difference.relative <= allowed:
            raise PolicyError(
                f"provider {where}: {output} is {difference.relative:.3g} (relative) from the "
                f"processor's over {difference.samples} samples, at most {allowed:g} is allowed: "
                "set robot.policy.tolerance, or run on cpu"
            )

"""How far ONNX Runtime is from torch on the same inputs: measured before a bundle may exist.

Workstation side: torch is imported only where it is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fieldtune.errors import UserError
from fieldtune.export.manifest import PARITY_LIMIT, Parity, Signature
from fieldtune.export.sessions import open_session

if TYPE_CHECKING:
    from torch import nn

Samples = Mapping[str, NDArray[np.float32]]

_SINGLE = 8  # samples also compared one by one, the size that a robot runs at


class ParityError(UserError, ValueError):
    """ONNX Runtime and torch disagree; the message names the output and how far it is off."""


def measure(
    name: str, module: nn.Module, graph: bytes, signature: Signature, samples: Samples
) -> dict[str, Parity]:
    """Compare one graph with the module it came from, on all samples at once and one by one.

    Args:
        name: what the graph is called in results and errors, e.g. `policy`.
        module: takes the signature's inputs by position, gives its outputs.
        graph: ONNX bytes.
        signature: the graph's inputs and outputs.
        samples: one float32 `(sample, width)` array an input, over the dataset's own range.

    Returns:
        One entry an output, keyed `<name>.<output>`.

    Raises:
        ParityError: not finite, another shape, or more than `PARITY_LIMIT` apart.
    """
    inputs = {key: samples[key] for key, _ in signature.inputs}
    count = len(next(iter(inputs.values())))
    batches = [inputs] + [
        {key: value[row : row + 1] for key, value in inputs.items()}
        for row in np.linspace(0, count - 1, min(_SINGLE, count)).astype(int)
    ]
    session, _ = open_session(graph)
    outputs = [output for output, _ in signature.outputs]
    scale, difference = dict.fromkeys(outputs, 0.0), dict.fromkeys(outputs, 0.0)
    for batch in batches:
        expected = _run_torch(module, batch)
        for output, want, got in zip(outputs, expected, session.run(outputs, batch), strict=True):
            if want.shape != got.shape:
                raise ParityError(f"{name}.{output}: torch gives {want.shape}, ONNX {got.shape}")
            if not (np.isfinite(want).all() and np.isfinite(got).all()):
                raise ParityError(
                    f"{name}.{output}: not finite on the dataset's own range: "
                    "look at the normalisation and the weights before exporting"
                )
            scale[output] = max(scale[output], float(np.abs(want).max()))
            difference[output] = max(difference[output], float(np.abs(got - want).max()))
    found = {}
    for output in outputs:
        relative = difference[output] / scale[output] if scale[output] else difference[output]
        if not relative <= PARITY_LIMIT:
            raise ParityError(
                f"{name}.{output}: ONNX Runtime is {relative:.3g} (relative) from torch over "
                f"{count} samples, at most {PARITY_LIMIT:g} is allowed: nothing was written"
            )
        found[f"{name}.{output}"] = Parity(
            relative=relative, absolute=difference[output], samples=count
        )
    return found


def _run_torch(module: nn.Module, batch: Samples) -> list[NDArray[np.float32]]:
    import torch

    with torch.no_grad(), _full_precision():
        result = module(*(torch.from_numpy(np.ascontiguousarray(v)) for v in batch.values()))
    tensors = (result,) if isinstance(result, torch.Tensor) else tuple(result)
    return [tensor.numpy() for tensor in tensors]


@contextmanager
def _full_precision() -> Iterator[None]:
    """Training may allow faster, coarser products; the reference is plain float32."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)

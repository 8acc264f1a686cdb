"""Writing a bundle on the workstation: torch modules become self-contained ONNX graphs.

torch and onnx are imported only where they are used, so that a robot may import this package.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from fieldtune.export.bundle import Bundle, file_entry, pack_bundle, parse_bundle
from fieldtune.export.manifest import (
    GRAPHS,
    LIKELIHOOD,
    Description,
    Manifest,
    Parity,
    Signature,
)
from fieldtune.export.parity import Samples, measure
from fieldtune.export.plain import plain
from fieldtune.files import write_atomically

if TYPE_CHECKING:
    from torch import Tensor, nn

_MAX_SAMPLES = 100_000
_PREFIX = "network."
_TRACED = 18  # the operator set that the exporter writes of itself; `plain` goes on from there


def write_bundle(
    path: Path | str,
    description: Description,
    *,
    policy: nn.Module,
    encoder: nn.Module,
    decoder: nn.Module,
    samples: Samples,
    likelihood: nn.Module | None = None,
) -> Bundle:
    """Export the modules, check them against torch, and write the bundle in one step.

    Args:
        path: the bundle file; replaced atomically.
        description: the manifest's declared part.
        policy, encoder, decoder: in eval form, on the CPU, with the positional inputs and outputs
            of `description.signatures`; normalisation inside. Handing in the *same module object*
            again after training only swaps its weights, which is many times faster.
        samples: float32 `(sample, width)` arrays over the dataset's own range, keyed by the
            graphs' input names, z included.
        likelihood: likewise, where the description has a section `likelihood`, and only there.

    Returns:
        The bundle, as a robot will read it.

    Raises:
        ParityError: ONNX Runtime and torch differ by more than `PARITY_LIMIT`; nothing is written.
        ValueError: a module or the samples do not fit the description, or a module's graph cannot
            be written in plain operators.
    """
    path = Path(path)
    modules: dict[str, nn.Module] = dict(zip(GRAPHS, (policy, encoder, decoder), strict=True))
    if (likelihood is None) != (description.likelihood is None):
        raise ValueError(
            f"{LIKELIHOOD}: give a module and the description's section 'likelihood' together"
        )
    if likelihood is not None:
        modules[LIKELIHOOD] = likelihood
    graphs: dict[str, bytes] = {}
    parity: dict[str, Parity] = {}
    for name, signature in description.signatures.items():
        _check_module(name, modules[name])
        _check_samples(name, signature, samples)
        graphs[name] = export_graph(modules[name], signature, name.removesuffix(".onnx"))
        parity |= measure(
            name.removesuffix(".onnx"), modules[name], graphs[name], signature, samples
        )
    manifest = Manifest(
        **dict(description),
        files={name: file_entry(graph) for name, graph in graphs.items()},
        parity=parity,
    )
    data = pack_bundle(manifest, graphs)
    bundle = parse_bundle(data, source=str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, data)
    return bundle


def export_graph(module: nn.Module, signature: Signature, name: str) -> bytes:
    """One module as ONNX bytes that depend on its weights and structure alone.

    A module that was exported before keeps its graph, and only the weights are written anew.

    Args:
        module: in eval form, on the CPU.
        signature: names and widths of its positional inputs and outputs.
        name: of the graph.

    Raises:
        ValueError: `torch.onnx.export` gave no program, or an operator that there is no plain
            spelling of (`fieldtune.export.plain`).
    """
    model = _templates.get(module)
    if model is None:
        model = _templates[module] = _trace(module, signature, name)
    _put_weights(model, module)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


_templates: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def _trace(module: nn.Module, signature: Signature, name: str) -> Any:
    """The module's ONNX model, without anything that tells of the machine it was made on.

    The exporter's optimiser stays off: it would fold weights into constants and merge equal ones,
    and the graph would depend on their values. `plain` folds what is constant without them.
    """
    import torch

    class Wrapped(torch.nn.Module):
        """Puts every weight under a prefix, so that none can share a name with an output."""

        def __init__(self) -> None:
            super().__init__()
            self.network = module

        def forward(self, *inputs: torch.Tensor) -> Any:
            return self.network(*inputs)

    batch = torch.export.Dim("batch")
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            Wrapped().eval(),
            tuple(torch.zeros(2, width) for _, width in signature.inputs),
            dynamo=True,
            external_data=False,
            optimize=False,
            opset_version=_TRACED,
            input_names=[key for key, _ in signature.inputs],
            output_names=[key for key, _ in signature.outputs],
            dynamic_shapes=(tuple({0: batch} for _ in signature.inputs),),
            verbose=False,
        )
    if program is None:
        raise ValueError(f"{name}: torch.onnx.export gave no program")
    model = plain(program.model, name)
    strip(model)
    model.producer_name, model.producer_version = "fieldtune", ""
    model.graph.name = name
    return model


def strip(message: Any) -> None:
    """Remove documentation and metadata (stack traces, file paths) at every depth."""
    for field, value in message.ListFields():
        if field.name in ("doc_string", "metadata_props"):
            message.ClearField(field.name)
        elif field.message_type is not None:
            for item in [value] if hasattr(value, "ListFields") else value:
                strip(item)


def _put_weights(model: Any, module: nn.Module) -> None:
    from onnx import numpy_helper

    weights = {_PREFIX + name: value.numpy() for name, value in _weights(module)}
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))


def _weights(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every parameter and buffer under each of its names, saved in checkpoints or not."""
    named: Iterable[tuple[str, Tensor]] = chain(
        module.named_parameters(remove_duplicate=False),
        module.named_buffers(remove_duplicate=False),
    )
    for name, value in named:
        yield name, value.detach()


@contextmanager
def _quiet() -> Iterator[None]:
    """Hush the exporter's remarks about packages that are not needed; errors still come through."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _check_module(name: str, module: nn.Module) -> None:
    if module.training:
        raise ValueError(f"{name}: the module is in training mode: call .eval() before exporting")
    for key, value in _weights(module):
        if value.device.type != "cpu":
            raise ValueError(f"{name}: weight {key!r} is on {value.device}: export a CPU copy")


def _check_samples(name: str, signature: Signature, samples: Samples) -> None:
    lengths = set()
    for key, width in signature.inputs:
        if key not in samples:
            raise ValueError(f"{name}: samples lack {key!r}, they have {sorted(samples)}")
        value = samples[key]
        if value.dtype != np.float32 or value.ndim != 2 or value.shape[1] != width:
            raise ValueError(
                f"{name}: samples {key!r} are {value.dtype} {value.shape}, "
                f"expected float32 (sample, {width})"
            )
        lengths.add(len(value))
    if len(lengths) != 1 or not 1 <= max(lengths) <= _MAX_SAMPLES:
        raise ValueError(
            f"{name}: samples have {sorted(lengths)} rows, expected the same number for every "
            f"input, between 1 and {_MAX_SAMPLES}"
        )

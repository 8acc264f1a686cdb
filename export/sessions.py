"""ONNX Runtime's sessions: on which provider a graph runs, on one thread unless told otherwise.

Holds the names of providers, and what makes one unusable. Must not know what a graph computes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import onnxruntime

from fieldtune.errors import UserError

log = logging.getLogger(__name__)

CPU = ("cpu",)
_CLASSES = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
PROVIDERS = tuple(_CLASSES)
_IR_10, _IR_9 = b"\x08\x0a", b"\x08\x09"  # ModelProto.ir_version
# Plain float32, as the bundle's parity was measured in: CUDA would use TF32 where it can.
_OPTIONS: dict[str, dict[str, str]] = {"cuda": {"use_tf32": "0"}}
_PACKAGES = {
    "cpu": "onnxruntime",
    "cuda": "onnxruntime-gpu",
    "openvino": "onnxruntime-openvino",
    "tensorrt": "onnxruntime-gpu",
}


class ProviderError(UserError, ValueError):
    """A provider that this ONNX Runtime has not, cannot load, or that cannot run a graph."""


def available() -> tuple[str, ...]:
    """The providers that the installed ONNX Runtime was built with, by our names."""
    built = onnxruntime.get_available_providers()
    return tuple(name for name, known in _CLASSES.items() if known in built)


def require_available(providers: Sequence[str]) -> tuple[str, ...]:
    """Those of `providers` that are there, in their order.

    Raises `ProviderError` where none is.
    """
    here = available()
    found = tuple(name for name in providers if name in here)
    if found:
        return found
    wanted = providers[0]
    raise ProviderError(
        f"provider {wanted!r} is not in this ONNX Runtime, which has {', '.join(here)}: install "
        f"{_PACKAGES[wanted]} in the place of onnxruntime, or name another provider "
        f"(robot.policy.providers: [{wanted}, cpu] falls back to the processor)"
    )


def open_session(
    graph: bytes, providers: Sequence[str] = CPU, *, threads: int = 1
) -> tuple[onnxruntime.InferenceSession, str]:
    """A session on the first of `providers` that can be used, and that one's name.

    A provider that leaves a part of the graph to the processor counts as one that cannot be used.

    Args:
        graph: ONNX bytes.
        providers: names of `PROVIDERS`; those after the first are what to fall back to.
        threads: that compute.

    Raises:
        ProviderError: none can be used; the message says why the last one cannot.
        Exception: of ONNX Runtime, where it is the graph that it refuses on the processor.
    """
    trouble = ""
    for name in require_available(providers):
        if name == "cpu":
            return _open(graph, name, threads), name
        try:
            session = _open(graph, name, threads)
        except Exception as error:  # onnxruntime's exceptions share no public base
            trouble = _first_line(error)
        else:
            if session.get_providers()[0] == _CLASSES[name]:
                return session, name
            trouble = "it is built in, but a library that it needs cannot be loaded"
        log.warning("provider %s cannot be used: %s", name, trouble)
    raise ProviderError(
        f"provider {providers[0]!r} cannot be used: {trouble}: install what it needs, or name "
        f"another (robot.policy.providers: [{', '.join(providers)}, cpu] falls back to the "
        "processor)"
    )


def _open(graph: bytes, name: str, threads: int) -> onnxruntime.InferenceSession:
    options = _options(threads)
    if name != "cpu":
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return onnxruntime.InferenceSession(
        readable(graph), options, providers=[(_CLASSES[name], _OPTIONS.get(name, {}))]
    )


def readable(graph: bytes) -> bytes:
    """The same graph, for an ONNX Runtime of before 1.18.

    Graphs of fieldtune 0.1.0 say that they are of IR 10, the first field of the file, of which they
    use nothing, and 1.17 reads those up to 9.
    """
    return _IR_9 + graph[len(_IR_10) :] if graph.startswith(_IR_10) else graph


def _options(threads: int) -> Any:
    """Threads that sleep when idle: the default pool spins, and burns a core at 250 Hz."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)

"""One step of a training loop as a CUDA graph, launched whole, where Python would launch each of
its hundreds of kernels. On a CPU the step is simply called.

Knows torch alone; what the step computes is its owner's.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Step = Callable[[], Mapping[str, Tensor | float]]

WARM_UP = 3  # steps of each variant before it is captured


@dataclass
class _Variant:
    """One shape of the step; `graph` once it is captured, and then `names` of its `values`."""

    eager: int = 0
    graph: torch.cuda.CUDAGraph | None = None
    names: tuple[str, ...] = ()
    values: Tensor | None = None


class Captured:
    """Runs a step again and again: a few times as it is, then from its graph.

    The steps before are steps like any other, so that as many updates are made as were asked for,
    captured or not. A step must do its work on the device alone: read nothing back, draw from
    torch's global random state there, change weights and buffers in place, and read its inputs from
    buffers that stay where they are. What it returns are tensors of no dimension.

    Args:
        device: where the step computes.
        step: one step.
    """

    def __init__(self, device: torch.device, step: Step) -> None:
        self._device, self._step = device, step
        self._variants: dict[Hashable, _Variant] = {}
        self._pool: Any = None
        self._side: torch.cuda.Stream | None = None

    def __call__(self, variant: Hashable = None) -> dict[str, Tensor | float]:
        """One step, and what it returned: the caller's own, which the next step leaves alone.

        Args:
            variant: what decides the shapes in the step and its way through Python: another one is
                another graph.
        """
        if self._device.type != "cuda":
            return dict(self._step())
        known = self._variants.setdefault(variant, _Variant())
        if known.graph is None and known.eager < WARM_UP:
            known.eager += 1
            return self._aside()
        if known.graph is None:
            self._capture(known)
        return self._replay(known)

    def forget(self) -> None:
        """Drop all graphs: buffers that they read are no longer where they were."""
        self._variants.clear()
        self._pool = None

    def _aside(self) -> dict[str, Tensor | float]:
        """On the stream that captures, as torch asks for before a capture."""
        stream = self._stream()
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            found = dict(self._step())
        torch.cuda.current_stream(self._device).wait_stream(stream)
        return found

    def _capture(self, known: _Variant) -> None:
        """Record the step without running it."""
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        with own_workspaces(), torch.cuda.graph(graph, pool=self._pool, stream=self._stream()):
            found = {n: v for n, v in self._step().items() if isinstance(v, Tensor)}
            known.names, known.values = tuple(found), torch.stack(list(found.values()))
        known.graph = graph

    def _stream(self) -> torch.cuda.Stream:
        if self._side is None:
            self._side = torch.cuda.Stream(self._device)
        return self._side

    @staticmethod
    def _replay(known: _Variant) -> dict[str, Tensor | float]:
        assert known.graph is not None
        assert known.values is not None
        known.graph.replay()
        return dict(zip(known.names, known.values.clone().unbind(), strict=True))


@contextmanager
def own_workspaces() -> Iterator[None]:
    """What is captured meanwhile has scratch memory for matrix products in its own graph's pool.

    Torch keeps one workspace a cuBLAS handle and stream. All backward passes of a process share a
    handle, and graphs that are captured by default a stream: so the graphs of several seeds wrote
    into one workspace side by side, and their losses became nan (docs/gpu.md).
    """
    torch._C._cuda_clearCublasWorkspaces()
    try:
        yield
    finally:
        torch._C._cuda_clearCublasWorkspaces()

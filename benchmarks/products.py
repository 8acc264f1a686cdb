"""The matrix products of an update with nothing around them, and the best rate of this machine.

Products are recorded from a real update, so the floor follows whatever it multiplies. Each runs
into memory that is there already, at whichever of PyTorch's two fp32 ways is faster on this
machine ("highest" is MKL or OpenBLAS, "medium" oneDNN); a way whose result is not fp32 is left out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

WAYS = ("highest", "medium")
FP32 = 1e-5  # relative; bf16 is at 4e-3
_LARGE = 1536


@dataclass(frozen=True)
class Product:
    """`left @ right` into `out`; `times` of it in one update, `way` is the faster one."""

    left: Tensor
    right: Tensor
    out: Tensor
    times: int
    way: str

    @property
    def sides(self) -> tuple[int, int, int]:
        """Rows of `left`, what is summed over, and columns of `right`."""
        return self.left.shape[0], self.left.shape[1], self.right.shape[1]

    @property
    def flops(self) -> int:
        """Of all the times."""
        return 2 * self.times * math.prod(self.sides)


def products_of(update: Callable[[], object]) -> list[Product]:
    """What `update` multiplies, with random numbers of the same shapes and strides."""
    update()
    with _Recorder() as recorder:
        update()
    return [
        _product(left, right, times) for (left, right), times in sorted(recorder.counts.items())
    ]


def run_products(products: list[Product], seconds: float) -> float:
    """Updates a second, if an update were these products alone."""
    count, elapsed = 0, 0.0
    while True:
        for way in WAYS:
            torch.set_float32_matmul_precision(way)
            started = time.perf_counter()
            for product in products:
                if product.way == way:
                    for _ in range(product.times):
                        torch.mm(product.left, product.right, out=product.out)
            _wait(products[0].left)
            elapsed += time.perf_counter() - started
        count += 1
        if elapsed >= seconds:
            return count / elapsed


def total_gflop(products: list[Product]) -> float:
    """Of one update, in 10⁹ operations."""
    return sum(product.flops for product in products) / 1e9


def peak_gflops(seconds: float) -> float:
    """The best rate of a large square product, in GFLOP/s."""
    left, right = torch.randn(_LARGE, _LARGE), torch.randn(_LARGE, _LARGE)
    out = torch.empty(_LARGE, _LARGE)
    best = 0.0
    for way in _fp32_ways(left, right):
        torch.set_float32_matmul_precision(way)
        best = max(best, 2 * _LARGE**3 / _shortest(left, right, out, seconds / 2) / 1e9)
    return best


Shape = tuple[tuple[int, ...], tuple[int, ...]]  # and strides


class _Recorder(TorchDispatchMode):
    """Counts matrix products by shapes and strides of both sides."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[tuple[Shape, Shape], int] = {}

    def __torch_dispatch__(
        self,
        function: Any,
        types: Any,
        arguments: tuple[Any, ...] = (),
        named: Mapping[str, Any] | None = None,
    ) -> Any:
        name = function.overloadpacket.__name__
        if name in ("mm", "addmm"):
            left, right = arguments[-2:]
            key = (_shape(left), _shape(right))
            self.counts[key] = self.counts.get(key, 0) + 1
        elif name in ("bmm", "baddbmm", "addmv", "mv"):
            raise AssertionError(f"an update calls {name}, which the floor does not know")
        return function(*arguments, **(named or {}))


def _shape(tensor: Tensor) -> Shape:
    return tuple(tensor.shape), tensor.stride()


def _product(left: Shape, right: Shape, times: int) -> Product:
    a, b = (_filled(*shape) for shape in (left, right))
    out = torch.empty(a.shape[0], b.shape[1])
    shortest = {}
    for way in _fp32_ways(a, b):
        torch.set_float32_matmul_precision(way)
        shortest[way] = _shortest(a, b, out, 0.002)
    return Product(a, b, out, times, min(shortest, key=lambda way: shortest[way]))


def _filled(shape: tuple[int, ...], strides: tuple[int, ...]) -> Tensor:
    made = torch.empty_strided(shape, strides)
    return made.copy_(torch.randn(shape)) if 0 not in strides else torch.randn(shape)


def _fp32_ways(left: Tensor, right: Tensor) -> list[str]:
    """The ways whose result is fp32: on some processors "medium" rounds to bf16."""
    exact = left.double() @ right.double()
    found = []
    for way in WAYS:
        torch.set_float32_matmul_precision(way)
        error = ((left @ right).double() - exact).abs().max() / exact.abs().max()
        if way == "highest" or error < FP32:
            found.append(way)
    return found


def _shortest(left: Tensor, right: Tensor, out: Tensor, seconds: float) -> float:
    """Seconds of one product, the shortest of at least five."""
    best, ended = float("inf"), time.perf_counter() + seconds
    runs = 0
    while runs < 5 or time.perf_counter() < ended:
        started = time.perf_counter()
        torch.mm(left, right, out=out)
        best = min(best, time.perf_counter() - started)
        runs += 1
    return best


def _wait(tensor: Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize()

"""Which library multiplies matrices on the CPU: torch has two, and one may be twice as fast.

Knows torch and the processor; nothing of devices, networks or settings.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import torch

PROCESSOR = Path("/proc/cpuinfo")
FLOAT32 = 1e-5  # relative; bfloat16 is at 4e-3, and some processors take it where they may
_SIDE = 256


def choose_products() -> None:
    """Let oneDNN multiply where it is the faster one and still float32, for this process.

    torch asks MKL, which leaves half of an AMD core unused (docs/performance.md). It asks oneDNN at
    "medium" precision, which permits bfloat16 but on processors without such units takes float32.
    What is chosen depends on the processor alone, so that a run resumes bit for bit; whatever else
    in the process chose otherwise is overruled.
    """
    if _vendor(PROCESSOR) == "AuthenticAMD":
        torch.set_float32_matmul_precision("medium" if _medium_is_float32() else "highest")


@cache
def _vendor(processor: Path) -> str:
    try:
        found = re.search(r"^vendor_id\s*:\s*(\S+)", processor.read_text(), re.MULTILINE)
    except OSError:  # no Linux
        return ""
    return found[1] if found else ""


@cache
def _medium_is_float32() -> bool:
    """Whether a product at "medium" is as near the exact one as float32 is."""
    row = torch.linspace(-1.0, 1.0, _SIDE * _SIDE).sin()
    left, right = row.reshape(_SIDE, _SIDE), row.reshape(_SIDE, _SIDE).t().contiguous()
    exact = left.double() @ right.double()
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        error = (left @ right - exact).abs().max() / exact.abs().max()
    finally:
        torch.set_float32_matmul_precision(before)
    return bool(error < FLOAT32)

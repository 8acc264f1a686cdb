"""libmujoco's own functions, for compiled code that runs without the interpreter (numba, no GIL).

Knows names, addresses and types; nothing of what is simulated. Calls from here miss what MuJoCo's
Python bindings put around them: an error that MuJoCo calls fatal (a model too small for its own
arena) ends the process and is no exception.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding  # type: ignore[import-untyped]
import mujoco
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

# Resolved by name at link time: unlike ctypes' addresses, numba can cache that on disk.
llvmlite.binding.load_library_permanently(
    str(next(Path(str(mujoco.__file__)).parent.glob("libmujoco*")))
)
ADDRESS = types.intp
INT = types.int32


def function(name: str, *arguments: Any) -> Callable[..., None]:
    """A function of libmujoco that compiled code can call; pointers are integers."""
    symbol: Callable[..., None] = types.ExternalFunction(name, types.void(*arguments))
    return symbol


def _inttoptr(typing_context, address):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """An integer address as a pointer to float64."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.float64)(types.int64), codegen


pointer: Callable[..., Any] = intrinsic(_inttoptr)


def _memcpy(typing_context, to, source, size):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Copy `size` bytes from the address `source` to the address `to`; they must not overlap."""

    def codegen(context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        byte = context.get_value_type(types.CPointer(types.uint8))
        to, source = (builder.inttoptr(address, byte) for address in arguments[:2])
        cgutils.raw_memcpy(builder, to, source, arguments[2], 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


copy_bytes: Callable[..., None] = intrinsic(_memcpy)


@njit(nogil=True, cache=True)
def gather(addresses, out):  # type: ignore[no-untyped-def]
    """Copy the float64 arrays at `addresses` `(row,)` into the rows of `out` `(row, number)`."""
    for row in range(out.shape[0]):
        out[row] = carray(pointer(addresses[row]), (out.shape[1],))

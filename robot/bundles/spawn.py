"""Starting a program while other threads go on.

Python's own `subprocess` holds the interpreter from the fork until the new program is loaded: on a
busy machine for tens of milliseconds, in which a control loop stands still. This waits without it.
Linux only, as the robot. It must not know what is started.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping, Sequence

_SETSIGMASK, _SETSID = 0x08, 0x80
_OPAQUE = 1024  # bytes, more than any C library's structures take


def spawn(arguments: Sequence[str], environment: Mapping[str, str], output: int) -> int:
    """Start a program in a session of its own; return its process id.

    It reads and complains into nothing. Other descriptors, a driver's for instance, are not its.

    Args:
        arguments: the program's path first.
        environment: all of its variables.
        output: the file descriptor that is its standard output, which the caller closes.

    Raises:
        OSError: it cannot be started.
    """
    libc = ctypes.CDLL(None)  # whose calls let other threads run
    actions, attributes = (ctypes.create_string_buffer(_OPAQUE) for _ in range(2))
    pid = ctypes.c_int()
    _must(libc.posix_spawn_file_actions_init(actions))
    _must(libc.posix_spawnattr_init(attributes))
    try:
        nowhere = os.devnull.encode()
        _must(libc.posix_spawn_file_actions_addopen(actions, 0, nowhere, os.O_RDONLY, 0))
        _must(libc.posix_spawn_file_actions_adddup2(actions, output, 1))
        _must(libc.posix_spawn_file_actions_addopen(actions, 2, nowhere, os.O_WRONLY, 0))
        if hasattr(libc, "posix_spawn_file_actions_addclosefrom_np"):  # glibc from 2.34 on
            _must(libc.posix_spawn_file_actions_addclosefrom_np(actions, 3))
        _must(libc.posix_spawnattr_setflags(attributes, ctypes.c_short(_SETSID | _SETSIGMASK)))
        _must(libc.posix_spawnattr_setsigmask(attributes, bytes(_OPAQUE)))  # none blocked
        path = os.fsencode(arguments[0])
        given = _strings([os.fsencode(one) for one in arguments])
        settings = _strings([os.fsencode(f"{key}={value}") for key, value in environment.items()])
        _must(libc.posix_spawn(ctypes.byref(pid), path, actions, attributes, given, settings), path)
    finally:
        libc.posix_spawnattr_destroy(attributes)
        libc.posix_spawn_file_actions_destroy(actions)
    return pid.value


def _strings(values: Sequence[bytes]) -> ctypes.Array[ctypes.c_char_p]:
    return (ctypes.c_char_p * (len(values) + 1))(*values, None)


def _must(error: int, path: bytes = b"") -> None:
    if error:
        raise OSError(error, os.strerror(error), os.fsdecode(path or sys.executable))

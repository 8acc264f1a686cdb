"""How many files and sockets this process may have open (`ulimit -n`), before it needs them.

Running out of them later ends in whichever library comes first, with whatever that one says.
"""

from __future__ import annotations

import resource

from fieldtune.errors import UserError

WANTED = 4096
LEAST = 128  # a robot's process; a trainer's has a socket for each robot beside


class TooFewFiles(UserError):
    """Fewer than the process would need. The message names both numbers and the cure."""


def raise_limit() -> int:
    """Use what this process is allowed anyway, up to 4,096; returns how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft == resource.RLIM_INFINITY or soft >= allowed:
        return WANTED if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed


def require_open_files() -> None:
    """Raise `TooFewFiles` before anything is opened that would run out of them."""
    allowed = raise_limit()
    if allowed < LEAST:
        raise TooFewFiles(
            f"this process may have {allowed} files open, it needs {LEAST}: allow more "
            "(`ulimit -n`, or LimitNOFILE of its service)"
        )

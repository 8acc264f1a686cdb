"""Errors that a person can mend, and how a command tells them. Must not know who raises them.

An error of a plug-in's own that derives from `UserError` is told as ours are: one sentence, and no
traceback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from fieldtune.exit_status import INTERRUPTED, MISTAKE
from fieldtune.file_errors import sentence

RESUMABLE: Final = "stopped; run the same command again to go on"

_MEMORY = "this takes more memory than there is (set smaller batches, networks or contexts)"
_TORCH_OUT_OF_MEMORY = "can't allocate memory"  # of no type of its own on a CPU


class UserError(Exception):
    """What a person can mend. Its message names the field, the value, what was expected and the
    cure; `status` is what a command that meets it ends with."""

    status: int = MISTAKE


@contextmanager
def report_user_errors(interrupted: str = "") -> Iterator[None]:
    """Tell a `UserError`, an `OSError` or a lack of memory on standard error, and end the command
    with its status.

    Args:
        interrupted: what to tell where Ctrl-C ends the command; empty where somebody else does.

    Raises:
        SystemExit: with the status, once the error is told.
        BrokenPipeError: whoever read the output has enough; nothing is told.
    """
    try:
        yield
    except UserError as error:
        tell(str(error))
        raise SystemExit(error.status) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        tell(sentence(error))
        raise SystemExit(MISTAKE) from None
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and _TORCH_OUT_OF_MEMORY not in str(error):
            raise
        tell(f"{_MEMORY}: {next(iter(str(error).splitlines()), 'no memory is left')}")
        raise SystemExit(MISTAKE) from None
    except KeyboardInterrupt:
        if not interrupted:
            raise
        print(interrupted, file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None


def tell(error: str) -> None:
    """`error: …` on standard error, red where a person reads it and has no objection (NO_COLOR)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    red = ("\033[31m", "\033[0m") if sys.stderr.isatty() and not plain else ("", "")
    print(f"{red[0]}error: {error}{red[1]}", file=sys.stderr)

"""The `fieldtune-robot` command's first steps: its threads, before any library counts them.

Holds no command. It must import nothing heavy before the variables are set.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

from fieldtune.exit_status import MISTAKE
from fieldtune.interrupts import told_when_interrupted

ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def main() -> None:
    """Set one thread, whatever was inherited, and run the command line.

    Images and schedulers export thread counts unasked, and a loop at batch size 1 gains nothing
    from a second thread that spins beside the trainer's.
    """
    for variable in ONE_THREAD:
        os.environ[variable] = "1"
    with told_when_interrupted():
        from fieldtune.robot.cli.app import app

        run(app)


def run(app: Callable[[], object]) -> None:
    """Run a command line whose output may be anything, and may go to where there is no room.

    File names and arguments that are no UTF-8 are printed with escapes. `--out=~/x` is expanded as
    shells do for `--out ~/x`: else it would make a folder called `~`.
    """
    sys.argv[1:] = [_at_home(argument) for argument in sys.argv[1:]]
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except OSError as error:  # all others are told where they happen
        print(f"error: standard output: {error.strerror}", file=sys.stderr)
        raise SystemExit(MISTAKE) from None


def _at_home(argument: str) -> str:
    option, equals, value = argument.partition("=")
    if not (option.startswith("--") and equals and value.startswith("~")):
        return argument
    try:
        return f"{option}={Path(value).expanduser()}"
    except RuntimeError:  # nobody of that name
        return argument


if __name__ == "__main__":
    main()

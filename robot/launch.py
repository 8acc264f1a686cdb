"""The `fieldtune-robot` command's first steps: its threads, before any library counts them.

Holds no command. It must import nothing heavy before the variables are set.
"""

from __future__ import annotations

import os

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
    from robot.cli import app

    app()


if __name__ == "__main__":
    main()

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
    """One thread for each process: two with two threads each ran 40 times slower (FIELD.md)."""
    for variable in ONE_THREAD:
        os.environ.setdefault(variable, "1")
    from robot.cli import app

    app()


if __name__ == "__main__":
    main()

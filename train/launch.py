"""The `fieldtune` command: puts the process in order before anything heavy is loaded.

Thread pools and the C library's allocator read their settings once, when a process starts, so the
launcher sets them and starts the same command again in place. Children inherit them. Must not
import anything of the extra `train` itself: it is what explains that the extra is missing.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping

from fieldtune.exit_status import MISTAKE
from fieldtune.open_files import TooFewFiles, require_open_files
from fieldtune.robot.launch import run

THREADS = "FIELDTUNE_THREADS"
_STARTED = "_FIELDTUNE_STARTED"  # the process that was already started again; survives exec


def main() -> None:
    """Run `fieldtune`: settle the environment, then hand over to the CLI."""
    if not sys.argv[1:] or "--help" in sys.argv:  # nothing will be computed
        _hand_over()
        return
    missing = missing_packages()
    if missing:
        print(
            f"fieldtune: this is the robot-side installation, without {', '.join(missing)}.\n"
            'The workstation side needs them: pip install "fieldtune[train]"\n'
            "(the robot's own command is fieldtune-robot)",
            file=sys.stderr,
        )
        raise SystemExit(MISTAKE)
    try:
        require_open_files()
    except TooFewFiles as error:
        print(f"fieldtune: {error}", file=sys.stderr)
        raise SystemExit(MISTAKE) from None
    settle()
    _hand_over()


def _hand_over() -> None:
    from fieldtune.train.cli.app import app

    run(app)


def settle() -> None:
    """Start this command again, once, in the environment it should have had from the start."""
    try:
        wanted = environment(os.environ)
    except ValueError as error:
        print(f"fieldtune: {error}", file=sys.stderr)
        raise SystemExit(MISTAKE) from None
    if wanted != dict(os.environ) and os.environ.get(_STARTED) != str(os.getpid()):
        sys.stdout.flush()
        sys.stderr.flush()
        os.execve(
            sys.executable,
            [sys.executable, *sys.orig_argv[1:]],
            wanted | {_STARTED: str(os.getpid())},
        )


def environment(current: Mapping[str, str]) -> dict[str, str]:
    """The environment that learning runs best in.

    Threads are set whatever was inherited: images and schedulers export `OMP_NUM_THREADS` unasked,
    and two processes of two spinning threads each ran forty times slower than with one. Who does
    want more says so with `FIELDTUNE_THREADS`. What is set for the allocator is
    rarely set by accident, and kept. `OPENBLAS_CORETYPE` is left alone: it may be a cure for a
    processor that OpenBLAS misjudges, and no large numpy product is on a hot path here.

    Raises:
        ValueError: `FIELDTUNE_THREADS` is not a positive whole number.
    """
    threads = current.get(THREADS, "1")
    if not re.fullmatch(r"[1-9][0-9]{0,3}", threads):
        raise ValueError(f"{THREADS} is {threads!r}, expected a whole number from 1: unset it")
    wanted = dict(current)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        wanted[name] = threads
    # Keep freed memory instead of giving it back to the kernel after every batch: twice the speed.
    wanted.setdefault("MALLOC_MMAP_THRESHOLD_", str(32 * 2**20))
    wanted.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**31 - 1))
    return wanted


def missing_packages() -> list[str]:
    """Distributions of the extra `train` that are not installed, in the order of pyproject.toml.

    Empty in a checkout that was never installed: there is no list to compare with.
    """
    from importlib import metadata  # 20 ms that --help does without

    try:
        requirements = metadata.requires("fieldtune") or []
    except metadata.PackageNotFoundError:
        return []
    missing = []
    for requirement in requirements:
        if re.search(r"""extra == ["']train["']""", requirement):
            name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
            try:
                metadata.version(name)
            except metadata.PackageNotFoundError:
                missing.append(name)
    return missing


if __name__ == "__main__":
    main()

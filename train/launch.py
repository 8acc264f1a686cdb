"""The `fieldtune` command: puts the process in order before anything heavy is loaded.

Thread pools and the C library's allocator read their settings once, when a process starts, so the
launcher sets them and starts the same command again in place. Children inherit them. Must not
import anything of the extra `train` itself: it is what explains that the extra is missing.
"""

from __future__ import annotations

import os
import re
import sys

from fieldtune.exit_status import MISTAKE
from fieldtune.interrupts import held_back, told_when_interrupted
from fieldtune.open_files import TooFewFiles, require_open_files
from fieldtune.robot.launch import run
from fieldtune.train.process_settings import environment

_STARTED = "_FIELDTUNE_STARTED"  # the process that was already started again; survives exec


def main() -> None:
    """Run `fieldtune`: settle the environment, then hand over to the CLI."""
    with told_when_interrupted():
        _main()


def _main() -> None:
    if sys.version_info < (3, 11):
        found = ".".join(map(str, sys.version_info[:2]))
        print(
            f"fieldtune: this is Python {found}, which runs the robot's half (fieldtune-robot); "
            "train with Python 3.11 or 3.12",
            file=sys.stderr,
        )
        raise SystemExit(MISTAKE)
    told = not {"--help", "--version"}.isdisjoint(sys.argv)
    if told or sys.argv[1:2] in ([], ["new"]):  # nothing will be computed
        _hand_over()
        return
    if sys.argv[1] != "doctor":  # which says more of what is missing
        _require_installation()
    settle()
    _hand_over()


def _require_installation() -> None:
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
        held_back()
        os.execve(
            sys.executable,
            [sys.executable, *sys.orig_argv[1:]],
            wanted | {_STARTED: str(os.getpid())},
        )


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

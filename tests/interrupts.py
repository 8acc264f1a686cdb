"""Commands interrupted by Ctrl-C at moments one names, and what each has to leave then."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import typer

from fieldtune import exit_status
from fieldtune.interrupts import TOLD
from fieldtune.train.process_settings import environment
from tests.warm_process import Ended, Moment, Order

ROOT = Path(__file__).parents[1]
LIBRARIES_OWN = (".ses", "torchinductor_", "matplotlib-")  # what they keep in the temporary folder
HALF_DONE = (".tmp", ".new", ".partial")
IMPORT = Moment("import")  # the first that the command makes itself


@dataclass(frozen=True)
class Case:
    """A command's smallest invocation.

    `out` is what it makes, by names that stand for all of it: none may be there after an
    interrupt. `again` is how it ends when it is run to its end then; None: that takes long, or is
    tested elsewhere. One of `says` is its last line where it is interrupted, `ends` its status.
    """

    arguments: str
    moments: tuple[Moment, ...] = (IMPORT,)
    out: tuple[str, ...] = ()
    again: int | None = None
    says: tuple[str, ...] = (TOLD,)
    ends: int = exit_status.INTERRUPTED


def commands(app: typer.Typer) -> set[str]:
    """Every command and subcommand, by its words."""

    def below(command: Any, words: tuple[str, ...]) -> Iterator[str]:
        if not hasattr(command, "commands"):
            yield " ".join(words)
            return
        for name, one in command.commands.items():
            yield from below(one, (*words, name))

    return set(below(typer.main.get_command(app), ()))


@dataclass(frozen=True)
class Warm:
    """A `warm_process` of one half's commands."""

    half: str
    process: subprocess.Popen[str]

    def run(self, arguments: str, folder: Path, beside: Path, moment: Moment | None) -> Ended:
        """Run a command in `folder` until it ends; `beside` is as `Order` says."""
        (beside / "tmp").mkdir(parents=True, exist_ok=True)
        (beside / "reached").unlink(missing_ok=True)
        order = Order(self.half, arguments.split(), str(folder), str(beside), moment)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(msgspec.json.encode(order).decode() + "\n")
        self.process.stdin.flush()
        return msgspec.json.decode(self.process.stdout.readline(), type=Ended)


@contextmanager
def warm(half: str, libraries: Sequence[str]) -> Iterator[Warm]:
    """Commands of `fieldtune.HALF`, in processes that have these libraries from the start."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.warm_process", *libraries],
        cwd=ROOT,
        env=environment(os.environ) | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Warm(half, process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


def require_clean_interrupts(warm: Warm, case: Case, folder: Path, beside: Path) -> None:
    """Interrupt the command at each of its moments in turn, then run it to its end where the case
    says how that is; fail where it leaves or says what it should not."""
    for moment in case.moments:
        there = _files(folder)
        done = warm.run(case.arguments, folder, beside, moment)
        said = (beside / "err").read_text()
        told = f"{case.arguments}, {moment}: {done}\n{said}"
        assert (beside / "reached").exists(), f"the moment never came: {told}"
        assert done.left == [], told
        assert "Traceback" not in said, told
        if moment.what == "exit":
            assert done.status == -signal.SIGINT, told  # of which a shell makes 130
        else:
            ends, says = case.ends, case.says
            if moment == IMPORT:  # before the command has begun
                ends, says = exit_status.INTERRUPTED, (TOLD, *says)
            assert done.status == ends, told
            assert (said.splitlines() or [""])[-1] in says, told
            for name in case.out:
                assert not (folder / name).exists(), f"{name} is there: {told}"
        more = _files(folder) - there
        assert not [name for name in more if name.endswith(HALF_DONE)], told
        temporary = {path.name for path in (beside / "tmp").iterdir()}
        assert not [name for name in temporary if not name.startswith(LIBRARIES_OWN)], told
    if case.again is not None:
        done = warm.run(case.arguments, folder, beside, None)
        told = f"{case.arguments}, again: {done}\n{(beside / 'err').read_text()}"
        assert done == Ended(case.again, []), told
        for name in case.out:
            assert (folder / name).exists(), told


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}

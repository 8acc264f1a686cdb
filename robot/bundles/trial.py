"""A bundle's trial, from the robot: a process of its own that a bundle may hang, crash or fill.

Starts that process (robot/bundles/trial_process.py), waits for as long as there is patience,
and ends it. Imports little, so that a trial can begin while the robot's program is still loading.
It must not know what a bundle is asked, nor what follows from the verdict.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
from typing_extensions import Self

from fieldtune.errors import UserError
from fieldtune.robot.bundles.spawn import spawn

PATIENCE_S = 180.0  # of wall-clock time, on a machine that may be busy
PROCESSOR_S = 60  # the same however busy it is
BASE_MEMORY = 512 * 2**20
MEMORY_PER_BYTE = 6  # read, checked, loaded and rearranged for inference
BESIDE_THE_LOOP = 10  # niceness
_POLL_S = 0.02
_LONGEST_VERDICT = 2**16  # what a pipe holds

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

# The robot's own import path, whatever folder the process is in (`-P` is Python 3.11's).
_START = (
    "import sys; sys.path = [place for place in sys.path if place]; "
    "import os, json; os.nice(int(sys.argv[2])); sys.path[:] = json.loads(sys.argv[1]); "
    "os.chdir('/'); "
    "from fieldtune.robot.bundles.trial_process import main; main()"
)


class Verdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What came of a trial.

    `bundle_id` is what the bundle was asked for as, and `refused` why it must not run, empty where
    it may. `final` says that another trial would end in the same way; `genuine` that the file has
    that id.
    """

    bundle_id: str
    refused: str = ""
    final: bool = True
    genuine: bool = True


class TrialStopped(UserError):
    """Somebody asked to stop before there was a verdict."""


def software() -> str:
    """What a verdict depends on beside the bundle: another may judge otherwise."""
    with contextlib.suppress(PackageNotFoundError):
        return ", ".join(f"{name} {version(name)}" for name in ("fieldtune", "onnxruntime"))
    return "unknown"


class Trial:
    """The trial of the bundle file `path`, which should have the id `bundle_id`.

    Its process also sees to it that the file is on the disk. Once started, close it or wait for its
    verdict.

    Args:
        patience_s: wall-clock time after which there is a verdict in any case.
        processor_s: processor time that it may take.
        base_memory: bytes that it may take, beside some for each byte of the bundle.
        nice: how far it stands back; `BESIDE_THE_LOOP` where the robot may move meanwhile.
    """

    def __init__(
        self,
        path: Path,
        bundle_id: str,
        *,
        patience_s: float = PATIENCE_S,
        processor_s: int = PROCESSOR_S,
        base_memory: int = BASE_MEMORY,
        nice: int = 0,
    ) -> None:
        self.path, self.bundle_id = Path(path).absolute(), bundle_id
        self.pid = 0
        self._patience_s, self._processor_s = patience_s, processor_s
        self._base_memory, self._nice = base_memory, nice
        self._deadline = 0.0
        self._output = -1
        self._status: int | None = 0  # how its process ended; None while it goes on
        self._verdict: Verdict | None = None

    def start(self) -> Self:
        """Begin. Raises `OSError` when there is no such file, or no process can be started."""
        memory = self._base_memory + MEMORY_PER_BYTE * self.path.stat().st_size
        paths = [str(Path(folder).absolute()) for folder in sys.path]
        task = [json.dumps(paths), self._nice, self.path, self.bundle_id]
        arguments = map(str, [*task, memory, self._processor_s, os.getpid()])
        output, theirs = os.pipe()
        try:
            self.pid = spawn(
                [sys.executable, "-c", _START, *arguments], os.environ | _ONE_THREAD, theirs
            )
        except OSError:
            os.close(output)
            raise
        finally:
            os.close(theirs)
        self._output, self._status = output, None
        self._deadline = time.monotonic() + self._patience_s
        return self

    def verdict(self) -> Verdict | None:
        """What came of it; None while it goes on. Never waits."""
        if self._verdict is None:
            if self._ended():
                self._verdict = self._read()
                self.close()
            elif time.monotonic() > self._deadline:
                self._verdict = self._refusal(
                    f"its trial did not end within {self._patience_s:g} s: this machine is "
                    "overloaded, or the bundle is too large for it",
                    final=False,
                )
                self.close()
        return self._verdict

    def wait(self, why_stop: Callable[[], str] = lambda: "") -> Verdict:
        """Wait for the verdict, asking `why_stop` meanwhile. Raises `TrialStopped`."""
        while (verdict := self.verdict()) is None:
            if reason := why_stop():
                self.close()
                raise TrialStopped(f"the bundle's trial was stopped: {reason}")
            time.sleep(_POLL_S)
        return verdict

    def close(self) -> None:
        """End its process. Safe to call twice."""
        if self._output < 0:
            return
        os.close(self._output)
        self._output = -1
        if not self._ended():
            os.kill(self.pid, signal.SIGKILL)
            deadline = time.monotonic() + 1.0
            while not self._ended() and time.monotonic() < deadline:  # a disk may hold it
                time.sleep(0.001)

    def _ended(self) -> bool:
        if self._status is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # where the end of children is ignored, nobody knows how
                self._status = 0
            else:
                self._status = os.waitstatus_to_exitcode(status) if pid else None
        return self._status is not None

    def _read(self) -> Verdict:
        said, status = os.read(self._output, _LONGEST_VERDICT), self._status or 0
        try:
            return msgspec.json.decode(said, type=Verdict)
        except msgspec.MsgspecError:
            pass
        if status == -signal.SIGXCPU:
            return self._refusal(
                f"its trial took more than {self._processor_s} s of processor time"
            )
        how = f"status {status}" if status >= 0 else _killed_by(-status)
        # SIGKILL is what a machine without memory left does, to whom it likes.
        return self._refusal(f"its trial ended with {how}", final=status != -signal.SIGKILL)

    def _refusal(self, reason: str, final: bool = True) -> Verdict:
        return Verdict(self.bundle_id, reason, final)


def _killed_by(number: int) -> str:
    with contextlib.suppress(ValueError):  # most real-time signals have no name
        return signal.Signals(number).name
    return f"signal {number}"

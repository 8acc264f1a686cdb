"""A bundle's trial: verified and run in a process of its own, which it may hang, crash or fill.

Holds both ends: the robot's, which starts that process, waits for as long as there is patience and
ends it; and the process itself, which gives up its priority, its memory and its time first. It must
not know what a bundle is asked (robot/bundle_exam.py), nor what follows from the verdict.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec
import onnxruntime

from export.atomic import sync
from export.bundle import BundleError, read_bundle
from robot.bundle_exam import examine
from robot.policy import PolicyError

PATIENCE_S = 180.0  # of wall-clock time, on a machine that may be busy
PROCESSOR_S = 60  # the same however busy it is
BASE_MEMORY = 512 * 2**20
MEMORY_PER_BYTE = 6  # read, checked, loaded and rearranged for inference
_NICE = 10
_POLL_S = 0.02
_LONGEST = 2_000
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

# The robot's own import path, whatever folder the process is in.
_START = (
    "import os, sys, json; os.nice(int(sys.argv[2])); sys.path[:] = json.loads(sys.argv[1]); "
    "from robot.bundle_trial import main; main()"
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


class TrialStopped(Exception):
    """Somebody asked to stop before there was a verdict."""


def software() -> str:
    """What a verdict depends on beside the bundle: another may judge otherwise."""
    with contextlib.suppress(PackageNotFoundError):
        return f"fieldtune {version('fieldtune')}, onnxruntime {onnxruntime.__version__}"
    return f"onnxruntime {onnxruntime.__version__}"


class Trial:
    """The trial of the bundle file `path`, which should have the id `bundle_id`. It has begun.

    Its process also sees to it that the file is on the disk. Close it, or wait for its verdict.
    Raises `OSError` when no process can be started.
    """

    def __init__(
        self,
        path: Path,
        bundle_id: str,
        *,
        patience_s: float = PATIENCE_S,
        processor_s: int = PROCESSOR_S,
        base_memory: int = BASE_MEMORY,
    ) -> None:
        self.path, self.bundle_id = Path(path).absolute(), bundle_id
        self._patience_s, self._processor_s = patience_s, processor_s
        self._memory = base_memory + MEMORY_PER_BYTE * self.path.stat().st_size
        self._deadline = time.monotonic() + patience_s
        bounds = [self._memory, processor_s, os.getpid()]
        paths = [str(Path(folder).absolute()) for folder in sys.path]
        arguments = [json.dumps(paths), _NICE, self.path, bundle_id, *bounds]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=os.environ | _ONE_THREAD,
            start_new_session=True,  # a terminal's signals are for the robot
        )
        self._verdict: Verdict | None = None

    def verdict(self) -> Verdict | None:
        """What came of it; None while it goes on. Never waits."""
        if self._verdict is None:
            if self._process.poll() is not None:
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
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # a disk that hangs holds it
            self._process.wait(1.0)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self) -> Verdict:
        assert self._process.stdout is not None
        said, status = self._process.stdout.read(), self._process.returncode
        try:
            return msgspec.json.decode(said, type=Verdict)
        except msgspec.MsgspecError:
            pass
        if status == -signal.SIGXCPU:
            return self._refusal(
                f"its trial took more than {self._processor_s} s of processor time"
            )
        how = f"status {status}" if status >= 0 else signal.Signals(-status).name
        # SIGKILL is what a machine without memory left does, to whom it likes.
        return self._refusal(f"its trial ended with {how}", final=status != -signal.SIGKILL)

    def _refusal(self, reason: str, final: bool = True) -> Verdict:
        return Verdict(self.bundle_id, reason, final)


def main() -> None:
    """The trial's own process: says one verdict on its standard output."""
    path, bundle_id, memory, processor_s, parent = sys.argv[3:]
    out = os.dup(1)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    _confine(int(memory), int(processor_s), int(parent))
    verdict = _judge(Path(path), bundle_id, int(memory))
    os.write(out, msgspec.json.encode(verdict))


def _confine(memory: int, processor_s: int, parent: int) -> None:
    """Take what the trial needs, and no more: the robot beside it goes first in everything."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit("nobody waits for the verdict any more")
    with contextlib.suppress(OSError):  # what a machine without memory left ends first
        Path("/proc/self/oom_score_adj").write_text("1000")
    for what, limit in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CPU, processor_s),
        (resource.RLIMIT_DATA, memory),
    ):
        _, most = resource.getrlimit(what)
        if most != resource.RLIM_INFINITY:
            limit = min(limit, most)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(what, (limit, most))


def _judge(path: Path, bundle_id: str, memory: int) -> Verdict:
    def refusal(reason: str, **how: Any) -> Verdict:
        return Verdict(bundle_id, reason.encode(errors="replace").decode()[:_LONGEST], **how)

    try:
        bundle = read_bundle(path)
        if bundle.id != bundle_id:
            return refusal(f"its id is {bundle.id}, expected {bundle_id}", genuine=False)
        examine(bundle)
        sync(path)
    except BundleError as error:
        return refusal(str(error), genuine=_is(path, bundle_id))
    except PolicyError as error:
        return refusal(str(error))
    except MemoryError:
        return refusal(f"it needs more than {memory // 2**20} MiB of memory")
    except OSError as error:
        return refusal(f"{path} cannot be brought onto the disk: {error}", final=False)
    except Exception as error:  # whatever it is, it would have been the robot's
        return refusal(f"its trial failed: {type(error).__name__}: {error}")
    return Verdict(bundle_id)


def _is(path: Path, wanted: str) -> bool:
    from export.bundle import bundle_id

    with contextlib.suppress(BundleError):
        return bundle_id(path) == wanted
    return False

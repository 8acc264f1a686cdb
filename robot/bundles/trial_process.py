"""A bundle's trial, from within: the process that a bundle may hang, crash or fill.

Gives up memory, time and privileges first, then verifies the bundle, runs it
(robot/bundles/exam.py) and says one verdict on its standard output. Nothing of the robot is
in it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec

from fieldtune.child_process import end_with_parent
from fieldtune.export.bundle import BundleError, bundle_id, read_bundle
from fieldtune.files import sync
from fieldtune.robot.bundles.exam import examine
from fieldtune.robot.bundles.trial import Verdict
from fieldtune.robot.policy.policy import PolicyError

_LONGEST = 2_000
_PR_SET_NO_NEW_PRIVS = 38  # linux/prctl.h


def main() -> None:
    """Try the bundle that the command line names (robot/bundles/trial.py gives it)."""
    path, wanted, memory, processor_s, parent = sys.argv[3:]
    out = os.dup(1)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    _confine(int(memory), int(processor_s), int(parent))
    verdict = _judge(Path(path), wanted, int(memory))
    os.write(out, msgspec.json.encode(verdict))


def _confine(memory: int, processor_s: int, parent: int) -> None:
    """Take what the trial needs, and no more: the robot beside it goes first in everything."""
    if not end_with_parent(parent, signal.SIGKILL):
        raise SystemExit("nobody waits for the verdict any more")
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
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


def _judge(path: Path, wanted: str, memory: int) -> Verdict:
    def refusal(reason: str, **how: Any) -> Verdict:
        return Verdict(wanted, reason.encode(errors="replace").decode()[:_LONGEST], **how)

    try:
        bundle = read_bundle(path)
        if bundle.id != wanted:
            return refusal(f"its id is {bundle.id}, expected {wanted}", genuine=False)
        examine(bundle)
        sync(path)
    except BundleError as error:
        return refusal(str(error), genuine=_is(path, wanted))
    except PolicyError as error:
        return refusal(str(error))
    except MemoryError:
        return refusal(f"it needs more than {memory // 2**20} MiB of memory")
    except OSError as error:
        return refusal(f"{path} cannot be brought onto the disk: {error}", final=False)
    except Exception as error:  # whatever it is, it would have been the robot's
        return refusal(f"its trial failed: {type(error).__name__}: {error}")
    return Verdict(wanted)


def _is(path: Path, wanted: str) -> bool:
    with contextlib.suppress(BundleError):
        return bundle_id(path) == wanted
    return False

"""Processes that a proof starts and watches: their environment, memory, processor time, and end.

Linux only, as `/proc` is. It must not know what they do.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from fieldtune.robot.launch import ONE_THREAD

ROOT = Path(__file__).parents[1]
_TICKS = os.sysconf("SC_CLK_TCK")


def environment(*more: Path) -> dict[str, str]:
    """One thread a process, and this checkout's modules; `more` are folders on the path too."""
    path = os.pathsep.join(map(str, (ROOT, *more)))
    return os.environ | dict.fromkeys(ONE_THREAD, "1") | {"PYTHONPATH": path}


def resident_mb(pid: int) -> float:
    """Its memory in RAM. Raises `FileNotFoundError` when it has gone, or is only waited for."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) * 1024 / 1e6, 3)
    raise FileNotFoundError(f"process {pid} has no memory any more")


def processor_s(pid: int) -> float:
    """User and system time of all its threads so far. Raises `FileNotFoundError`."""
    after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / _TICKS


def terminate(process: subprocess.Popen[bytes], patience_s: float) -> int:
    """Ask it to end, and kill it when it does not; its exit status."""
    if process.poll() is None:
        process.terminate()
    try:
        return process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()

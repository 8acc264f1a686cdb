"""Children of processes that are killed: none outlives its parent."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WAIT_S = 60
SLEEPER = "import time; time.sleep(600)"  # neither reads nor prints: no closed pipe ends it
PLAIN = f"""
import subprocess, sys
from fieldtune.child_process import ends_with_parent
child = subprocess.Popen([sys.executable, "-c", {SLEEPER!r}], preexec_fn=ends_with_parent())
print(child.pid, flush=True)
sys.stdin.read()
"""
REWARDS = f"""
import sys
from fieldtune.robot.config import RewardsConfig
from fieldtune.robot.rewards.command import CommandRewards
stream = CommandRewards(RewardsConfig(command=(sys.executable, "-c", {SLEEPER!r})))
stream.open()
print(stream._process.pid, flush=True)
sys.stdin.read()
"""


def alive(pid: int) -> bool:
    """Whether it still runs; one that nobody waits for stays a zombie."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("script", [PLAIN, REWARDS], ids=["any", "rewards"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_ends_with_a_parent_that_is_killed(script, number):
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    child = int(parent.stdout.readline())
    try:
        assert alive(child)
        parent.send_signal(number)
        parent.communicate()
        deadline = time.monotonic() + WAIT_S
        while alive(child):
            assert time.monotonic() < deadline, "the child goes on"
            time.sleep(0.02)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)

"""Real time: asked for where it helps, given back, and said when it is not permitted."""

from __future__ import annotations

import gc
import logging
import os
import resource
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest

from fieldtune.robot.config import RealtimeConfig
from fieldtune.robot.safety.estop import EStop
from fieldtune.robot.timing.realtime import Collections, realtime

LOCKED = "VmLck:"


def locked_kb() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(LOCKED)).split()[1])


def test_what_is_asked_for_is_given_or_explained_and_given_back(caplog):
    before = os.sched_getscheduler(0)
    with (
        caplog.at_level(logging.INFO, "fieldtune.robot"),
        realtime(RealtimeConfig(priority=7), 1.0),
    ):
        policy, text = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK, caplog.text
        if policy == os.SCHED_FIFO:
            assert "SCHED_FIFO priority 7" in text
            others = []
            thread = threading.Thread(target=lambda: others.append(os.sched_getscheduler(0)))
            thread.start()
            thread.join()
            assert others == [os.SCHED_OTHER]
        else:
            assert "no priority" in text
            assert "LimitRTPRIO" in text
        assert (locked_kb() > 0) == ("memory locked" in text)
        assert "memory" in text
    assert os.sched_getscheduler(0) == before
    assert locked_kb() == 0


def test_no_other_thread_of_the_process_is_put_aside_with_the_interpreters_lock():
    other, interval = os.SCHED_OTHER, sys.getswitchinterval()
    ending = threading.Event()
    thread = threading.Thread(target=ending.wait)
    thread.start()
    with realtime(RealtimeConfig(priority=7), 1.0):
        granted = os.sched_getscheduler(0)
        assert os.sched_getscheduler(thread.native_id) == granted
        if granted != other:
            assert os.sched_getparam(thread.native_id).sched_priority == 6
        assert sys.getswitchinterval() < interval
    assert os.sched_getscheduler(thread.native_id) == other
    assert sys.getswitchinterval() == interval
    ending.set()
    thread.join()


def test_nothing_is_asked_for_where_the_config_says_so_or_time_is_not_real(caplog):
    before = os.sched_getscheduler(0)
    nothing = RealtimeConfig(priority=None, lock_memory=False)
    with caplog.at_level(logging.INFO, "fieldtune.robot"):
        for config, scale in ((nothing, 1.0), (RealtimeConfig(), 20.0)):
            with realtime(config, scale):
                assert (os.sched_getscheduler(0), locked_kb()) == (before, 0)
    assert "priority not asked for" in caplog.text
    assert "time_scale is 20" in caplog.text


UNPRIVILEGED = """
import logging, os, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
os.setgid(65534); os.setuid(65534)
from fieldtune.robot.config import RealtimeConfig
from fieldtune.robot.timing.realtime import realtime
with realtime(RealtimeConfig(), 1.0):
    print("runs on")
"""


@pytest.mark.skipif(os.getuid() != 0, reason="drops root's rights")
def test_without_rights_the_robot_runs_and_says_how_to_get_them():
    def lower():
        resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))

    code = "import fieldtune.robot.timing.realtime, fieldtune.robot.config\n" + UNPRIVILEGED
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        preexec_fn=lower,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert "runs on" in done.stdout, done.stderr
    assert "no priority" in done.stdout
    assert "memory not locked (at most 65536 bytes are allowed)" in done.stdout


class Node:
    """Something that only a collection can free."""

    def __init__(self) -> None:
        self.me = self


def test_no_collection_happens_inside_and_garbage_goes_between():
    collections, seen = Collections(), []

    def note(phase, _):
        seen.append(phase)

    with collections.paused():
        gc.callbacks.append(note)
        try:
            gone = weakref.ref(Node())
            for _ in range(100_000):
                _ = [[]]
        finally:
            gc.callbacks.remove(note)
        assert seen == []
        assert not gc.isenabled()
        assert gone() is not None
    assert gc.isenabled()
    with collections.paused():
        assert gone() is None
    gc.unfreeze()


def test_collections_that_were_off_stay_off():
    gc.disable()
    try:
        with Collections().paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
        gc.unfreeze()


def test_the_watcher_of_the_emergency_stop_has_priority_too():
    before, seen = os.sched_getscheduler(0), []
    estop = EStop(lambda: seen.append(os.sched_getscheduler(0)) or "")
    with realtime(RealtimeConfig(), 1.0):
        granted = os.sched_getscheduler(0)
        estop.start(priority=7)
        while not seen:
            time.sleep(0.01)
        estop.close()
    assert seen[0] == granted
    assert os.sched_getscheduler(0) == before

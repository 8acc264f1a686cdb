"""A loop that stood still never goes on: real processes, stopped and continued."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from fieldtune.robot.episodes.episode import EndReason
from fieldtune.robot.safety.latch import release


def stop_for(process, seconds: float) -> int:
    """SIGSTOP, and SIGCONT `seconds` later; returns when that was sent."""
    process.send_signal(signal.SIGSTOP)
    wait_until_stopped(process)
    time.sleep(seconds)
    continued_ns = time.monotonic_ns()
    process.send_signal(signal.SIGCONT)
    return continued_ns


def wait_until_stopped(process) -> None:
    status = Path(f"/proc/{process.pid}/stat")
    while status.read_text().rsplit(")", 1)[1].split()[0] != "T":
        time.sleep(0.001)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_process_that_was_stopped_and_continued_holds_and_commands_nothing(live, seed):
    process = live.start(patience_s=1.0)
    rng = random.Random(seed)
    live.wait_for("apply", rng.randint(5, 60))
    time.sleep(rng.uniform(0, 0.02))
    continued_ns = stop_for(process, 1.5)
    status, text = live.end()
    assert status == 3, text
    # One may have been on its way into the driver: nothing in this process can call it back.
    assert sum(at_ns > continued_ns for _, at_ns in live.events("apply")) <= 1
    assert "held by process" in live.fault
    assert live.episodes()[-1].footer.end_reason is EndReason.FAULT


@pytest.mark.slow
def test_homing_that_stood_still_holds_and_begins_no_episode(live):
    process = live.start(home_s=600)
    live.wait_for("homing", 10)
    stop_for(process, 2.0)
    status, text = live.end()
    assert status == 3, text
    assert live.events("apply") == []
    assert "stood still for" in live.fault


@pytest.mark.slow
def test_sigcont_to_a_process_that_was_not_stopped_means_nothing(live):
    """As systemd sends it after each SIGTERM."""
    process = live.start(home_s=0.5)
    live.wait_for("homing")
    process.send_signal(signal.SIGCONT)
    live.wait_for("apply", 5)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    status, text = live.end()
    assert (status, live.fault) == (0, ""), text


@pytest.mark.slow
def test_a_driver_that_blocks_in_a_call_that_signals_end_is_left_and_held(live):
    live.start(blocks_at=20, patience_s=1.0)
    status, text = live.end()
    assert status == 3, text
    assert "stood still" in live.fault
    assert "held by process" in live.fault
    assert [what for what, _ in live.events() if what != "apply"][:2] == ["holds", "held"]


@pytest.mark.slow
def test_a_late_hardware_server_is_no_slow_robot(live):
    """Answers of 60 ms at 100 Hz."""
    live.bundle = live.bundle_with(period_s=0.01, horizon=60)
    arguments = {"period_s": 0.01, "answer_s": 0.06}
    live.start("--episodes", "1", late_fraction=0.2, **arguments)
    status, text = live.end()
    assert status == 3, text
    (episode,) = live.episodes()
    assert episode.footer.end_reason is EndReason.LATE
    assert "control periods were left out" in episode.footer.fault
    assert "robot.limits.late_fraction" in live.fault
    release(live.folder / "state" / "fault.txt")
    live.start("--episodes", "1", late_fraction=1.0, **arguments)
    status, text = live.end()
    assert status == 0, text
    assert "LOOSENED: robot.limits.late_fraction is 1" in text


@pytest.mark.slow
def test_a_robot_that_is_over_before_it_begins_is_a_fault_after_three_episodes(live):
    live.start(over=True)
    status, text = live.end()
    assert status == 3, text
    assert "3 episodes in a row were over at their first observation" in live.fault
    assert [episode.footer.steps for episode in live.episodes()] == [0, 0, 0]

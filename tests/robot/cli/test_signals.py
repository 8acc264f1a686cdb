"""Processes that drive a robot: how signals and readers that do not read end them."""

from __future__ import annotations

import fcntl
import os
import signal
import time

import pytest
import typer

from fieldtune.robot.cli.signals import end
from fieldtune.robot.episodes.episode import EndReason
from fieldtune.robot.safety.rest import ENDING

NAMES = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGTSTP", "SIGALRM", "SIGUSR2", "SIGSYS"]


def test_every_signal_that_ends_a_process_by_default_is_caught_but_those_of_a_crash():
    ends = {*signal.valid_signals()} - {signal.SIGKILL, signal.SIGSTOP}
    ignored = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
    by_python = {signal.SIGPIPE, signal.SIGXFSZ}
    elsewhere = {signal.SIGUSR1, signal.SIGTTIN, signal.SIGTTOU}
    crash = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}
    assert ends - ignored - by_python - elsewhere - crash == set(ENDING)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "number"),
    [
        *((name, signal.Signals[name]) for name in NAMES),
        ("SIGRTMIN", signal.SIGRTMIN),
        ("SIGRTMIN+6", signal.SIGRTMIN + 6),
        ("SIGRTMAX", signal.SIGRTMAX),
    ],
)
def test_every_signal_that_would_end_or_stop_the_process_holds_first(live, name, number):
    process = live.start()
    live.wait_for("apply", 5)
    process.send_signal(number)
    status, text = live.end()
    assert status == 0, text
    assert [what for what, _ in live.events()][-1] == "closed"
    assert "held" in [what for what, _ in live.events() if what != "apply"]
    assert (live.fault, live.episodes()[-1].footer.end_reason) == ("", EndReason.STOPPED)
    assert name in text


@pytest.mark.slow
def test_signals_while_the_robot_is_brought_to_rest_do_not_interrupt_it(live):
    process = live.start(hold_s=0.5)
    live.wait_for("apply", 5)
    process.send_signal(signal.SIGINT)
    live.wait_for("holds")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGINT, signal.SIGTSTP):
        process.send_signal(number)
        time.sleep(0.02)
    status, text = live.end()
    assert status == 0, text
    after = [what for what, _ in live.events() if what != "apply"]
    assert after[:2] == ["holds", "held"]
    assert after[-3:] == ["holds", "held", "closed"]
    assert live.episodes()[-1].footer.end_reason is EndReason.STOPPED


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_in_homing_leaves_it_and_holds_without_a_fault(live, name):
    process = live.start(home_s=600)
    live.wait_for("homing", 5)
    process.send_signal(signal.Signals[name])
    status, text = live.end()
    assert status == 0, text
    assert live.fault == ""
    assert live.episodes() == []
    assert [what for what, _ in live.events() if what != "homing"][:2] == ["holds", "held"]


@pytest.mark.slow
def test_an_emergency_stop_in_homing_holds_and_a_second_does_not_disturb_that(live):
    process = live.start(home_s=600, hold_s=0.5)
    live.wait_for("homing", 5)
    process.send_signal(signal.SIGUSR1)
    live.wait_for("holds")
    process.send_signal(signal.SIGUSR1)
    status, text = live.end()
    assert status == 3, text
    assert [what for what, _ in live.events() if what != "homing"][:2] == ["holds", "held"]
    assert "emergency stop by signal SIGUSR1" in live.fault
    assert "held by process" in live.fault


@pytest.fixture
def full_pipe():
    """A pipe that nobody reads, full to its last byte."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x")
    except BlockingIOError:
        os.set_blocking(writing, True)
    yield writing
    os.close(reading)
    os.close(writing)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "ends_with"), [("SIGTERM", 0), ("SIGUSR1", 3)], ids=["SIGTERM", "SIGUSR1"]
)
def test_a_log_that_nobody_reads_delays_neither_the_hold_nor_the_end(
    live, full_pipe, name, ends_with
):
    process = live.start(output=full_pipe, prints=True)
    live.wait_for("apply", 20)
    process.send_signal(signal.Signals[name])
    status, _ = live.end()
    assert status == ends_with
    after = [what for what, _ in live.events() if what != "apply"]
    assert after[:2] == ["holds", "held"]
    assert ("held by process" in live.fault) == (name == "SIGUSR1")


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_nothing(live):
    reading, writing = os.pipe()
    process = live.start(output=writing, prints=True)
    os.close(writing)
    live.wait_for("apply", 5)
    os.close(reading)
    done = len(live.events("apply"))
    live.wait_for("apply", done + 20)
    process.send_signal(signal.SIGTERM)
    assert live.end()[0] == 0


@pytest.mark.parametrize(
    ("reasons", "asked", "fault", "status"),
    [
        (["horizon", "terminated"], 2, "", 0),
        (["horizon"], 2, "", 130),
        (["horizon", "stopped"], 2, "", 130),
        (["horizon", "stopped"], None, "", 0),
        (["horizon", "fault"], 3, "it fell", 3),
    ],
)
def test_a_status_says_whether_all_that_was_asked_for_is_done(
    reasons, asked, fault, status, capsys
):
    try:
        end([EndReason(reason) for reason in reasons], asked, fault)
        found = 0
    except typer.Exit as ended:
        found = ended.exit_code
    assert found == status
    told = capsys.readouterr().err
    assert ("stopped: 1 of 2 episodes are done" in told) == (status == 130)

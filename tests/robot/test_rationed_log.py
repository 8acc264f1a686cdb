"""What others can make a log say: neither much, nor anything that a terminal would obey."""

from __future__ import annotations

import logging

from fieldtune.robot.rationed_log import RationedLog, printable


def test_each_kind_is_said_once_and_counted(caplog):
    quiet = RationedLog(logging.getLogger("robot"))
    for number in range(50):
        quiet.warn("noise", f"noise {number}")
        quiet.warn("other", f"other {number}")
    assert len(caplog.messages) == 2


def test_kinds_without_end_do_not_fill_the_memory(caplog):
    quiet = RationedLog(logging.getLogger("robot"))
    caplog.set_level(logging.CRITICAL)
    for number in range(5_000):
        quiet.warn(f"robot {number}", "it has connected")
    assert len(quiet._last) <= 1_000


def test_nobody_writes_lines_of_a_log_or_moves_a_terminals_cursor():
    assert printable("µm ✓\n\x1b[2J\u202e") == "µm ✓\\n\\x1b[2J\\u202e"

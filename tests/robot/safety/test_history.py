"""What is kept of the faults that a robot was re-armed from."""

import json
import os

from fieldtune.robot.safety.history import remember, since
from fieldtune.robot.safety.latch import latch, release


def test_each_fault_is_a_line_with_its_reason_and_times(tmp_path):
    place, history = tmp_path / "fault.txt", tmp_path / "faults.jsonl"
    for reason in ("the joint is hot", "two\nlines"):
        latch(place, reason)
        faulted_at = since(place)
        release(place)
        remember(history, reason, faulted_at)
    remember(history, "latched elsewhere", since(place))

    known = [json.loads(line) for line in history.read_text().splitlines()]
    assert [fault["reason"] for fault in known] == [
        "the joint is hot",
        "two\nlines",
        "latched elsewhere",
    ]
    assert known[0]["faulted"] <= known[0]["rearmed"] <= known[1]["rearmed"]
    assert known[2]["faulted"] is None


def test_a_files_time_that_no_calendar_has_is_left_out(tmp_path):
    remember(tmp_path / "faults.jsonl", "a fault", 1e18)
    assert json.loads((tmp_path / "faults.jsonl").read_text())["faulted"] is None


def test_where_it_cannot_be_written_rearming_goes_on_and_says_so(tmp_path, caplog):
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "nowhere" / "faults.jsonl", tmp_path, tmp_path / "pipe"):
        caplog.clear()
        remember(place, "a fault", None)
        assert f"{place}: this fault is not in the history" in caplog.text

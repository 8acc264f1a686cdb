from __future__ import annotations

from fieldtune.train import console
from fieldtune.train.console import progress


def test_a_log_gets_lines_with_remaining_time_and_one_at_the_end(capsys, monkeypatch):
    monkeypatch.setattr(console, "LINE_EVERY_S", 0.0)
    with progress("training", "updates") as advance:
        advance(0, 6, "loading")
        advance(2, 6)
        advance(4, 6, "two robots")
        advance(6, 6)
        advance(6, 6)

    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "training 0/6 updates",
        "training 2/6 updates",
        "training 4/6 updates",
        "training 6/6 updates",
    ]
    assert lines[0].endswith("? left loading")
    assert lines[1].endswith("? left")  # how fast it goes is seen from here on
    assert lines[2].endswith("about 0:00 left two robots")


def test_what_is_waited_for_is_said_at_once(capsys):
    with progress("collecting", "episodes") as advance:
        advance(0, 9, "loading the simulator")
        advance(1, 9, "a note")
    assert capsys.readouterr().out == (
        "collecting 0/9 episodes, 0:00 passed, ? left loading the simulator\n"
    )


def test_a_log_is_not_flooded(capsys):
    with progress("training", "updates") as advance:
        for done in range(1000):
            advance(done, 1000)

    assert capsys.readouterr().out == ""

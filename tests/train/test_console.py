from __future__ import annotations

from fieldtune.train import console
from fieldtune.train.console import progress


def test_a_log_gets_lines_with_remaining_time_and_one_at_the_end(capsys, monkeypatch):
    monkeypatch.setattr(console, "LINE_EVERY_S", 0.0)
    with progress("training", "updates") as advance:
        advance(0, 4)
        advance(2, 4, "two robots")
        advance(4, 4)
        advance(4, 4)

    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "training 0/4 updates",
        "training 2/4 updates",
        "training 4/4 updates",
    ]
    assert lines[0].endswith("? left")
    assert lines[1].endswith("about 0:00 left two robots")


def test_a_log_is_not_flooded(capsys):
    with progress("training", "updates") as advance:
        for done in range(1000):
            advance(done, 1000)

    assert capsys.readouterr().out == ""

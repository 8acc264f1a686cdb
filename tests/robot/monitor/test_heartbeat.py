"""A heartbeat: whole at any moment, and no sign of life from the dead."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from fieldtune.robot.monitor import heartbeat
from fieldtune.robot.monitor.heartbeat import Beat, Heart, HeartbeatError

ROOT = Path(__file__).parents[3]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "status.json"


def read(path):
    return heartbeat.read(path, dict[str, int])


def wait_for(path, condition):
    while (beat := read(path)) is None or not condition(beat):
        time.sleep(0.005)
    return beat


def test_it_tells_and_says_a_last_word(path):
    said = {"n": 0}

    def tell():
        said["n"] += 1
        return dict(said)

    with Heart(path, tell, every_s=0.01):
        beat = wait_for(path, lambda beat: beat.told["n"] > 3)
        assert beat.alive
    last = read(path)
    assert last.over
    assert not last.alive
    assert last.told["n"] == said["n"]


def test_a_reader_never_sees_half_of_it(path):
    with Heart(path, lambda: {str(n): n for n in range(2_000)}, every_s=0.0001):
        wait_for(path, lambda _: True)
        for _ in range(300):
            assert len(read(path).told) == 2_000


def test_a_killed_process_is_dead_at_once_and_its_words_remain(path):
    script = (
        "import time, pathlib, sys; from fieldtune.robot.monitor.heartbeat import Heart\n"
        "with Heart(pathlib.Path(sys.argv[1]), lambda: {'n': 3}): time.sleep(100)"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], cwd=ROOT)
    beat = wait_for(path, lambda _: True)
    assert beat.alive
    process.kill()
    process.wait()
    dead = read(path)
    assert not dead.alive
    assert not dead.over
    assert dead.told == {"n": 3}


def test_a_beat_of_another_start_of_the_machine_is_infinitely_old():
    beat = Beat(1, "another boot", time.monotonic_ns(), 0, False, {})
    assert beat.age_s == float("inf")
    assert not beat.alive


def test_what_cannot_be_told_or_written_stops_nobody(path, caplog):
    def tell():
        raise RuntimeError("the hub has stopped")

    with Heart(path, tell, every_s=0.01):
        while "the hub has stopped" not in caplog.text:
            time.sleep(0.005)
    path.parent.mkdir(exist_ok=True)
    path.mkdir()
    with Heart(path, dict, every_s=0.01):
        while "cannot be written" not in caplog.text.partition("the hub has stopped")[2]:
            time.sleep(0.005)
    assert [item.name for item in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b'{"pid": 1}'])
def test_a_file_that_is_no_heartbeat_is_said(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(HeartbeatError, match="delete it"):
        read(path)


def test_there_is_none_before_the_first(path):
    assert read(path) is None


def test_it_is_plain_json(path):
    with Heart(path, lambda: {"n": 1}):
        wait_for(path, lambda _: True)
    assert msgspec.json.decode(path.read_bytes())["told"] == {"n": 1}

"""The trainer's emergency stop outlives the trainer, and only a person takes it back."""

from __future__ import annotations

import os
import signal

import pytest
from typer.testing import CliRunner

from fieldtune.train.bridge.emergency_stop import FILE, stop_robots_on_signal
from fieldtune.train.cli.app import app


@pytest.fixture
def trainer(tmp_path):
    """Start one life of a trainer in the run; the list grows with each stop of its robots."""
    before = signal.getsignal(signal.SIGUSR1)

    def start():
        stops = []
        stop_robots_on_signal(tmp_path, lambda: stops.append(True))
        return stops

    yield start
    signal.signal(signal.SIGUSR1, before)


def test_a_stop_outlives_the_trainer_until_a_person_clears_it(trainer, tmp_path, caplog):
    first = trainer()
    assert first == []
    os.kill(os.getpid(), signal.SIGUSR1)
    assert first == [True]
    assert trainer() == [True]
    assert f"clear-stop --run {tmp_path}" in caplog.text
    said = CliRunner().invoke(app, ["clear-stop", "--run", str(tmp_path)])
    assert (said.exit_code, said.output) == (0, "cleared: start the trainer anew\n")
    assert trainer() == []


def test_a_stop_is_kept_when_the_disk_has_no_room_for_its_reason(trainer, tmp_path):
    (tmp_path / FILE).touch()
    assert trainer() == [True]


def test_there_may_be_nothing_to_clear(tmp_path):
    said = CliRunner().invoke(app, ["clear-stop", "--run", str(tmp_path)])
    assert (said.exit_code, said.output) == (0, "no emergency stop is on\n")

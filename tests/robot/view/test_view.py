"""`fieldtune-robot view` beside a real daemon, read back with Rerun's own reader."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rerun.dataframe as rd
from typer.testing import CliRunner

from fieldtune.robot.cli.app import app

ROOT = Path(__file__).parents[3]


def entities(path: Path) -> dict[str, int]:
    """How many rows each entity of a recording has over time, by its path."""
    recording = rd.load_recording(path)
    columns = recording.schema().component_columns()
    found = {column.entity_path.removeprefix("/"): 0 for column in columns}
    changing = [column for column in columns if not column.is_static]
    table = recording.view(index="time", contents="/**").select(*changing).read_all()
    for column, values in zip(changing, table.columns, strict=True):
        name = column.entity_path.removeprefix("/")
        found[name] = max(found[name], len(values) - values.null_count)
    return found


def viewing(live, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "fieldtune.robot.launch", "view"]
    return subprocess.Popen(
        [*command, "--config", str(live.folder / "live.yaml"), "--save", str(out)],
        cwd=ROOT,
        env=os.environ
        | {"PYTHONPATH": f"{live.folder / 'plugin'}:{Path(__file__).parents[1]}:{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_a_live_robot_is_shown_and_a_view_that_hangs_costs_it_nothing(live, tmp_path):
    live.bundle = live.bundle_with(period_s=0.02, horizon=60)
    (live.bundle.parent / "live" / "state" / "bundles").mkdir(parents=True)
    kept = live.folder / "state" / "bundles" / "live.bundle"
    kept.write_bytes(live.bundle.read_bytes())
    live.start("--episodes", "5")
    live.wait_for("apply", 20)
    well, hung = viewing(live, tmp_path / "well.rrd"), viewing(live, tmp_path / "hung.rrd")
    try:
        drawn = tmp_path / "hung.rrd"
        while not drawn.exists() or drawn.stat().st_size < 20_000:  # in the middle of it
            assert hung.poll() is None, hung.communicate()
            time.sleep(0.01)
        hung.send_signal(signal.SIGSTOP)
        status, said = live.end()
        assert status == 0, said
        told, _ = well.communicate(timeout=60)  # ends with the robot's process
        assert (well.returncode, "open it with `rerun" in told) == (0, True), told
        log = live.folder / "state" / "journal.sqlite-wal"
        assert not log.exists() or log.stat().st_size < 5_000_000
        hung.send_signal(signal.SIGCONT)
        told, _ = hung.communicate(timeout=60)
        assert hung.returncode == 0, told
    finally:
        for process in (well, hung):
            process.kill()
            process.communicate()
    steps = sum(len(episode.steps) for episode in live.episodes())
    assert steps == 300
    found = entities(tmp_path / "well.rrd")
    for entity in (
        "observation/position/0",
        "action/force/applied/0",
        "action/force/requested/0",
        "timing/observation_age",
        "limits/touched",
        "reward/predicted",
    ):
        assert found[entity] in (steps, steps - 240), entity  # from the trial under way on
    assert found["belief/known"]
    assert found["belief/tasks"]
    assert found["belief/acted_on"]
    assert found["events"]
    assert found["status"]
    assert found["loop/jitter_p99"]

    journal = live.folder / "state" / "journal.sqlite"
    out = tmp_path / "after.rrd"
    command = ["view", "--journal", str(journal), "--episodes", "2-4", "--save", str(out)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "3 episodes shown" in done.output
    found = entities(out)
    assert found["observation/position/0"] == found["action/force/applied/0"] == 180
    assert found["reward/label"] == 60  # of the one prior episode among them
    done = CliRunner().invoke(app, [*command[:3], "--episodes", "9", "--save", str(out)])
    assert done.exit_code == 1
    assert "no episode from 9 to 9" in done.output


def test_without_the_package_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    done = CliRunner().invoke(
        app, ["view", "--journal", str(tmp_path / "none"), "--save", str(tmp_path / "x.rrd")]
    )
    assert done.exit_code == 1
    assert 'pip install "fieldtune[view]"' in done.output
    assert not (tmp_path / "x.rrd").exists()


def test_a_view_goes_to_one_place(tmp_path):
    arguments = ["view", "--journal", str(tmp_path / "none"), "--web", "--save", "x.rrd"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert "--save and --web: a view goes to one place" in done.output

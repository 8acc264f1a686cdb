"""`fieldtune view RUN`: curves, robots and beliefs of a run's folder, read back with Rerun."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from fieldtune.export.bundle import read_bundle
from fieldtune.robot.episodes import codec
from fieldtune.robot.episodes.episode import Episode, Mode
from fieldtune.sim.locomotion.cheetah_vel import CheetahVelFamily
from fieldtune.train.cli.app import app
from fieldtune.train.runs.curves import EVERY, Curves
from fieldtune.train.runs.trackers.tracker import Tracked
from fieldtune.train.view.task_space import task_space
from tests.robot.view.test_view import entities

FAMILY = CheetahVelFamily()
TASKS = FAMILY.split().train


def specs(fields):
    return tuple(
        {"name": one.name, "unit": one.unit, "low": one.low, "high": one.high} for one in fields
    )


@pytest.fixture
def shown(tmp_path, write_config, make_bundle, make_header, make_step, make_footer):
    """A run's folder: two points of a curve, a bundle, and an episode of each of two robots."""
    folder = tmp_path / "run"
    (folder / "bundles").mkdir(parents=True)
    (folder / "inbox").mkdir()
    write_config(folder / "config.yaml")
    with Curves(Tracked(folder, "offline")) as curves:
        for update in range(1, 2 * EVERY + 1):
            curves.add(update, {"loss/policy": 1.0 / update})
    make_bundle(
        folder / "bundles" / "latest.bundle",
        family=FAMILY.name,
        robot=FAMILY.robot,
        observation_fields=specs(FAMILY.observation_fields),
        action_fields=specs(FAMILY.action_fields),
        task_embeddings=tuple((float(task[0]), 0.0) for task in TASKS),
    )
    wide = {"observation": [0.5] * 20, "requested": [0.0] * 6, "applied": [0.0] * 6}
    for robot in ("north", "south"):
        header = make_header(1, robot=robot, mode=Mode.PRIOR, label_task=2, trial=1)
        steps = [make_step(index, **wide) for index in range(5)]
        footer = make_footer(5, final_observation=[0.0] * 20)
        blob = msgspec.msgpack.encode(Episode(header, steps, footer))
        (folder / "inbox" / f"{codec.address(blob)}.episode").write_bytes(blob)
    return folder


@pytest.mark.usefixtures("curve_files_in_order")
def test_a_runs_folder_is_shown(shown, tmp_path, caplog):
    out = tmp_path / "run.rrd"
    done = CliRunner().invoke(app, ["view", str(shown), "--save", str(out)])
    assert done.exit_code == 0, done.output
    assert "beliefs are drawn over z" not in caplog.text
    found = entities(out)
    assert found["curves/offline/loss\\/policy"] == 2, found
    for robot in ("north", "south"):
        assert found[f"robots/{robot}/reward/label"] == 5
        assert found[f"robots/{robot}/belief/tasks"] >= 2
    assert found["fleet"] >= 1
    assert found["events"] >= 3
    none = CliRunner().invoke(app, ["view", str(tmp_path), "--save", str(out)])
    assert (none.exit_code, "no run here" in none.output) == (1, True)


def test_z_is_drawn_where_the_tasks_are(shown):
    manifest, fields = (
        read_bundle(shown / "bundles" / "latest.bundle").manifest,
        FAMILY.task_fields,
    )
    space = task_space(manifest, TASKS, fields)
    found = space.place(np.array(manifest.task_embeddings))
    np.testing.assert_allclose(found[:, 0], TASKS[:, 0], atol=1e-3)
    assert space.says == "velocity, m/s"
    assert task_space(manifest, TASKS[:-1], fields) is None  # not those it was made with

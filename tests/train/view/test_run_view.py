"""`fieldtune view RUN`: curves, robots and beliefs of a run's folder, read back with Rerun."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from fieldtune.export.bundle import read_bundle
from fieldtune.robot.episodes import codec
from fieldtune.robot.episodes.episode import Mode
from fieldtune.settings import dump
from fieldtune.train.cli.app import app
from fieldtune.train.runs import curves
from fieldtune.train.runs.bundles import Exporter
from fieldtune.train.runs.trained import newest
from fieldtune.train.view.task_space import task_space
from tests.robot.view.test_view import entities


@pytest.fixture
def shown(make_trained, make_header, make_step, make_footer, monkeypatch):
    """A trained run with two points of a curve, a bundle, and two robots' episodes received."""
    monkeypatch.setattr(curves, "EVERY", 1)
    run = make_trained()
    dump(run.config, run.folder / "config.yaml", movable="data.path")
    with curves.Curves.of(run, "offline", 0) as drawn:
        for update in (1, 2):
            drawn.add(update, {"loss/policy": 1.0 / update})
    trained, phase, updates = newest(run)
    run.bundles.mkdir()
    Exporter(run, trained).write(run.bundles / "latest.bundle", phase=phase, updates=updates)
    inbox = run.folder / "inbox"
    inbox.mkdir()
    rng = np.random.default_rng(0)
    for robot in ("north", "south"):
        header = make_header(
            1, robot=robot, family="cheetah-vel", mode=Mode.PRIOR, label_task=2, trial=1
        )
        steps = [
            make_step(
                i,
                observation=rng.normal(size=20).tolist(),
                requested=[0.0] * 6,
                applied=[0.0] * 6,
                z=[0.1, 0.2, 0.3],
            )
            for i in range(5)
        ]
        footer = make_footer(5, final_observation=[0.0] * 20)
        blob = msgspec.msgpack.encode(codec.Episode(header, steps, footer))
        (inbox / f"{codec.address(blob)}.episode").write_bytes(blob)
    return run


@pytest.mark.slow
def test_a_runs_folder_is_shown(shown, tmp_path):
    out = tmp_path / "run.rrd"
    done = CliRunner().invoke(app, ["view", str(shown.folder), "--save", str(out)])
    assert done.exit_code == 0, done.output
    found = entities(out)
    assert found["curves/offline/loss\\/policy"] == 2, found
    for robot in ("north", "south"):
        assert found[f"robots/{robot}/reward/label"] == 5
        assert found[f"robots/{robot}/belief/tasks"] >= 2
    assert found["fleet"]
    assert found["events"] >= 3
    none = CliRunner().invoke(app, ["view", str(tmp_path), "--save", str(out)])
    assert (none.exit_code, "no run here" in none.output) == (1, True)


def test_z_is_drawn_where_the_tasks_are(shown):
    bundle = read_bundle(shown.bundles / "latest.bundle")
    tasks, fields = shown.dataset.train_tasks, shown.family.task_fields
    space = task_space(bundle.manifest, tasks, fields)
    found = space.place(np.array(bundle.manifest.task_embeddings))
    np.testing.assert_allclose(found[:, 0], tasks[:, 0], atol=1e-3)
    assert space.says == "velocity, m/s"
    assert task_space(bundle.manifest, tasks[:-1], fields) is None

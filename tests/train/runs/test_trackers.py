"""Where curves go: the key `tracker`, each tool offline, a package's own, and what is missing."""

from __future__ import annotations

import json
import sqlite3
from importlib.util import find_spec

import pytest

from fieldtune.plugins import PluginError
from fieldtune.settings import ConfigError
from fieldtune.train.phases.offline import train_offline
from fieldtune.train.runs import curves as module
from fieldtune.train.runs.curves import EVERY, Curves
from fieldtune.train.runs.opening import open_run
from fieldtune.train.runs.trackers.tracker import Tracked, TrackerError, make_trackers

OWN = """
class Lines:
    def __init__(self, tracked):
        self.file = (tracked.folder / f"{tracked.phase}.lines").open("a")
        self.file.write(f"from {tracked.done}, seed {tracked.config['seed']}\\n")
    def add(self, update, values):
        self.file.write(f"{update} {sorted(values)[0]}\\n")
    def close(self):
        self.file.close()

class Refuses(Lines):
    def add(self, update, values):
        raise RuntimeError("the server is gone")
    def close(self):
        raise RuntimeError("still gone")
"""


@pytest.fixture
def own(install):
    """A package's own trackers, `lines` and `refuses`."""
    points = "[fieldtune.trackers]\nlines = my_lines:Lines\nrefuses = my_lines:Refuses\n"
    install("my-lines", points, my_lines=OWN)


@pytest.mark.usefixtures("own")
def test_the_key_says_where_curves_go(make_run, monkeypatch):
    monkeypatch.setattr(module, "EVERY", 2)
    run = make_run("tracker=[lines, tensorboard]", "offline.updates=4")
    train_offline(run)
    said = (run.folder / "offline.lines").read_text().splitlines()
    assert said[0] == "from 0, seed 0"
    assert [line.split()[0] for line in said[1:]] == ["2", "4"]
    assert list((run.curves / "offline").iterdir())
    alone = make_run("tracker=none", "offline.updates=4", folder="alone")
    train_offline(alone)
    assert not alone.curves.exists()


@pytest.mark.usefixtures("own")
def test_a_tool_that_refuses_leaves_a_gap_and_no_error(tmp_path, caplog):
    tracked = Tracked(tmp_path, "offline", config={"seed": 3})
    with Curves(tracked, ["refuses", "lines"]) as curves:
        for step in range(1, 3 * EVERY + 1):
            curves.add(step, {"loss": 1.0})
    said = (tmp_path / "offline.lines").read_text().splitlines()
    assert [line for line in said if line[0].isdigit()] == ["50 loss", "100 loss", "150 loss"]
    assert caplog.text.count("the server is gone") == 1
    assert "the last curves are lost: still gone" in caplog.text


def test_a_tool_that_is_not_there_is_one_sentence_and_nothing_is_made(
    make_config, tmp_path, monkeypatch
):
    monkeypatch.setattr("fieldtune.train.runs.trackers.tracker.find_spec", lambda _: None)
    with pytest.raises(TrackerError, match=r"'wandb', .*: pip install \"fieldtune\[wandb\]\""):
        open_run(make_config("tracker=wandb"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("tracker=tensorbord", "'tensorbord': expected tensorboard, wandb, mlflow, trackio"),
        ("tracker=[wandb, none]", "'none': expected tensorboard"),
        ("tracker=[wandb, wandb]", "one of them is named twice"),
    ],
)
def test_a_mistaken_name_is_told(make_config, override, says):
    with pytest.raises(ConfigError) as refused:
        make_config(override)
    assert says in str(refused.value)


@pytest.mark.usefixtures("own")
def test_a_tool_that_does_not_open_is_told_before_anything_is_learned(tmp_path):
    with pytest.raises(TrackerError, match=r"tracker .lines. cannot be opened: .*: see to that"):
        make_trackers(["lines"], Tracked(tmp_path / "nowhere", "offline", config={"seed": 1}))
    with pytest.raises(PluginError):
        make_trackers(["nobody's"], Tracked(tmp_path, "offline"))


def points(tmp_path, name, done=0, first=1):
    tracked = Tracked(tmp_path, "offline", done, {"seed": 1, "algorithm": {"name": "smac"}})
    with Curves(tracked, [name]) as curves:
        for step in range(first, first + EVERY):
            curves.add(step, {"loss/policy": float(step)})


@pytest.mark.slow
@pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed")
def test_weights_and_biases_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    points(tmp_path, "wandb")
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    (log,) = folder.glob("*.wandb")
    assert b"loss/policy" in log.read_bytes()
    known = (tmp_path / "tracking" / "offline.wandb").read_text().strip()
    assert known in folder.name
    assert Tracked(tmp_path, "offline", EVERY).remembered("wandb") == known
    assert Tracked(tmp_path, "offline").remembered("wandb") is None


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")
def test_mlflow_in_the_runs_own_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    points(tmp_path, "mlflow")
    points(tmp_path, "mlflow", done=EVERY, first=EVERY + 1)
    with sqlite3.connect(tmp_path / "mlflow.db") as found:
        values = found.execute("SELECT key, step, value FROM metrics ORDER BY step").fetchall()
        params = dict(found.execute("SELECT key, value FROM params").fetchall())
    middle = (1 + EVERY) / 2
    assert values == [
        ("loss/policy", EVERY, middle),
        ("loss/policy", 2 * EVERY, middle + EVERY),
    ]
    assert params == {"seed": "1", "algorithm.name": "smac"}


@pytest.mark.slow
@pytest.mark.skipif(find_spec("trackio") is None, reason="trackio is not installed")
def test_trackio_in_the_runs_own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    points(tmp_path, "trackio")
    (place,) = (tmp_path / "trackio").glob("*.db")
    with sqlite3.connect(place) as found:
        ((step, metrics),) = found.execute("SELECT step, metrics FROM metrics").fetchall()
    assert (step, json.loads(metrics)["loss/policy"]) == (EVERY, (1 + EVERY) / 2)

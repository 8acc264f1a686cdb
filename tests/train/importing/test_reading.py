"""A stranger's format plugs in; what it breaks is said with its name."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from fieldtune.errors import UserError
from fieldtune.sim.registry import family as make_family
from fieldtune.train.importing.formats.lerobot import LeRobot
from fieldtune.train.importing.mapped import read_mapped

CHEETAH = make_family("cheetah-vel")
MAPPING = """
format: bags
options: {seed: 3}
observation:
  root_height: {from: state, take: "0:1"}
  root_pitch: {from: state, take: "1:2"}
  joint_position: {from: state, take: "2:8"}
  root_velocity: {from: state, take: "8:10"}
  root_pitch_velocity: {from: state, take: "10:11"}
  joint_velocity: {from: state, take: "11:17"}
  torso_position: {from: state, take: "17:20"}
action: {joint_torque: command}
tasks: {name: speed}
"""
BAGS = """
import numpy as np
from fieldtune.train.importing.recording import RecordedEpisode

class Bags:
    period_s = 0.05
    unread = ["'camera': pictures, which are never read"]

    def __init__(self, place, seed=0):
        self.rng = np.random.default_rng(seed)

    keys = {"state": 20, "command": 6}

    def episodes(self, keys):
        for speed in ("0", "100"):
            s, a = self.rng.normal(size=(5, 20)), self.rng.uniform(-1, 1, (4, 6))
            yield RecordedEpisode("bag", {"state": s[:-1], "command": a}, {"state": s[-1]},
                                  {"speed": speed})
"""


@pytest.fixture
def bags(tmp_path, monkeypatch):
    """`read(code)`: by a mapping, with a package installed whose module holds `code`."""

    def read(code):
        folder = tmp_path / "site"
        (folder / "my_bags-1.0.dist-info").mkdir(parents=True)
        (folder / "my_bags-1.0.dist-info" / "METADATA").write_text("Name: my-bags\nVersion: 1.0\n")
        entry = "[fieldtune.importers]\nbags = my_bags:Bags\n"
        (folder / "my_bags-1.0.dist-info" / "entry_points.txt").write_text(entry)
        (folder / "my_bags.py").write_text(code)
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delitem(sys.modules, "my_bags", raising=False)
        (tmp_path / "mapping.yaml").write_text(MAPPING)
        return read_mapped(CHEETAH, tmp_path / "mapping.yaml", "bags/monday", None)

    yield read
    sys.modules.pop("my_bags", None)


def test_a_strangers_format_is_read_like_ours(bags):
    found = bags(BAGS)
    expected = np.random.default_rng(3).normal(size=(5, 20))
    (episode,) = found.episodes("0")
    np.testing.assert_array_equal(episode.observations, expected)
    assert "bags/monday: 'camera': pictures, which are never read" in found.notes


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (
            '"command": a}',
            '"command": a[1:]}',
            r"columns \['command', 'state'\] are .* breaks",
        ),
        ('"command": a}', '"other": a}', "importer 'bags' of my-bags 1.0 breaks its contract"),
        ('for speed in ("0", "100")', "for speed in (1 / 0,)", "of my-bags 1.0 failed: ZeroDivis"),
        ("unread = [", "unread = None and [", "importer 'bags' of my-bags 1.0 failed: TypeError"),
        ("seed=0", "sead=0", r"'options' are \{'seed': 3\} .*; 'bags' has \['sead'\]"),
        ("class Bags", "class Sacks", "of package my-bags 1.0 .* cannot be loaded"),
    ],
)
def test_a_strangers_format_that_breaks_is_named(bags, before, after, words):
    assert before in BAGS
    with pytest.raises(UserError, match=words):
        bags(BAGS.replace(before, after))


def test_where_pyarrow_is_missing_the_cure_is_said(tmp_path, lerobot_dataset, others, monkeypatch):
    lerobot_dataset(tmp_path / "logs", [others.reaching(0) | {"task": "go"}])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(UserError, match=r"pyarrow is missing .*pip install 'fieldtune\[parquet\]'"):
        list(LeRobot(str(tmp_path / "logs")).episodes(frozenset({"action"})))

"""Hardware behind a server passes a trial: `fieldtune-robot check --connect`, with real servers."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from fieldtune.robot.cli.app import app
from tests.robot.drivers.conftest import SERVERS


@pytest.fixture
def tried(tmp_path, options):
    """Try what a server offers; what that showed, and the exit status."""

    def run(server, *arguments: str) -> tuple[dict, int]:
        settings = options(server, lease_s=0.15).model_dump(mode="json", exclude_none=True)
        robot = {
            "name": "m1",
            "family": "joints",
            "driver": {"name": "zmq"} | settings,
            "state_dir": str(tmp_path / "state"),
        }
        path = Path(tmp_path / "x.yaml")
        path.write_text(yaml.safe_dump({"robot": robot}))
        command = ["check", "--config", str(path), "--connect", "--yes", "--json", *arguments]
        done = CliRunner().invoke(app, command)
        return json.loads(done.stdout), done.exit_code

    return run


def only_slow(wrong: list[str]) -> bool:
    """Whether nothing is wrong but what a busy machine does to a robot in real time."""
    busy = ("cannot keep its period", "s old, at most", "lease", "the loop has stood still")
    return all(any(word in sentence for word in busy) for sentence in wrong)


def test_two_joints_under_velocity_commands_pass(joints, tried):
    found, status = tried(joints)
    assert only_slow(found["wrong"]), found["wrong"]
    if status == 0:
        assert (found["cycles"], found["commanded"], found["differs"]) == (100, [0.0, 0.0], 0.0)
        assert found["homed_s"] > 0
        assert found["reuses"] == []
        assert [one["name"] for one in found["observation"] if one["jumps"]] == []
    assert "asked to hold" in joints.log


@pytest.mark.slow
def test_a_served_simulation_passes(serve, tried):
    """Its efforts are not commanded, since nobody can know here that nothing falls."""
    found, status = tried(serve(sys.executable, SERVERS / "serve_sim.py", "cheetah-vel"))
    assert only_slow(found["wrong"]), found["wrong"]
    assert found["commanded"] is None
    if status == 0:
        assert any("apply was not tried" in note for note in found["notes"])

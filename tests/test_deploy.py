"""The systemd unit: what it promises about restarts is tried, and what it says fits the code."""

from __future__ import annotations

import configparser
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from fieldtune.exit_status import FAULT
from fieldtune.robot.cli.app import app
from fieldtune.robot.config import RealtimeConfig, RobotConfig
from fieldtune.robot.monitor.status import ENDING_S
from fieldtune.robot.programs.session import FLUSH_S
from fieldtune.robot.safety.latch import latched

ROOT = Path(__file__).parents[1]
UNIT = ROOT / "deploy" / "fieldtune-robot@.service"
PROGRAM = "/opt/fieldtune/bin/fieldtune-robot"


@pytest.fixture(scope="module")
def unit():
    parser = configparser.ConfigParser(interpolation=None, comment_prefixes="#", delimiters="=")
    parser.optionxform = str
    parser.read(UNIT)
    return parser["Service"]


def test_a_fault_is_final_and_uploads_have_their_time(unit):
    assert unit["RestartPreventExitStatus"] == str(FAULT)
    assert int(unit["TimeoutStopSec"]) > FLUSH_S
    assert ENDING_S > FLUSH_S


def test_the_real_time_that_is_asked_for_by_default_is_permitted(unit):
    assert int(unit["LimitRTPRIO"]) >= RealtimeConfig().priority
    assert unit["LimitMEMLOCK"] == "infinity"
    assert "RestrictRealtime" not in unit


def test_a_bundle_that_takes_all_memory_in_its_trial_does_not_end_the_robot(unit):
    assert unit["OOMPolicy"] == "continue"


def test_what_it_starts_is_a_command_with_those_options(unit):
    program, command, option, _ = shlex.split(unit["ExecStart"])
    assert program == PROGRAM
    names = {item.name or item.callback.__name__ for item in app.registered_commands}
    assert command in names
    assert option == "--config"


def test_the_service_is_found_by_whoever_has_its_config(unit):
    """No setting stands in the unit: `stop` and `rearm` without it would look elsewhere."""
    assert "robot.state_dir" not in unit["ExecStart"] + unit["ExecStopPost"]
    commissioning = (ROOT / "docs" / "commissioning.md").read_text()
    state = Path("/var/lib", unit["StateDirectory"].replace("%i", "arm1"))
    assert f"state_dir: {state}\n" in commissioning


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_understands_it(tmp_path):
    copy = tmp_path / "fieldtune-robot@x.service"
    copy.write_text(UNIT.read_text().replace(PROGRAM, "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("result", "is_latched"),
    [("success", False), ("exit-code", False), ("watchdog", True), ("core-dump", True)],
)
def test_a_service_that_was_killed_or_hung_is_latched_for_a_person(
    unit, tmp_path, result, is_latched
):
    """The unit's own ExecStopPost line, run by the same shell as systemd would."""
    config = tmp_path / "x.yaml"
    robot = {"name": uuid4().hex, "family": "points", "state_dir": str(tmp_path / "state")}
    config.write_text(yaml.safe_dump({"robot": robot}))
    program = tmp_path / "fieldtune-robot"
    program.write_text(
        f'#!/bin/sh\ncd {ROOT}\nexec {sys.executable} -m fieldtune.robot.launch "$@"\n'
    )
    program.chmod(0o755)
    line = unit["ExecStopPost"].replace(PROGRAM, str(program))
    line = line.replace("/etc/fieldtune/%i.yaml", str(config))
    environment = os.environ | {"SERVICE_RESULT": result, "EXIT_STATUS": "ABRT"}
    subprocess.run(shlex.split(line), env=environment, check=True)
    found = latched(RobotConfig(name="c1", family="points", state_dir=tmp_path / "state").latch)
    assert (found is not None) == is_latched
    if is_latched:
        assert f"the service ended by {result} (ABRT)" in found

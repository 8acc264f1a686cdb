"""The logs, the family's file, the mapping and the driver are of one bench."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="importing needs fieldtune[train], which is not installed")

import yaml

from bench_logs.driver import BenchLogsDriver

HERE = Path(__file__).parents[1]


def test_the_familys_file_says_what_the_driver_says():
    family = yaml.safe_load((HERE / "bench-logs.yaml").read_text())
    driver = BenchLogsDriver("bench-logs", BenchLogsDriver.Options())
    assert (family["robot"], family["period_s"]) == (driver.robot, driver.period_s)
    for key, fields in (
        ("observation", driver.observation_fields),
        ("action", driver.action_fields),
    ):
        described = [(f["name"], f["unit"], tuple(f["low"]), tuple(f["high"])) for f in family[key]]
        assert described == [(f.name, f.unit, f.low, f.high) for f in fields]


def test_logs_are_written_and_can_be_imported(tmp_path):
    made = [sys.executable, HERE / "make_logs.py", "--out", tmp_path / "logs", "--episodes", "2"]
    subprocess.run(made, check=True)
    shown = subprocess.run(
        [
            *(Path(sys.executable).with_name("fieldtune"), "import", "--dry-run"),
            *("--family", HERE / "bench-logs.yaml", "--mapping", HERE / "mapping.yaml"),
            *("--from", tmp_path / "logs", "--tasks", tmp_path / "targets.json"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    assert "all of this can be imported" in shown.stdout

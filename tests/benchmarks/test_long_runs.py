"""The runs at 500 Hz and the fleet, small: they run to their end and find their promises kept."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.hour_figures import Sample, missed_share, slope_mb_an_hour
from benchmarks.processes import ROOT, environment


def proof(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"benchmarks.{name}", "--quick", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)


def looked(at_s: float, rss_mb: float) -> Sample:
    return Sample(**(dict.fromkeys(Sample.__dataclass_fields__, 0) | locals()))


def test_growing_memory_is_noticed():
    samples = [looked(60.0 * minute, 100.0 + minute / 60) for minute in range(60)]
    assert slope_mb_an_hour(samples) == pytest.approx(1.0)


def test_a_deadline_is_missed_by_what_ends_late_and_by_what_is_left_out():
    assert missed_share(cycles=990, overruns=5, skipped=10) == 0.015


@pytest.mark.slow
def test_the_loop_runs_beside_the_bare_one(tmp_path):
    done = proof("hour", "--folder", str(tmp_path / "run"), "--age-s", "5")
    assert "deadlines missed" in done.stdout, done.stderr
    broken = done.stderr.partition("BROKEN: ")[2].strip()
    assert not broken or broken.endswith("than by the bare loop"), broken  # a busy machine


@pytest.mark.slow
def test_the_loops_in_cpp_and_python_run_side_by_side(tmp_path):
    done = proof("resident", "--folder", str(tmp_path / "run"))
    if "cannot be built here" in done.stderr or "no CMake or C++ compiler" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    assert "| C++ | " in done.stdout
    assert "| Python | " in done.stdout
    assert "cycles 6000" in done.stdout


@pytest.mark.slow
def test_two_robots_are_ingested_once(tmp_path):
    done = proof("fleet", "--folder", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert "| read twice by the trainer | 0 |" in done.stdout

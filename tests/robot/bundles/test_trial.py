"""The trial's promises: whatever a bundle does in it, there is a verdict, and the robot is well."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fieldtune.export.bundle import bundle_id
from fieldtune.robot.bundles.trial import (
    BESIDE_THE_LOOP,
    Trial,
    TrialStopped,
    Verdict,
    software,
)

ROOT = Path(__file__).parents[3]


def wait_for(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_sound_bundle_stands_its_trial_in_a_process_that_stands_back(point_bundle):
    path = point_bundle()
    trial = Trial(path, bundle_id(path), nice=BESIDE_THE_LOOP).start()
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    wait_for(
        lambda: (
            trial.verdict() is not None
            or os.getpriority(os.PRIO_PROCESS, trial.pid) == nice + BESIDE_THE_LOOP
        )
    )
    assert trial.wait() == Verdict(bundle_id(path))


def test_what_only_running_shows_is_refused_with_a_reason(misbehaving):
    path, said = misbehaving
    verdict = Trial(path, bundle_id(path)).start().wait()
    assert re.search(said, verdict.refused)
    assert (verdict.final, verdict.genuine) == (True, True)


def test_a_policy_without_an_end_is_refused_by_the_processor_time_it_took(endless_bundle):
    verdict = Trial(endless_bundle, bundle_id(endless_bundle), processor_s=3).start().wait()
    assert verdict.refused == "its trial took more than 3 s of processor time"
    assert verdict.final


def test_a_machine_that_is_too_busy_is_not_the_bundles_fault(endless_bundle):
    verdict = Trial(endless_bundle, bundle_id(endless_bundle), patience_s=0.5).start().wait()
    assert "did not end within 0.5 s: this machine is overloaded" in verdict.refused
    assert not verdict.final


def test_memory_is_bounded(point_bundle):
    path = point_bundle()
    verdict = Trial(path, bundle_id(path), base_memory=2**20).start().wait()
    assert verdict.refused


@pytest.mark.parametrize(("number", "final"), [(signal.SIGSEGV, True), (signal.SIGKILL, False)])
def test_a_bundle_that_crashes_its_process_is_refused(endless_bundle, number, final):
    trial = Trial(endless_bundle, bundle_id(endless_bundle)).start()
    time.sleep(0.2)
    os.kill(trial.pid, number)
    verdict = trial.wait()
    assert verdict.refused == f"its trial ended with {number.name}"
    assert verdict.final is final


def test_who_asks_to_stop_does_not_wait_for_the_end(endless_bundle):
    trial = Trial(endless_bundle, bundle_id(endless_bundle)).start()
    with pytest.raises(TrialStopped, match="SIGTERM"):
        trial.wait(lambda: "SIGTERM")
    assert not Path(f"/proc/{trial.pid}").exists()


def test_damaged_bytes_are_refused_and_are_not_that_bundle(point_bundle):
    path = point_bundle()
    identity = bundle_id(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    verdict = Trial(path, identity).start().wait()
    assert "do not match the sha256" in verdict.refused
    assert not verdict.genuine


def test_another_bundle_than_the_one_asked_for_is_refused(point_bundle):
    verdict = Trial(point_bundle(), "0" * 64).start().wait()
    assert "expected 000" in verdict.refused
    assert not verdict.genuine


def test_the_trial_does_not_depend_on_the_folder_it_is_started_in(
    point_bundle, tmp_path, monkeypatch
):
    """Nor does a package called robot there take this one's place."""
    path = point_bundle()
    (tmp_path / "robot").mkdir()
    (tmp_path / "robot" / "__init__.py").write_text("raise SystemExit('another robot')")
    monkeypatch.chdir(tmp_path)
    assert Trial(Path(os.path.relpath(path)), bundle_id(path)).start().wait().refused == ""


def test_a_trial_ends_with_the_robot_that_began_it(endless_bundle):
    script = (
        "import sys, time; from pathlib import Path\n"
        "from fieldtune.robot.bundles.trial import Trial\n"
        "trial = Trial(Path(sys.argv[1]), sys.argv[2]).start(); print(trial.pid, flush=True)\n"
        "time.sleep(600)"
    )
    robot = subprocess.Popen(
        [sys.executable, "-c", script, str(endless_bundle), bundle_id(endless_bundle)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    trial = Path("/proc") / robot.stdout.readline().strip()
    wait_for(lambda: "trial_process" in (trial / "cmdline").read_text())
    time.sleep(2.0)  # it has asked to be ended by then, or does so when it comes to it
    robot.kill()
    robot.wait()
    robot.stdout.close()
    wait_for(lambda: not trial.exists() or "State:\tZ" in (trial / "status").read_text())


def test_a_verdict_names_the_software_that_it_is_good_for():
    assert re.fullmatch(r"fieldtune \S+, onnxruntime \S+", software())

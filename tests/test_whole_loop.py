"""The demo, tiny: every step from data to report, with the robot as a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CONFIG = Path(__file__).parent.parent / "configs" / "reach.yaml"
TINY = (
    "data.episodes_per_task=4",
    "evaluation.repeats=1",
    "offline.updates=60",
    "self_supervised.updates=60",
    "self_supervised.steps=800",
    "self_supervised.first_steps=200",
    "self_supervised.publish_every=20",
)


@pytest.mark.slow
def test_the_loop_closes_from_labelled_data_to_an_adapted_robot(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    command = [sys.executable, "-m", "train.launch", "demo", "--config", str(CONFIG)]
    done = subprocess.run(
        [*command, "--out", folder.name, "--seed", "3", *TINY],
        cwd=tmp_path,  # a relative folder, as `make demo` has it
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    metrics = json.loads((folder / "metrics.json").read_text())
    assert set(metrics) == {
        "family",
        "seed",
        "return",
        "reward_free_steps",
        "bundles_published",
        "bundles_swapped",
        "wall_seconds",
    }
    assert (metrics["family"], metrics["seed"]) == ("reach", 3)
    assert set(metrics["return"]) == {
        "offline_context",
        "online_before",
        "online_after",
        "oracle",
        "random",
        "scripted",
    }
    assert all(isinstance(value, float) for value in metrics["return"].values())
    assert metrics["reward_free_steps"] >= 800
    assert metrics["bundles_published"] >= 4
    assert metrics["bundles_swapped"] >= 1
    assert "<html" in (folder / "report.html").read_text()
    # No shortcut: the robot kept its own journal and got its bundles over the bridge.
    assert (folder / "robot" / "journal.sqlite").exists()
    assert list((folder / "robot" / "bundles").glob("*.bundle"))
    assert list((folder / "inbox").glob("*.episode"))

"""The commands of each example's page, and its own tests, in an environment with the wheel alone.

With so little data and so few updates that nothing is learned: that is seen when they are run as
they stand. Every file of a run's settings is the example's, with these numbers in it.
"""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest
import yaml

from tests.examples.conftest import EXAMPLES, ROOT, copied

RUNNER = Path(__file__).with_name("in_one_process.py")
SMALL = {
    "data": {"episodes_per_task": 2},
    "offline": {"updates": 3},
    "self_supervised": {"first_steps": 25, "steps": 30, "updates": 3, "publish_every": 3},
    "evaluation": {"context_episodes": 1, "repeats": 1},
}


WHOLE = ("bench_logs",)  # what comes with phase 2 waits for robots in real time, half a minute each


def story(name: str) -> str:
    """The commands from data to the end, or to where phase 2 begins."""
    text = (ROOT / "examples" / name / "README.md").read_text().split("\n## From ")[1]
    (block,) = re.findall(r"^```bash\n(.*?)^```", text, re.S | re.M)
    return block if name in WHOLE else block.split("fieldtune finetune")[0]


def shrink(folder: Path) -> None:
    """Small numbers, and a port that is free, in the files that the commands name."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        bridge = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    for file in (folder / "train.yaml", folder / "robot.yaml"):
        settings = yaml.safe_load(file.read_text())
        settings["robot"]["bridge"] = bridge
        if file.name == "train.yaml":
            for section, values in SMALL.items():
                settings[section] = settings.get(section, {}) | values
        file.write_text(yaml.safe_dump(settings))


@pytest.mark.slow
def test_their_commands_lead_from_data_to_a_robot_and_one_of_them_on_to_a_finetuned_policy(
    run_there, tmp_path
):
    stories = []
    for name in EXAMPLES:
        shrink(copied(name, tmp_path))
        stories.append([str(tmp_path / name), story(name)])
    done = run_there("python", RUNNER, cwd=tmp_path, input=json.dumps(stories))
    assert done.returncode == 0, done.stdout + done.stderr
    for name in EXAMPLES:
        run = tmp_path / name / "run"
        if name not in WHOLE:
            assert (run / "checkpoints" / "offline.safetensors").exists()
            continue
        learned = run / "checkpoints" / "self-supervised.safetensors"
        assert learned.exists(), name
        assert learned.stat().st_mtime <= (run / "report.html").stat().st_mtime


@pytest.mark.parametrize("name", [*EXAMPLES, "desk-crane"])
def test_its_own_tests_pass(name, run_there, own_robot, tmp_path):
    """But for the one that `fieldtune check-family` stands for in its commands."""
    folder = own_robot if name == own_robot.name else copied(name, tmp_path)
    left_out = [] if name == own_robot.name else ["-k", "not test_it_is_a_family"]
    done = run_there(
        "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *left_out, cwd=folder
    )
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout

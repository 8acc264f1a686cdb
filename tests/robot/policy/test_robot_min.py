"""What only runs a bundle needs little: `robot-min` of pyproject.toml, and nothing else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib

from tests.robot.conftest import PARTICLES, ROOT

SCRIPT = """
import importlib.abc, json, sys
kept, path = json.loads(sys.argv[1]), sys.argv[2]

class OnlyThose(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in kept["refused"]:
            raise ModuleNotFoundError(f"{name} is not in robot-min")

sys.meta_path.insert(0, OnlyThose())
from fieldtune.export.bundle import read_bundle
from fieldtune.robot.policy.policy import Policy
import numpy as np

policy = Policy(read_bundle(path))
posterior = policy.update(policy.prior(), np.zeros(2), np.ones(1), -1.0, np.zeros(2))
print(policy.act(np.zeros(2), posterior.likeliest).tolist())
"""


def test_a_bundle_acts_and_infers_with_robot_min_alone(point_bundle):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    kept = {re.split(r"[^\w-]", one)[0] for one in project["dependency-groups"]["robot-min"]}
    assert kept == {"numpy", "onnxruntime", "pydantic"}
    refused = ["zmq", "msgspec", "yaml", "typer", "rich", "onnx", "torch", "mujoco"]
    path = point_bundle(particles=PARTICLES)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps({"refused": refused}), str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (action,) = json.loads(done.stdout)
    assert -2.0 < action < 0.0, "it pushes along z[0], which is what the reward was"

"""One control step in C++ beside one in Python, and beside the runtime alone.

`python -m benchmarks.cpp [--quick]`. A step checks an observation, acts and limits the action: the
library of servers/cpp and the robot's own Python do the same. Every side works at 250 Hz.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from benchmarks.alone import main
from benchmarks.bundle_limits import limits_of
from benchmarks.cycle import make_bundle
from benchmarks.figures import Goal, Role, Series, Table
from benchmarks.inference_alone import HZ, KNOWN, observations
from benchmarks.turns import Effort
from fieldtune.robot.policy.policy import Policy
from fieldtune.robot.safety.limits import Limits, allow, check_observation
from fieldtune.robot.safety.written import written
from fieldtune.robot.timing.clock import Clock

CPP = Path(__file__).parents[1] / "servers" / "cpp"
OURS, PYTHON, ALONE = "fieldtune::Policy", "the same in Python", "ONNX Runtime alone, in C++"
ROLES: dict[str, Role] = {OURS: "ours", PYTHON: "ours", ALONE: "floor"}
TITLE = "One control step in C++"
Durations = NDArray[np.float64]


@dataclass(frozen=True)
class Places:
    """Files of one benchmark: the bundle, its limits, what the C++ program writes."""

    folder: Path

    @property
    def bundle(self) -> Path:
        return self.folder / "policy.bundle"

    @property
    def limits(self) -> Path:
        return self.folder / "limits.json"

    @property
    def found(self) -> Path:
        return self.folder / "found"


def build(folder: Path, target: str = "fieldtune_pace") -> Path | str:
    """A program of servers/cpp, built in `folder`, or why it cannot be."""
    if not shutil.which("cmake") or not shutil.which("c++"):
        return "no CMake or C++ compiler here"
    runtimes = sorted(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so*"))
    if not runtimes:
        return "this onnxruntime has no shared library of its own"
    options = ["-DFIELDTUNE_TOOLS=ON", f"-DFIELDTUNE_ONNXRUNTIME={runtimes[0]}"]
    for command in (
        ["cmake", "-S", str(CPP), "-B", str(folder), *options],
        ["cmake", "--build", str(folder), "--target", target],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip()
            return f"servers/cpp cannot be built here: {said.splitlines()[0] if said else command}"
    return folder / target


def in_python(policy: Policy, limits: Limits, cycles: int) -> Durations:
    """Nanoseconds of every step."""
    known = policy.manifest
    seen, z = observations(known.observation_width), np.full(known.latent_size, 0.1)
    found, previous, before = [], np.zeros(known.action_width), np.zeros(known.action_width)
    for cycle, _ in zip(range(cycles), Clock(1.0 / HZ).deadlines(), strict=False):
        observation = seen[cycle % KNOWN]
        started = time.monotonic_ns()
        check_observation(observation, 0.0, limits)
        action = policy.act(observation, z)
        allowed, _ = allow(action, previous, observation, limits, known.period_s, before)
        before, previous = previous, allowed
        found.append(time.monotonic_ns() - started)
    return np.array(found, dtype=np.float64)


def in_cpp(program: Path, places: Places, cycles: int) -> tuple[Durations, Durations]:
    """Nanoseconds of every step, and of the policy's graph alone, taken in turn."""
    words = (program, places.bundle, places.limits, cycles, places.found)
    subprocess.run([str(word) for word in words], check=True, capture_output=True)
    pairs = np.fromfile(places.found).reshape(cycles, 2)
    return pairs[:, 0], pairs[:, 1]


def measure(effort: Effort) -> Iterator[Table]:
    """Medians by round, and the slowest in a thousand over all rounds."""
    torch.set_num_threads(1)
    cycles = effort.choose(1000, 20)
    found: dict[str, list[Durations]] = {label: [] for label in ROLES}
    with TemporaryDirectory() as temporary:
        places = Places(Path(temporary))
        program = build(places.folder / "build")
        if isinstance(program, str):
            yield Table(
                TITLE, "µs", "not built", [], higher_is_better=False, skipped={OURS: program}
            )
            return
        bundle, _ = make_bundle(places.bundle)
        limits = limits_of(bundle)
        places.limits.write_text(written(limits, bundle.manifest.period_s))
        policy = Policy(bundle)
        for _ in range(effort.rounds):
            step, alone = in_cpp(program, places, cycles)
            found[OURS].append(step)
            found[ALONE].append(alone)
            found[PYTHON].append(in_python(policy, limits, cycles))
    conditions = (
        f"cheetah-vel's fields, policy of 300x3, paced at {HZ} Hz; one thread; {cycles} steps a "
        "round and side; checking an observation, acting, limiting"
    )
    goal = Goal("≤ 1.2× the runtime alone", OURS, ALONE, at_most=1.2)
    for title, by_round in (("median", True), ("slowest in a thousand", False)):
        yield Table(
            title=f"{TITLE}, {title}",
            unit="µs",
            conditions=conditions if by_round else f"{conditions}, all rounds together",
            series=[
                Series(label, ROLES[label], _microseconds(rounds, by_round))
                for label, rounds in found.items()
            ],
            higher_is_better=False,
            goals=[goal],
        )


def _microseconds(rounds: list[Durations], by_round: bool) -> list[float]:
    if by_round:
        return [float(np.median(durations)) / 1000 for durations in rounds]
    return [float(np.quantile(np.concatenate(rounds), 0.999)) / 1000]


if __name__ == "__main__":
    main(measure, __doc__.splitlines()[0])

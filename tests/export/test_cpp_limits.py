"""The C++ library's limits, its loop and its installation, beside the Python that they repeat."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from fieldtune.export.bundle import pack_bundle, read_bundle
from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.cli.app import app
from fieldtune.robot.config import BoxConfig, CommandKind, JointsConfig, LimitsConfig
from fieldtune.robot.safety.build import build_limits
from fieldtune.robot.safety.limits import Limits, allow, staying
from fieldtune.robot.safety.written import written

CONFIG = Path(__file__).parents[2] / "configs" / "reach.yaml"
VERSION_1 = Path(__file__).parent / "version-1.bundle"
STEPS, PERIOD_S = 1000, 0.02


def limits_of(kind: CommandKind) -> Limits:
    """Two joints in degrees and a hand in a box, under every rule that the library has."""

    def field(name: str, unit: str, bound: float = 1e3) -> FieldSpec:
        return FieldSpec(name=name, unit=unit, low=(-bound,) * 2, high=(bound,) * 2)

    units = {"position": "deg", "displacement": "deg", "velocity": "deg/s", "effort": "N m"}
    actions = (field("hand", "m/s", 2.0), field("u", units[kind], 40.0))
    group = JointsConfig(
        names=("a", "b"), position="q", velocity="v", effort="t", command="u", command_kind=kind
    )
    return build_limits(
        LimitsConfig(
            action_range={"u": (-30.0, 35.0)},
            action_rate={"hand": 3.0, "u": 50.0},
            box={"at": BoxConfig(low=[-0.5, None], high=[0.5, 0.2], action="hand")},
            joints=(group,),
            joint_position={"a": (-0.5, 0.7), "b": (-1.0, 0.4)},
            joint_velocity={"a": 0.9, "b": 2.0},
            joint_acceleration={"a": 3.0},
            joint_effort={"a": 20.0, "b": 30.0},
        ),
        observation_fields=(
            field("q", "deg"), field("v", "deg/s"), field("t", "N m"), field("at", "m"),
        ),
        robot_action_fields=actions,
        policy_action_fields=actions,
        period_s=PERIOD_S,
    )  # fmt: skip


def rules(reasons: str) -> int:
    """The reasons of `allow` as the library says them."""
    names = ("range", "rate", "joint acceleration", "joint velocity", "joint position")
    names += ("joint effort", "box")
    return sum(2**i for i, name in enumerate(names) if re.search(rf"(^|; ){name} ", reasons))


def test_allows_the_same_actions_for_the_same_reasons(built, tmp_path):
    """To the last bit, for each kind of command."""
    rng, met = np.random.default_rng(0), 0
    for kind in CommandKind:
        limits = limits_of(kind)
        (tmp_path / "limits.json").write_text(written(limits, PERIOD_S))
        commands = rng.uniform(limits.range_low, limits.range_high, (STEPS, 4))
        spread = [60.0, 60.0, 70.0, 70.0, 5.0, 5.0, 0.5, 0.5]
        seen = rng.uniform(-1, 1, (STEPS, 8)) * spread
        seen[0] *= 0.2  # where an episode may begin
        (tmp_path / "steps").write_bytes(np.hstack([commands, seen]).tobytes())
        words = [tmp_path / name for name in ("limits.json", "steps", "out")]
        run = subprocess.run([built / "fieldtune_limits", *words], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        wanted, previous, before = [], None, None
        for command, observation in zip(commands, seen, strict=True):
            action, reasons = allow(command, previous, observation, limits, PERIOD_S, before)
            before = staying(observation, limits) if previous is None else previous
            previous = action
            wanted.append([*action, rules(reasons)])
            met |= rules(reasons)
        assert (np.fromfile(tmp_path / "out").reshape(STEPS, 5) == np.array(wanted)).all(), kind
    assert met == 127


def test_a_loop_at_500_hz_allocates_nothing_of_its_own(built, tmp_path, bundle_path):
    """The example, with the limits that the command writes for it."""
    path, good = tmp_path / "fast.bundle", read_bundle(bundle_path)
    fast = good.manifest.model_copy(update={"period_s": 0.002})
    path.write_bytes(pack_bundle(fast, good.graphs))
    words = ["bundle", "limits", str(path), "--config", str(CONFIG), "--out"]
    made = CliRunner().invoke(
        app, [*words, str(tmp_path / "limits.json"), "robot.limits.action_rate={hand_delta: 0.5}"]
    )
    assert made.exit_code == 0, made.output
    run = subprocess.run(
        [built / "control_loop", path, tmp_path / "limits.json", "--cycles", "500", "--count"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert re.search(r"cycles 500, of which limits changed \d+", run.stdout)
    assert re.search(r"allocations: 0 of this program's, [1-9]\d* of ONNX Runtime's", run.stdout)


def test_a_loop_and_its_timing_refuse_limits_of_other_names_and_what_is_no_file(
    built, tmp_path, bundle_path, describe
):
    """As wide as the bundle's own: only the names say that they are another robot's."""
    known, limits = describe(), tmp_path / "limits.json"

    def write(**changes: object) -> None:
        fields = {
            kind: tuple(
                field.model_copy(update={"name": changes.get(field.name, field.name)})
                for field in getattr(known, kind)
            )
            for kind in ("observation_fields", "action_fields")
        }
        made = build_limits(
            LimitsConfig(),
            observation_fields=fields["observation_fields"],
            robot_action_fields=fields["action_fields"],
            policy_action_fields=fields["action_fields"],
            period_s=known.period_s,
        )
        limits.write_text(written(made, changes.get("period_s", known.period_s)))

    def said(path: Path) -> str:
        words = [built / "control_loop", bundle_path, path, "--cycles", "2"]
        run = subprocess.run(words, capture_output=True, text=True, timeout=60)
        return f"{run.returncode} {run.stderr}"

    def said_by_pace(cycles: str = "2", out: Path = tmp_path / "paces") -> str:
        words = [built / "fieldtune_pace", bundle_path, limits, cycles, out]
        run = subprocess.run(words, capture_output=True, text=True, timeout=60)
        return f"{run.returncode} {run.stderr}"

    write()
    assert said(limits).startswith("0 ")
    assert said_by_pace() == "0 "
    assert (tmp_path / "paces").stat().st_size == 2 * 2 * 8
    assert said_by_pace(cycles="0") == "1 CYCLES is 0: at least 1\n"
    assert said_by_pace(out=tmp_path) == f"1 {tmp_path} cannot be written\n"
    write(hand_delta="torque")
    names = (
        "1 the limits are for the actions ['torque[0]', 'torque[1]'], the bundle has "
        "['hand_delta[0]', 'hand_delta[1]']: write them anew with"
    )
    assert said(limits).startswith(names)
    assert said_by_pace().startswith(names)
    write(hand_vel="wind")
    assert said(limits).startswith("1 the limits are for the observations ['hand_pos[0]', ")
    write(period_s=0.02)
    assert said(limits).startswith("1 the limits are for a period of 0.02 s, the bundle has 0.05")
    os.mkfifo(tmp_path / "pipe")  # it would be waited for
    assert said(tmp_path / "pipe").startswith(
        f"1 limits {tmp_path}/pipe: cannot be read (not a regular file): check the path"
    )
    assert "cannot be read (Is a directory)" in said(tmp_path)
    assert "cannot be read (No such file or directory)" in said(tmp_path / "none")
    assert "cannot be read (not a regular file)" in said(Path("/dev/zero"))


def test_installs_for_find_package(built, tmp_path):
    """A program of her own that only knows `find_package(fieldtune)`."""
    subprocess.run(
        ["cmake", "--install", built, "--prefix", tmp_path / "at"], check=True, capture_output=True
    )
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.18)\nproject(hers CXX)\n"
        "find_package(fieldtune 0.1 REQUIRED)\nadd_executable(hers hers.cpp)\n"
        "target_link_libraries(hers fieldtune::fieldtune)\n"
    )
    (tmp_path / "hers.cpp").write_text(
        "#include <fieldtune/limits.hpp>\n#include <fieldtune/policy.hpp>\n#include <iostream>\n"
        "int main(int, char** words) {\n"
        "  fieldtune::Policy policy(fieldtune::read_bundle(words[1]));\n"
        "  std::cout << policy.manifest().family;\n}\n"
    )
    configure = ["cmake", "-S", tmp_path, "-B", tmp_path / "b"]
    configure.append(f"-DCMAKE_PREFIX_PATH={tmp_path / 'at'}")
    for command in (configure, ["cmake", "--build", tmp_path / "b"]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    run = subprocess.run([tmp_path / "b" / "hers", VERSION_1], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, read_bundle(VERSION_1).manifest.family), run.stderr

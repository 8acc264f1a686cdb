"""`bundle inspect`, `verify`, `bench`, `diff`: what they say is what is there."""

from __future__ import annotations

import json

import numpy as np
import pytest
from onnx import helper
from typer.testing import CliRunner

from fieldtune.export.bundle import read_bundle
from fieldtune.robot.bundles.changes import compare
from fieldtune.robot.bundles.checks import TRIAL, check_bundle
from fieldtune.robot.bundles.pace import bench
from fieldtune.robot.cli.bundle import app
from tests.robot.conftest import MISBEHAVING, PARTICLES, policy_graph


def told(*arguments: object, status: int = 0) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    assert result.exit_code == status, result.output
    return result.stdout


def refuse(token: str) -> None:
    raise AssertionError(f"{token} is not JSON")


def test_inspect_tells_fields_units_bounds_and_origin(point_bundle):
    path = point_bundle(particles=PARTICLES)
    bundle = read_bundle(path)
    facts = json.loads(told("inspect", path, "--json"), parse_constant=refuse)
    assert facts["id"] == bundle.id
    assert facts["inference"]["particles"] == len(PARTICLES)
    field = bundle.manifest.observation_fields[0]
    assert facts["observation_fields"][0]["unit"] == field.unit
    assert facts["provenance"]["seed"] == bundle.manifest.provenance.seed
    text = told("inspect", path)
    for part in (bundle.id, f"{field.name} ({field.width}, {field.unit})", "particles 4"):
        assert part in text


def test_verify_names_each_check_and_stops_at_the_one_that_fails(point_bundle, tmp_path):
    good = point_bundle()
    names = [check.name for check in check_bundle(good)]
    assert names[-1] == TRIAL
    assert [check.ok for check in check_bundle(good)] == [True] * len(names)
    data = bytearray(good.read_bytes())
    data[len(data) // 2] ^= 1
    (damaged := tmp_path / "damaged.bundle").write_bytes(data)
    found = list(check_bundle(damaged))
    assert [check.ok for check in found] == [True, False]
    assert found[-1].name == "digest of all bytes"
    assert "failed  digest of all bytes" in told("verify", damaged, status=1)


def test_verify_holds_the_trial_too(point_bundle):
    nodes, constants, _ = MISBEHAVING["too wide"]
    path = point_bundle(replaced={"policy.onnx": policy_graph(nodes, constants)})
    *before, last = check_bundle(path)
    assert all(check.ok for check in before)
    assert (last.name, last.ok) == (TRIAL, False)
    assert "shapes" in last.wrong


def test_bench_times_what_the_loop_calls(point_bundle):
    found = bench(read_bundle(point_bundle(particles=PARTICLES)), 100)
    assert [pace.what for pace in found.paces] == [
        "action",
        "decoded reward",
        "posterior step (likelihood, 4 particles)",
    ]
    for pace in found.paces:
        assert 0 < pace.p50_us <= pace.p99_us <= pace.p999_us
        assert pace.calls == 100


def test_diff_says_what_changed_and_how_far_actions_lie_apart(point_bundle, tmp_path):
    before = point_bundle(tmp_path / "a.bundle", push=0.5)
    after = point_bundle(tmp_path / "b.bundle", push=0.0, period_s=0.5)
    found = compare(read_bundle(before), read_bundle(after))
    changed = {change.what for change in found.changes}
    assert {"id", "period_s", "files.policy.onnx.sha256"} <= changed
    assert "files.decoder.onnx.sha256" not in changed
    (apart,) = found.actions
    z = np.abs(np.array(read_bundle(before).manifest.task_embeddings)[:, 0]).max()
    assert apart.largest == pytest.approx(np.tanh(0.5 * z) / 2, rel=1e-5), "of a range of 4"
    assert "period_s: " in told("diff", before, after)
    assert told("diff", before, before).startswith("the same bundle")


def test_limits_are_written_over_nothing_that_is_read(point_bundle, tmp_path):
    bundle, config = point_bundle(), tmp_path / "robot.yaml"
    config.write_text("robot: {}\n")
    for out in (bundle, config):
        before = out.read_bytes()
        words = ["limits", str(bundle), "--config", str(config), "--out", str(out)]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 1
        assert f"{out}: is read by this command: choose another file for --out" in result.output
        assert out.read_bytes() == before


def test_a_graph_that_cannot_be_run_is_a_sentence_and_not_a_traceback(point_bundle, tmp_path):
    nodes, constants, _ = MISBEHAVING["a place that is not there"]
    odd = point_bundle(replaced={"policy.onnx": policy_graph(nodes, constants)})
    good = point_bundle(tmp_path / "good.bundle")
    result = CliRunner().invoke(app, ["diff", str(good), str(odd)])
    assert result.exit_code == 1
    assert "ONNX Runtime cannot run the graph that gives mean, log_std (" in result.output
    nowhere = [np.full((4, 1), np.nan, np.float32), np.zeros(1, np.float32)]
    nodes = [
        helper.make_node("Concat", ["observation", "z"], ["both"], axis=1),
        helper.make_node("Gemm", ["both", "w", "b"], ["mean"]),
    ]
    graph = policy_graph(nodes, dict(zip("wb", nowhere, strict=True)))
    nan = point_bundle(tmp_path / "nan.bundle", replaced={"policy.onnx": graph})
    assert "mean action force: no number on one side" in told("diff", good, nan)
    (action,) = json.loads(told("diff", good, nan, "--json"), parse_constant=refuse)["actions"]
    assert action["mean"] is None
    result = CliRunner().invoke(app, ["bench", str(odd), "--calls", "100"])
    assert (result.exit_code, "policy.onnx cannot be run" in result.output) == (1, True)

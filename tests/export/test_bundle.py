from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fieldtune.export.archive import decode
from fieldtune.export.bundle import (
    MAX_BUNDLE_BYTES,
    MEMBERS,
    BundleError,
    BundleMismatch,
    bundle_id,
    check_compatible,
    pack_bundle,
    parse_bundle,
    read_bundle,
)
from fieldtune.export.manifest import GRAPHS, FieldSpec

# The fixtures below hand out constants, so one per test function is enough.
quiet = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def edited(**changes):
    def edit(text: bytes) -> bytes:
        return json.dumps(json.loads(text) | changes).encode()

    return edit


def test_a_bundle_reads_back_with_its_id_and_graphs(bundle_path):
    bundle = read_bundle(bundle_path)
    assert bundle.id == bundle_id(bundle_path) == bundle_path.read_bytes()[-64:].decode()
    assert tuple(bundle.graphs) == GRAPHS
    assert read_bundle(bundle_path, expected_id=bundle.id) == bundle


def test_numbers_keep_full_precision(bundle_path):
    manifest = read_bundle(bundle_path).manifest
    assert manifest.task_embeddings == ((0.1, 0.2, 0.0004), (-1.0, 1 / 3, 2.0))
    assert manifest.observation_fields[1].high == (float("inf"), float("inf"))


def manifest_text(bundle_path) -> bytes:
    return decode(bundle_path.read_bytes(), MEMBERS)["manifest.json"]


def test_a_manifest_is_json_and_unbounded_components_are_strings(bundle_path):
    def refuse(token):
        raise AssertionError(f"{token} is not JSON")

    fields = json.loads(manifest_text(bundle_path), parse_constant=refuse)
    velocity = fields["observation_fields"][1]
    assert velocity["low"] == ["-Infinity"] * 2
    assert velocity["high"] == ["Infinity"] * 2


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node here")
def test_another_languages_parser_reads_the_manifest(bundle_path):
    script = (
        "const m = JSON.parse(require('fs').readFileSync(0));"
        "console.log(m.observation_fields[1].low[0], m.task_embeddings[1][1])"
    )
    text = manifest_text(bundle_path)
    done = subprocess.run(["node", "-e", script], input=text, capture_output=True, check=True)
    assert done.stdout.split() == [b"-Infinity", b"0.3333333333333333"]


def test_a_manifest_from_before_with_bare_infinities_is_still_read(bundle_path, reseal):
    def bare(text: bytes) -> bytes:
        return text.replace(b'"Infinity"', b"Infinity").replace(b'"-Infinity"', b"-Infinity")

    assert bare(manifest_text(bundle_path)) != manifest_text(bundle_path)
    found = parse_bundle(reseal(manifest=bare), source="old")
    assert found.manifest == read_bundle(bundle_path).manifest


def test_the_same_manifest_and_graphs_give_the_same_bytes(bundle_path):
    bundle = read_bundle(bundle_path)
    assert pack_bundle(bundle.manifest, bundle.graphs) == bundle_path.read_bytes()


@quiet
@given(data=st.data())
def test_one_flipped_byte_anywhere_is_refused(bundle_path, tmp_path, data):
    content = bytearray(bundle_path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "flipped.bundle"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"flipped\.bundle.*sha256.*again"):
        read_bundle(path)
    with pytest.raises(BundleError):
        bundle_id(path)


@quiet
@given(data=st.data())
def test_a_cut_bundle_is_refused(bundle_path, data):
    content = bundle_path.read_bytes()
    length = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(BundleError):
        parse_bundle(content[:length], source="cut")


@given(st.binary(max_size=500))
def test_random_bytes_are_refused(content):
    with pytest.raises(BundleError):
        parse_bundle(content, source="noise")


def test_an_unexpected_id_is_refused(bundle_path):
    with pytest.raises(BundleError, match="expected 000"):
        read_bundle(bundle_path, expected_id="0" * 64)


def test_a_missing_bundle_says_so(tmp_path):
    with pytest.raises(BundleError, match=r"nowhere\.bundle: cannot be read"):
        read_bundle(tmp_path / "nowhere.bundle")


def test_an_oversized_bundle_is_refused_without_reading_all_of_it(tmp_path):
    path = tmp_path / "big.bundle"
    with path.open("wb") as file:
        os.truncate(file.fileno(), MAX_BUNDLE_BYTES * 1000)  # sparse
    with pytest.raises(BundleError, match="at most 268435456 are accepted"):
        read_bundle(path)


def seen(name, width, unit, high=1.0):
    return {"name": name, "unit": unit, "low": [0] * width, "high": [high] * width}


def test_a_bundle_need_not_say_what_its_data_were_like(reseal):
    def without(text):
        content = json.loads(text)
        del content["observation_seen"]
        return json.dumps(content).encode()

    assert parse_bundle(reseal(manifest=without), source="old").manifest.observation_seen is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 2}, "schema_version is 2, expected 1: update fieldtune"),
        ({"schema_version": True}, "schema_version is True, expected 1"),
        ({"horizn": 50}, "unknown field 'horizn', did you mean 'horizon'"),
        ({"horizon": 0}, "field 'horizon'"),
        ({"period_s": "fast"}, "field 'period_s'"),
        ({"period_s": "Infinity"}, "field 'period_s'"),
        ({"latent_size": 4}, r"task_embeddings\[0\] is 3 wide, latent_size is 4"),
        ({"task_embeddings": []}, "field 'task_embeddings'"),
        ({"observation_seen": []}, r"observation_seen has the names \[\], observation_fields"),
        (
            {
                "observation_seen": [
                    seen("hand_pos", 3, "m", "Infinity"),
                    seen("hand_vel", 2, "m/s"),
                ]
            },
            "observation_seen, field 'hand_pos': .* must be finite",
        ),
        (
            {"observation_seen": [seen("hand_pos", 2, "m"), seen("hand_vel", 2, "m/s")]},
            r"observation_seen has the widths \[2, 2\], observation_fields \[3, 2\]",
        ),
        ({"files": {}}, r"files lists \[\]"),
        ({"parity": {}}, "parity lists"),
        ({"observation_fields": []}, "field 'observation_fields'"),
        ({"context_has_next_observation": True}, r"encoder\.onnx: inputs are .*next_observation"),
        (
            {"action_fields": [{"name": "a", "unit": "m", "low": [0, 0], "high": ["Infinity", 1]}]},
            "action field 'a': .* must be finite",
        ),
        (
            {"action_fields": [{"name": "a", "unit": "m", "low": [0], "high": [1]}]},
            r"policy\.onnx: outputs are mean \(batch, 2\).*ask for mean \(batch, 1\)",
        ),
    ],
)
def test_a_manifest_out_of_order_names_the_field(reseal, changes, message):
    with pytest.raises(BundleError, match=message):
        parse_bundle(reseal(manifest=edited(**changes)), source="edited")


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"[" * 100_000, b"\xff", b"{}"])
def test_a_manifest_that_is_no_manifest_is_refused(reseal, text):
    with pytest.raises(BundleError, match=r"manifest\.json"):
        parse_bundle(reseal(manifest=lambda _: text), source="edited")


def test_a_swapped_graph_is_refused_by_hash_even_at_the_same_size(reseal):
    altered = reseal(policy=lambda graph: graph[:-1] + bytes([graph[-1] ^ 1]))
    with pytest.raises(BundleError, match=r"policy\.onnx: its sha256 is"):
        parse_bundle(altered, source="edited")


def test_a_graph_of_another_size_is_refused(reseal):
    with pytest.raises(BundleError, match=r"decoder\.onnx: \d+ bytes, manifest\.json lists"):
        parse_bundle(reseal(decoder=lambda graph: graph + b"\0"), source="edited")


@pytest.fixture
def driver(bundle_path):
    manifest = read_bundle(bundle_path).manifest
    return manifest, {
        "robot": "sawyer",
        "observation_fields": manifest.observation_fields,
        "action_fields": manifest.action_fields,
        "period_s": 0.05,
    }


def test_a_bundle_fits_the_robot_it_was_made_for(driver):
    manifest, robot = driver
    check_compatible(manifest, **robot)


def test_observation_fields_in_another_order_are_refused(driver):
    manifest, robot = driver
    robot["observation_fields"] = robot["observation_fields"][::-1]
    with pytest.raises(BundleMismatch, match=r"order \['hand_vel', 'hand_pos'\], the bundle"):
        check_compatible(manifest, **robot)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "hand_pos", "unit": "mm"}, "'hand_pos' is in 'mm', the bundle expects 'm'"),
        ({"name": "hand_pos", "unit": "m", "n": 2}, "is 2 wide, the bundle expects 3"),
        ({"name": "elbow_pos", "unit": "m"}, "'hand_pos' is missing"),
    ],
)
def test_other_fields_are_refused_by_name(driver, fields, message):
    manifest, robot = driver
    n = fields.pop("n", 3)
    first = FieldSpec(low=(-1.0,) * n, high=(1.0,) * n, **fields)
    robot["observation_fields"] = (first, *robot["observation_fields"][1:])
    with pytest.raises(BundleMismatch, match=message):
        check_compatible(manifest, **robot)


def test_an_action_the_bundle_does_not_know_is_refused(driver):
    manifest, robot = driver
    grip = FieldSpec(name="grip", unit="", low=(0.0,), high=(1.0,))
    robot["action_fields"] = (*robot["action_fields"], grip)
    with pytest.raises(BundleMismatch, match="action field 'grip' is unknown to the bundle"):
        check_compatible(manifest, **robot)


def test_another_robot_or_period_is_refused(driver):
    manifest, robot = driver
    with pytest.raises(BundleMismatch, match="robot is 'panda', the bundle was made for 'sawyer'"):
        check_compatible(manifest, **(robot | {"robot": "panda"}))
    with pytest.raises(BundleMismatch, match=r"period is 0\.02 s, the bundle was trained at 0\.05"):
        check_compatible(manifest, **(robot | {"period_s": 0.02}))

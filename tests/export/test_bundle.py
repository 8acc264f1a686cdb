from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fieldtune.export.archive import decode, encode
from fieldtune.export.bundle import (
    MAX_BUNDLE_BYTES,
    MEMBERS,
    WITH_LIKELIHOOD,
    BundleError,
    BundleMismatch,
    bundle_id,
    check_compatible,
    pack_bundle,
    parse_bundle,
    read_bundle,
)
from fieldtune.export.manifest import GRAPHS, LIKELIHOOD, MOST_PARTICLES, FieldSpec
from tests.export.conftest import PARTICLES

VERSION_1 = Path(__file__).with_name("version-1.bundle")

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


IN_NODE = (
    "const m = JSON.parse(require('fs').readFileSync(0));"
    "console.log(m.observation_fields[1].low[0], m.task_embeddings[1][1])"
)
IN_JQ = ".observation_fields[1].low[0], .task_embeddings[1][1]"


@pytest.mark.parametrize("command", [("node", "-e", IN_NODE), ("jq", "-r", IN_JQ)])
def test_another_languages_parser_reads_the_manifest(bundle_path, command):
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]} here")
    text = manifest_text(bundle_path)
    done = subprocess.run(command, input=text, capture_output=True, check=True)
    unbounded, third = done.stdout.split()
    assert (unbounded, float(third)) == (b"-Infinity", 1 / 3)


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
        ({"schema_version": 3}, "schema_version is 3, expected 1 or 2: update fieldtune"),
        ({"schema_version": True}, "schema_version is True, expected 1"),
        ({"schema_version": 2}, "schema_version is 2 and there is no section 'likelihood'"),
        ({"likelihood": PARTICLES}, "schema_version is 1 and there is a section 'likelihood'"),
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


def test_a_bundle_with_particles_reads_back_with_its_likelihood(particle_path):
    bundle = read_bundle(particle_path)
    assert tuple(bundle.graphs) == (*GRAPHS, LIKELIHOOD)
    assert bundle.manifest.schema_version == 2
    assert bundle.manifest.likelihood.particles == ((0.5, -0.5, 1 / 3), (1.0, 2.0, -1.0))
    assert bundle.manifest.parity["likelihood.log_likelihood"].samples == 64
    assert pack_bundle(bundle.manifest, bundle.graphs) == particle_path.read_bytes()


def test_a_bundle_without_particles_is_one_that_robots_from_before_can_read(bundle_path):
    """They refuse a key and a version that they do not know."""
    fields = json.loads(manifest_text(bundle_path))
    assert fields["schema_version"] == 1
    assert not {"likelihood", "prior_factor"} & set(fields)
    assert list(fields["files"]) == list(GRAPHS)


def test_a_bundle_says_of_the_prior_only_that_it_is_no_factor(bundle_path):
    bundle = read_bundle(bundle_path)
    assert bundle.manifest.prior_factor
    alone = bundle.manifest.model_copy(update={"prior_factor": False})
    again = parse_bundle(pack_bundle(alone, bundle.graphs), source="here")
    assert not again.manifest.prior_factor
    assert again.id != bundle.id


def test_a_bundle_from_before_particles_is_read_and_written_the_same(describe):
    """The file is what fieldtune wrote before, of the description and networks of conftest.py."""
    bundle = read_bundle(VERSION_1)
    assert bundle.id.startswith("9ce1ae5727df63ab")
    assert (bundle.manifest.schema_version, bundle.manifest.likelihood) == (1, None)
    assert bundle.manifest.task_embeddings == describe().task_embeddings
    assert pack_bundle(bundle.manifest, bundle.graphs) == VERSION_1.read_bytes()


def test_members_and_manifest_must_agree_on_the_likelihood(bundle_path, particle_path):
    plain = decode(bundle_path.read_bytes(), MEMBERS)
    weighed = decode(particle_path.read_bytes(), WITH_LIKELIHOOD)
    more = plain | {LIKELIHOOD: weighed[LIKELIHOOD]}
    less = {name: weighed[name] for name in MEMBERS}
    for members in (more, less):
        with pytest.raises(BundleError, match=r"it holds policy.onnx, .* manifest.json lists"):
            parse_bundle(encode(members), source="mixed")


@quiet
@given(data=st.data())
def test_a_flipped_byte_or_a_cut_in_a_bundle_with_particles_is_refused(particle_path, data):
    content = bytearray(particle_path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    flipped = content[:place] + bytes([content[place] ^ data.draw(st.integers(1, 255))])
    for wrong in (flipped + content[place + 1 :], content[:place]):
        with pytest.raises(BundleError):
            parse_bundle(bytes(wrong), source="damaged")


@quiet
@given(data=st.data())
def test_a_resealed_manifest_with_other_bytes_is_an_error_or_a_sound_one(
    reseal, particle_path, data
):
    """Nothing but `BundleError`, and no likelihood that a robot could not weigh by."""

    def spoil(text: bytes) -> bytes:
        found = bytearray(text)
        first = text.index(b'"likelihood"')
        for _ in range(data.draw(st.integers(1, 3))):
            place = data.draw(st.integers(first, first + 400))
            found[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        return bytes(found)

    said, known = "", read_bundle(particle_path).manifest.likelihood
    try:
        known = parse_bundle(reseal(particles=True, manifest=spoil), source="x").manifest.likelihood
    except BundleError as error:
        said = str(error)
    assert said == "" or said.startswith("bundle x")
    assert {len(row) for row in known.particles} == {3}
    assert np.isfinite(known.particles).all()
    assert known.reward_variance > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"particles": []}, "field 'likelihood.particles'"),
        ({"particles": [[0.0, 1.0]]}, r"likelihood.particles\[0\] is 2 wide, latent_size is 3"),
        ({"particles": [[0.0, 1.0, "NaN"]]}, "field 'likelihood.particles.0.2'"),
        ({"particles": [[0.0] * 3] * (MOST_PARTICLES + 1)}, "at most 20000 items"),
        ({"reward_variance": 0.0}, "field 'likelihood.reward_variance'"),
        ({"reward_variance": "Infinity"}, "field 'likelihood.reward_variance'"),
        ({"temper": 0.0}, "field 'likelihood.temper'"),
        ({"temper": 1.01}, "field 'likelihood.temper'"),
        ({"unlike_below": "-Infinity"}, "field 'likelihood.unlike_below'"),
        ({"change_variance": [1.0] * 5}, "context_has_next_observation is false"),
        ({"likeliest": 1}, "unknown field 'likelihood.likeliest'"),
    ],
)
def test_particles_out_of_order_name_the_field(reseal, changes, message):
    altered = edited(likelihood=PARTICLES | changes)
    with pytest.raises(BundleError, match=message):
        parse_bundle(reseal(particles=True, manifest=altered), source="edited")


@pytest.mark.parametrize("change", [(1.0,) * 4, (1.0, 1.0, 0.0, 1.0, 1.0)])
def test_a_change_variance_that_does_not_fit_the_observation_is_refused(describe, change):
    known = PARTICLES | {"change_variance": change}
    with pytest.raises(ValidationError, match="change_variance"):
        describe(context_has_next_observation=True, likelihood=known)


def test_a_manifest_too_large_says_what_to_leave_out(reseal):
    wide = edited(likelihood=PARTICLES | {"particles": [[1 / 3] * 3] * 150_000})
    with pytest.raises(BundleError, match="at most 8388608 are accepted: export fewer"):
        parse_bundle(reseal(particles=True, manifest=wide), source="large")

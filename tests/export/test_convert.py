"""Other forms of a bundle: what is measured, what is refused, and that a robot runs them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from fieldtune.export.archive import decode
from fieldtune.export.bundle import (
    MEMBERS,
    WITH_LIKELIHOOD,
    BundleError,
    pack_bundle,
    parse_bundle,
    read_bundle,
)
from fieldtune.export.convert import ConversionError, convert
from fieldtune.export.differences import WITHIN, samples_within
from fieldtune.export.openvino_folder import write_openvino
from fieldtune.robot.policy.policy import Policy
from fieldtune.robot.policy.refinement import PLACES
from tests.board import assert_runs_on_board

VERSION_1 = Path(__file__).with_name("version-1.bundle")
OBSERVATION, ACTION = np.array([0.2, -0.4, 0.5, 1.0, -1.0]), np.array([0.01, -0.02])


@pytest.fixture(scope="module")
def bundle(particle_path):
    return read_bundle(particle_path)


@pytest.fixture(scope="module")
def within(bundle):
    return samples_within(bundle.manifest, bundle.graphs["decoder.onnx"], 128)


def strict(bundle):
    """The manifest by a reader that takes JSON alone."""

    def refuse(token):
        raise AssertionError(f"{token} is not JSON")

    names = MEMBERS if bundle.manifest.likelihood is None else WITH_LIKELIHOOD
    members = decode(pack_bundle(bundle.manifest, bundle.graphs), names)
    return json.loads(members["manifest.json"], parse_constant=refuse)


def test_a_bundle_of_version_1_becomes_static_and_plain_and_acts_the_same():
    old = read_bundle(VERSION_1)
    drawn = samples_within(old.manifest, old.graphs["decoder.onnx"], 32)
    new = convert(old, "static", drawn, WITHIN)
    assert_runs_on_board(new)
    batches = {
        value.type.tensor_type.shape.dim[0].dim_value
        for graph in new.graphs.values()
        for model in [onnx.load_model_from_string(graph)]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert batches == {1}
    width, z = old.manifest.observation_width, np.array(old.manifest.task_embeddings[0])
    assert np.array_equal(Policy(new).act(np.zeros(width), z), Policy(old).act(np.zeros(width), z))
    (said,) = strict(new)["conversions"]
    assert (said["to"], said["source"], said["samples"]) == ("static", old.id, WITHIN)
    assert "conversions" not in strict(old)


def test_a_static_likelihood_weighs_all_particles_at_once(bundle, within):
    static = Policy(convert(bundle, "static", within, WITHIN))
    free = Policy(bundle)
    transition = (OBSERVATION, ACTION, -0.5, OBSERVATION)
    found, wanted = (
        policy.update(policy.prior(), *transition).weights for policy in (static, free)
    )
    np.testing.assert_array_equal(found, wanted)


def test_a_static_likelihood_weighs_places_between_particles_too(bundle, within):
    """Another number of rows than the graph has."""
    static = Policy(convert(bundle, "static", within, WITHIN))
    free = Policy(bundle)
    context = [(OBSERVATION, ACTION, reward, OBSERVATION) for reward in (-1.0, 0.5)]
    after = []
    for policy in (static, free):
        posterior = policy.prior()
        for transition in context:
            posterior = policy.update(posterior, *transition)
        refined = policy.refined(posterior, context)
        after.append(policy.update(refined, *context[0]))
    assert after[0].added == PLACES
    np.testing.assert_allclose(after[0].log_weights, after[1].log_weights, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("to", ["fp16", "int8"])
def test_coarser_numbers_are_refused_until_they_are_allowed_by_name(bundle, within, to):
    with pytest.raises(ConversionError, match=r"at most 1e-05 is allowed: --tolerance widens it"):
        convert(bundle, to, within, WITHIN)
    made = convert(bundle, to, within, WITHIN, tolerance=0.2)
    (step,) = made.manifest.conversions
    assert 1e-5 < step.difference["policy.mean"].relative < (1e-2 if to == "fp16" else 0.2)
    assert step.difference["policy.mean"].samples == (128 if to == "fp16" else 64)
    assert made.manifest.tolerance == 0.2
    assert len(made.graphs["policy.onnx"]) < len(bundle.graphs["policy.onnx"])
    assert made.graphs["encoder.onnx"] == bundle.graphs["encoder.onnx"], "two layers alone"
    acted, wanted = (Policy(b).act(OBSERVATION, np.ones(3)) for b in (made, bundle))
    np.testing.assert_allclose(acted, wanted, atol=0.2 * 0.05)
    assert not np.array_equal(acted, wanted)
    again = parse_bundle(pack_bundle(made.manifest, made.graphs), source="again")
    assert again.id == made.id
    if to == "int8":
        assert_zero_points_are_zero(made.graphs["policy.onnx"])


@pytest.mark.parametrize("tolerance", [0.0, -1.0, 2.0, float("inf"), float("nan")])
def test_a_tolerance_that_bounds_nothing_is_refused(bundle, within, tolerance):
    with pytest.raises(ConversionError, match=r"expected a number above 0, at most 1$"):
        convert(bundle, "static", within, WITHIN, tolerance=tolerance)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            {"tolerance": 1e-5},
            r"policy\.mean is .* beyond the tolerance of 1e-05: convert it again",
        ),
        ({"tolerance": 1e300}, "less than or equal to 1"),
    ],
)
def test_a_bundle_that_says_itself_how_far_it_is_off_is_refused(bundle, within, said, words):
    made = convert(bundle, "int8", within, WITHIN, tolerance=0.2)
    (step,) = made.manifest.conversions
    forged = made.manifest.model_copy(update={"conversions": (step.model_copy(update=said),)})
    with pytest.raises(BundleError, match=words):
        parse_bundle(pack_bundle(forged, made.graphs), source="forged")


def assert_zero_points_are_zero(graph):
    """TensorRT takes no others."""
    model = onnx.load_model_from_string(graph)
    constants = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    linear = [node for node in model.graph.node if node.op_type.endswith("zeLinear")]
    assert {node.op_type for node in linear} == {"QuantizeLinear", "DequantizeLinear"}
    assert not any(constants[node.input[2]].any() for node in linear)


def test_what_half_precision_cannot_hold_is_refused(bundle, within):
    far = {**within, "observation": within["observation"] * 1e7}
    with pytest.raises(ConversionError, match=r"as fp16, policy\.\w+ is not finite"):
        convert(bundle, "fp16", far, WITHIN, tolerance=1.0)


def test_steps_come_once_and_static_last(bundle, within):
    half = convert(bundle, "fp16", within, WITHIN, tolerance=0.1)
    with pytest.raises(ConversionError, match="it is fp16 already: convert the bundle that it"):
        convert(half, "int8", within, WITHIN, tolerance=0.1)
    static = convert(half, "static", within, WITHIN)
    assert [step.to for step in static.manifest.conversions] == ["fp16", "static"]
    with pytest.raises(ConversionError, match="it is static already, which is the last step"):
        convert(static, "fp16", within, WITHIN, tolerance=0.1)


def test_openvino_computes_the_same_or_says_what_to_install(bundle, within, tmp_path):
    try:
        import openvino  # noqa: F401
    except ImportError:
        with pytest.raises(ConversionError, match=r'pip install "fieldtune\[openvino\]"'):
            write_openvino(bundle, tmp_path / "made", within, WITHIN, 1e-5)
        assert not (tmp_path / "made").exists()
        return
    measured = write_openvino(bundle, tmp_path / "made", within, WITHIN, 1e-5)
    assert max(one.relative for one in measured.values()) < 1e-5
    assert (tmp_path / "made" / "policy.xml").is_file()

"""The exam's promises: what would break a robot in its first episodes is found before."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from fieldtune.export.bundle import read_bundle
from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.bundles.exam import MOST_EMBEDDINGS, UNBOUNDED, examine, latents, probes
from fieldtune.robot.policy.policy import PolicyError
from tests.robot.conftest import PARTICLES, policy_graph


def test_a_sound_bundle_passes(point_bundle):
    examine(read_bundle(point_bundle()))
    examine(read_bundle(point_bundle(next_observation=True)))
    examine(read_bundle(point_bundle(next_observation=True, particles=PARTICLES)))


def test_the_middle_the_ends_and_draws_within_the_bounds_are_tried():
    fields = (
        FieldSpec(name="a", unit="m", low=(1.0,), high=(3.0,)),
        FieldSpec(name="b", unit="m/s", low=(-math.inf, 5.0), high=(math.inf, math.inf)),
    )
    tried = probes(fields)
    assert tried[0].tolist() == [2.0, 0.0, (5.0 + UNBOUNDED) / 2]
    assert tried[1].tolist() == [1.0, -UNBOUNDED, 5.0]
    assert tried[2].tolist() == [3.0, UNBOUNDED, UNBOUNDED]
    assert (tried >= tried[1]).all()
    assert (tried <= tried[2]).all()
    assert len(np.unique(tried, axis=0)) == len(tried)
    np.testing.assert_array_equal(tried, probes(fields))


def test_a_bound_beyond_the_usual_is_kept():
    far = 5 * UNBOUNDED
    tried = probes((FieldSpec(name="a", unit="", low=(far,), high=(math.inf,)),))
    assert (tried == far).all()


def test_every_task_is_tried_and_of_many_a_sample_with_both_ends():
    few, many = np.arange(6.0).reshape(3, 2), np.arange(2000.0).reshape(1000, 2)
    assert latents(few)[:3].tolist() == few.tolist()
    sample = latents(many)[:MOST_EMBEDDINGS]
    assert (sample[0].tolist(), sample[-1].tolist()) == (many[0].tolist(), many[-1].tolist())


def test_an_embedding_that_breaks_the_policy_is_found_wherever_it_stands(point_bundle):
    """1 / z is no number for one task of three."""
    nodes = [
        helper.make_node("Div", ["z", "z"], ["ones"]),
        helper.make_node("ReduceMean", ["ones", "axes"], ["mean"], keepdims=1),
    ]
    graph = policy_graph(nodes, {"axes": np.array([0, 1])})
    embeddings = ((1.0, 1.0), (2.0, 1.0), (3.0, 0.0))
    path = point_bundle(replaced={"policy.onnx": graph}, task_embeddings=embeddings)
    with pytest.raises(PolicyError, match="gives the action"):
        examine(read_bundle(path))


def test_a_likelihood_that_cannot_be_run_over_the_particles_is_refused(point_bundle):
    """A sum over the batch: right in width, and of one row."""
    model = onnx.load_model_from_string(
        read_bundle(point_bundle(particles=PARTICLES)).graphs["likelihood.onnx"]
    )
    last = model.graph.node[-1]
    last.output[0] = "each"
    model.graph.initializer.append(numpy_helper.from_array(np.array([0]), "rows"))
    model.graph.node.append(
        helper.make_node("ReduceSum", ["each", "rows"], ["log_likelihood"], keepdims=1)
    )
    replaced = {"likelihood.onnx": model.SerializeToString()}
    path = point_bundle(particles=PARTICLES, replaced=replaced)
    with pytest.raises(PolicyError, match=r"shapes \[\(1, 1\)\], expected \[\(4, 1\)\]"):
        examine(read_bundle(path))


def test_a_particle_that_breaks_the_policy_is_found(point_bundle):
    """1 / z is no number for one particle; no task's embedding shows it."""
    nodes = [
        helper.make_node("Div", ["z", "z"], ["ones"]),
        helper.make_node("ReduceMean", ["ones", "axes"], ["mean"], keepdims=1),
    ]
    graph = policy_graph(nodes, {"axes": np.array([0, 1])})
    particles = ((0.5, 1.0), (2.0, 1.0), (3.0, 0.0))
    bundle = read_bundle(point_bundle(replaced={"policy.onnx": graph}, particles=particles))
    assert np.all(bundle.manifest.task_embeddings)
    with pytest.raises(PolicyError, match="gives the action"):
        examine(bundle)


def test_a_policy_that_is_too_slow_for_its_period_is_refused_with_the_number(point_bundle):
    with pytest.raises(PolicyError, match=r"takes .* s of processor time .* period is 1e-06 s"):
        examine(read_bundle(point_bundle(period_s=1e-6)))

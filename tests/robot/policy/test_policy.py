"""The policy: what comes out of the graphs is what was put in, and the rest is arithmetic."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from fieldtune.export.bundle import read_bundle
from fieldtune.robot.policy.policy import Policy, PolicyError
from tests.robot.conftest import policy_graph

OBSERVATION = np.array([0.3, -0.1])


@pytest.fixture
def make_policy(point_bundle):
    return lambda **options: Policy(read_bundle(point_bundle(**options)))


def test_mean_action_is_the_squashed_mean_in_physical_units(make_policy):
    action = make_policy(push=0.7).act(OBSERVATION, np.array([0.9, 5.0]))
    np.testing.assert_allclose(action, 2.0 * np.tanh(0.7 * 0.9), rtol=1e-6)
    assert action.dtype == np.float64


def test_noise_has_the_spread_of_log_std(make_policy):
    policy, rng = make_policy(push=0.0, log_std=-2.0), np.random.default_rng(0)
    drawn = [policy.act(OBSERVATION, np.zeros(2), rng)[0] for _ in range(5_000)]
    assert np.std(np.arctanh(np.array(drawn) / 2.0)) == pytest.approx(math.exp(-2.0), rel=0.05)


def test_noise_is_as_much_of_that_as_asked(make_policy):
    """0.25 of it, and with none the mean."""
    policy = make_policy(push=0.0, log_std=-2.0)

    def drawn(noise):
        rng = np.random.default_rng(0)
        actions = [policy.act(OBSERVATION, np.zeros(2), rng, noise)[0] for _ in range(200)]
        return np.arctanh(np.array(actions) / 2.0)

    np.testing.assert_allclose(drawn(0.25), 0.25 * drawn(1.0), rtol=1e-5)
    assert not drawn(0.0).any()


def test_saturated_actions_stay_inside_the_bounds(make_policy):
    policy = make_policy(push=1e6)
    assert policy.act(OBSERVATION, np.array([1.0, 0.0])).tolist() == [2.0]
    assert policy.act(OBSERVATION, np.array([-1.0, 0.0])).tolist() == [-2.0]


def test_a_factor_and_a_label_come_from_one_transition(make_policy):
    policy = make_policy(reward=3.0)
    action = np.array([1.5])
    assert policy.decode(OBSERVATION, action, np.array([2.0, 0.0])) == pytest.approx(3.0 * 2.0)
    mean, variance = policy.encode(OBSERVATION, action, -4.0, OBSERVATION)
    np.testing.assert_allclose(mean, [-4.0, 0.0])
    np.testing.assert_allclose(variance, math.log1p(math.e), rtol=1e-6)


def test_the_next_observation_is_encoded_where_the_manifest_says_so(make_policy):
    policy = make_policy(next_observation=True)
    mean, _ = policy.encode(OBSERVATION, np.array([1.0]), 0.5, np.array([7.0, 0.0]))
    np.testing.assert_allclose(mean, [0.5, 7.0])


@pytest.mark.parametrize(
    ("spoiled", "says"),
    [
        ({"push": math.nan}, "policy.onnx gives the action"),
        ({"reward": math.nan}, "decoder.onnx gives the reward"),
        ({"log_std": 1e4}, "policy.onnx gives the spread"),
    ],
)
def test_a_dry_run_finds_graphs_that_give_no_numbers(make_policy, spoiled, says):
    with pytest.raises(PolicyError, match=says):
        make_policy(**spoiled).dry_run(OBSERVATION)


def test_an_input_of_another_width_is_named(make_policy):
    with pytest.raises(PolicyError, match="'observation' is 3 wide, expected 2"):
        make_policy().act(np.zeros(3), np.zeros(2))


def test_what_the_runtime_refuses_is_an_error_of_the_policy(point_bundle):
    nodes = [
        helper.make_node("Gather", ["observation", "place"], ["wide"], axis=1),
        helper.make_node("ReduceMean", ["wide", "axes"], ["mean"], keepdims=1),
    ]
    graph = policy_graph(nodes, {"place": np.array([5]), "axes": np.array([0, 1])})
    policy = Policy(read_bundle(point_bundle(replaced={"policy.onnx": graph})))
    with pytest.raises(PolicyError, match=r"policy\.onnx cannot be run: .*Gather"):
        policy.act(OBSERVATION, np.zeros(2))


def test_one_number_is_not_spread_over_a_wider_output(point_bundle):
    """A mean of shape (1, 1) where the encoder gives (1, 2) counted for both components."""
    model = onnx.load_model_from_string(read_bundle(point_bundle()).graphs["encoder.onnx"])
    (gemm,) = (node for node in model.graph.node if "mean" in node.output)
    gemm.output[0] = "both"
    model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "axis"))
    model.graph.node.append(helper.make_node("ReduceMean", ["both", "axis"], ["mean"], keepdims=1))
    replaced = {"encoder.onnx": model.SerializeToString()}
    policy = Policy(read_bundle(point_bundle(replaced=replaced)))
    with pytest.raises(PolicyError, match=r"shapes \[\(1, 1\), \(1, 2\)\], expected \[\(1, 2\)"):
        policy.encode(OBSERVATION, np.zeros(1), 0.0, OBSERVATION)

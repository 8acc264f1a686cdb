from __future__ import annotations

import contextlib

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from export.bundle import OPSET, read_bundle
from export.graph import GraphError, check_graph


@pytest.fixture(scope="module")
def policy(bundle_path):
    bundle = read_bundle(bundle_path)
    return bundle.graphs["policy.onnx"], bundle.manifest.signatures["policy.onnx"]


@pytest.fixture
def refused(policy):
    """Change the model by `edit`, and expect a refusal that matches."""
    data, signature = policy

    def check(edit, match):
        model = onnx.load_model_from_string(data)
        edit(model)
        with pytest.raises(GraphError, match=match):
            check_graph(model.SerializeToString(), signature, OPSET)

    return check


def test_an_exported_graph_passes(policy):
    check_graph(*policy, OPSET)


def test_external_weights_are_refused_wherever_they_hide(refused):
    def in_weight(model):
        weight = model.graph.initializer[0]
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value="/etc/passwd")

    def in_node(model):
        value = numpy_helper.from_array(np.zeros(3, np.float32))
        value.data_location = TensorProto.EXTERNAL
        model.graph.node.append(helper.make_node("Constant", [], ["c"], value=value))

    refused(in_weight, r"'network\.trunk\.0\.weight' lives in an external file")
    refused(in_node, "external file")


def test_subgraphs_functions_and_custom_operators_are_refused(refused):
    inner = helper.make_graph([], "inner", [], [])
    function = helper.make_function("d", "f", [], [], [], [])
    refused(
        lambda m: m.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=inner)),
        "'If' holds a subgraph",
    )
    refused(lambda m: m.functions.append(function), "functions")
    refused(
        lambda m: m.graph.node.append(helper.make_node("Run", [], [], domain="evil")),
        "custom domain b'evil'",
    )


def test_another_signature_or_opset_is_refused(refused):
    def rename(model):
        model.graph.input[0].name = "obs"

    def widen(model):
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 6

    def fix_batch(model):
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2

    def double(model):
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE

    def older(model):
        model.opset_import[0].version = 17

    refused(rename, r"inputs are obs \(batch, 5\), .* ask for observation \(batch, 5\)")
    refused(widen, r"observation \(batch, 6\)")
    refused(fix_batch, "free batch")
    refused(double, "'mean' is not float32")
    refused(older, "operator sets")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_are_refused(policy, data):
    with pytest.raises(GraphError):
        check_graph(data, policy[1], OPSET)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_damaged_graphs_never_raise_anything_but_graph_error(policy, data):
    graph, signature = policy
    damaged = bytearray(graph[: data.draw(st.integers(0, len(graph)))])
    for _ in range(min(len(damaged), 3)):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(GraphError):
        check_graph(bytes(damaged), signature, OPSET)

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from benchmarks.mutations import damaged
from fieldtune.export.bundle import read_bundle
from fieldtune.export.graph import MODEL, MOST_FIELDS, OPSET, GraphError, check_graph
from fieldtune.export.manifest import Signature
from fieldtune.export.protobuf import read


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
            check_graph(model.SerializeToString(), signature)

    return check


def test_an_exported_graph_passes(policy):
    check_graph(*policy)


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
        lambda m: m.graph.node.append(helper.make_node("Relu", ["z"], ["y"], branch=inner)),
        "'Relu' holds a subgraph",
    )
    refused(lambda m: m.functions.append(function), "functions")
    refused(
        lambda m: m.graph.node.append(helper.make_node("Run", [], [], domain="evil")),
        "custom domain 'evil'",
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
        model.opset_import[0].version = 16

    refused(rename, r"inputs are obs \(batch, 5\), .* ask for observation \(batch, 5\)")
    refused(widen, r"observation \(batch, 6\)")
    refused(fix_batch, "free batch")
    refused(double, "'mean' is not float32")
    refused(older, "operator sets")


@pytest.mark.parametrize("operator", ["Loop", "If", "RandomNormal", "Range", "NonZero", "Resize"])
def test_operators_that_loop_branch_draw_or_decide_their_own_size_are_refused(refused, operator):
    refused(
        lambda m: m.graph.node.append(helper.make_node(operator, ["z"], ["y"])),
        f"operator '{operator}' is not one that a robot runs",
    )


def test_an_observation_does_not_decide_shapes_or_places(refused):
    def sized(model):
        model.graph.node.append(helper.make_node("Cast", ["z"], ["size"], to=TensorProto.INT64))
        model.graph.node.append(helper.make_node("Reshape", ["z", "size"], ["y"]))

    def placed(model):
        model.graph.node.append(helper.make_node("Cast", ["z"], ["place"], to=TensorProto.INT64))
        model.graph.node.append(helper.make_node("Gather", ["z", "place"], ["y"]))

    refused(sized, "'Reshape' takes a shape or a place from 'size', which is not constant")
    refused(placed, "'Gather' takes a shape or a place from 'place'")


def test_a_value_is_made_once_and_before_its_use(refused):
    def twice(model):
        model.graph.node.append(helper.make_node("Relu", ["z"], ["z"]))

    def never(model):
        model.graph.node.append(helper.make_node("Relu", ["w"], ["y"]))

    def gone(model):
        del model.graph.node[:]

    refused(twice, "'z' twice")
    refused(never, "'Relu' uses 'w' before it is made")
    refused(gone, "never makes its output 'mean'")


def test_a_weight_is_as_large_as_its_shape(refused):
    def claim(model):
        model.graph.initializer[0].dims[0] = 2**40

    def huge(model):
        model.graph.initializer[0].dims[:] = [0, 2**62]

    def deep(model):
        model.graph.initializer[0].dims[:] = [1] * 100_000

    refused(claim, "has a shape that no weight has")
    refused(huge, "has a shape that no weight has")
    refused(deep, "has a shape that no weight has")
    refused(lambda m: m.graph.initializer[0].dims.append(3), "its shape .* asks for others")


def varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def field(number: int, payload: bytes, above: int = 0) -> bytes:
    """A length-delimited field; `above` goes into the tag's bits that protobuf drops."""
    return varint(number << 3 | 2 | above << 32) + varint(len(payload)) + payload


def value(name: str, width: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])


SIGNATURE = Signature((("x", 2),), (("y", 2),))


def model_with(graph: bytes) -> bytes:
    empty = helper.make_graph([], "g", [value("x", 2)], [value("y", 2)])
    model = helper.make_model(empty, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    inside = model.graph.SerializeToString()
    model.ClearField("graph")
    return model.SerializeToString() + field(7, inside + graph)


def test_an_if_in_attributes_that_only_the_runtime_sees_is_refused():
    """A tag's bits above 32: unknown to a reader that keeps them, attributes to ONNX Runtime."""

    def branch(number: float) -> onnx.GraphProto:
        made = numpy_helper.from_array(np.full((1, 2), number, np.float32))
        node = helper.make_node("Constant", [], ["r"], value=made)
        result = helper.make_tensor_value_info("r", TensorProto.FLOAT, None)
        return helper.make_graph([node], "b", [], [result])

    condition = numpy_helper.from_array(np.array(True))
    constant = helper.make_node("Constant", [], ["c"], value=condition)
    whole = helper.make_node("If", ["c"], ["y"], then_branch=branch(7.0), else_branch=branch(8.0))
    bare = helper.make_node("If", ["c"], ["y"])
    hidden = b"".join(field(5, one.SerializeToString(), above=1) for one in whole.attribute)
    data = model_with(
        field(1, constant.SerializeToString()) + field(1, bare.SerializeToString() + hidden)
    )
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (ran,) = session.run(None, {"x": np.zeros((1, 2), np.float32)})
    assert ran.tolist() == [[7.0, 7.0]], "ONNX Runtime runs what was hidden"
    with pytest.raises(GraphError):
        check_graph(data, SIGNATURE)


@pytest.mark.parametrize("above", [0, 1, 4])
def test_weights_in_a_file_that_only_the_runtime_sees_are_refused(above, tmp_path):
    entry = onnx.StringStringEntryProto(key="location", value="secret").SerializeToString()
    weight = TensorProto(name="w", dims=[2], data_type=TensorProto.FLOAT).SerializeToString()
    place = varint(14 << 3 | above << 32) + varint(TensorProto.EXTERNAL)
    node = helper.make_node("Add", ["x", "w"], ["y"]).SerializeToString()
    data = model_with(field(1, node) + field(5, weight + field(13, entry, above) + place))
    (tmp_path / "graph.onnx").write_bytes(data)
    np.full(2, 7.0, np.float32).tofile(tmp_path / "secret")
    session = onnxruntime.InferenceSession(
        str(tmp_path / "graph.onnx"), providers=["CPUExecutionProvider"]
    )
    (ran,) = session.run(None, {"x": np.zeros((1, 2), np.float32)})
    assert ran.tolist() == [[7.0, 7.0]], "ONNX Runtime reads the file"
    with pytest.raises(GraphError):
        check_graph(data, SIGNATURE)


def plain_node() -> bytes:
    return helper.make_node("Relu", ["x"], ["y"]).SerializeToString()


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        (field(2, b"again"), "name of a graph twice"),
        (field(13, b"value info"), "field 13 .* in a graph"),
        (field(99, b"unknown"), "field 99"),
        (varint(2 << 3), "wire type 0"),
        (varint(1 << 3 | 3) + varint(1 << 3 | 4), "wire type 3"),
        (b"\x8a\x00\x00", "shortest form"),
        (varint(1 << 3 | 2) + b"\x80\x00", "shortest form"),
        (b"\xff" * 12, "cut short or damaged"),
        (varint(1 << 3 | 2) + varint(2**40), "cut short or damaged"),
        (field(1, plain_node().replace(b"x", b"\xff")), "not UTF-8"),
        (field(1, plain_node() + varint(4 << 3 | 2) + b"\x02If"), "op_type of a node twice"),
        (field(1, b"") * (MOST_FIELDS + 1), "more than 200000 fields"),
    ],
)
def test_what_protobuf_readers_could_take_differently_is_refused(extra, says):
    check_graph(model_with(field(1, plain_node())), SIGNATURE)
    with pytest.raises(GraphError, match=says):
        check_graph(model_with(field(1, plain_node()) + extra), SIGNATURE)


def test_a_second_graph_that_protobuf_would_merge_is_refused(policy):
    data, signature = policy
    merged = data + field(7, field(1, plain_node()))
    assert len(onnx.load_model_from_string(merged).graph.node) > 1
    with pytest.raises(GraphError, match="graph of a model twice"):
        check_graph(merged, signature)


RENAMED = {"dim": "dims", "tensor_type": "tensor", "dim_value": "value", "dim_param": "parameter"}


def as_protobuf_reads(message) -> dict[str, object]:
    """The message as protobuf's own parser has it, in this project's names."""
    found = {}
    for descriptor, held in message.ListFields():
        many = type(held).__name__.startswith("Repeated")
        values = [
            as_protobuf_reads(one) if hasattr(one, "ListFields") else one
            for one in (held if many else [held])
        ]
        found[RENAMED.get(descriptor.name, descriptor.name)] = values if many else values[0]
    return found


def as_read_here(message) -> dict[str, object]:
    found = {}
    for name, held in message.items():
        many = isinstance(held, list)
        values = [
            as_read_here(one)
            if isinstance(one, dict)
            else bytes(one)
            if isinstance(one, memoryview)
            else one
            for one in (held if many else [held])
        ]
        if name in ("f", "floats"):
            values = [np.frombuffer(one, "<f4")[0] for one in values]
        if name in ("i", "ints", "dims"):
            values = [one - 2**64 if isinstance(one, int) and one >= 2**63 else one
                      for one in values]  # fmt: skip
        if values:
            found[name] = values if many else values[0]
    return found


@pytest.mark.parametrize("name", ["policy.onnx", "encoder.onnx", "decoder.onnx"])
def test_whatever_is_accepted_is_the_same_to_protobufs_own_parser(bundle_path: Path, name):
    bundle = read_bundle(bundle_path)
    graph, signature = bundle.graphs[name], bundle.manifest.signatures[name]
    accepted = 0
    for seed in range(1500):
        data = damaged(graph, random.Random(seed)) if seed else graph
        try:
            check_graph(data, signature)
        except GraphError:
            continue
        accepted += 1
        theirs = as_protobuf_reads(onnx.load_model_from_string(data))
        mine = as_read_here(read(data, MODEL, MOST_FIELDS))
        np.testing.assert_equal(mine, theirs)
    assert accepted > 30, "weights may be any numbers"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_are_refused(policy, data):
    with pytest.raises(GraphError):
        check_graph(data, policy[1])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_damaged_graphs_never_raise_anything_but_graph_error(policy, data):
    graph, signature = policy
    damaged = bytearray(graph[: data.draw(st.integers(0, len(graph)))])
    for _ in range(min(len(damaged), 3)):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(GraphError):
        check_graph(bytes(damaged), signature)

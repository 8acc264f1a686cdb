"""Looking into an ONNX graph's bytes before anything loads them, with neither onnx nor a runtime.

Holds which parts of ONNX fieldtune writes; a graph with any other is refused, so that nothing can
hide in what one reader skips and another runs. Field numbers are those of onnx.proto3. Does not
judge what a graph computes.
"""

from __future__ import annotations

from math import prod

from fieldtune.export.manifest import Signature
from fieldtune.export.protobuf import FIXED32, VARINT, Field, FormError, Message, Table, read

# What is written: TensorRT 8.6 takes operator sets up to 17 and TensorRT 10.0 those from 9 to 20
# (onnx-tensorrt, docs/operators.md), ONNX Runtime 1.17 those up to 20 and OpenVINO's table of
# operators (src/frontends/onnx/docs/supported_ops.md) has all of `PLAIN` there. IR 8 goes with it;
# ONNX Runtime 1.17 refuses an IR above 9.
OPSET, IR_VERSION = 17, 8
OPSETS = (OPSET, 18)  # what is read: 0.1.0 wrote 18
MOST_FIELDS = 200_000  # an exported policy has some hundreds

# What is written. All of it is in OpenVINO's table and in onnx-tensorrt's of TensorRT 10.0; in that
# of 8.5, the nearest to 8.6 that was read, all but LayerNormalization, which no graph of
# fieldtune's own has.
_PLAIN_NAMES = """
Abs Add And Cast Ceil Clip Concat Constant Cos Div Elu Equal Erf Exp Flatten Floor Gather Gemm
Greater GreaterOrEqual HardSigmoid Identity LayerNormalization LeakyRelu Less LessOrEqual Log
LogSoftmax MatMul Max Min Mul Neg Not Or PRelu Pow Reciprocal ReduceMax ReduceMean ReduceMin
ReduceSum Relu Reshape Round Selu Sigmoid Sign Sin Slice Softmax Softplus Softsign Split Sqrt
Squeeze Sub Tanh Transpose Unsqueeze Where
"""
PLAIN = frozenset(_PLAIN_NAMES.split())
_QUANTISED = {"QuantizeLinear", "DequantizeLinear"}  # of a bundle that was converted to int8
_BEFORE = {"CastLike", "HardSwish", "Mish", "SequenceAt", "SplitToSequence"}  # 0.1.0 wrote them
# Arithmetic whose results are as large as their inputs' shapes say: nothing that loops, branches,
# draws random numbers, or lets numbers decide how much is computed.
OPERATORS = PLAIN | _QUANTISED | _BEFORE
# Inputs that give shapes and places: constants, or an observation could decide them.
_FIXED_INPUTS = {
    "DequantizeLinear": (1, 2),
    "Gather": (1,),
    "QuantizeLinear": (1, 2),
    "ReduceMax": (1,),
    "ReduceMean": (1,),
    "ReduceMin": (1,),
    "ReduceSum": (1,),
    "Reshape": (1,),
    "SequenceAt": (1,),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "SplitToSequence": (1,),
    "Squeeze": (1,),
    "Unsqueeze": (1,),
}
_STANDARD_DOMAINS = ("", "ai.onnx")

_MOST_DIMS, _LARGEST_DIM = 8, 2**31 - 1
_FLOAT32 = 1
# and uint8, int8, int32, int64, bool, float16, double
_ITEM_BYTES = {_FLOAT32: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8}
_ATTRIBUTE_TYPES = {1: "f", 2: "i", 4: "t", 6: "floats", 7: "ints"}
_SUBGRAPH, _SPARSE = ("g", "graphs"), ("sparse_tensor", "sparse_tensors")


def _texts(name: str) -> Field:
    return Field(name, many=True, text=True)


_TENSOR = Table(
    "tensor",
    {
        1: Field("dims", VARINT, many=True),
        2: Field("data_type", VARINT),
        8: Field("name", text=True),
        9: Field("raw_data"),
        13: Field("external_data", many=True),
        14: Field("data_location", VARINT),
    },
)
_DIMENSION = Table("dimension", {1: Field("value", VARINT), 2: Field("parameter", text=True)})
_SHAPE = Table("shape", {1: Field("dims", many=True, inside=_DIMENSION)})
_TENSOR_TYPE = Table(
    "tensor type", {1: Field("elem_type", VARINT), 2: Field("shape", inside=_SHAPE)}
)
_TYPE = Table("type", {1: Field("tensor", inside=_TENSOR_TYPE)})
_VALUE = Table("value", {1: Field("name", text=True), 2: Field("type", inside=_TYPE)})
_ATTRIBUTE = Table(
    "attribute",
    {
        1: Field("name", text=True),
        2: Field("f", FIXED32),
        3: Field("i", VARINT),
        5: Field("t", inside=_TENSOR),
        6: Field("g"),
        7: Field("floats", FIXED32, many=True),
        8: Field("ints", VARINT, many=True),
        11: Field("graphs", many=True),
        20: Field("type", VARINT),
        22: Field("sparse_tensor"),
        23: Field("sparse_tensors", many=True),
    },
)
_NODE = Table(
    "node",
    {
        1: _texts("input"),
        2: _texts("output"),
        3: Field("name", text=True),
        4: Field("op_type", text=True),
        5: Field("attribute", many=True, inside=_ATTRIBUTE),
        7: Field("domain", text=True),
    },
)
_GRAPH = Table(
    "graph",
    {
        1: Field("node", many=True, inside=_NODE),
        2: Field("name", text=True),
        5: Field("initializer", many=True, inside=_TENSOR),
        11: Field("input", many=True, inside=_VALUE),
        12: Field("output", many=True, inside=_VALUE),
        15: Field("sparse_initializer", many=True),
    },
)
_OPSET = Table("operator set", {1: Field("domain", text=True), 2: Field("version", VARINT)})
MODEL = Table(
    "model",
    {
        1: Field("ir_version", VARINT),
        2: Field("producer_name", text=True),
        3: Field("producer_version", text=True),
        7: Field("graph", inside=_GRAPH),
        8: Field("opset_import", many=True, inside=_OPSET),
        20: Field("training_info", many=True),
        25: Field("functions", many=True),
    },
)


class GraphError(ValueError):
    """The bytes are not a graph that fieldtune writes; the message says what is in the way."""


def check_graph(data: bytes, expected: Signature) -> None:
    """Refuse anything but a flat, self-contained graph of known operators with this signature.

    What it accepts means the same to every reader of protobuf (export/protobuf.py), and no number
    that a graph is run on decides how much it computes.

    Args:
        data: the ONNX model's bytes.
        expected: the inputs and outputs that the graph must have.

    Raises:
        GraphError: malformed bytes, anything that fieldtune does not write, another opset, external
            data, subgraphs, functions, operators that are not in `OPERATORS`, or inputs and
            outputs other than `expected`.
    """
    try:
        model = read(data, MODEL, MOST_FIELDS)
    except FormError as error:
        raise GraphError(f"{error}: it is no graph of fieldtune's") from error
    for key, what in (("training_info", "training information"), ("functions", "functions")):
        if model[key]:
            raise GraphError(f"holds {what}: export a plain inference graph")
    versions = {one.get("domain", ""): one.get("version", 0) for one in model["opset_import"]}
    if set(versions) != {""} or versions[""] not in OPSETS or len(model["opset_import"]) != 1:
        known = " or ".join(map(str, OPSETS))
        raise GraphError(f"uses operator sets {versions}, expected ONNX's own, {known}")
    if "graph" not in model:
        raise GraphError("holds no graph")
    graph = model["graph"]
    if graph["sparse_initializer"]:
        raise GraphError("holds sparse weights: export dense ones")
    for tensor in graph["initializer"]:
        _check_tensor(tensor)
    for node in graph["node"]:
        _check_node(node)
    for what, wanted in (("input", expected.inputs), ("output", expected.outputs)):
        found = [_value(item, expected.batch) for item in graph[what]]
        _check_values(f"{what}s", found, wanted)
    _check_flow(graph)


def _check_tensor(tensor: Message) -> None:
    name = tensor.get("name", "")
    if tensor["external_data"] or "data_location" in tensor:
        raise GraphError(
            f"weight {name!r} lives in an external file: export with the weights inside the graph"
        )
    item_bytes = _ITEM_BYTES.get(tensor.get("data_type", 0))
    if item_bytes is None:
        raise GraphError(f"weight {name!r} is of type {tensor.get('data_type', 0)}: export floats")
    size, dims = len(tensor.get("raw_data", b"")), tensor["dims"]
    if len(dims) > _MOST_DIMS or max(dims, default=0) > _LARGEST_DIM:
        raise GraphError(f"weight {name!r} has a shape that no weight has: export it anew")
    if size != item_bytes * prod(dims):
        raise GraphError(
            f"weight {name!r} is {size} bytes, its shape {tuple(dims)} asks for others"
        )


def _check_node(node: Message) -> None:
    operator, domain = node.get("op_type", ""), node.get("domain", "")
    if domain not in _STANDARD_DOMAINS:
        raise GraphError(f"operator {operator!r} is of the custom domain {domain!r}")
    if operator not in OPERATORS:
        raise GraphError(
            f"operator {operator!r} is not one that a robot runs: export without "
            "(export/graph.py lists those it does)"
        )
    names = [attribute.get("name", "") for attribute in node["attribute"]]
    if len(set(names)) != len(names):
        raise GraphError(f"operator {operator!r} holds an attribute twice: {sorted(names)}")
    for attribute in node["attribute"]:
        _check_attribute(operator, attribute)


def _check_attribute(operator: str, attribute: Message) -> None:
    for keys, what in ((_SUBGRAPH, "subgraph"), (_SPARSE, "sparse")):
        if any(attribute.get(key) for key in keys):
            raise GraphError(f"operator {operator!r} holds a {what} attribute: export without")
    kind = _ATTRIBUTE_TYPES.get(attribute.get("type", 0))
    held = {key for key in _ATTRIBUTE_TYPES.values() if attribute.get(key, []) != []}
    if kind is None or not held <= {kind}:
        raise GraphError(
            f"operator {operator!r}, attribute {attribute.get('name', '')!r}: its type "
            f"{attribute.get('type', 0)} and its values {sorted(held)} do not belong together"
        )
    if "t" in attribute:
        _check_tensor(attribute["t"])


def _check_flow(graph: Message) -> None:
    """Every value is made once, before its use, and shapes and places come from constants."""
    known: set[str] = set()
    constant: set[str] = set()

    def make(name: str, fixed: bool) -> None:
        if not name or name in known:
            raise GraphError(f"makes the value {name!r} twice, or without a name")
        known.add(name)
        if fixed:
            constant.add(name)

    for value in graph["input"]:
        make(value.get("name", ""), fixed=False)
    for tensor in graph["initializer"]:
        make(tensor.get("name", ""), fixed=True)
    for node in graph["node"]:
        operator, inputs = node["op_type"], node["input"]
        for name in filter(None, inputs):
            if name not in known:
                raise GraphError(f"operator {operator!r} uses {name!r} before it is made")
        for place in _FIXED_INPUTS.get(operator, ()):
            if place < len(inputs) and inputs[place] and inputs[place] not in constant:
                raise GraphError(
                    f"operator {operator!r} takes a shape or a place from {inputs[place]!r}, which "
                    "is not constant: export without"
                )
        fixed = all(name in constant for name in filter(None, inputs))
        for name in filter(None, node["output"]):
            make(name, fixed)
    for value in graph["output"]:
        if value.get("name", "") not in known:
            raise GraphError(f"never makes its output {value.get('name', '')!r}")


def _check_values(
    what: str, found: list[tuple[str, int]], expected: tuple[tuple[str, int], ...]
) -> None:
    if found != list(expected):
        raise GraphError(
            f"{what} are {_describe(found)}, the manifest's fields ask for {_describe(expected)}"
        )


def _describe(values: list[tuple[str, int]] | tuple[tuple[str, int], ...]) -> str:
    return ", ".join(f"{name} (batch, {width})" for name, width in values) or "none"


def _value(item: Message, batch: int | None) -> tuple[str, int]:
    """Name and width of a `(batch, width)` float32 value."""
    name, tensor = item.get("name", ""), item.get("type", {}).get("tensor", {})
    if "shape" not in tensor:
        raise GraphError(f"{name!r} is not a tensor of known shape")
    if tensor.get("elem_type") != _FLOAT32:
        raise GraphError(f"{name!r} is not float32")
    dims = tensor["shape"]["dims"]
    if len(dims) != 2 or dims[0].get("value") != batch:
        wanted = "a free batch" if batch is None else f"a batch of {batch}"
        raise GraphError(f"{name!r} is not (batch, width) with {wanted}")
    if set(dims[1]) != {"value"}:
        raise GraphError(f"{name!r} has no fixed width")
    return name, dims[1]["value"]

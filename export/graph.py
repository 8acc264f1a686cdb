"""Looking into an ONNX graph's bytes before anything loads them, with neither onnx nor a runtime.

Reads the protobuf wire format as far as needed to know a graph's signature and that it is one flat,
self-contained graph. Field numbers are those of onnx.proto3. Does not judge what a graph computes.
"""

from __future__ import annotations

from collections.abc import Iterator

from export.manifest import Signature

_FLOAT32 = 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_STANDARD_DOMAINS = (b"", b"ai.onnx")


class GraphError(ValueError):
    """The bytes are not a graph that fieldtune writes; the message says what is in the way."""


def check_graph(data: bytes, expected: Signature, opset: int) -> None:
    """Refuse anything but a flat, self-contained graph of standard operators with this signature.

    Raises:
        GraphError: malformed bytes, another opset, external data, subgraphs, functions, custom
            operators, or inputs and outputs other than `expected`.
    """
    model = memoryview(data)
    graphs = list(_messages(model, 7))
    if len(graphs) != 1:
        raise GraphError(f"holds {len(graphs)} graphs instead of one")
    for number, what in ((20, "training information"), (25, "functions")):
        if any(True for _ in _messages(model, number)):
            raise GraphError(f"holds {what}: export a plain inference graph")
    _check_opset(model, opset)
    graph = graphs[0]
    for tensor in _messages(graph, 5):
        _check_tensor(tensor)
    if any(True for _ in _messages(graph, 15)):
        raise GraphError("holds sparse weights: export dense ones")
    for node in _messages(graph, 1):
        _check_node(node)
    _check_values("inputs", [_value(item) for item in _messages(graph, 11)], expected.inputs)
    _check_values("outputs", [_value(item) for item in _messages(graph, 12)], expected.outputs)


def _check_opset(model: memoryview, opset: int) -> None:
    versions = {
        _text(item, 1): next((v for v in _integers(item, 2)), 0) for item in _messages(model, 8)
    }
    if versions != {"": opset}:
        raise GraphError(f"uses operator sets {versions}, expected {{'': {opset}}}")


def _check_tensor(tensor: memoryview) -> None:
    outside = any(True for _ in _messages(tensor, 13)) or any(v != 0 for v in _integers(tensor, 14))
    if outside:
        raise GraphError(
            f"weight {_text(tensor, 8)!r} lives in an external file: "
            "export with the weights inside the graph"
        )


def _check_node(node: memoryview) -> None:
    operator = _text(node, 4)
    for domain in _messages(node, 7):
        if bytes(domain) not in _STANDARD_DOMAINS:
            raise GraphError(f"operator {operator!r} is of the custom domain {bytes(domain)!r}")
    for attribute in _messages(node, 5):
        for number in (5, 10):
            for tensor in _messages(attribute, number):
                _check_tensor(tensor)
        for number, what in ((6, "subgraph"), (11, "subgraph"), (22, "sparse"), (23, "sparse")):
            if any(True for _ in _messages(attribute, number)):
                raise GraphError(f"operator {operator!r} holds a {what} attribute: export without")


def _check_values(
    what: str, found: list[tuple[str, int]], expected: tuple[tuple[str, int], ...]
) -> None:
    if found != list(expected):
        raise GraphError(
            f"{what} are {_describe(found)}, the manifest's fields ask for {_describe(expected)}"
        )


def _describe(values: list[tuple[str, int]] | tuple[tuple[str, int], ...]) -> str:
    return ", ".join(f"{name} (batch, {width})" for name, width in values) or "none"


def _value(item: memoryview) -> tuple[str, int]:
    """Name and width of a `(batch, width)` float32 value."""
    name = _text(item, 1)
    for kind in _messages(item, 2):
        for tensor in _messages(kind, 1):
            for shape in _messages(tensor, 2):
                dims = list(_messages(shape, 1))
                if list(_integers(tensor, 1)) != [_FLOAT32]:
                    raise GraphError(f"{name!r} is not float32")
                if len(dims) != 2 or any(_integers(dims[0], 1)):
                    raise GraphError(f"{name!r} is not (batch, width) with a free batch")
                widths = list(_integers(dims[1], 1))
                if len(widths) != 1:
                    raise GraphError(f"{name!r} has no fixed width")
                return name, widths[0]
    raise GraphError(f"{name!r} is not a tensor of known shape")


def _messages(message: memoryview, number: int) -> Iterator[memoryview]:
    """The length-delimited values of field `number`: submessages, strings or bytes."""
    for found, value in _fields(message):
        if found == number and isinstance(value, memoryview):
            yield value


def _integers(message: memoryview, number: int) -> Iterator[int]:
    for found, value in _fields(message):
        if found == number and isinstance(value, int):
            yield value


def _text(message: memoryview, number: int) -> str:
    """Field `number` as text; the last one wins, as in every protobuf reader."""
    found = ""
    for value in _messages(message, number):
        found = bytes(value).decode("utf-8", errors="replace")
    return found


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Every `(field number, value)` of a protobuf message."""
    offset = 0
    while offset < len(message):
        key, offset = _varint(message, offset)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, offset = _varint(message, offset)
            yield number, value
        elif kind in (_BYTES, _FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
            if kind == _BYTES:
                size, offset = _varint(message, offset)
            if size > len(message) - offset:
                raise GraphError("is cut short or not an ONNX file")
            yield number, message[offset : offset + size]
            offset += size
        else:
            raise GraphError("is not an ONNX file")


def _varint(message: memoryview, offset: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if offset >= len(message):
            break
        byte = message[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, offset
    raise GraphError("is cut short or not an ONNX file")

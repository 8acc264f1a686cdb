"""What runtimes on board take, written down apart from the code that keeps to it."""

from __future__ import annotations

import onnx

from fieldtune.export.bundle import Bundle

# Of onnx-tensorrt's docs/operators.md at TensorRT 8.5 and 10.0, what fieldtune's own graphs use; a
# new one has to be looked up there first.
_NAMES = """
Add Clip Concat Div Gemm Greater Max Min Mul Neg Pow ReduceSum Relu
Sigmoid Softplus Split Sub Tanh Where
"""
OPERATORS = frozenset(_NAMES.split())


def assert_runs_on_board(bundle: Bundle) -> None:
    """Hold every graph of a bundle to plain operators, operator set 17 and IR 8, and to ONNX's own
    checks with full shape inference."""
    for name, graph in bundle.graphs.items():
        model = onnx.load_model_from_string(graph)
        found = {node.op_type for node in model.graph.node}
        assert found <= OPERATORS, f"{name}: {sorted(found - OPERATORS)}"
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
        assert model.ir_version == 8
        onnx.checker.check_model(model, full_check=True)

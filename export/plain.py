"""Graphs of plain operators, in the operator set that runtimes on board share.

Workstation side: onnx and onnxscript are imported only where they are used. What an exporter spells
with sequences and casts "like" another value is spelled with `Split` and `Cast`, whichever
module it is of, and a bundle of 0.1.0 can be rewritten in the same way.
"""

from __future__ import annotations

from typing import Any

from fieldtune.export.graph import IR_VERSION, OPSET, PLAIN

# Of operator set 18 a constant second input, of 17 an attribute.
_AXES_BY_ATTRIBUTE = {"ReduceMax", "ReduceMean", "ReduceMin"}


def plain(model: Any, name: str) -> Any:
    """The same computation in plain operators (`fieldtune.export.graph.PLAIN`), checked by ONNX.

    Weights, that is initializers, stay as they are and keep their names: only what is computed from
    other constants is folded, so that the graph does not depend on the weights' values.

    Args:
        model: an `onnx_ir.Model` of operator set 17 or 18; it is changed in place.
        name: of the graph, for errors.

    Returns:
        An `onnx.ModelProto` of `OPSET` and `IR_VERSION`.

    Raises:
        ValueError: an operator that there is no plain spelling of; the message names it.
        onnx.checker.ValidationError, onnx.shape_inference.InferenceError: the graph is not valid.
    """
    import onnx
    import onnx_ir as ir
    import onnx_ir.passes.common as passes
    from onnxscript import optimizer

    weights = set(model.graph.initializers)

    def unless_weighed(node: Any) -> bool | None:
        """Not to fold what a weight goes into; else as the folder thinks."""
        return False if any(v is not None and v.name in weights for v in node.inputs) else None

    optimizer.fold_constants(model, onnx_shape_inference=True, should_fold=unless_weighed)
    ir.passes.Sequential(passes.IdentityEliminationPass(), passes.RemoveUnusedNodesPass())(model)
    for node in model.graph:
        _lower(node, name)
    passes.RemoveUnusedNodesPass()(model)
    # TensorRT wants axes and sizes as initializers, not as what a node gives.
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    passes.NameFixPass()(model)  # what a module computes may be called as an output is
    model.graph.opset_imports[""] = OPSET
    lowered = ir.to_proto(model)
    lowered.ir_version = IR_VERSION
    lowered.graph.ClearField("value_info")
    others = sorted({node.op_type for node in lowered.graph.node} - PLAIN)
    if others:
        raise ValueError(
            f"{name}: its graph has the operators {', '.join(others)}, which runtimes on board may "
            "lack: write the module with others (fieldtune.export.graph.PLAIN lists them)"
        )
    onnx.checker.check_model(lowered, full_check=True)
    return lowered


def _lower(node: Any, name: str) -> None:
    """Spell one node of operator set 18 as `OPSET` does."""
    import onnx
    import onnx_ir as ir

    operator = node.op_type
    if operator == "Split":
        _give_sizes(node)
    elif operator in _AXES_BY_ATTRIBUTE and len(node.inputs) > 1:
        axes = node.inputs[1]
        if axes is not None:
            node.attributes["axes"] = ir.AttrInt64s("axes", axes.const_value.numpy().tolist())
        node.attributes.pop("noop_with_empty_axes", None)
        node.resize_inputs(1)
    elif operator in PLAIN:
        was, now = (onnx.defs.get_schema(operator, of).since_version for of in (OPSET, OPSET + 1))
        if was != now:
            raise ValueError(
                f"{name}: its operator {operator} means something else in operator set {OPSET}: "
                "write the module with another"
            )


def _give_sizes(node: Any) -> None:
    """The sizes of a `Split`'s outputs as a constant, in the place of their number."""
    import numpy as np
    import onnx_ir as ir

    node.attributes.pop("num_outputs", None)
    if len(node.inputs) > 1 and node.inputs[1] is not None:
        return
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
    sizes = np.array([output.shape[axis] for output in node.outputs], dtype=np.int64)
    constant = ir.node("Constant", [], {"value": ir.tensor(sizes)})
    constant.outputs[0].name = f"{node.outputs[0].name}_sizes"
    node.graph.insert_before(node, constant)
    node.resize_inputs(2)
    node.replace_input_with(1, constant.outputs[0])

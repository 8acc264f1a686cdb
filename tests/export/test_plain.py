"""Graphs that runtimes on board take: plain operators, an old operator set, whatever the module."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from fieldtune.export.bundle import read_bundle
from fieldtune.export.graph import PLAIN
from fieldtune.export.parity import measure
from fieldtune.export.plain import plain
from fieldtune.export.writer import export_graph
from tests.board import assert_runs_on_board

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("fixture", ["bundle_path", "particle_path"])
def test_every_graph_of_a_bundle_runs_on_board(request, fixture):
    assert_runs_on_board(read_bundle(request.getfixturevalue(fixture)))


class Untidy(torch.nn.Module):
    """What users write: chunks, pieces of unequal size, means, a value called as an output is."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(8)
        self.layer = torch.nn.Linear(8, 5)

    def forward(self, observation, z):
        x = self.layer(self.norm(torch.cat([observation, z], -1)))
        head, _, rest = x.split([2, 1, 2], -1)
        first, second = head.chunk(2, -1)
        mean = x.mean(-1, keepdim=True) + x.amax(-1, keepdim=True) + x.square().sum(-1, True)
        return torch.cat([first + mean, second], -1), rest.clamp(-1.0, 1.0)


def test_a_module_of_ones_own_is_written_plainly_and_computes_the_same(samples, describe):
    signature = describe().signatures["policy.onnx"]
    module = Untidy().eval()
    graph = export_graph(module, signature, "policy")
    measure("policy", module, graph, signature, samples)
    model = onnx.load_model_from_string(graph)
    assert {node.op_type for node in model.graph.node} <= PLAIN
    assert (model.ir_version, model.opset_import[0].version) == (8, 17)


def of_one_node(operator: str, **attributes) -> ir.Model:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in "xy"]
    axis = numpy_helper.from_array(np.array(1), "axis")
    node = helper.make_node(operator, ["x", "axis"], ["y"], **attributes)
    graph = helper.make_graph([node], "g", values[:1], values[1:], [axis])
    opset = [helper.make_opsetid("", 18)]
    return ir.from_proto(helper.make_model(graph, opset_imports=opset, ir_version=9))


def test_an_operator_without_a_plain_spelling_is_named():
    with pytest.raises(ValueError, match="policy: its graph has the operators CumSum"):
        plain(of_one_node("CumSum"), "policy")


def test_the_page_lists_the_operators():
    page = (ROOT / "docs" / "bundle.md").read_text()
    (listed,) = re.findall(r"<!-- operators -->\n(.*?)\n<!-- end -->", page, re.DOTALL)
    assert set(re.findall(r"\w+", listed)) == PLAIN

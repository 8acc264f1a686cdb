from __future__ import annotations

import pytest
import torch

from fieldtune.export.manifest import PARITY_LIMIT
from fieldtune.export.parity import ParityError, measure
from fieldtune.export.writer import export_graph


@pytest.fixture
def policy(networks, describe):
    signature = describe().signatures["policy.onnx"]
    return networks["policy"], export_graph(networks["policy"], signature, "policy"), signature


def test_parity_is_measured_for_every_output(policy, samples):
    found = measure("policy", *policy, samples)
    assert set(found) == {"policy.mean", "policy.log_std"}
    for parity in found.values():
        assert parity.relative <= PARITY_LIMIT
        assert parity.samples == 64


def test_weights_that_moved_after_the_export_are_noticed(policy, samples):
    with torch.no_grad():
        policy[0].head.bias[0] += 1e-3
    with pytest.raises(ParityError, match=r"policy\.mean: .*nothing was written"):
        measure("policy", *policy, samples)


def test_outputs_that_are_not_finite_are_refused(policy, samples):
    samples["z"][3] = float("nan")
    with pytest.raises(ParityError, match=r"policy\.mean: not finite"):
        measure("policy", *policy, samples)


def test_the_trainers_coarser_products_are_not_the_reference(policy, samples):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        measure("policy", *policy, samples)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)

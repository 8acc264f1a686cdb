"""Providers by name: what is not there is one sentence, and nothing falls back unasked."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from fieldtune.export import sessions
from fieldtune.export.bundle import read_bundle
from fieldtune.export.sessions import PROVIDERS, ProviderError, open_session, readable
from fieldtune.robot.config import PolicyConfig
from fieldtune.robot.policy.policy import Policy, PolicyError


@pytest.fixture(scope="module")
def bundle(particle_path):
    return read_bundle(particle_path)


def test_the_configs_providers_are_those_there_are():
    (provider, _) = get_args(PolicyConfig.model_fields["providers"].annotation)
    assert set(get_args(provider)) == set(PROVIDERS)


def test_a_provider_that_is_not_installed_is_one_sentence_with_the_cure(bundle, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ProviderError) as refused:
        open_session(bundle.graphs["policy.onnx"], ("cuda",))
    assert str(refused.value) == (
        "provider 'cuda' is not in this ONNX Runtime, which has cpu: install onnxruntime-gpu in "
        "the place of onnxruntime, or name another provider (robot.policy.providers: [cuda, cpu] "
        "falls back to the processor)"
    )
    assert Policy(bundle, ("cuda", "cpu")).provider == "cpu"


def test_a_provider_that_is_built_in_and_cannot_be_loaded_is_not_passed_over(bundle, monkeypatch):
    """ONNX Runtime would compute on the processor, and say so in its log alone."""
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    with pytest.raises(PolicyError, match="provider 'cuda' cannot be used: "):
        Policy(bundle, ("cuda",))
    assert Policy(bundle, ("cuda", "cpu")).provider == "cpu"


def test_what_a_device_computes_is_held_against_the_processor(bundle, monkeypatch):
    """The processor in the place of a device, and then one that is a little off."""
    monkeypatch.setitem(sessions._CLASSES, "openvino", "CPUExecutionProvider")
    on_processor, broken = sessions._open, {}

    def on_device(graph, name, threads):
        computed = graph if name == "cpu" else broken.get(graph, graph)
        return on_processor(computed, "cpu", threads)

    monkeypatch.setattr(sessions, "_open", on_device)
    assert Policy(bundle, ("openvino",)).provider == "openvino"
    decoder = bundle.graphs["decoder.onnx"]
    broken[decoder] = shifted(decoder)
    with pytest.raises(PolicyError, match=r"provider openvino: decoder\.reward is .* \(relative\)"):
        Policy(bundle, ("openvino",))
    assert Policy(bundle, ("openvino",), tolerance=0.5).provider == "openvino"


def test_a_graph_of_version_1_is_read_by_the_oldest_onnx_runtime():
    """1.17 knows IR 9 at most; the tests run with it too (docs/bundle.md)."""
    for graph in read_bundle(Path(__file__).with_name("version-1.bundle")).graphs.values():
        before, after = map(onnx.load_model_from_string, (graph, readable(graph)))
        assert (before.ir_version, after.ir_version) == (10, 9)
        before.ir_version = 9
        assert before == after


def test_todays_graphs_are_read_as_they_are(bundle):
    assert all(readable(graph) is graph for graph in bundle.graphs.values())


def shifted(graph: bytes) -> bytes:
    """The same graph with its last bias a thousandth larger."""
    model = onnx.load_model_from_string(graph)
    bias = next(one for one in model.graph.initializer if one.name.endswith("net.2.bias"))
    value = numpy_helper.to_array(bias) + 1e-3
    bias.CopyFrom(numpy_helper.from_array(value, bias.name))
    return model.SerializeToString()

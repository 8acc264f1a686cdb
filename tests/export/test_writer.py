from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from fieldtune.export.bundle import read_bundle
from fieldtune.export.parity import ParityError, measure
from fieldtune.export.writer import export_graph, write_bundle
from tests.export.conftest import PARTICLES, LogLikelihood

CONFTEST = Path(__file__).with_name("conftest.py")
ROOT = CONFTEST.parents[2]


@pytest.mark.slow
def test_the_same_input_gives_the_same_id_in_another_process(bundle_path, tmp_path):
    script = (
        "import runpy, sys\n"
        f"made = runpy.run_path({str(CONFTEST)!r})\n"
        "bundle = made['write_bundle'](sys.argv[1], made['make_description'](),"
        " samples=made['make_samples'](), **made['make_networks']())\n"
        "print(bundle.id)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "again.bundle")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split()[-1] == read_bundle(bundle_path).id
    assert (tmp_path / "again.bundle").read_bytes() == bundle_path.read_bytes()


def test_other_weights_give_another_id(bundle_path, tmp_path, networks, samples, describe):
    with torch.no_grad():
        networks["decoder"].net[0].bias[0] += 1e-3
    bundle = write_bundle(tmp_path / "b", describe(), samples=samples, **networks)
    assert bundle.id != read_bundle(bundle_path).id


def test_no_machine_path_is_left_in_a_bundle(bundle_path):
    content = bundle_path.read_bytes()
    for trace in (b"site-packages", b".py", b"stack_trace", str(Path.home()).encode(), b"torch"):
        assert trace not in content
    assert os.sep.encode() + b"work" not in content


class Awkward(torch.nn.Module):
    """Weights that start equal, and some that an optimiser would fold into constants."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.LayerNorm(5)
        self.register_buffer("shift", torch.zeros(5))
        self.register_buffer("scale", torch.ones(5), persistent=False)

    def forward(self, observation, z):
        x = self.norm((observation - self.shift) * (1.0 / self.scale)) + self.scale * self.shift
        return x[:, :2] + z[:, :2], x[:, 2:4]


def test_swapping_weights_writes_the_same_bytes_as_exporting_anew(describe):
    signature = describe().signatures["policy.onnx"]
    kept = Awkward().eval()
    before = export_graph(kept, signature, "policy")
    for change in range(2):
        fresh = Awkward().eval()
        with torch.no_grad():
            for module in (kept, fresh):
                torch.manual_seed(change)
                for value in (*module.parameters(), *module.buffers()):
                    value.copy_(torch.rand_like(value) + 0.5)
        after = export_graph(kept, signature, "policy")
        assert after == export_graph(fresh, signature, "policy")
        assert after != before
        before = after


def test_swapped_weights_compute_what_torch_computes(samples, describe):
    signature = describe().signatures["policy.onnx"]
    module = Awkward().eval()
    for scale in (1.0, 4.0):
        module.scale.fill_(scale)
        module.shift.fill_(scale - 1.0)
        measure("policy", module, export_graph(module, signature, "policy"), signature, samples)


def test_any_batch_size_runs(bundle_path, samples):
    bundle = read_bundle(bundle_path)
    for name, signature in bundle.manifest.signatures.items():
        session = onnxruntime.InferenceSession(bundle.graphs[name])
        for size in (1, 3, 64):
            given = {key: samples[key][:size] for key, _ in signature.inputs}
            for (_, width), value in zip(signature.outputs, session.run(None, given), strict=True):
                assert value.shape == (size, width)
                assert value.dtype == np.float32


def test_an_encoder_may_see_the_next_observation(tmp_path, networks, samples, describe):
    networks["encoder"] = type(networks["encoder"])(inputs=13).eval()
    description = describe(context_has_next_observation=True)
    bundle = write_bundle(tmp_path / "b", description, samples=samples, **networks)
    assert read_bundle(tmp_path / "b").id == bundle.id


def test_failing_parity_writes_nothing_and_keeps_what_was_there(
    tmp_path, networks, samples, describe
):
    class Unsteady(type(networks["decoder"])):
        """Differs from its own export: tracing sees one branch, running takes the other."""

        def forward(self, *inputs):
            shift = 0.0 if torch.compiler.is_compiling() else 0.01
            return super().forward(*inputs) + shift

    path = tmp_path / "policy.bundle"
    path.write_bytes(b"old")
    networks["decoder"] = Unsteady().eval()
    with pytest.raises(ParityError, match=r"decoder\.reward: .* at most 1e-05 is allowed"):
        write_bundle(path, describe(), samples=samples, **networks)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_module_in_training_mode_is_refused(tmp_path, networks, samples, describe):
    networks["encoder"].train()
    with pytest.raises(ValueError, match=r"encoder\.onnx: the module is in training mode"):
        write_bundle(tmp_path / "b", describe(), samples=samples, **networks)


def test_samples_that_do_not_fit_are_refused_by_name(tmp_path, networks, samples, describe):
    del samples["reward"]
    with pytest.raises(ValueError, match=r"encoder\.onnx: samples lack 'reward'"):
        write_bundle(tmp_path / "b", describe(), samples=samples, **networks)
    samples["z"] = samples["z"][:, :2]
    with pytest.raises(ValueError, match=r"samples 'z' are float32 \(64, 2\), expected"):
        write_bundle(tmp_path / "b", describe(), samples=samples, **networks)
    assert not list(tmp_path.iterdir())


def test_a_likelihood_belongs_to_a_description_with_particles(
    tmp_path, networks, samples, describe
):
    likelihood = LogLikelihood(networks["decoder"]).eval()
    with pytest.raises(ValueError, match=r"likelihood\.onnx: give a module and .* together"):
        write_bundle(tmp_path / "b", describe(), samples=samples, **networks, likelihood=likelihood)
    with pytest.raises(ValueError, match=r"likelihood\.onnx: give a module and .* together"):
        write_bundle(tmp_path / "b", describe(likelihood=PARTICLES), samples=samples, **networks)
    assert not list(tmp_path.iterdir())


def test_a_likelihood_off_from_torch_is_not_written(tmp_path, networks, samples, describe):
    class Unsteady(LogLikelihood):
        def forward(self, *inputs):
            return super().forward(*inputs) * (1.0 if torch.compiler.is_compiling() else 1.001)

    likelihood = Unsteady(networks["decoder"]).eval()
    description = describe(likelihood=PARTICLES)
    with pytest.raises(ParityError, match=r"likelihood\.log_likelihood: .* at most 1e-05"):
        write_bundle(
            tmp_path / "b", description, samples=samples, **networks, likelihood=likelihood
        )
    assert not list(tmp_path.iterdir())


def test_measured_anew_the_same_module_writes_its_new_variance(
    tmp_path, networks, samples, describe
):
    likelihood = LogLikelihood(networks["decoder"]).eval()
    found = []
    for variance in (0.25, 1.0):
        likelihood.variance.fill_(variance)
        bundle = write_bundle(
            tmp_path / "b",
            describe(likelihood=PARTICLES),
            samples=samples,
            **networks,
            likelihood=likelihood,
        )
        session = onnxruntime.InferenceSession(bundle.graphs["likelihood.onnx"])
        inputs = bundle.manifest.signatures["likelihood.onnx"].inputs
        found.append(session.run(None, {key: samples[key] for key, _ in inputs})[0])
    np.testing.assert_allclose(found[0], 4 * found[1], rtol=1e-5)

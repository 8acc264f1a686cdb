"""A small description and its three networks, exported once for the tests that only read."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from fieldtune.export.archive import decode, encode
from fieldtune.export.bundle import MEMBERS, WITH_LIKELIHOOD
from fieldtune.export.manifest import Description, FieldSpec, Likelihood, Provenance
from fieldtune.export.writer import write_bundle

SERVERS_IN_CPP = Path(__file__).parents[2] / "servers" / "cpp"


class Policy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.randn(5))
        self.register_buffer("std", torch.rand(5) + 0.5)
        self.trunk = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        self.head = nn.Linear(32, 4)

    def forward(self, observation: torch.Tensor, z: torch.Tensor) -> tuple[torch.Tensor, ...]:
        features = self.trunk(torch.cat([(observation - self.mean) / self.std, z], -1))
        mean, log_std = self.head(features).chunk(2, -1)
        return mean, log_std.clamp(-5.0, 2.0)


class Encoder(nn.Module):
    def __init__(self, inputs: int = 8) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, 6))

    def forward(self, *transition: torch.Tensor) -> tuple[torch.Tensor, ...]:
        mean, variance = self.net(torch.cat(transition, -1)).chunk(2, -1)
        return mean, nn.functional.softplus(variance).clamp(min=1e-7)


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, observation: torch.Tensor, action: torch.Tensor, z: torch.Tensor):
        return self.net(torch.cat([observation, action, z], -1))


class LogLikelihood(nn.Module):
    """Of a transition: minus the square of what the decoder is off by, over its variance."""

    variance: torch.Tensor

    def __init__(self, decoder: nn.Module, variance: float = 0.25) -> None:
        super().__init__()
        self.decoder = decoder
        self.register_buffer("variance", torch.full((1,), variance))

    def forward(self, *transition: torch.Tensor) -> torch.Tensor:
        observation, action, reward, *_, z = transition
        return -(self.decoder(observation, action, z) - reward).square() / (2 * self.variance)


def make_networks(seed: int = 0) -> dict[str, nn.Module]:
    torch.manual_seed(seed)
    return {"policy": Policy().eval(), "encoder": Encoder().eval(), "decoder": Decoder().eval()}


def make_samples(n: int = 64) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    widths = {"observation": 5, "action": 2, "reward": 1, "z": 3, "next_observation": 5}
    return {key: rng.normal(size=(n, w)).astype(np.float32) for key, w in widths.items()}


def make_description(**changes: object) -> Description:
    inf = float("inf")
    values = {
        "family": "reach",
        "robot": "sawyer",
        "observation_fields": (
            FieldSpec(name="hand_pos", unit="m", low=(-1.0, -1.0, 0.1), high=(1.0, 1.0, 1.0)),
            FieldSpec(name="hand_vel", unit="m/s", low=(-inf,) * 2, high=(inf,) * 2),
        ),
        "action_fields": (
            FieldSpec(name="hand_delta", unit="m", low=(-0.05,) * 2, high=(0.05,) * 2),
        ),
        "period_s": 0.05,
        "horizon": 50,
        "latent_size": 3,
        "task_embeddings": ((0.1, 0.2, 0.0004), (-1.0, 1 / 3, 2.0)),
        "provenance": Provenance(
            fieldtune_version="0.1.0",
            dataset="reach-scripted",
            config_sha256="0" * 64,
            seed=0,
            phase="offline",
            updates=10,
        ),
    }
    return Description(**(values | changes))


PARTICLES = {
    "particles": ((0.5, -0.5, 1 / 3), (1.0, 2.0, -1.0)),
    "reward_variance": 0.25,
    "unlike_below": -1.5,
}


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good bundle, not to be altered in place."""
    path = tmp_path_factory.mktemp("bundle") / "policy.bundle"
    write_bundle(path, make_description(), samples=make_samples(), **make_networks())
    return path


@pytest.fixture(scope="session")
def particle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good bundle with particles, not to be altered in place."""
    path = tmp_path_factory.mktemp("bundle") / "particles.bundle"
    made = make_networks()
    made["likelihood"] = LogLikelihood(made["decoder"]).eval()
    description = make_description(likelihood=Likelihood(**PARTICLES))
    write_bundle(path, description, samples=make_samples(), **made)
    return path


@pytest.fixture
def networks() -> dict[str, nn.Module]:
    """Fresh modules, always with the same weights."""
    return make_networks()


@pytest.fixture
def samples() -> dict[str, np.ndarray]:
    return make_samples()


@pytest.fixture
def describe() -> Callable[..., Description]:
    return make_description


@pytest.fixture
def reseal(bundle_path: Path, particle_path: Path) -> Callable[..., bytes]:
    """The good bundle with some members changed, and a right digest: what a forger could send.

    `particles` takes the good bundle with particles.
    """

    def changed(particles: bool = False, **edits: Callable[[bytes], bytes]) -> bytes:
        names = WITH_LIKELIHOOD if particles else MEMBERS
        members = decode((particle_path if particles else bundle_path).read_bytes(), names)
        for name, edit in edits.items():
            full = "manifest.json" if name == "manifest" else f"{name}.onnx"
            members[full] = edit(members[full])
        return encode(members)

    return changed


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library and its tools, built as servers/cpp/README.md says.

    `FIELDTUNE_ONNXRUNTIME` names a shared library for a wheel that brings none (before 1.19); the
    tests compare bits, so it has to be of the installed onnxruntime's version.
    """
    if not shutil.which("cmake") or not shutil.which("c++"):
        pytest.skip("no CMake or C++ compiler: scripts/setup.sh installs cmake and g++")
    runtimes = sorted(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so*"))
    if named := os.environ.get("FIELDTUNE_ONNXRUNTIME"):
        runtimes = [Path(named)]
    if not runtimes:
        pytest.skip("this onnxruntime has no shared library of its own")
    folder = tmp_path_factory.mktemp("cpp")
    command = ["cmake", "-S", SERVERS_IN_CPP, "-B", folder, "-DFIELDTUNE_TOOLS=ON"]
    command += ["-DCMAKE_CXX_FLAGS_RELEASE=-O0", f"-DFIELDTUNE_ONNXRUNTIME={runtimes[0]}"]
    configured = subprocess.run(command, capture_output=True, text=True)
    if "Could NOT find OpenSSL" in configured.stderr or "nlohmann_json" in configured.stderr:
        pytest.skip("no libssl-dev or nlohmann-json3-dev: scripts/setup.sh installs them")
    assert configured.returncode == 0, configured.stderr
    subprocess.run(["cmake", "--build", folder, "-j2"], check=True, capture_output=True)
    return folder

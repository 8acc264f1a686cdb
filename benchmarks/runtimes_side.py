"""Random steps through every bundle of a folder by this interpreter's runtime.

`python -m benchmarks.runtimes_side FOLDER OUT [--openvino]` writes what comes out of each, in the
order of servers/cpp/tools/steps.cpp, and prints the runtime's version. No torch, so that an
interpreter with another onnxruntime needs little.
"""

from __future__ import annotations

import sys
import types
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from fieldtune.export.bundle import Bundle, read_bundle
from fieldtune.export.manifest import Manifest
from fieldtune.robot.policy.particles import ParticlePosterior
from fieldtune.robot.policy.policy import Policy
from fieldtune.robot.policy.posterior import GaussianPosterior

Floats = NDArray[np.float64]
STEPS = 1000
OUTPUTS = (
    *("mean", "log_std", "action", "reward"),
    *("factor mean", "factor variance", "log-weights"),
)


def steps_of(manifest: Manifest) -> Floats:
    """Inputs of `STEPS` steps, a row each: observation, z, normal, action, reward, next
    observation, uniform; actions within their bounds."""
    rng = np.random.default_rng(0)
    low, high = (
        np.array([value for field in manifest.action_fields for value in getattr(field, end)])
        for end in ("low", "high")
    )
    seen, latent, moved = manifest.observation_width, manifest.latent_size, len(low)
    return np.hstack(
        [
            rng.standard_normal((STEPS, seen + latent + moved)),
            rng.uniform(low, high, (STEPS, moved)),
            rng.standard_normal((STEPS, 1 + seen)),
            rng.random((STEPS, 1)),
        ]
    )


def columns(manifest: Manifest) -> dict[str, slice]:
    """Where each of `OUTPUTS` is in a row of what comes out."""
    assert manifest.likelihood is not None
    moved, latent = manifest.action_width, manifest.latent_size
    widths = {
        "mean": moved,
        "log_std": moved,
        "action": moved,
        "drawn action": moved,
        "reward": 1,
        "factor mean": latent,
        "factor variance": latent,
        "posterior": latent,
        "log-weights": len(manifest.likelihood.particles),
    }
    found, start = {}, 0
    for name, width in widths.items():
        found[name] = slice(start, start + width)
        start += width
    return {name: found[name] for name in OUTPUTS}


class OpenVino:
    """Stands in for a session of ONNX Runtime."""

    def __init__(self, graph: bytes) -> None:
        import openvino  # pyright: ignore[reportMissingImports]  # an extra

        core = openvino.Core()
        model = core.read_model(BytesIO(graph))
        self._compiled: Any = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(self, outputs: list[str], inputs: dict[str, NDArray[np.float32]]) -> list[Any]:
        found = self._compiled(inputs)
        return [found[name].copy() for name in outputs]


def policy_of(bundle: Bundle, openvino: bool) -> Policy:
    policy = Policy(bundle)
    if openvino:
        for graph in (policy._policy, policy._encoder, policy._decoder, policy._likelihood):
            assert graph is not None
            graph._session = OpenVino(bundle.graphs[graph.name])
    return policy


def numbers(policy: Policy) -> Floats:
    """What comes out of every step, `(step, number)`."""
    known = policy.manifest
    seen, latent, moved = known.observation_width, known.latent_size, known.action_width
    places = np.cumsum((seen, latent, moved, moved, 1, seen))[:-1]
    particles = policy.prior()
    gaussian = GaussianPosterior.prior(latent, prior_factor=known.prior_factor)
    rows = []
    for step in steps_of(known):
        o, z, normal, a, (reward,), after = np.split(step[:-1], places)
        draws: Any = types.SimpleNamespace(standard_normal=lambda _, normal=normal: normal)
        mean, log_std = policy._policy(o, z)
        factor = policy.encode(o, a, reward, after)
        gaussian = gaussian.update(*factor)
        particles = policy.update(particles, o, a, reward, after)
        assert isinstance(particles, ParticlePosterior)
        acted = (*policy.act(o, z), *policy.act(o, z, draws, noise=0.5))
        decoded = policy.decode(o, a, z)
        rows.append([*mean, *log_std, *acted, decoded, *factor[0], *factor[1]])
        rows[-1] += [*gaussian.mean, *particles.log_weights]
    return np.array(rows)


def main() -> None:
    folder, out, openvino = Path(sys.argv[1]), Path(sys.argv[2]), "--openvino" in sys.argv
    out.mkdir(exist_ok=True)
    for path in sorted(folder.glob("*.bundle")):
        found = numbers(policy_of(read_bundle(path), openvino))
        found.tofile(out / f"{path.stem}.found")
    version = onnxruntime.__version__
    if openvino:
        import openvino as runtime  # pyright: ignore[reportMissingImports]

        version = runtime.__version__.partition("-")[0]
    print(version)


if __name__ == "__main__":
    main()

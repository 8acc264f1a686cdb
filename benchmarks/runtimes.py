"""The same bundles by every runtime that is at hand, for every family: how far apart they are.

`python -m benchmarks.runtimes FOLDER [--python NAME=PATH ...] [--openvino NAME=PATH ...]
[--cpp NAME=LIBRARY ...]`. A bundle of each file in configs/ is made in FOLDER, with its fields and
sizes and weights that have learned nothing, and 200 particles; then 1,000 random steps go through
each: what the graphs give, the action, and the likelihood posterior. Everything is compared with
this interpreter's ONNX Runtime. `--python` names an interpreter with another onnxruntime,
`--openvino` one that has openvino too, `--cpp` a shared library of ONNX Runtime for the library of
servers/cpp. The status is 1 where something is further off than a bundle allows.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.cpp import build
from benchmarks.processes import ROOT, environment
from benchmarks.runtimes_side import OUTPUTS, columns, steps_of
from fieldtune.export.bundle import read_bundle
from fieldtune.export.manifest import PARITY_LIMIT, Description, Likelihood, Manifest, Provenance
from fieldtune.export.writer import write_bundle
from fieldtune.sim.family import bounds
from fieldtune.sim.registry import family as make_family
from fieldtune.train.agent.agent import Shape
from fieldtune.train.agent.normalisation import Normalisation
from fieldtune.train.algorithms.algorithm import Exportable
from fieldtune.train.algorithms.registry import fresh
from fieldtune.train.runs.bundles import field_specs
from fieldtune.train.runs.config_file import load_config

Floats = NDArray[np.float64]
PARTICLES = 200


def make(config: Path, path: Path) -> None:
    """The bundle of a configuration, untrained."""
    known, rng = load_config(config), np.random.default_rng(0)
    one = make_family(known.family, **known.family_options)
    low, high = bounds(one.action_fields)
    seen = sum(field.width for field in one.observation_fields)
    constants = Normalisation(
        np.zeros(seen, np.float32),
        np.ones(seen, np.float32),
        ((high + low) / 2).astype(np.float32),
        ((high - low) / 2).astype(np.float32),
        reward_mean=-0.5,
        reward_std=1.0,
    )
    shape = Shape(
        observation=seen,
        action=len(low),
        next_in_context=one.dynamics_vary,
        sparse_reward=one.sparse_reward,
        reward_bounds=one.reward_bounds,
    )
    torch.manual_seed(0)
    settings = known.algorithm
    algorithm = fresh(settings.name, shape, constants, settings, 1e-3)
    assert isinstance(algorithm, Exportable)
    graphs = algorithm.graphs()
    latent = graphs.latent_size
    particles = tuple(tuple(row) for row in rng.standard_normal((PARTICLES, latent)).tolist())
    description = Description(
        family=one.name,
        robot=one.robot,
        observation_fields=field_specs(one.observation_fields),
        action_fields=field_specs(one.action_fields),
        period_s=one.period_s,
        horizon=one.horizon,
        latent_size=latent,
        context_has_next_observation=graphs.next_in_context,
        sparse_reward=graphs.sparse_reward,
        prior_factor=graphs.prior_factor,
        task_embeddings=particles[:4],
        likelihood=Likelihood(
            particles=particles,
            reward_variance=1.0,
            change_variance=(1.0,) * seen if one.dynamics_vary else None,
            unlike_below=-1e6,
        ),
        provenance=Provenance(
            fieldtune_version="benchmark",
            dataset="none",
            config_sha256="0" * 64,
            seed=0,
            phase="offline",
            updates=0,
        ),
    )
    widths = {"observation": seen, "next_observation": seen, "reward": 1, "z": latent}
    samples = {
        name: rng.standard_normal((64, width)).astype(np.float32) for name, width in widths.items()
    }
    samples["action"] = rng.uniform(low, high, (64, len(low))).astype(np.float32)
    write_bundle(
        path,
        description,
        policy=graphs.policy,
        encoder=graphs.encoder,
        decoder=graphs.decoder,
        likelihood=graphs.likelihood,
        samples=samples,
    )


def apart(manifest: Manifest, found: Floats, wanted: Floats) -> dict[str, float]:
    """The largest difference of each of `OUTPUTS`: of the action as a share of its range, of the
    others relative to the largest value."""
    measured = {}
    for name, part in columns(manifest).items():
        difference = np.abs(found[:, part] - wanted[:, part])
        scale = np.abs(wanted[:, part]).max() or 1.0
        if name == "action":
            low, high = (
                np.array(
                    [value for field in manifest.action_fields for value in getattr(field, end)]
                )
                for end in ("low", "high")
            )
            scale = high - low
        measured[name] = float((difference / scale).max())
    return measured


def by_python(python: str, folder: Path, out: Path, *, openvino: bool = False) -> str:
    """Every bundle's steps by another interpreter, into `out`; the version that it names."""
    command = [python, "-m", "benchmarks.runtimes_side", str(folder), str(out)]
    command += ["--openvino"] if openvino else []
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout.strip()


def by_cpp(program: Path, library: str, folder: Path, out: Path) -> None:
    """Every bundle's steps by the C++ library, into `out`."""
    out.mkdir(exist_ok=True)
    for bundle in sorted(folder.glob("*.bundle")):
        words = (program, bundle, folder / f"{bundle.stem}.steps", out / f"{bundle.stem}.found")
        subprocess.run(
            [str(word) for word in words],
            env=os.environ | {"FIELDTUNE_ONNXRUNTIME": library},
            check=True,
        )


def read(bundle: Path, out: Path) -> Floats:
    """What one runtime gave for a bundle, `(step, number)`."""
    steps = len(steps_of(read_bundle(bundle).manifest))
    return np.fromfile(out / f"{bundle.stem}.found").reshape(steps, -1)


def named(texts: Sequence[str]) -> dict[str, str]:
    return dict(text.split("=", 1) for text in texts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    several: dict[str, Any] = {"default": [], "metavar": "NAME=PATH"}
    parser.add_argument("--python", action="append", **several)
    parser.add_argument("--openvino", action="append", **several)
    parser.add_argument("--cpp", action="append", **several)
    parser.add_argument("--configs", type=Path, nargs="+", help="in the place of all in configs/")
    options = parser.parse_args()
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    for config in options.configs or sorted((ROOT / "configs").glob("*.yaml")):
        path = folder / f"{config.stem}.bundle"
        if not path.exists():
            make(config, path)
        steps_of(read_bundle(path).manifest).tofile(folder / f"{config.stem}.steps")
    sides = {"this": "ONNX Runtime " + by_python(sys.executable, folder, folder / "this")}
    for kind in ("python", "openvino"):
        for name, python in named(getattr(options, kind)).items():
            version = by_python(python, folder, folder / name, openvino=kind == "openvino")
            sides[name] = f"{'OpenVINO' if kind == 'openvino' else 'ONNX Runtime'} {version}"
    if options.cpp:
        program = build(folder / "build", "fieldtune_steps")
        if isinstance(program, str):
            raise SystemExit(program)
        for name, library in named(options.cpp).items():
            by_cpp(program, library, folder, folder / name)
            sides[name] = f"fieldtune::Policy on {Path(library).name}"
    bundles, worst = sorted(folder.glob("*.bundle")), 0.0
    print(f"{len(bundles)} bundles: {', '.join(path.stem for path in bundles)}\n")
    print(f"| compared with {sides.pop('this')} | {' | '.join(OUTPUTS)} | furthest off |")
    print("|---" * (len(OUTPUTS) + 2) + "|")
    for name, described in sides.items():
        found = {
            path.stem: apart(
                read_bundle(path).manifest, read(path, folder / name), read(path, folder / "this")
            )
            for path in bundles
        }
        most = [max(one[output] for one in found.values()) for output in OUTPUTS]
        stem = max(found, key=lambda one: max(found[one].values()))
        print(f"| {described} | {' | '.join(f'{value:.1e}' for value in most)} | {stem} |")
        worst = max(worst, *most)
    if not worst <= PARITY_LIMIT:
        raise SystemExit(f"BROKEN: {worst:.1e} apart, {PARITY_LIMIT:g} is allowed")


if __name__ == "__main__":
    main()

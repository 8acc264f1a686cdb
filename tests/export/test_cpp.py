"""The C++ library of servers/cpp beside the Python that it repeats: verdicts and numbers."""

from __future__ import annotations

import json
import re
import subprocess
import types
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import pytest
from pydantic import BaseModel

from fieldtune.export.bundle import BundleError, file_entry, pack_bundle, read_bundle
from fieldtune.export.convert import convert
from fieldtune.export.graph import OPERATORS
from fieldtune.export.manifest import Manifest
from fieldtune.robot.policy.particles import ParticlePosterior
from fieldtune.robot.policy.policy import Policy
from fieldtune.robot.policy.posterior import GaussianPosterior
from fieldtune.robot.policy.refinement import MOST, PLACES

CPP = Path(__file__).parents[2] / "servers" / "cpp"
VERSION_1 = Path(__file__).parent / "version-1.bundle"
STEPS = 1000
MANY = 30  # particles
CLOSE = 1e-15  # of a range: numpy has its own tanh and exp, of other last bits than the C library's


def said_in_python(path: Path) -> str:
    try:
        return "ok " + read_bundle(path).id
    except BundleError as error:
        return re.sub(r", did you mean '.*?'\?", "", str(error))


def edited(**changes: object) -> Callable[[bytes], bytes]:
    """An edit of the manifest; a name may be a path, as `likelihood__temper`."""

    def edit(content: bytes) -> bytes:
        manifest = json.loads(content)
        for path, value in changes.items():
            *where, last = [int(key) if key.isdigit() else key for key in path.split("__")]
            place = manifest
            for key in where:
                place = place[key]
            if value is ...:
                del place[last]
            else:
                place[last] = value
        return json.dumps(manifest).encode()

    return edit


INFINITY = float("inf")  # json writes it bare, as version 0.1.0 did
MEASURED = {"relative": 1, "absolute": 1, "samples": 1}


def converted(tolerance: float, off: float) -> dict[str, object]:
    difference = {"policy.mean": {"relative": off, "absolute": 1.0, "samples": 3}}
    return {
        "to": "int8",
        "source": "a" * 64,
        "tolerance": tolerance,
        "samples": "some",
        "difference": difference,
    }


FORGED = {
    "missing": edited(family=...),
    "renamed": edited(familly="reach"),
    "version": edited(schema_version=3),
    "text for a number": edited(period_s="soon"),
    "not finite": edited(period_s="Infinity"),
    "negative": edited(horizon=-1),
    "no range": edited(observation_fields__0__low=[2.0, -1.0, 0.1]),
    "fewer bounds": edited(observation_fields__0__low=[-1e-7]),
    "unbounded action": edited(action_fields__0__high=["Infinity", 1e22]),
    "twice": edited(observation_fields__1__name="hand_pos"),
    "z too wide": edited(latent_size=4),
    "phase": edited(provenance__phase="online"),
    "files": edited(files={}),
    "parity": edited(parity={}),
    "parity too large": edited(parity={"policy.mean": MEASURED}),
    "conversion": edited(conversions=[{"to": "fp8"}]),
    "conversion beyond its tolerance": edited(conversions=[converted(1e-5, 5.0)]),
    "conversion without a tolerance": edited(conversions=[converted(1e300, 5.0)]),
    "temper": edited(likelihood__temper=2),
    "particle": edited(likelihood__particles__0=[1.0]),
    "no particles": edited(likelihood__particles=[]),
    "wider robot": edited(observation_fields__0__name=""),
    "infinite text": edited(family=INFINITY),
    "infinite unit": edited(observation_fields__0__unit=-INFINITY),
    "infinite in provenance": edited(provenance__dataset=INFINITY),
    "infinite count": edited(horizon=INFINITY),
    "infinite version": edited(schema_version=INFINITY),
    "infinite period": edited(period_s=-INFINITY),
    "byte order mark": lambda content: b"\xef\xbb\xbf" + content,
    "not an object": lambda _: b"[]",
}


def damaged_graphs(graph: bytes) -> list[bytes]:
    """What a forger could put in the place of a policy, each of another kind."""

    def changed(edit: Callable[[onnx.ModelProto], object]) -> bytes:
        model = onnx.load_model_from_string(graph)
        edit(model)
        return model.SerializeToString()

    def node(*words: object, **attributes: object) -> bytes:
        made = onnx.helper.make_node(*words, **attributes)
        return changed(lambda model: model.graph.node.append(made))

    def external(model: onnx.ModelProto) -> None:
        model.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")

    def transposed(model: onnx.ModelProto) -> None:
        model.graph.initializer[0].dims.append(2)

    inner = onnx.helper.make_graph([], "inner", [], [])
    return [
        b"\xff" * 20,
        graph[:-1],
        graph + b"\x08\x08",
        node("Loop", ["z"], ["y"]),
        node("Relu", ["z"], ["y"], branch=inner),
        node("Relu", ["z"], ["y"], domain="evil"),
        node("Relu", ["nothing"], ["y"]),
        node("Reshape", ["z", "observation"], ["y"]),
        changed(external),
        changed(transposed),
        changed(lambda model: model.opset_import.add(domain="evil", version=1)),
        changed(lambda model: setattr(model.graph.input[0], "name", "obs")),
        changed(lambda model: model.functions.add(name="f")),
    ]


def test_says_of_every_file_what_the_python_reader_says(
    built, tmp_path, particle_path, bundle_path, reseal
):
    """Word for word, good and bad files alike, but for guesses at what a name should have been."""
    good = particle_path.read_bytes()
    files = [b"", b"PK" * 80, good[:-70] + good[-64:], good[:5000] + b"?" + good[5001:]]
    files += [reseal(particles=True, manifest=edit) for edit in FORGED.values()]
    files += [reseal(policy=lambda content: content[:-1])]
    for graph in damaged_graphs(read_bundle(particle_path).graphs["policy.onnx"]):
        entry = edited(**{"files__policy.onnx": file_entry(graph).model_dump()})
        files.append(reseal(particles=True, policy=lambda _, graph=graph: graph, manifest=entry))
    files += [reseal(particles=True, manifest=edited(provenance__warm_start="a" * 64))]
    for unit in ("Infinity", '"-Infinity\\'):  # a text all the same
        files += [reseal(particles=True, manifest=edited(observation_fields__0__unit=unit))]
    paths = [VERSION_1, bundle_path, particle_path, tmp_path, tmp_path / "none"]
    for index, content in enumerate(files):
        paths.append(tmp_path / f"{index}.bundle")
        paths[-1].write_bytes(content)
    run = subprocess.run([built / "fieldtune_check", *paths], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    wanted = [said_in_python(path) for path in paths]
    assert sum(line.startswith("ok ") for line in wanted) == 6
    assert run.stdout.splitlines() == wanted


def models_in(model: type[BaseModel]) -> set[type[BaseModel]]:
    """A pydantic model and those that its fields are made of."""

    def named(annotation: object) -> set[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return models_in(annotation)
        return set().union(*map(named, get_args(annotation)))

    return {model}.union(*(named(field.annotation) for field in model.model_fields.values()))


def test_knows_every_field_of_the_manifest():
    """A field that is new in Python would be refused as unknown here, where a bundle has it."""
    models = models_in(Manifest)
    assert {model.__name__ for model in models} >= {"FieldSpec", "Likelihood", "Provenance"}
    text = (CPP / "src" / "manifest.cpp").read_text()
    unknown = [
        f"{model.__name__}.{name}"
        for model in models
        for name in model.model_fields
        if f'"{name}"' not in text
    ]
    assert unknown == []


def test_knows_the_same_operators():
    text = (CPP / "src" / "graph_tables.hpp").read_text()
    found = re.search(r"kOperators\[\] =(.*?);", text, re.DOTALL)
    assert found
    assert set(re.sub('["\n]', "", found[1]).split()) == OPERATORS


def made_static(path: Path, folder: Path, samples: dict[str, np.ndarray]) -> Path:
    """The same bundle with fixed shapes."""
    made = convert(read_bundle(path), "static", samples, "draws")
    found = folder / "static.bundle"
    found.write_bytes(pack_bundle(made.manifest, made.graphs))
    return found


@pytest.mark.parametrize("which", ["particles", "static", "0.1.0"])
def test_gives_pythons_numbers_on_random_steps(built, tmp_path, particle_path, samples, which):
    """What networks give, sums of it and draws by weight, to the last bit; what passes through tanh
    or exp, within some last bits; posteriors within 1e-5."""
    path = VERSION_1 if which == "0.1.0" else particle_path
    if which == "static":
        path = made_static(path, tmp_path, samples)
    bundle = read_bundle(path)
    policy, rng = Policy(bundle), np.random.default_rng(0)
    known = bundle.manifest
    seen, latent, moved = known.observation_width, known.latent_size, known.action_width
    widths = (seen, latent, moved, moved, 1, seen)
    steps = np.hstack([rng.normal(size=(STEPS, sum(widths))), np.zeros((STEPS, 1))])
    uniforms, steps[:, -1] = np.random.default_rng(1), np.random.default_rng(1).random(STEPS)
    (tmp_path / "steps").write_bytes(steps.tobytes())
    run = subprocess.run(
        [built / "fieldtune_steps", path, tmp_path / "steps", tmp_path / "out"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    found = np.fromfile(tmp_path / "out").reshape(STEPS, -1)

    particles = policy.prior()
    gaussian = GaussianPosterior.prior(latent, prior_factor=known.prior_factor)
    exact, close, likely = [], [], []
    for step in steps:
        o, z, normal, a, (reward,), after = np.split(step[:-1], np.cumsum(widths)[:-1])
        draws = types.SimpleNamespace(standard_normal=lambda _, normal=normal: normal)
        mean, log_std = policy._policy(o, z)
        factor = policy.encode(o, a, reward, after)
        gaussian = gaussian.update(*factor)
        exact.append([*mean, *log_std, policy.decode(o, a, z), *factor[0], *factor[1]])
        exact[-1] += list(gaussian.mean)
        close.append([*policy.act(o, z), *policy.act(o, z, draws, noise=0.5)])
        if isinstance(particles, ParticlePosterior):
            particles = policy.update(particles, o, a, reward, after)
            drawn = particles.sample(uniforms)
            exact[-1] += [*particles.log_weights, *drawn, *particles.likeliest]
            likely.append([*particles.weights, *particles.mean, *particles.variance])
            likely[-1].append(particles.effective)
    places = np.arange(found.shape[1])
    squashed = (places >= 2 * moved) & (places < 4 * moved)
    begins = 4 * moved + 1 + 3 * latent  # where the particles' numbers begin
    many = 0 if policy.particles is None else len(policy.particles)
    weighed = (places >= begins + many) & (places < begins + 2 * many)
    weighed |= places >= begins + 2 * many + 2 * latent
    assert (found[:, ~squashed & ~weighed] == np.array(exact)).all()
    apart = np.abs(found[:, squashed] - np.array(close)) / np.tile(policy.high - policy.low, 2)
    assert apart.max() <= CLOSE
    if many:
        np.testing.assert_allclose(found[:, weighed], np.array(likely), rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("which", ["particles", "static"])
def test_refines_after_an_episode_as_python_does(built, tmp_path, reseal, samples, which):
    """Twice, so that the second's parents are places of the first."""
    many = np.random.default_rng(3).normal(size=(MANY, 3)).tolist()
    path = tmp_path / "many.bundle"
    path.write_bytes(reseal(particles=True, manifest=edited(likelihood__particles=many)))
    if which == "static":
        path = made_static(path, tmp_path, samples)
    bundle = read_bundle(path)
    policy, known = Policy(bundle), bundle.manifest
    widths = (known.observation_width, known.action_width, 1, known.observation_width)
    steps = np.random.default_rng(2).normal(size=(12, sum(widths)))
    (tmp_path / "steps").write_bytes(steps.tobytes())
    command = [built / "fieldtune_refine", path, tmp_path / "steps", tmp_path / "out"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr

    context, posterior, wanted = [], policy.prior(), []
    for half in np.split(steps, 2):
        for step in half:
            o, a, (reward,), after = np.split(step, np.cumsum(widths)[:-1])
            context.append((o, a, reward, after))
            posterior = policy.update(posterior, *context[-1])
        posterior = policy.refined(posterior, context)
        assert isinstance(posterior, ParticlePosterior)
        assert posterior.added == PLACES
        wanted += [posterior.z.ravel(), posterior.log_weights, posterior.likeliest]
        wanted.append([posterior.effective, posterior.explained])
    assert len({tuple(z) for z in posterior.z}) > MANY + PLACES / 2  # they lie apart
    found = np.fromfile(tmp_path / "out")
    np.testing.assert_allclose(found, np.concatenate(wanted), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("why", ["many", "sparse"])
def test_what_cannot_be_refined_stays(built, tmp_path, reseal, particle_path, why):
    """More than `MOST` transitions are not weighed anew, nor any where rewards are −1 or 0."""
    known = read_bundle(particle_path).manifest
    width = 2 * known.observation_width + known.action_width + 1
    path = particle_path
    if why == "sparse":
        path = tmp_path / "sparse.bundle"
        path.write_bytes(reseal(particles=True, manifest=edited(sparse_reward=True)))
    steps = np.full((2 * (MOST + 1) if why == "many" else 4, width), -1.0)
    (tmp_path / "steps").write_bytes(steps.tobytes())
    command = [built / "fieldtune_refine", path, tmp_path / "steps", tmp_path / "out"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (1, "it was not refined\n")
    assert (tmp_path / "out").read_bytes() == b""


def test_the_constants_of_refinement_are_pythons():
    text = (CPP / "include" / "fieldtune" / "refinement.hpp").read_text()
    found = dict(re.findall(r"constexpr std::size_t k(\w+) = (\d+);", text))
    assert found == {"Places": str(PLACES), "Most": str(MOST)}

"""A real robot small enough to think about, and bundles for it.

The robot is a point mass pushed by a force, integrated exactly; it implements the driver protocol
in full. Bundles are real ones: three ONNX graphs, packed and verified.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from fieldtune.export.bundle import file_entry, pack_bundle, parse_bundle
from fieldtune.export.manifest import (
    LIKELIHOOD,
    Description,
    FieldSpec,
    Likelihood,
    Manifest,
    Parity,
    Provenance,
)
from fieldtune.robot.config import RobotConfig
from fieldtune.robot.drivers.driver import DriverFault, Observation
from fieldtune.robot.episodes.episode import Episode
from fieldtune.robot.journal.journal import Journal

ROOT = Path(__file__).parents[2]

OBSERVATION = (
    FieldSpec(name="position", unit="m", low=(-100.0,), high=(100.0,)),
    FieldSpec(name="velocity", unit="m/s", low=(-math.inf,), high=(math.inf,)),
)
ACTION = (FieldSpec(name="force", unit="N", low=(-2.0,), high=(2.0,)),)


@dataclass
class PointMass:
    """A 1 kg mass on a line. `trouble` is called before each `apply` and may raise or spoil it."""

    observation_fields: tuple[FieldSpec, ...] = OBSERVATION
    action_fields: tuple[FieldSpec, ...] = ACTION
    period_s: float = 0.05
    time_scale: float = math.inf
    robot: str = "mass"
    held: int = 0
    closed: int = 0
    commands: list[float] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    trouble: Callable[[PointMass], None] = lambda _: None
    state: np.ndarray = field(default_factory=lambda: np.zeros(2))
    age_ns: int = 0
    terminated: bool = False
    connected: bool = False

    def connect(self) -> None:
        self.connected = True

    def home(self, seed: int) -> None:
        self.starts.append(seed)
        self.state = np.array([np.random.default_rng(seed).normal() * 0.1, 0.0])
        self.terminated = False

    def read(self) -> Observation:
        if not self.connected:
            raise DriverFault("not connected")
        return Observation(self.state.copy(), time.monotonic_ns() - self.age_ns, self.terminated)

    def apply(self, action: np.ndarray) -> np.ndarray:
        self.trouble(self)
        self.commands.append(float(action[0]))
        position, velocity = self.state
        t, a = self.period_s, float(action[0])
        with np.errstate(invalid="ignore"):  # a test may break time itself
            self.state = np.array([position + velocity * t + a * t * t / 2, velocity + a * t])
        return action

    def hold(self) -> None:
        self.held += 1

    def close(self) -> None:
        self.hold()
        self.closed += 1
        self.connected = False

    def reward(self, observation, action, next_observation) -> float:  # noqa: ARG002
        return -abs(float(next_observation[0]) - 1.0)


@pytest.fixture
def mass() -> PointMass:
    return PointMass()


def linear(inputs: dict[str, int], outputs: dict[str, tuple[np.ndarray, np.ndarray, str]]) -> bytes:
    """A graph `output = f(concatenated inputs @ W + b)` for each output; f is "" or an operator."""
    nodes = [helper.make_node("Concat", list(inputs), ["all"], axis=1)]
    constants = []
    for name, (weights, bias, operator) in outputs.items():
        constants.append(numpy_helper.from_array(weights.astype(np.float32), f"W_{name}"))
        constants.append(numpy_helper.from_array(bias.astype(np.float32), f"b_{name}"))
        last = f"{name}_raw" if operator else name
        nodes.append(helper.make_node("Gemm", ["all", f"W_{name}", f"b_{name}"], [last]))
        if operator:
            nodes.append(helper.make_node(operator, [last], [name]))

    def values(widths: dict[str, int]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])
            for name, width in widths.items()
        ]

    graph = helper.make_graph(
        nodes,
        "linear",
        values(inputs),
        values({name: len(bias) for name, (_, bias, _) in outputs.items()}),
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return model.SerializeToString()


def policy_graph(
    nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray] | None = None
) -> bytes:
    """A policy for the point mass that is only these nodes, from `observation` and `z` to `mean`;
    `log_std` is -3 each."""
    plain = onnx.load_model_from_string(
        linear(
            {"observation": 2, "z": 2},
            {
                "mean": (np.zeros((4, 1)), np.zeros(1), ""),
                "log_std": (np.zeros((4, 1)), np.full(1, -3.0), ""),
            },
        )
    )
    kept = [node for node in plain.graph.node if "mean" not in node.output]
    del plain.graph.node[:]
    plain.graph.node.extend([*kept, *nodes])
    for name, value in (constants or {}).items():
        plain.graph.initializer.append(numpy_helper.from_array(value, name))
    return plain.SerializeToString()


def integers(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


TO_ONE = helper.make_node("ReduceMean", ["wide", "axes"], ["mean"], keepdims=1)
BOTH_AXES = {"axes": integers(0, 1)}

# Policies that only running them shows to be wrong, and what is said of them.
MISBEHAVING = {
    "a place that is not there": (
        [
            helper.make_node("Gather", ["observation", "place"], ["wide"], axis=1),
            TO_ONE,
        ],
        BOTH_AXES | {"place": integers(5)},
        "policy.onnx cannot be run",
    ),
    "a scalar": (
        [helper.make_node("ReduceSum", ["observation"], ["mean"], keepdims=0)],
        {},
        r"gives mean, log_std of shapes \[\(\), \(1, 1\)\], expected \[\(1, 1\), \(1, 1\)\]",
    ),
    "too wide": (
        [helper.make_node("Identity", ["observation"], ["mean"])],
        {},
        r"shapes \[\(1, 2\)",
    ),
    "no row": (
        [
            helper.make_node("Slice", ["z", "none", "none", "axis"], ["gone"]),
            helper.make_node("ReduceMean", ["gone", "columns"], ["mean"], keepdims=1),
        ],
        {"none": integers(0), "axis": integers(0), "columns": integers(1)},
        r"shapes \[\(0, 1\)",
    ),
    "no number for large observations": (
        [
            helper.make_node("Mul", ["observation", "huge"], ["wide"]),
            helper.make_node("Sub", ["wide", "wide"], ["nothing"]),
            helper.make_node("ReduceMean", ["nothing", "axes"], ["mean"], keepdims=1),
        ],
        BOTH_AXES | {"huge": np.array(1e37, np.float32)},
        r"policy.onnx gives the action \[nan\] for the observation \[",
    ),
    "more memory than there is": (
        [
            helper.make_node("Identity", ["observation"], ["w0"]),
            *(
                helper.make_node("Concat", [f"w{n}", f"w{n}"], [f"w{n + 1}"], axis=1)
                for n in range(34)
            ),
            helper.make_node("Identity", ["w34"], ["wide"]),
            TO_ONE,
        ],
        BOTH_AXES,
        "policy.onnx cannot be run|it needs more than|trial",
    ),
}


def endless(multiplications: int = 5_000) -> bytes:
    """A policy that would come to an end after many minutes."""
    size = 1_000
    return policy_graph(
        [
            helper.make_node("ReduceMean", ["observation", "axes"], ["one"], keepdims=1),
            helper.make_node("Mul", ["matrix", "one"], ["m0"]),
            *(
                helper.make_node("MatMul", [f"m{n}", "matrix"], [f"m{n + 1}"])
                for n in range(multiplications)
            ),
            helper.make_node("Identity", [f"m{multiplications}"], ["wide"]),
            TO_ONE,
        ],
        BOTH_AXES | {"matrix": np.full((size, size), 1.0 / size, np.float32)},
    )


def squares(inputs: dict[str, int], weights: np.ndarray) -> bytes:
    """A likelihood `−½ |concatenated inputs @ weights|²`."""
    model = onnx.load_model_from_string(
        linear(inputs, {"log_likelihood": (weights, np.zeros(weights.shape[1]), "")})
    )
    graph = model.graph
    graph.node[-1].output[0] = "off"
    graph.node.extend(
        [
            helper.make_node("Mul", ["off", "off"], ["squared"]),
            helper.make_node("ReduceSum", ["squared", "columns"], ["sum"], keepdims=1),
            helper.make_node("Mul", ["sum", "half"], ["log_likelihood"]),
        ]
    )
    for name, value in {"columns": integers(1), "half": np.array(-0.5, np.float32)}.items():
        graph.initializer.append(numpy_helper.from_array(value, name))
    graph.output[0].type.tensor_type.shape.dim[1].dim_value = 1
    return model.SerializeToString()


LATENT = 2
PARTICLES = ((0.5, 0.0), (-0.5, 1.0), (-2.0, -1.0), (3.0, 2.0))
SHAPE = {"observation": 2, "action": 1, "reward": 1, "z": LATENT}


@pytest.fixture
def point_bundle(tmp_path) -> Callable[..., Path]:
    """Write a bundle for the point mass: it pushes along z[0], and its encoder reads the reward.

    `push` scales the policy; `reward` the decoder; `next_observation` adds it to the encoder;
    `particles` adds a likelihood, by which z[0] is what rewards are (and z[1] the next position),
    with a deviation of 1; `replaced` has other graphs by name.
    """

    def make(
        path: Path | None = None,
        *,
        push: float = 1.0,
        log_std: float = -3.0,
        reward: float = 1.0,
        next_observation: bool = False,
        latent: int = LATENT,
        particles: tuple[tuple[float, ...], ...] | None = None,
        unlike_below: float = -1e6,
        replaced: dict[str, bytes] | None = None,
        **changes: object,
    ) -> Path:
        shape = SHAPE | {"z": latent}
        fields = changes.get("observation_fields", OBSERVATION)
        shape["observation"] = sum(field.width for field in fields)
        seen, rows = shape["observation"], shape["observation"] + latent
        mean = np.zeros((rows, 1))
        mean[seen, 0] = push
        policy = linear(
            {"observation": seen, "z": latent},
            {
                "mean": (mean, np.zeros(1), ""),
                "log_std": (np.zeros((rows, 1)), np.full(1, log_std), ""),
            },
        )
        context = {"observation": seen, "action": 1, "reward": 1}
        if next_observation:
            context["next_observation"] = seen
        width = sum(context.values())
        factor = np.zeros((width, latent))
        factor[seen + 1, 0] = 1.0
        if next_observation:
            factor[seen + 2, 1] = 1.0
        encoder = linear(
            context,
            {
                "mean": (factor, np.zeros(latent), ""),
                "variance": (np.zeros((width, latent)), np.full(latent, 1.0), "Softplus"),
            },
        )
        weights = np.zeros((seen + 1 + latent, 1))
        weights[seen + 1, 0] = reward
        decoder = linear(
            {"observation": seen, "action": 1, "z": latent},
            {"reward": (weights, np.zeros(1), "")},
        )
        graphs = {"policy.onnx": policy, "encoder.onnx": encoder, "decoder.onnx": decoder}
        if particles is not None:
            inputs = context | {"z": latent}
            off = np.zeros((width + latent, 2 if next_observation else 1))
            off[seen + 1, 0], off[width, 0] = 1.0, -1.0
            if next_observation:
                off[seen + 2, 1], off[width + 1, 1] = 1.0, -1.0
            graphs[LIKELIHOOD] = squares(inputs, off)
        graphs |= replaced or {}
        known = None
        if particles is not None:
            known = Likelihood(particles=particles, reward_variance=1.0, unlike_below=unlike_below)
        values = {
            "family": "points",
            "robot": "mass",
            "observation_fields": OBSERVATION,
            "action_fields": ACTION,
            "period_s": 0.05,
            "horizon": 5,
            "latent_size": latent,
            "context_has_next_observation": next_observation,
            "likelihood": known,
            "task_embeddings": ((1.0,) * latent, (2.0,) * latent, (-1.0,) * latent),
            "provenance": Provenance(
                fieldtune_version="0",
                dataset="points",
                config_sha256="0" * 64,
                seed=0,
                phase="offline",
                updates=0,
            ),
        }
        description = Description(**(values | changes))
        manifest = Manifest(
            **dict(description),
            files={name: file_entry(graph) for name, graph in graphs.items()},
            parity={
                f"{graph.removesuffix('.onnx')}.{name}": Parity(
                    relative=0.0, absolute=0.0, samples=1
                )
                for graph, signature in description.signatures.items()
                for name, _ in signature.outputs
            },
        )
        data = pack_bundle(manifest, graphs)
        identity = parse_bundle(data, source="test").id
        path = path or tmp_path / "state" / "bundles" / f"{identity}.bundle"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    return make


@pytest.fixture(params=MISBEHAVING)
def misbehaving(request, point_bundle) -> tuple[Path, str]:
    """A bundle with a policy that only running it shows to be wrong, and what is said of it."""
    nodes, constants, said = MISBEHAVING[request.param]
    return point_bundle(replaced={"policy.onnx": policy_graph(nodes, constants)}), said


@pytest.fixture
def endless_bundle(point_bundle) -> Path:
    return point_bundle(replaced={"policy.onnx": endless()})


@pytest.fixture
def config(tmp_path) -> RobotConfig:
    return RobotConfig(name="m1", family="points", state_dir=tmp_path / "state")


@dataclass
class LiveRobot:
    """`fieldtune-robot run` as a process, with the driver of live_robot.py."""

    folder: Path
    bundle: Path
    bundle_with: Callable[..., Path]
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(
        self,
        *arguments: str,
        prelude: str = "",
        output: int = subprocess.PIPE,
        patience_s: float = 60.0,
        late_fraction: float = 1.0,
        **driver: object,
    ) -> subprocess.Popen[str]:
        """`prelude` is run in the process before the command, `driver` are its options.

        How late the robot may be is for busy machines, where not given.
        """
        limits: dict[str, object] = {
            "observation_age_s": patience_s,
            "late_fraction": late_fraction,
        }
        looser = ["observation_age_s"] + ["late_fraction"] * (late_fraction > 0.2)
        limits["loosen"] = dict.fromkeys(looser, "tests run on machines that are busy")
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "name": "live",
            "family": "points",
            "driver": {"name": "live", "events": str(self.folder / "events"), **driver},
            "state_dir": str(self.folder / "state"),
            "limits": limits,
            "realtime": {"priority": None, "lock_memory": False},
        }
        config = self.folder / "live.yaml"
        config.write_text(yaml.safe_dump({"robot": settings}), encoding="utf-8")
        self._install()
        command = ["run", "--config", str(config), "--bundle", str(self.bundle), *arguments]
        script = f"{prelude}\nfrom fieldtune.robot.launch import main\nmain()\n"
        paths = [str(self.folder / "plugin"), str(Path(__file__).parent), str(ROOT)]
        process = subprocess.Popen(
            [sys.executable, "-c", script, *command],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            stdout=output,
            stderr=subprocess.STDOUT if output == subprocess.PIPE else output,
            text=True,
        )
        self.running.append(process)
        return process

    def events(self, what: str = "") -> list[tuple[str, int]]:
        """What has happened to the robot, and when; only `what` where given."""
        path = self.folder / "events"
        lines = path.read_text().splitlines() if path.exists() else []
        found = [(name, int(at_ns)) for name, at_ns in (line.split() for line in lines)]
        return [event for event in found if what in ("", event[0])]

    def wait_for(self, what: str, count: int = 1) -> None:
        """Wait until that has happened so often."""
        deadline = time.monotonic() + 120
        while len(self.events(what)) < count:
            ended = self.running[-1].poll()
            assert ended is None, f"status {ended}, {self.events()[-5:]}: {self.said()}"
            assert time.monotonic() < deadline, self.events()[-5:]
            time.sleep(0.005)

    def end(self) -> tuple[int, str]:
        """Wait for the process's end: its status, and what it said."""
        text, _ = self.running[-1].communicate(timeout=240)
        return self.running[-1].returncode, text or ""

    def said(self) -> str:
        output = self.running[-1].stdout
        return output.read() if output is not None else ""

    @property
    def fault(self) -> str:
        path = self.folder / "state" / "fault.txt"
        return path.read_text() if path.exists() else ""

    def episodes(self) -> list[Episode]:
        with Journal.read(self.folder / "state" / "journal.sqlite") as journal:
            return [journal.episode(entry.number) for entry in journal.entries() if entry.footer]

    def _install(self) -> None:
        where = self.folder / "plugin" / "live_robot-1.dist-info"
        where.mkdir(parents=True, exist_ok=True)
        metadata = "Metadata-Version: 2.1\nName: live-robot\nVersion: 1\n"
        (where / "METADATA").write_text(metadata, encoding="utf-8")
        points = "[fieldtune.drivers]\nlive = live_robot:LiveDriver\n"
        (where / "entry_points.txt").write_text(points, encoding="utf-8")


@pytest.fixture
def live(tmp_path, point_bundle) -> Iterator[LiveRobot]:
    def bundle_with(**changes: object) -> Path:
        return point_bundle(tmp_path / "live.bundle", **changes)

    bundle = bundle_with(period_s=0.02, horizon=100_000)
    robot = LiveRobot(tmp_path / "live", bundle, bundle_with)
    yield robot
    for process in robot.running:
        process.kill()
        process.communicate()

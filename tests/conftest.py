"""Episodes, bundles and the wheel, for any test: made without torch and without a robot."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from hypothesis import settings

from fieldtune.export.bundle import file_entry, pack_bundle, parse_bundle
from fieldtune.export.manifest import (
    Description,
    FieldSpec,
    Manifest,
    Parity,
    Provenance,
    Signature,
)
from fieldtune.robot.episodes.episode import (
    EndReason,
    Episode,
    EpisodeFooter,
    EpisodeHeader,
    Mode,
    Step,
)

if TYPE_CHECKING:
    from fieldtune.sim.family import Field, TaskFamily

# A busy machine is slow, which is no fault of what is tested.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

ROOT = Path(__file__).parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: begun last, one of them would have a core to itself."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Makes a distribution as `pip install` leaves it, modules and metadata; gives its folder."""

    def distribution(name: str, entry_points: str, **modules: str) -> Path:
        folder = tmp_path / name
        metadata = folder / f"{name.replace('-', '_')}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(entry_points)
        for module, text in modules.items():
            (folder / f"{module}.py").write_text(text)
            made.append(module)
            sys.modules.pop(module, None)  # another test's of that name
        monkeypatch.syspath_prepend(folder)
        return folder

    made: list[str] = []
    yield distribution
    for module in made:
        sys.modules.pop(module, None)


def _header(number: int = 1, **changes: object) -> EpisodeHeader:
    header = EpisodeHeader(
        robot="sawyer",
        family="reach",
        boot_session="boot",
        number=number,
        trial=0,
        bundle_id="b" * 64,
        mode=Mode.PRIOR,
        seed=7,
        started_ns=number * 1_000_000_000,
        period_s=0.05,
    )
    return msgspec.structs.replace(header, **changes)


def _step(index: int, width: int = 3, **changes: object) -> Step:
    step = Step(
        index=index,
        sense_ns=50_000_000 * index,
        observation=[index + component / 8 for component in range(width)],
        observation_age_ns=120_000,
        requested=[0.25, -0.5],
        applied=[0.25, -0.25],
        reason="action rate",
        z=[0.1, 0.2],
        infer_ns=16_000,
        apply_ns=30_000,
        overrun=False,
    )
    return msgspec.structs.replace(step, **changes)


def _footer(steps: int, **changes: object) -> EpisodeFooter:
    footer = EpisodeFooter(
        end_reason=EndReason.HORIZON, steps=steps, final_observation=[float(steps)] * 3
    )
    return msgspec.structs.replace(footer, **changes)


@pytest.fixture(autouse=True)
def nothing_stays_latched(request) -> Iterator[None]:
    """What a test latches outside of its folders goes with it."""
    yield
    folder = request.node.funcargs.get("tmp_path")
    for temporary in ("/var/tmp", "/dev/shm") if folder is not None else ():
        for place in Path(temporary).glob("fieldtune-fault-*"):
            with contextlib.suppress(OSError):
                if str(folder) in place.read_text(errors="replace"):
                    place.unlink()


@contextlib.contextmanager
def _mounted(folder: Path, *arguments: str | Path) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", *arguments, folder], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture(scope="session")
def mounted() -> Callable[..., contextlib.AbstractContextManager[Path]]:
    """`with mounted(folder, "-t", "tmpfs", "-o", "size=1m", "tmpfs")`: a file system in `folder`,
    for the block; a test that cannot mount here, for want of root, is skipped and says so."""
    return _mounted


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built once, away from it: nothing of a build stays behind."""
    work = tmp_path_factory.mktemp("wheel")
    source = work / "source"
    for package in ("fieldtune", "train", "robot", "sim", "export"):
        shutil.copytree(
            ROOT / package,
            source / package,
            symlinks=True,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "-w", work, source], check=True)
    return next(work.glob("fieldtune-*.whl"))


@pytest.fixture(scope="session")
def make_header() -> Callable[..., EpisodeHeader]:
    return _header


@pytest.fixture(scope="session")
def make_step() -> Callable[..., Step]:
    return _step


@pytest.fixture(scope="session")
def make_footer() -> Callable[..., EpisodeFooter]:
    return _footer


@pytest.fixture(scope="session")
def make_episode() -> Callable[..., Episode]:
    def make(number: int = 1, steps: int = 3, width: int = 3) -> Episode:
        return Episode(_header(number), [_step(i, width) for i in range(steps)], _footer(steps))

    return make


@pytest.fixture(scope="session")
def make_bundle() -> Callable[..., str]:
    """`make_bundle(path, seed=0, padding=0, **changes)` writes a sound bundle; returns its id.

    Its graphs are linear, with weights from `seed`; `padding` adds that many bytes of size.
    """

    def make(path: Path, seed: int = 0, padding: int = 0, **changes: object) -> str:
        description = Description(**(_DESCRIPTION | changes))
        rng = np.random.default_rng(seed)
        signatures = description.signatures
        graphs = {name: _linear(name, signatures[name], rng, padding) for name in signatures}
        parity = {
            f"{name.removesuffix('.onnx')}.{output}": Parity(relative=0.0, absolute=0.0, samples=1)
            for name, signature in signatures.items()
            for output, _ in signature.outputs
        }
        files = {name: file_entry(graph) for name, graph in graphs.items()}
        data = pack_bundle(Manifest(**dict(description), files=files, parity=parity), graphs)
        path.write_bytes(data)
        return parse_bundle(data, source=str(path)).id

    return make


@pytest.fixture(scope="session")
def make_family_bundle(make_bundle: Callable[..., str]) -> Callable[..., str]:
    """`make_family_bundle(path, family, seed=0, **changes)`: as `make_bundle`, for a family's robot
    and its fields."""

    def specs(fields: Sequence[Field]) -> tuple[FieldSpec, ...]:
        return tuple(FieldSpec(name=f.name, unit=f.unit, low=f.low, high=f.high) for f in fields)

    def make(path: Path, family: TaskFamily, seed: int = 0, **changes: object) -> str:
        known: dict[str, object] = {
            "family": family.name,
            "robot": family.robot,
            "observation_fields": specs(family.observation_fields),
            "action_fields": specs(family.action_fields),
            "period_s": family.period_s,
            "horizon": family.horizon,
        }
        return make_bundle(path, seed, **(known | changes))

    return make


_DESCRIPTION: dict[str, object] = {
    "family": "reach",
    "robot": "sawyer",
    "observation_fields": (FieldSpec(name="hand", unit="m", low=(-1.0,) * 3, high=(1.0,) * 3),),
    "action_fields": (FieldSpec(name="delta", unit="m", low=(-0.05,) * 2, high=(0.05,) * 2),),
    "period_s": 0.05,
    "horizon": 50,
    "latent_size": 2,
    "task_embeddings": ((0.1, 0.2), (-1.0, 2.0)),
    "provenance": Provenance(
        fieldtune_version="0.1.0",
        dataset="none",
        config_sha256="0" * 64,
        seed=0,
        phase="offline",
        updates=0,
    ),
}


def _linear(name: str, signature: Signature, rng: np.random.Generator, padding: int) -> bytes:
    """Each output a linear function of the first input, a log-likelihood of z; variances are 1 and
    log-stds -1."""
    from onnx import TensorProto, helper, numpy_helper

    def value(item: tuple[str, int]):
        return helper.make_tensor_value_info(item[0], TensorProto.FLOAT, ["batch", item[1]])

    of_z = signature.outputs[0][0] == "log_likelihood"
    first, width = signature.inputs[-1 if of_z else 0]
    constant = {"variance": 1.0, "log_std": -1.0}
    nodes, weights = [], []
    for output, size in signature.outputs:
        matrix = 0.1 * rng.normal(size=(width, size)) * (output not in constant)
        bias = np.full(size, constant.get(output, 0.0))
        weights.append(numpy_helper.from_array(matrix.astype(np.float32), f"{output}.w"))
        weights.append(numpy_helper.from_array(bias.astype(np.float32), f"{output}.b"))
        nodes.append(helper.make_node("Gemm", [first, f"{output}.w", f"{output}.b"], [output]))
    if padding:
        filler = rng.integers(0, 255, padding, dtype=np.uint8)
        weights.append(numpy_helper.from_array(filler, "filler"))
    graph = helper.make_graph(
        nodes,
        name.removesuffix(".onnx"),
        [value(item) for item in signature.inputs],
        [value(item) for item in signature.outputs],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return model.SerializeToString()

"""Tiny runs, learners and batches, and evaluations with numbers of one's choice."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tensorboard.summary.writer import event_file_writer

from fieldtune.sim.locomotion.cheetah_vel import CheetahVelFamily
from fieldtune.sim.rollout import LabelledEpisode, rollout
from fieldtune.train.agent.agent import Agent, Shape
from fieldtune.train.agent.normalisation import Normalisation
from fieldtune.train.algorithms.smac import Smac, SmacSettings
from fieldtune.train.config import Networks, RunConfig
from fieldtune.train.data.dataset import Dataset, read_dataset, write_dataset
from fieldtune.train.data.replay import Batch
from fieldtune.train.evaluation.results import (
    Adapted,
    DecoderError,
    Evaluation,
    FirstEpisode,
    PhaseResult,
)
from fieldtune.train.phases.offline import train_offline
from fieldtune.train.runs.capabilities import require_self_supervised
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.runs.run import Run
from fieldtune.train.runs.untrained import untrained

STARTING = -14.0  # return without any context


def _adapted(
    rng: np.random.Generator, means: np.ndarray, hardness: np.ndarray, embeddings: np.ndarray
) -> Adapted:
    """One inference, whose mean returns by number of context episodes are near `means`."""
    noise = rng.normal(0, 0.3, (len(means), *embeddings.shape[:2]))
    returns = means[:, None, None] + hardness[:, None] + noise
    first = returns[1] - 0.5
    rewards = np.linspace(1.5, 0.5, 20) * first.mean() / 20
    return Adapted(
        returns=returns.tolist(),
        embeddings=embeddings.tolist(),
        first_episode=FirstEpisode(first.tolist(), rewards.tolist()),
    )


def _phase(
    rng: np.random.Generator, online: float, shift: float, tasks: int, steps: int
) -> PhaseResult:
    repeats, latent = 4, 5
    hardness = rng.normal(0, 0.8, tasks)
    centres = rng.normal(0, [1.5, 1.2, 0.3, 0.1, 0.1], (tasks, latent))
    moved = centres * (1 - 0.3 * shift) + shift * np.array([0.8, 0.5, 0.2, 0, 0])
    offline = -5.0 + hardness[:, None] + rng.normal(0, 0.2, (tasks, repeats))
    own = moved[:, None] + rng.normal(0, 0.3, (tasks, repeats, latent))
    means = np.array([STARTING, (STARTING + online) / 2, online, online + 0.1])
    return PhaseResult(
        encoder=_adapted(rng, means, hardness, own),
        likelihood=_adapted(rng, means + np.array([0, 2, 1, 1]), hardness, own),
        offline_returns=offline.tolist(),
        offline_embeddings=(
            centres[:, None] + rng.normal(0, 0.08, (tasks, repeats, latent))
        ).tolist(),
        updates=4000,
        steps=steps,
    )


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C as Python answers it, whatever a command that ran in this process has left."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def make_evaluation() -> Callable[..., Evaluation]:
    """`make_evaluation(before=-11.0, after=-6.2, oracle=-5.6, tasks=10, **changes)`.

    Returns are near the given means; offline contexts give about −5, random actions −16. None
    leaves a phase out.
    """

    def make(
        *,
        before: float = -11.0,
        after: float | None = -6.2,
        oracle: float | None = -5.6,
        tasks: int = 10,
        explained: float = 0.96,
        **changes: object,
    ) -> Evaluation:
        online = {"before": before, "after": after, "oracle": oracle}
        phases = {
            name: _phase(
                np.random.default_rng([7, seed]),
                value,
                shift=1.5 if name == "before" else 0.3,
                tasks=tasks,
                steps=0 if name == "before" else 20_000,
            )
            for seed, (name, value) in enumerate(online.items())
            if value is not None
        }
        values: dict[str, object] = {
            "family": "reach",
            "seed": 0,
            "dataset": "fieldtune/reach-v0",
            "period_s": 0.05,
            "phases": phases,
            "decoder": DecoderError(root_mean_square=0.0132, explained=explained),
            "random": -16.0,
            "scripted": -2.1,
        }
        return Evaluation(**(values | changes))  # type: ignore[arg-type]

    return make


class ShortCheetah(CheetahVelFamily):
    """cheetah-vel with twenty steps an episode."""

    @property
    def horizon(self) -> int:
        return 20


@pytest.fixture(scope="session")
def short_family() -> ShortCheetah:
    return ShortCheetah()


@pytest.fixture(scope="session")
def random_episodes(
    short_family: ShortCheetah,
) -> tuple[list[LabelledEpisode], list[LabelledEpisode]]:
    """Two random episodes of every task: training tasks' and held-out tasks'."""
    rng = np.random.default_rng(0)
    made = []
    for split, tasks in enumerate((short_family.split().train, short_family.split().test)):
        every = np.repeat(tasks, 2, axis=0)
        simulator = short_family.simulator(len(every))
        made.append(
            rollout(
                simulator,
                short_family,
                lambda observations: rng.uniform(-1, 1, (len(observations), 6)),
                np.arange(len(every)) + 10_000 * split,
                every,
                [index // 2 for index in range(len(every))],
            )
        )
        simulator.close()
    return made[0], made[1]


@pytest.fixture(scope="session")
def dataset_folder(
    tmp_path_factory: pytest.TempPathFactory,
    short_family: ShortCheetah,
    random_episodes: tuple[list[LabelledEpisode], list[LabelledEpisode]],
) -> Path:
    """A whole cheetah-vel dataset, tiny and random. Not to be altered in place."""
    folder = tmp_path_factory.mktemp("dataset") / "cheetah"
    train, test = random_episodes
    write_dataset(folder, short_family, train=train, test=test, how={"policy": "random"})
    return folder


SETTINGS = {
    "family": "cheetah-vel",
    "algorithm": {
        "latent_size": 3,
        "meta_batch": 3,
        "batch": 8,
        "networks": {"encoder": [8], "policy": [8], "critic": [8], "decoder": [8]},
    },
    "offline": {"context": {"source": "transitions", "size": [4, 8]}, "updates": 6},
    "self_supervised": {
        "context": {"source": "trajectories", "trajectories": 2, "size": [4, 8]},
        "updates": 8,
        "first_steps": 40,
        "steps": 200,
        "label_context": 16,
        "publish_every": 4,
        "checkpoint_every": 3,
    },
    "evaluation": {"context_episodes": 2, "repeats": 2},
    "robot": {
        "name": "cheetah",
        "family": "cheetah-vel",
        "exploration": {"prior_episodes": 1, "posterior_episodes": 1},
    },
}


@pytest.fixture(scope="session")
def write_config(dataset_folder: Path) -> Callable[[Path], Path]:
    """`write_config(path)` writes a run's YAML of tiny networks over the tiny dataset."""

    def write(path: Path) -> Path:
        path.write_text(yaml.safe_dump({**SETTINGS, "data": {"path": str(dataset_folder)}}))
        return path

    return write


@pytest.fixture(scope="session")
def make_config(
    tmp_path_factory: pytest.TempPathFactory, write_config: Callable[[Path], Path]
) -> Callable[..., RunConfig]:
    """`make_config("a.b=value", ...)`: the tiny configuration with these overrides."""
    path = write_config(tmp_path_factory.mktemp("config") / "run.yaml")
    return lambda *overrides: load_config(path, overrides=overrides)


@pytest.fixture(scope="session")
def small_dataset(dataset_folder: Path, short_family: ShortCheetah) -> Dataset:
    """The first six training tasks and two held-out ones of the tiny dataset."""
    whole = read_dataset(dataset_folder, short_family)
    return Dataset(
        whole.id, whole.train_tasks[:6], whole.test_tasks[:2], whole.train[:6], whole.test[:2]
    )


@pytest.fixture
def make_run(
    tmp_path: Path,
    make_config: Callable[..., RunConfig],
    small_dataset: Dataset,
    short_family: ShortCheetah,
) -> Callable[..., Run]:
    """`make_run("a.b=value", ..., folder="run")`: a run over the small dataset, nothing trained."""

    def make(*overrides: str, folder: str = "run") -> Run:
        run = Run(make_config(*overrides), tmp_path / folder, short_family, small_dataset)
        run.offline_checkpoint.parent.mkdir(parents=True)
        return run

    return make


@pytest.fixture(scope="session")
def offline_checkpoint(
    tmp_path_factory: pytest.TempPathFactory,
    make_config: Callable[..., RunConfig],
    small_dataset: Dataset,
    short_family: ShortCheetah,
) -> Path:
    """What phase 1 of the tiny configuration leaves."""
    run = Run(make_config(), tmp_path_factory.mktemp("offline"), short_family, small_dataset)
    run.offline_checkpoint.parent.mkdir()
    train_offline(run)
    return run.offline_checkpoint


@pytest.fixture
def run(make_run: Callable[..., Run]) -> Run:
    """`make_run()`."""
    return make_run()


@pytest.fixture
def agent(run: Run) -> Agent:
    """Of `run`, untrained, with weights that are always the same."""
    torch.manual_seed(0)
    return require_self_supervised(run, untrained(run)).agent


@pytest.fixture
def make_trained(make_run: Callable[..., Run], offline_checkpoint: Path) -> Callable[..., Run]:
    """As `make_run`, with phase 1 done; the overrides must not change its networks."""

    def make(*overrides: str, folder: str = "run") -> Run:
        run = make_run(*overrides, folder=folder)
        shutil.copy(offline_checkpoint, run.offline_checkpoint)
        return run

    return make


@pytest.fixture
def make_learner() -> Callable[..., Smac]:
    """`make_learner(seed=0, next_in_context=False, **settings)`: tiny networks, three observed
    numbers, two actions; settings are `SmacSettings`'."""

    def make(seed: int = 0, next_in_context: bool = False, **changes: object) -> Smac:
        torch.manual_seed(seed)
        narrow = Networks(encoder=(8,), policy=(8,), critic=(8,), decoder=(8,))
        algorithm = SmacSettings(**({"latent_size": 2, "networks": narrow} | changes))
        constants = Normalisation(
            observation_mean=np.float32([0.5, -1.0, 0.0]),
            observation_std=np.float32([2.0, 0.5, 1.0]),
            action_centre=np.float32([0.5, 0.0]),
            action_half_range=np.float32([0.5, 2.0]),
            reward_mean=-3.0,
            reward_std=1.5,
        )
        agent = Agent(Shape(3, 2, next_in_context), algorithm, constants)
        return Smac(agent, algorithm, algorithm.learning_rate)

    return make


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    """`make_batch(seed=0, tasks=3, rows=5, done=None)` for `make_learner`'s networks."""

    def make(seed: int = 0, tasks: int = 3, rows: int = 5, done: float | None = None) -> Batch:
        rng = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(tasks, rows, *shape, generator=rng)

        ended = (normal() > 0).float() if done is None else torch.full((tasks, rows), done)
        return Batch(normal(3), torch.tanh(normal(2)), normal(), normal(3), ended)

    return make


def _copied(tree: object) -> object:
    if isinstance(tree, torch.Tensor):
        return tree.detach().clone()
    if isinstance(tree, dict):
        return {key: _copied(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_copied(value) for value in tree]
    return tree


def _same(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        assert isinstance(other, dict)
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        assert isinstance(other, list)
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other


@pytest.fixture
def curve_files_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorBoard sorts a process's files of one second by a count, as text: 10 before 9. A run
    that goes on does so in another second; a test does not."""
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(0))


@pytest.fixture(scope="session")
def state() -> Callable[[Smac], dict[str, object]]:
    """`state(learner)`: a copy of its weights by network, and its optimisers' states."""

    def of(learner: Smac) -> dict[str, object]:
        networks = {name: net.state_dict() for name, net in learner.agent.named_children()}
        optimisers = {name: one.state_dict() for name, one in learner.optimisers.items()}
        return _copied({"networks": networks, "optimisers": optimisers})  # type: ignore[return-value]

    return of


@pytest.fixture(scope="session")
def same() -> Callable[[object, object], bool]:
    """Whether two trees of tensors are equal, bit for bit."""
    return _same


@pytest.fixture(scope="module")
def two_machines() -> Iterator[Any]:
    """A Ray cluster of two nodes, which `RAY_ADDRESS` names: one core, and two cores with what Ray
    believes to be a GPU. `add_node` and `remove_node` change it."""
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 80 * 2**20, "include_log_monitor": False}
    cluster = Cluster(
        initialize_head=True,
        head_node_args=small | {"num_cpus": 1, "no_monitor": True, "include_dashboard": False},
    )
    try:
        cluster.add_node(num_cpus=2, num_gpus=1, **small)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RAY_ADDRESS", cluster.address)
            yield cluster
    finally:
        cluster.shutdown()

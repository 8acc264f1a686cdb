"""What a study consists of: its folder, its methods and the order of its jobs.

STUDY/study.yaml          what was asked for; the same command goes on, another is refused
STUDY/data/               the dataset that every seed and method learns from
STUDY/seed-N/             one run a seed: checkpoints/, results/JOB.json, logs/JOB.log
STUDY/logs/JOB.log        what a process of several seeds says that is no single one's
STUDY/README.md, *.png    table and figures
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, create_model

from fieldtune import plugins, settings
from fieldtune.settings import ConfigError
from fieldtune.sim.family import TaskFamily
from fieldtune.sim.label_only import require_simulator
from fieldtune.sim.registry import family as make_family
from fieldtune.train.algorithms.registry import GROUP, algorithm_class
from fieldtune.train.config import RunConfig
from fieldtune.train.phases.told import require_tellable
from fieldtune.train.runs.config_file import ChosenAlgorithm, method_settings
from fieldtune.train.runs.origin import ONLINE, ONLINE_METHOD, TOLD

Phase = Literal[
    "offline",
    "trained",
    "trained-encoder",
    "frozen",
    "frozen-oracle",
    "oracle",
    "longer-offline",
]
Method = str
"""A phase of the configured algorithm, `online`, or another algorithm by its name, ours or a
plug-in's."""
PHASES: tuple[Method, ...] = get_args(Phase)
BASELINES: tuple[Method, ...] = ("meta-bc", "pearl")
METHODS: tuple[Method, ...] = (*PHASES, *BASELINES)  # where nobody says which
BY_ENCODER: tuple[Method, ...] = ("trained-encoder", "frozen", "frozen-oracle")  # as they explore
FROZEN: tuple[Method, ...] = ("frozen", "frozen-oracle")
TRUE_REWARDS: tuple[Method, ...] = ("oracle", "frozen-oracle")
PHASE_2: tuple[Method, ...] = ("trained", "trained-encoder", "frozen", "frozen-oracle", "oracle")
AFTER_OFFLINE: tuple[Method, ...] = (*PHASE_2, "longer-offline")  # each starts from `offline`
DATA = "collect"


class Study(BaseModel):
    """What was asked for. Every seed has `config`, but for its own seed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    config: SerializeAsAny[RunConfig]
    seeds: int = Field(default=3, ge=1)


class _Chosen(BaseModel):
    config: ChosenAlgorithm = ChosenAlgorithm()


def load_study(path: Path) -> Study:
    """Read `study.yaml`. Raises `ConfigError`."""
    chosen = settings.load(_Chosen, path).config.config_model(path, above="config.")
    return settings.load(create_model("Study", __base__=Study, config=(chosen, ...)), path)


def chosen_methods(names: str | None, config: RunConfig) -> tuple[Method, ...]:
    """The methods to run, in the study's order.

    Args:
        names: separated by commas; None: those of `METHODS` that differ from each other, as
            `trained-encoder` and `trained` do not where the run infers by the encoder anyway.
        config: the study's.

    Raises:
        ConfigError: a name is unknown or none for this study, `offline` is not among them, or an
            algorithm cannot share the configured one's settings, or its family nothing that could
            be told.
        LabelsAlone: `online` is asked for, and the family has no simulator.
        PluginError: an algorithm of another package cannot be loaded.
    """
    own = config.algorithm.name
    learns_later = hasattr(algorithm_class(own), "self_supervised_update")
    if names is None:
        left = {own} if learns_later else {own, *AFTER_OFFLINE}
        left |= {"trained-encoder"} if config.inference == "encoder" else set()
        return tuple(method for method in METHODS if method not in left)
    asked, known = [name.strip() for name in names.split(",")], (*known_methods(), TOLD)
    for name in asked:
        if name not in known:
            raise ConfigError(f"--methods has {name!r}: expected some of {', '.join(known)}")
        if name == own:
            raise ConfigError(
                f"--methods has {name!r}, the study's own algorithm: offline is its phase 1"
            )
        if name in AFTER_OFFLINE and not learns_later:
            raise ConfigError(f"--methods has {name!r}, but algorithm {own!r} has no phase 2")
        if name == TOLD:
            require_tellable(_family(config), config.algorithm)
        elif name == ONLINE:
            require_simulator(_family(config), f"--methods {ONLINE}")
            method_settings(ONLINE_METHOD, config)
        elif name not in PHASES:
            method_settings(name, config)
    if "offline" not in asked:
        raise ConfigError(
            "--methods lacks offline, which the others begin from or are compared with: add it"
        )
    return tuple(method for method in known if method in asked)


def _family(config: RunConfig) -> TaskFamily:
    return make_family(config.family, **config.family_options)


def known_methods() -> tuple[Method, ...]:
    """Every method that adapts, in the order of tables: phases, baselines, what learns online, our
    other algorithms, and those of other packages."""
    return tuple(dict.fromkeys((*METHODS, ONLINE, *plugins.names(GROUP))))


@dataclass(frozen=True)
class Job:
    """The data (`seed` None), or one method with one seed."""

    study: Path
    name: str
    seed: int | None = None

    @property
    def folder(self) -> Path:
        return self.study if self.seed is None else self.study / f"seed-{self.seed}"

    @property
    def result(self) -> Path:
        """There when the job is done, and not before."""
        return self.folder / "results" / f"{self.name}.json"

    @property
    def log(self) -> Path:
        return self.folder / "logs" / f"{self.name}.log"

    @property
    def shared_log(self) -> Path:
        """Of the process that several seeds of the method have."""
        return self.study / "logs" / f"{self.name}.log"

    @property
    def progress(self) -> Path:
        """`done total`, for whoever watches."""
        return self.folder / "logs" / f"{self.name}.progress"

    @property
    def title(self) -> str:
        return self.name if self.seed is None else f"seed {self.seed}: {self.name}"

    @property
    def done(self) -> bool:
        return self.result.exists()

    @property
    def needs(self) -> tuple[Job, ...]:
        """The jobs whose files this one reads."""
        if self.seed is None:
            return ()
        first: str = "offline" if self.name in AFTER_OFFLINE else DATA
        return (Job(self.study, first, None if first == DATA else self.seed),)


def jobs(study: Path, seeds: int, methods: Sequence[Method] = METHODS) -> list[Job]:
    """Every job, those that others wait for first."""
    each = [Job(study, method, seed) for method in methods for seed in range(seeds)]
    return [Job(study, DATA), *each]


def ready(all_jobs: list[Job], begun: set[Job]) -> list[Job]:
    """Jobs that may begin now."""
    return [
        job
        for job in all_jobs
        if job not in begun and not job.done and all(need.done for need in job.needs)
    ]


def processes(found: Sequence[Job], running: Collection[Job], together: int) -> list[list[Job]]:
    """The jobs of each process to begin: seeds of one method.

    A process that has room for more seeds waits for those whose `needs` still run.

    Args:
        found: jobs that are `ready`.
        running: jobs that run now.
        together: how many seeds may share a process.
    """
    names = dict.fromkeys(job.name for job in found)
    methods = [[job for job in found if job.name == name] for name in names]
    shares = [
        jobs[start : start + together]
        for jobs in methods
        for start in range(0, len(jobs), together)
    ]
    awaited = {job.name for job in running}
    return [
        jobs
        for jobs in shares
        if len(jobs) == together or awaited.isdisjoint(need.name for need in jobs[0].needs)
    ]

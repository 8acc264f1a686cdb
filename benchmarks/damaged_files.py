"""What becomes of a damaged bundle or config, opened as a robot opens it.

Each kind makes its sound files once (`prepare`), and then judges damaged copies by their number:
the same seed and number give the same file. It must not know processes, nor who counts.
"""

from __future__ import annotations

import hashlib
import json
import random
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from benchmarks.mutations import damaged, damaged_yaml
from fieldtune.export import archive
from fieldtune.export.bundle import WITH_LIKELIHOOD, BundleError, file_entry, read_bundle
from fieldtune.robot.bundles.exam import examine
from fieldtune.robot.config import RobotConfig
from fieldtune.robot.policy.policy import PolicyError
from fieldtune.settings import ConfigError, dump, load

CONFIGS = Path(__file__).parents[1] / "configs"
Change = Callable[[Any, random.Random], Any]


@dataclass(frozen=True)
class Verdict:
    """`how` is refused or sound; else what went wrong. `reason` is what was said, or is meant."""

    how: str
    reason: str


class Kind(ABC):
    """Files of one kind. `folder` is this process's own, `sound` has what `prepare` made."""

    refusals: tuple[type[Exception], ...]

    def __init__(self, folder: Path, sound: Path, seed: int) -> None:
        self.folder, self.sound, self.seed = folder, sound, seed

    @staticmethod
    @abstractmethod
    def prepare(sound: Path) -> None:
        """Make the sound files, once for all processes."""

    @abstractmethod
    def damage(self, chance: random.Random) -> Path:
        """Write a damaged file."""

    @abstractmethod
    def open(self, path: Path) -> str:
        """Open it; in what way it is sound. Raises one of `refusals`, or `Unsound`."""

    def judge(self, number: int) -> Verdict:
        """What became of file `number`."""
        path = self.damage(random.Random(f"{self.seed} {number}"))
        before = _contents(path)
        try:
            verdict = Verdict("sound", self.open(path))
        except self.refusals as error:
            said = str(error).strip()
            verdict = Verdict("refused" if said else "refused without a reason", said)
        except Exception:  # what this looks for
            verdict = Verdict("another exception", traceback.format_exc(limit=-4))
        if _contents(path) != before:
            return Verdict("changed", f"the file was changed while it was opened ({verdict})")
        return verdict


class Unsound(Exception):
    """It was taken for sound and is not."""


def _contents(path: Path) -> list[tuple[str, bytes]]:
    """Of the file, and of a log beside it."""
    beside = (path, path.with_name(path.name + "-wal"))
    return [
        (one.name, hashlib.sha256(one.read_bytes()).digest())
        for one in beside
        if one.exists() and one.stat().st_size
    ]


class Bundles(Kind):
    """Read and examined as in a robot's trial, but for that process's bounds. Two of three have a
    digest that is right, so that what is behind it is tried too."""

    refusals = (BundleError, PolicyError)

    def __init__(self, folder: Path, sound: Path, seed: int) -> None:
        super().__init__(folder, sound, seed)
        self._data = (sound / "sound.bundle").read_bytes()
        self._members = archive.decode(self._data, WITH_LIKELIHOOD)
        self._id = archive.digest(self._data)

    @staticmethod
    def prepare(sound: Path) -> None:
        from benchmarks.cycle import make_bundle  # torch, in one process alone

        narrow = (f"algorithm.networks.{name}=[8, 8]" for name in ("encoder", "policy", "decoder"))
        size = "algorithm.latent_size=2"
        particles = {"particles": [[0.5, -1.0], [1.5, 0.25], [-0.5, 2.0]]}
        known = particles | {"reward_variance": 0.5, "unlike_below": -2.0}
        make_bundle(sound / "sound.bundle", *narrow, size, likelihood=known)

    def damage(self, chance: random.Random) -> Path:
        path = self.folder / "damaged.bundle"
        which = chance.randrange(6)
        if which < 2:
            path.write_bytes(damaged(self._data, chance))
        elif which == 2:  # the container, with a digest of what it is now
            body = damaged(self._data[: -archive.DIGEST_LENGTH], chance)
            path.write_bytes(body + hashlib.sha256(body).hexdigest().encode())
        else:
            path.write_bytes(archive.encode(self._other_members(chance, in_graph=which == 3)))
        return path

    def _other_members(self, chance: random.Random, in_graph: bool) -> dict[str, bytes]:
        members = dict(self._members)
        manifest = json.loads(members["manifest.json"])
        if in_graph:
            name = chance.choice(WITH_LIKELIHOOD[1:])
            members[name] = damaged(members[name], chance, [*members.values()])
            entry = file_entry(members[name])
            manifest["files"][name] = {"sha256": entry.sha256, "size": entry.size}
        else:
            for _ in range(chance.randrange(1, 4)):
                _damage_json(manifest, chance)
        members["manifest.json"] = json.dumps(manifest).encode()
        if chance.random() < 0.1:
            members["manifest.json"] = damaged(members["manifest.json"], chance)
        return members

    def open(self, path: Path) -> str:
        bundle = read_bundle(path)
        examine(bundle)
        if bundle.id == self._id:
            return "the same bundle"
        return "another bundle, whole and consistent, that runs"


_OTHERS: tuple[Any, ...] = (
    None, True, 0, -1, 2**31, 2**64, 10**400, 1e308, float("nan"), float("-inf"), "", "x", "0" * 64,
    [], {}, [[]], [None], "\u0000", "é" * 1000, 0.05, 3,
)  # fmt: skip


def _damage_json(value: Any, chance: random.Random) -> None:
    """Change one thing somewhere inside, in place."""
    inside = value
    while True:
        keys = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
        if not keys:
            return
        key = chance.choice(keys)
        if isinstance(inside[key], dict | list) and chance.random() < 0.8:
            inside = inside[key]
            continue
        match chance.randrange(4):
            case 0:
                del inside[key]
            case 1 if isinstance(inside, dict):
                inside[f"{key}x"] = inside.pop(key)
            case 1:
                inside.insert(key, inside[key])
            case _:
                inside[key] = chance.choice(_OTHERS)
        return


class Configs(Kind):
    """Loaded as the robot does, and as the trainer does."""

    refusals = (ConfigError,)

    def __init__(self, folder: Path, sound: Path, seed: int) -> None:
        from fieldtune.train.runs.config_file import ChosenAlgorithm

        super().__init__(folder, sound, seed)
        self._texts = [path.read_text(encoding="utf-8") for path in sorted(sound.glob("*.yaml"))]
        self._models: tuple[tuple[type[BaseModel], str | None], ...] = (
            (RobotConfig, "robot"),
            (ChosenAlgorithm().config_model(sound), None),
        )

    @staticmethod
    def prepare(sound: Path) -> None:
        for path in CONFIGS.glob("*.yaml"):
            (sound / path.name).write_bytes(path.read_bytes())
        (sound / "whole.yaml").write_text(_WHOLE, encoding="utf-8")

    def damage(self, chance: random.Random) -> Path:
        self._model, self._section = chance.choice(self._models)
        path = self.folder / "damaged.yaml"
        path.write_bytes(damaged_yaml(chance.choice(self._texts), chance))
        return path

    def open(self, path: Path) -> str:
        settings = load(self._model, path, section=self._section)
        again = self.folder / "again.yaml"
        dump(settings, again)
        if load(self._model, again) != settings:
            raise Unsound(f"{settings} does not come back")
        return "settings that are allowed"


_WHOLE = """\
robot:
  name: "arm"   # every kind of setting there is
  family: reach
  driver: {name: sim, time_scale: 1.0, task: [0.6, 0.2, 0.2]}
  bridge: tcp://127.0.0.1:5780
  keys: {trainer: null}
  state_dir: runs/robot
  journal_quota_mb: 100
  exploration: {prior_episodes: 2, posterior_episodes: 2, z_hold: episode}
  limits:
    action_range: {force: [-1.0, 1.0]}
    action_rate: {force: 5.0}
    box:
      hand: {low: [null, -0.5, 0.0], high: [1.0, 0.5, null], action: delta}
    joints:
      - names: [a, b]
        position: joint_position
        command: joint_target
        command_kind: position
    joint_position: {a: [-1.0, 1.0]}
    joint_velocity: {a: 1.74}
    loosen: {observation_age_s: a slow camera}
    observation_age_s: 0.8
    frozen_periods: 100
    max_run_s: null
  realtime: {priority: 50, lock_memory: true}
  rewards: {}
  seed: 0
"""

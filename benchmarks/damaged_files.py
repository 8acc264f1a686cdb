"""What becomes of a damaged bundle, config or journal, opened as a robot opens it.

Each kind makes its sound files once (`prepare`), and then judges damaged copies by their number:
the same seed and number give the same file. It must not know processes, nor who counts.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import sqlite3
import struct
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from benchmarks import episodes
from benchmarks.mutations import damaged, damaged_yaml
from export import archive
from export.bundle import MEMBERS, BundleError, file_entry, read_bundle
from robot import content
from robot.config import RobotConfig
from robot.journal import Journal, JournalError
from robot.policy import Policy, PolicyError
from robot.recorder import Recorder
from robot.settings import ConfigError, dump, load

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
    """Read, loaded and run once, as a robot does before it takes one. Two of three have a digest
    that is right, so that what is behind it is tried too."""

    refusals = (BundleError, PolicyError)

    def __init__(self, folder: Path, sound: Path, seed: int) -> None:
        super().__init__(folder, sound, seed)
        self._data = (sound / "sound.bundle").read_bytes()
        self._members = archive.decode(self._data, MEMBERS)
        self._id = archive.digest(self._data)

    @staticmethod
    def prepare(sound: Path) -> None:
        from benchmarks.cycle import make_bundle  # torch, in one process alone

        narrow = (f"algorithm.networks.{name}=[8, 8]" for name in ("encoder", "policy", "decoder"))
        make_bundle(sound / "sound.bundle", *narrow)

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
            name = chance.choice(MEMBERS[1:])
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
        policy = Policy(bundle)
        width = sum(field.width for field in bundle.manifest.observation_fields)
        policy.dry_run(np.zeros(width))
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
        from train.config import RunConfig

        super().__init__(folder, sound, seed)
        self._texts = [path.read_text(encoding="utf-8") for path in sorted(sound.glob("*.yaml"))]
        self._models: tuple[tuple[type[BaseModel], str | None], ...] = (
            (RobotConfig, "robot"),
            (RunConfig, None),
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


class Journals(Kind):
    """Verified and listed, then opened for recording as the daemon does. Bytes of the file, of its
    log, or rows behind SQLite's back."""

    refusals = (JournalError, sqlite3.Error)  # the latter is explained at the edge

    def __init__(self, folder: Path, sound: Path, seed: int) -> None:
        super().__init__(folder, sound, seed)
        self._file = (sound / "sound.sqlite").read_bytes()
        self._wal = (sound / "sound.sqlite-wal").read_bytes()
        with Journal.read(self._write(self._file, self._wal)) as journal:
            self._step = content.pack(journal.steps(1)[0])
            self._addresses = {n: journal.blob(n)[0] for n in range(1, EPISODES)}

    @staticmethod
    def prepare(sound: Path) -> None:
        """Six episodes: acknowledged, pending, with rewards, one open; the last in the log only."""
        path = sound / "made.sqlite"
        with Journal.open(path) as journal:
            addresses = episodes.fill(journal, _SMALL, EPISODES - 1, "fuzzed")
            journal.acknowledge(addresses[0])
            journal.reject(addresses[1], "a reason")
            with journal.transaction():
                journal.add_rewards(3, {0: 1.0, 1: -0.5}, "keys")
            journal._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            with journal.transaction():
                journal.begin(episodes.header(_SMALL, EPISODES), 1)
                for step in episodes.steps(_SMALL, EPISODES):
                    journal.add(EPISODES, content.pack(step))
            for name in ("", "-wal"):
                made = path.with_name(path.name + name)
                (sound / f"sound.sqlite{name}").write_bytes(made.read_bytes())

    def _write(self, file: bytes, wal: bytes) -> Path:
        path = self.folder / "damaged.sqlite"
        for name in ("-shm", ".lock", "-journal"):
            path.with_name(path.name + name).unlink(missing_ok=True)
        path.write_bytes(file)
        path.with_name(path.name + "-wal").write_bytes(wal)
        return path

    def damage(self, chance: random.Random) -> Path:
        file, wal, which = self._file, self._wal, chance.randrange(6)
        if which == 0:
            file = damaged(file, chance)
        elif which == 1:
            file = _damaged_page(file, chance)
        elif which == 2:
            wal = damaged(wal, chance)
        elif which == 3:
            file, wal = damaged(file[:100], chance) + file[100:], b""
        path = self._write(file, wal)
        if which >= 4:
            _damage_rows(path, self._step, chance)
        return path

    def open(self, path: Path) -> str:
        problems = self._look(path)
        trouble = self._as_the_daemon(path)
        if problems:
            if not all(problem.strip() for problem in problems):
                raise Unsound("a problem without words")
            raise JournalError("; ".join(problems))
        if trouble is not None:
            raise trouble
        with Journal.read(path) as journal:
            entries = journal.entries()
            found = {e.number: journal.blob(e.number)[0] for e in entries if e.sha256 is not None}
        if not found.items() <= self._addresses.items():
            raise Unsound("an episode that was never recorded")
        if len(found) < len(self._addresses):
            return "with fewer episodes, each as it was recorded"
        return "with every episode as it was recorded"

    def _look(self, path: Path) -> list[str]:
        """As `fieldtune-robot journal verify`, `list`, `show` and `monitor` do."""
        with Journal.read(path) as journal:
            problems = journal.verify()
            steps, rewards = (lambda: journal.steps(2)), (lambda: journal.rewards(3))
            for look in (journal.entries, journal.glance, steps, rewards):
                try:
                    look()
                except self.refusals:
                    if not problems:
                        raise
        return problems

    def _as_the_daemon(self, path: Path) -> Exception | None:
        """What recorder and bridge say of a copy, which they may change: open episodes end."""
        copy = path.with_name("daemon.sqlite")
        for name in ("", "-wal", "-shm", ".lock"):
            beside, target = (one.with_name(one.name + name) for one in (path, copy))
            target.unlink(missing_ok=True)
            if beside.exists() and name in ("", "-wal"):
                target.write_bytes(beside.read_bytes())
        try:
            recorder = Recorder(copy, quota_bytes=10**9).start()
            try:
                recorder.next_number()
                with Journal.attach(copy) as journal:
                    for number in journal.pending():
                        journal.blob(number)
            finally:
                recorder.close()
        except self.refusals as error:  # a damaged episode is one: it stays, and is not uploaded
            if not str(error).strip():
                raise Unsound("a refusal without words") from error
            return error
        return None


EPISODES = 6
_SMALL = episodes.Size("fuzzed", 20, 4, 2)
_NOISE: tuple[Callable[[random.Random], Any], ...] = (
    lambda _: None,
    lambda chance: chance.randrange(-(2**63), 2**63),
    lambda chance: chance.choice((0, -1, 1, 7, 2**62)),
    lambda chance: chance.random() * 1e300,
    lambda chance: chance.randbytes(chance.randrange(300)),
    lambda chance: chance.choice(("", "acknowledged", "rejected", "x", "0" * 64, "\u0000")),
)
_COLUMNS = {
    "episodes": ("number", "header", "footer", "sha256", "receipt", "reason", "wall_ns"),
    "steps": ("episode", "step", "record"),
    "rewards": ("episode", "step", "reward", "source"),
}


def _damage_rows(path: Path, sound: bytes, chance: random.Random) -> None:
    """Values of other kinds, rows gone, tables and versions changed: by SQL, so that the file's
    own structure stays sound. `sound` are the bytes of a step."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    for _ in range(chance.randrange(1, 4)):
        table = chance.choice(("episodes", "steps", "steps", "rewards"))
        key = "number" if table == "episodes" else "episode"
        one = f"{key} = {chance.randrange(1, EPISODES + 1)}"
        if table != "episodes" and chance.random() < 0.8:
            one += f" AND step = {chance.randrange(_SMALL.steps)}"
        column, noise = chance.choice(_COLUMNS[table]), chance.choice(_NOISE)(chance)
        if column in ("header", "footer", "record") and chance.random() < 0.5:
            noise = damaged(sound, chance)
        number = chance.choice((0, 1, 2, 4, -1, 2**31 - 1))
        statement, values = chance.choice(
            (
                (f"UPDATE {table} SET {column} = ? WHERE {one}", (noise,)),
                (f"UPDATE {table} SET {column} = ? WHERE {one}", (noise,)),
                (f"DELETE FROM {table} WHERE {one}", ()),
                (f"PRAGMA {chance.choice(('user_version', 'application_id'))} = {number}", ()),
                (f"ALTER TABLE {table} RENAME COLUMN {column} TO other", ()),
                (f"ALTER TABLE {table} RENAME TO other", ()),
                ("DROP INDEX pending", ()),
                (f"DROP TABLE {table}", ()),
                (f"CREATE TABLE t{chance.randrange(9)} (x)", ()),
            )
        )
        with contextlib.suppress(sqlite3.Error):  # what SQLite itself refuses
            connection.execute(statement, values)
    connection.close()


def _damaged_page(file: bytes, chance: random.Random) -> bytes:
    """Pages of an SQLite file zeroed, swapped, of noise, or with another page's bytes."""
    size = struct.unpack(">H", file[16:18])[0]
    pages = [file[at : at + size] for at in range(0, len(file), size)]
    first, second = (chance.randrange(len(pages)) for _ in range(2))
    match chance.randrange(5):
        case 0:
            pages[first] = bytes(size)
        case 1:
            pages[first], pages[second] = pages[second], pages[first]
        case 2:
            pages[first] = chance.randbytes(size)
        case 3:
            pages[first] = pages[second]
        case _:
            pages[first] = (damaged(pages[first], chance) + bytes(size))[:size]
    return b"".join(pages)


KINDS: dict[str, type[Kind]] = {"bundles": Bundles, "configs": Configs, "journals": Journals}

"""Tasks that a robot has adapted to: each a small JSON file, by a name that a person chose.

Holds what a posterior is worth keeping with, and the files. It must not know how one is come by,
nor how the robot acts on it.

A posterior means something only to the encoder that it was made with and the policy trained beside
it, so it goes with that encoder's hash.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np

from fieldtune.errors import UserError
from fieldtune.files import write_atomically
from fieldtune.regular_file import read_regular
from fieldtune.robot.journal.journal import Journal, JournalError
from fieldtune.robot.policy.policy import Policy
from fieldtune.robot.policy.posterior import Posterior

VERSION = 1
ENCODER = "encoder.onnx"

TIMES = 10.0  # the largest z of a training task: further off, the policy has seen nothing like it
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Vector = Annotated[list[float], msgspec.Meta(min_length=1, max_length=4096)]
_Number = Annotated[int, msgspec.Meta(gt=0)]


class TaskError(UserError):
    """A task cannot be kept, found or acted on. The message names it and the cure."""


class SavedTask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A posterior in natural parameters (`fieldtune.robot.policy.posterior`), and where it is from.

    `transitions` rewarded ones in `episodes` of this robot's journal made it; `rewards` is who gave
    them. `saved` is the wall clock, for people.
    """

    robot: str
    family: str
    bundle_id: _Hash
    encoder_sha256: _Hash
    precision: _Vector
    precision_mean: _Vector
    transitions: Annotated[int, msgspec.Meta(ge=0)]
    episodes: list[_Number]
    rewards: str
    saved: str
    version: int = VERSION

    @property
    def posterior(self) -> Posterior:
        return Posterior(np.array(self.precision), np.array(self.precision_mean))


def remember(
    posterior: Posterior,
    policy: Policy,
    *,
    robot: str,
    transitions: int,
    episodes: list[int],
    rewards: str,
) -> SavedTask:
    """What to keep of an adaptation that has just come to its posterior.

    Args:
        posterior: of the task.
        policy: the bundle whose encoder made it.
        robot: the robot's name.
        transitions: how many had a reward.
        episodes: numbers of those that they are from, in this robot's journal.
        rewards: who gave them.
    """
    return SavedTask(
        robot=robot,
        family=policy.manifest.family,
        bundle_id=policy.bundle_id,
        encoder_sha256=policy.manifest.files[ENCODER].sha256,
        precision=posterior.precision.tolist(),
        precision_mean=posterior.precision_mean.tolist(),
        transitions=transitions,
        episodes=list(episodes),
        rewards=rewards,
        saved=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def require_fit(name: str, task: SavedTask, policy: Policy) -> None:
    """Check that z means to `policy` what it meant to the bundle that the task was learned with.

    Args:
        name: of the task, for the error.
        task: the task.
        policy: what is to act on it.

    Raises:
        TaskError: another family, another encoder or another width of z; or a z that the policy's
            training cannot have come near.
    """
    manifest = policy.manifest
    if task.family != manifest.family:
        raise TaskError(
            f"task {name!r} is of family {task.family!r}, the bundle of {manifest.family!r}: "
            "choose another of the two"
        )
    same_encoder = task.encoder_sha256 == manifest.files[ENCODER].sha256
    if not same_encoder or len(task.precision) != manifest.latent_size:
        raise TaskError(
            f"task {name!r} was learned with the encoder of bundle {task.bundle_id[:12]}, bundle "
            f"{policy.bundle_id[:12]} has another, to which it means nothing: give --bundle with "
            f"that one, or `fieldtune-robot tasks recompute {name}` from the journal, or adapt "
            "again"
        )
    most = TIMES * max(1.0, np.abs(manifest.task_embeddings).max())
    furthest = np.abs(task.posterior.mean).max()
    if furthest > most:
        raise TaskError(
            f"task {name!r} has a z of {furthest:.3g}, ten times what training saw is {most:.3g}: "
            "its file is spoilt, or its rewards were: adapt again"
        )


def recompute(task: SavedTask, journal: Journal, policy: Policy) -> SavedTask:
    """The task as `policy`'s encoder understands the same context, out of the journal.

    Args:
        task: as another encoder understood it.
        journal: of the robot that learned it.
        policy: whose encoder reads the context.

    Raises:
        TaskError: the journal no longer has all of the context.
    """
    posterior, transitions = Posterior.prior(policy.manifest.latent_size), 0
    for number in task.episodes:
        try:
            episode, rewards = journal.episode(number), journal.rewards(number)
        except JournalError as error:
            raise _gone(str(error)) from error
        reached = [step.observation for step in episode.steps[1:]]
        reached.append(episode.footer.final_observation)
        for index, reward in rewards.items():
            if index >= len(reached) or not reached[index]:
                raise _gone(f"{journal.path}: step {index} of episode {number} is not complete")
            step = episode.steps[index]
            observation, applied = np.array(step.observation), np.array(step.applied)
            factor = policy.encode(observation, applied, reward, np.array(reached[index]))
            posterior, transitions = posterior.update(*factor), transitions + 1
    if transitions != task.transitions:
        raise _gone(f"{journal.path} has {transitions} of its {task.transitions} rewards")
    return remember(
        posterior,
        policy,
        robot=task.robot,
        transitions=transitions,
        episodes=task.episodes,
        rewards=task.rewards,
    )


def _gone(why: str) -> TaskError:
    return TaskError(f"{why}: the task cannot be made again from it: adapt again")


@dataclass(frozen=True)
class SavedTasks:
    """The tasks in `folder`, and the bundles that they were learned with."""

    folder: Path

    def names(self) -> list[str]:
        """In alphabetical order."""
        return sorted(path.stem for path in self.folder.glob("*.json") if _NAME.match(path.stem))

    def read(self, name: str) -> SavedTask:
        """Raises `TaskError`."""
        path = self.path(name)
        try:
            task = msgspec.json.decode(read_regular(path), type=SavedTask)
        except FileNotFoundError:
            known = ", ".join(self.names()) or "none"
            raise TaskError(
                f"no task {name!r} in {self.folder}; it has: {known}: "
                f"`fieldtune-robot adapt --save {name}` learns one"
            ) from None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise TaskError(f"{path}: cannot be read: {error}: adapt again") from error
        if task.version != VERSION:
            raise TaskError(f"{path}: version {task.version}, expected {VERSION}: adapt again")
        _require_gaussian(path, task)
        return task

    def write(self, name: str, task: SavedTask, bundle: Path) -> None:
        """Keep a task and its bundle, in place of one with that name.

        Args:
            name: that a person chose.
            task: what to keep.
            bundle: the file of the bundle that it was learned with.

        Raises:
            TaskError: it cannot be called so, or the files cannot be written.
        """
        path = self.path(name)
        text = json.dumps(msgspec.to_builtins(task), indent=1) + "\n"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not self.bundle(task).exists():
                write_atomically(self.bundle(task), read_regular(bundle))
            write_atomically(path, text.encode())
            self._tidy()
        except OSError as error:
            raise TaskError(f"{path}: cannot be written: {error}: free disk space") from error

    def remove(self, name: str) -> None:
        """Forget it. Raises `TaskError`."""
        try:
            self.path(name).unlink()
        except FileNotFoundError:
            raise TaskError(f"no task {name!r} in {self.folder}") from None
        self._tidy()

    def bundle(self, task: SavedTask) -> Path:
        """Where the bundle lies that `task` was learned with."""
        return self.folder / f"{task.bundle_id}.bundle"

    def _tidy(self) -> None:
        """Delete the bundles that no task needs any more; none while a task cannot be read."""
        try:
            needed = {self.bundle(self.read(name)) for name in self.names()}
        except TaskError:
            return
        for path in self.folder.glob("*.bundle"):
            if path not in needed:
                path.unlink(missing_ok=True)

    def path(self, name: str) -> Path:
        """Where a task lies. Raises `TaskError` for a name that is none."""
        if not _NAME.match(name):
            raise TaskError(
                f"{name!r} is no name for a task: expected up to 64 letters, digits, '.', '_' and "
                "'-', beginning with a letter or a digit"
            )
        return self.folder / f"{name}.json"


def _require_gaussian(path: Path, task: SavedTask) -> None:
    posterior = task.posterior
    sound = len(task.precision) == len(task.precision_mean)
    if not (sound and np.isfinite(posterior.precision_mean).all()):
        raise TaskError(f"{path}: precision and precision_mean are no pair: adapt again")
    if not (np.isfinite(posterior.precision).all() and (posterior.precision >= 1).all()):
        raise TaskError(
            f"{path}: precision has values that no posterior has (1 and what each reward adds): "
            "adapt again"
        )

"""Tasks that a robot has adapted to: each a small JSON file, by a name that a person chose.

Holds the files, and whether a bundle may act on one. It must not know how a posterior is come by,
nor how the robot acts on it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import msgspec
import numpy as np

from fieldtune.errors import UserError
from fieldtune.files import write_atomically
from fieldtune.regular_file import read_regular
from fieldtune.robot.journal.journal import Journal, JournalError
from fieldtune.robot.policy.policy import Policy
from fieldtune.robot.policy.refinement import Rewarded
from fieldtune.robot.policy.task_records import GaussianTask, SavedTask, fits, remember

TIMES = 10.0  # the largest z of a training task: further off, the policy has seen nothing like it
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


class TaskError(UserError):
    """A task cannot be kept, found or acted on. The message names it and the cure."""


def require_fit(name: str, task: SavedTask, policy: Policy) -> None:
    """Check that z means to `policy` what it meant to the bundle that the task was learned with.

    Args:
        name: of the task, for the error.
        task: the task.
        policy: what is to act on it.

    Raises:
        TaskError: another family, other networks or particles that it was inferred by, or another
            width of z; or a z that the policy's training cannot have come near.
    """
    manifest = policy.manifest
    if task.family != manifest.family:
        raise TaskError(
            f"task {name!r} is of family {task.family!r}, the bundle of {manifest.family!r}: "
            "choose another of the two"
        )
    if not fits(task, manifest):
        raise TaskError(
            f"task {name!r} was learned with the {task.made_with[0]} of bundle "
            f"{task.bundle_id[:12]}, bundle {policy.bundle_id[:12]} has another, to which it means "
            "nothing: give --bundle with that one, or "
            f"`fieldtune-robot tasks recompute {name}` from the journal, or adapt again"
        )
    most = TIMES * max(1.0, np.abs(manifest.task_embeddings).max())
    if isinstance(task, GaussianTask):
        furthest, few = np.abs(task.posterior.mean).max(), ""
        if not task.prior_factor:  # it would have kept few transitions near 0
            few = f", or its {task.transitions} rewarded steps were too few"
    else:
        furthest, few = np.abs([0.0, *chain.from_iterable(task.refined)]).max(), ""
    if furthest > most:
        raise TaskError(
            f"task {name!r} has a z of {furthest:.3g}, ten times what training saw is {most:.3g}: "
            f"its file is spoilt, or its rewards were{few}: adapt again"
        )


def recompute(task: SavedTask, journal: Journal, policy: Policy) -> SavedTask:
    """The task as `policy` understands the same context, out of the journal.

    Args:
        task: as another bundle understood it.
        journal: of the robot that learned it.
        policy: what reads the context, by its encoder or by its particles.

    Raises:
        TaskError: the journal no longer has all of the context.
    """
    posterior, context = policy.prior(), list[Rewarded]()
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
            following = np.array(reached[index])
            context.append((observation, applied, reward, following))
            posterior = policy.update(posterior, *context[-1])
        if rewards:
            posterior = policy.refined(posterior, context)
    if len(context) != task.transitions:
        raise _gone(f"{journal.path} has {len(context)} of its {task.transitions} rewards")
    return remember(
        posterior,
        policy,
        robot=task.robot,
        transitions=len(context),
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
            task: SavedTask = msgspec.json.decode(read_regular(path), type=SavedTask)
        except FileNotFoundError:
            known = ", ".join(self.names()) or "none"
            raise TaskError(
                f"no task {name!r} in {self.folder}; it has: {known}: "
                f"`fieldtune-robot adapt --save {name}` learns one"
            ) from None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise TaskError(f"{path}: cannot be read: {error}: adapt again") from error
        if problem := task.problem():
            raise TaskError(f"{path}: {problem}: adapt again")
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

"""A task family from a Gymnasium environment: what a package of one's own derives from.

Slow: copies are stepped one after another, in Python, whatever `threads` says; a batch of MuJoCo
models is `fieldtune.sim.mjcf`'s. Knows Gymnasium's interface; no particular environment, task or
reward. gymnasium is imported when something is simulated.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fieldtune.errors import UserError
from fieldtune.sim.drawn_tasks import DrawnTasks
from fieldtune.sim.family import (
    Array,
    BatchSimulator,
    FamilyDefaults,
    Field,
    SingleRobot,
    width,
)

if TYPE_CHECKING:
    import gymnasium
    from gymnasium.vector import VectorEnv

__all__ = ["Array", "BadEnvironment", "Field", "GymnasiumFamily"]


class BadEnvironment(UserError, ValueError):
    """The environment is not what the family says. The message names the family and the cure."""


class GymnasiumFamily(DrawnTasks, FamilyDefaults, ABC):
    """A `TaskFamily` on a Gymnasium environment, whose own reward is not asked for. Derive a frozen
    dataclass, whose fields are its options.

    Whatever a family says here as a value it may also say as a property, where an option decides.

    Attributes:
        name: as in the entry point.
        robot: its model's name, the same on the real one.
        period_s: seconds between two steps of the environment.
        horizon: steps in an episode; no more than the environment's own limit.
        observation_fields: of what `observe` gives, in order.
        action_fields: of the environment's action, in order; bounds finite.
        task_fields: what a task's parameters are.
    """

    robot: ClassVar[str]
    period_s: ClassVar[float]
    horizon: ClassVar[int]
    observation_fields: ClassVar[tuple[Field, ...]]
    action_fields: ClassVar[tuple[Field, ...]]

    @abstractmethod
    def environment(self) -> gymnasium.Env[Any, Any]:
        """A new environment. For pictures it is made with `render_mode="rgb_array"`."""

    @abstractmethod
    def reward(
        self,
        observation: Array,
        action: Array,
        next_observation: Array,
        task: Array,
        signals: Array | None = None,
    ) -> Array:
        """See `TaskFamily.reward`: leading dimensions broadcast, the last is the feature."""

    def vector_environment(self, n_envs: int) -> VectorEnv[Any, Any, Any]:
        """`n_envs` environments that are stepped together; those of `environment`, one by one.

        One of one's own starts copy `i` from the `i`th of the seeds that `reset` is given, and
        resets a copy in the step after the one that ended it (`AutoresetMode.NEXT_STEP`).
        """
        from gymnasium.vector import SyncVectorEnv

        return SyncVectorEnv([self.environment] * n_envs)

    def observe(self, seen: Any) -> Array:
        """Observations `(env, observation)` of what the vector environment shows; a dict's entries
        side by side, by name."""
        parts = [seen[key] for key in sorted(seen)] if isinstance(seen, dict) else [seen]
        return np.concatenate(
            [np.asarray(part, dtype=np.float64).reshape(len(part), -1) for part in parts], axis=-1
        )

    def measure(self, infos: dict[str, Any]) -> Array:
        """Signals `(env, signal)` of the last step, from the vector environment's `infos`. Asked
        where the family has `signal_fields`, while any copy goes on."""
        raise NotImplementedError(f"{self.name} has signal_fields, but no `measure`")

    def place(self, environment: gymnasium.Env[Any, Any], task: Array) -> None:
        """Give one environment the dynamics of `task`, before it is reset. Asked where
        `dynamics_vary`."""
        raise NotImplementedError(f"{self.name} has dynamics_vary, but no `place`")

    def simulator(self, n_envs: int, threads: int = 1) -> BatchSimulator:  # noqa: ARG002
        """See `TaskFamily.simulator`."""
        return _Batch(self, n_envs)

    def single_robot(self) -> SingleRobot:
        """One environment."""
        return _Robot(self)


class _Batch:
    """A `BatchSimulator`. Copies that are over keep what they saw last; what their environments do
    meanwhile is not looked at."""

    def __init__(self, family: GymnasiumFamily, n_envs: int) -> None:
        from gymnasium.spaces import Box
        from gymnasium.vector import AutoresetMode

        self.n_envs, self._family = n_envs, family
        self._signals = np.zeros((n_envs, width(family.signal_fields)))
        self._seen = np.zeros((n_envs, width(family.observation_fields)))
        self._over = np.ones(n_envs, dtype=np.bool_)
        self._steps = 0
        self.vector = family.vector_environment(n_envs)
        mode = self.vector.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        space = self.vector.single_action_space
        wanted = (width(family.action_fields),)
        wrong = ""
        if mode != AutoresetMode.NEXT_STEP:
            wrong = f"autoreset_mode is {mode}: make it with AutoresetMode.NEXT_STEP"
        elif not isinstance(space, Box) or space.shape != wanted:
            wrong = f"actions are {space}, the family's are a Box of {wanted}: wrap the environment"
        if wrong:
            self.vector.close()
            raise BadEnvironment(f"{family.name}: {wrong}")

    def reset(self, seeds: NDArray[np.int64], tasks: Array) -> Array:
        """See `BatchSimulator.reset`."""
        if len(seeds) != self.n_envs or len(tasks) != self.n_envs:
            raise ValueError(
                f"reset: {len(seeds)} seeds and {len(tasks)} tasks for {self.n_envs} copies: "
                "give one of each a copy"
            )
        if self._family.dynamics_vary:
            for one, task in zip(self._environments(), tasks, strict=True):
                self._family.place(one, task)
        seen, _ = self.vector.reset(seed=[int(seed) for seed in seeds])  # type: ignore[arg-type]
        self._seen = self._observed(seen)
        self._over[:], self._steps = False, 0
        self._signals = np.zeros_like(self._signals)
        return self._seen.copy()

    def step(self, actions: Array) -> tuple[Array, NDArray[np.bool_]]:
        """See `BatchSimulator.step`."""
        given, space = np.asarray(actions), self.vector.action_space
        if given.shape != space.shape or not np.isfinite(given).all():
            raise ValueError(
                f"step: actions of shape {given.shape}, finite: {bool(np.isfinite(given).all())}; "
                f"expected finite {space.shape}"
            )
        seen, _, terminated, truncated, infos = self.vector.step(given.astype(space.dtype))
        self._steps += 1
        now, over = self._observed(seen), self._over.copy()
        if (truncated & ~terminated & ~over).any() and self._steps < self._family.horizon:
            raise BadEnvironment(
                f"{self._family.name}: an environment was truncated after {self._steps} steps, the "
                f"horizon is {self._family.horizon}: make it with "
                f"max_episode_steps={self._family.horizon}, or shorten the horizon"
            )
        if self._family.signal_fields and not over.all():
            self._signals = np.where(over[:, None], self._signals, self._family.measure(infos))
        self._seen = np.where(over[:, None], self._seen, now)
        self._over = over | np.asarray(terminated, dtype=np.bool_)
        return self._seen.copy(), self._over.copy()

    def signals(self) -> Array:
        """See `BatchSimulator.signals`."""
        return self._signals

    def close(self) -> None:
        """See `BatchSimulator.close`."""
        self.vector.close()

    def _observed(self, seen: Any) -> Array:
        found = self._family.observe(seen)
        if found.shape != self._seen.shape:
            fields = ", ".join(f"{f.name} {f.width}" for f in self._family.observation_fields)
            raise BadEnvironment(
                f"{self._family.name}: observations are {list(found.shape)}, expected "
                f"{list(self._seen.shape)} by observation_fields ({fields})"
            )
        return np.array(found, dtype=np.float64)

    def _environments(self) -> Any:
        found = getattr(self.vector, "envs", None)
        if found is None:
            raise BadEnvironment(
                f"{self._family.name}: dynamics_vary, but its vector environment has no `envs` to "
                "`place` tasks in: leave `vector_environment` out"
            )
        return found


class _Robot:
    """A `SingleRobot`: a batch of one, with pictures."""

    def __init__(self, family: GymnasiumFamily) -> None:
        self._family = family
        self._batch = _Batch(family, 1)

    def reset(self, seed: int, task: Array) -> Array:
        """See `SingleRobot.reset`."""
        return self._batch.reset(np.array([seed]), np.asarray(task)[None])[0]

    def step(self, action: Array) -> tuple[Array, bool]:
        """See `SingleRobot.step`."""
        seen, over = self._batch.step(np.asarray(action)[None])
        return seen[0], bool(over[0])

    def signals(self) -> Array:
        """See `SingleRobot.signals`."""
        return self._batch.signals()[0]

    def render(self, width: int, height: int) -> NDArray[np.uint8]:
        """See `SingleRobot.render`. Resized from what the environment draws."""
        from PIL import Image

        try:
            frames = self._batch.vector.render()
        except Exception as error:  # whatever an environment draws with
            raise RuntimeError(f"{self._family.name}: no picture: {error}") from error
        if not frames or frames[0] is None:
            raise RuntimeError(
                f"{self._family.name}: no picture: the environment draws none; make it with "
                'render_mode="rgb_array"'
            )
        picture = Image.fromarray(np.asarray(frames[0], dtype=np.uint8))
        return np.asarray(picture.convert("RGB").resize((width, height)))

    def close(self) -> None:
        """See `SingleRobot.close`."""
        self._batch.close()

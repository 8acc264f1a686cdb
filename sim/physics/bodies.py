"""A batch of bodies: MuJoCo states with actions, observations, signals and a terminal state.

A `Body` says what differs between robots. Knows nothing of tasks' meaning or of rewards; imports
mujoco only when something is simulated.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from fieldtune.sim.family import Array

if TYPE_CHECKING:
    import mujoco

Read = Callable[[str], Array]
"""Name of one of `MjData`'s arrays to its value in every copy, `(env, ...)`."""


class Body(Protocol):
    """What a robot is made of, how it starts, what is seen and measured of it, when it has fallen.

    Attributes:
        substeps: physics steps in a control period.
        signals: numbers measured over a control period.
        contact_forces: whether anything reads `cfrc_ext`.
        tuned: whether a task changes the model, so that every copy needs one of its own.
    """

    @property
    def substeps(self) -> int: ...

    @property
    def signals(self) -> int: ...

    @property
    def contact_forces(self) -> bool: ...

    @property
    def tuned(self) -> bool: ...

    def shared_model(self) -> mujoco.MjModel:
        """The model before any task. Nothing may write to it."""
        ...

    def tune(self, changed: mujoco.MjModel, task: Array, /) -> None:
        """Give `changed` the dynamics of `task`, whatever it had before."""
        ...

    def start(self, seed: int, task: Array) -> tuple[Array, Array]:
        """`qpos` and `qvel` that an episode starts from."""
        ...

    def controls(self, actions: Array, read: Read) -> Array:
        """What the actuators are told, `(env, nu)`, for actions `(env, action)`."""
        ...

    def observe(self, read: Read) -> Array:
        """Observations `(env, observation)`."""
        ...

    def place(self, read: Read) -> Array:
        """Where it is along what a displacement is measured of, `(env, axis)`."""
        ...

    def measure(self, displacement: Array, read: Read) -> Array:
        """Signals `(env, signal)` of a step that changed its place by `(env, axis)`."""
        ...

    def fallen(self, read: Read) -> NDArray[np.bool_]:
        """Whether each copy is in a terminal state, `(env,)`."""
        ...


class BodyBatch:
    """A `BatchSimulator` of `n_envs` bodies, stepped in compiled code."""

    def __init__(self, body: Body, n_envs: int, threads: int = 1) -> None:
        from fieldtune.sim.physics.batch import MujocoBatch

        self.n_envs = n_envs
        self._body = body
        shared = body.shared_model()
        self._models = [copy.copy(shared) if body.tuned else shared for _ in range(n_envs)]
        self._batch = MujocoBatch(
            self._models, body.substeps, threads, contact_forces=body.contact_forces
        )
        self._moving = np.ones(n_envs, dtype=np.bool_)
        self._signals = np.zeros((n_envs, body.signals))

    def reset(self, seeds: NDArray[np.int64], tasks: Array) -> Array:
        """See `BatchSimulator.reset`."""
        if len(seeds) != self.n_envs or len(tasks) != self.n_envs:
            raise ValueError(
                f"reset: {len(seeds)} seeds and {len(tasks)} tasks for {self.n_envs} copies: "
                "give one of each a copy"
            )
        if self._body.tuned:
            for own, task in zip(self._models, tasks, strict=True):
                self._body.tune(own, task)
        states = [
            self._body.start(int(seed), task) for seed, task in zip(seeds, tasks, strict=True)
        ]
        self._batch.set(np.array([qpos for qpos, _ in states]), np.array([v for _, v in states]))
        self._moving[:] = True
        self._signals = np.zeros_like(self._signals)
        return self._body.observe(self._batch.read)

    def step(self, actions: Array) -> tuple[Array, NDArray[np.bool_]]:
        """See `BatchSimulator.step`. MuJoCo clamps controls to their range."""
        read = self._batch.read
        before = self._body.place(read)
        controls = self._body.controls(np.asarray(actions, dtype=np.float64), read)
        self._batch.step(controls, self._moving)
        self._signals = self._body.measure(self._body.place(read) - before, read)
        self._moving &= ~self._body.fallen(read)
        return self._body.observe(read), ~self._moving

    def signals(self) -> Array:
        """See `BatchSimulator.signals`."""
        return self._signals

    def close(self) -> None:
        """See `BatchSimulator.close`."""
        self._batch.close()

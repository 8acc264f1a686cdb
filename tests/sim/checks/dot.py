"""A family of numpy alone that keeps every promise, or breaks the one that `fault` names."""

# ruff: noqa: ARG002, ARG004, ARG005

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fieldtune.sim.family import FamilyDefaults, Field, TaskSplit, require_signals

SHARED = {"steps": 0}  # what no simulator may have


@dataclass(frozen=True)
class Dot(FamilyDefaults):
    """A point in the plane, pushed about; it ends beyond 0.6 m."""

    fault: str = ""

    name = "dot"
    robot = "dot"
    horizon = 20
    period_s = 0.1
    task_fields = (Field("target", "m", (-0.5, -0.5), (0.5, 0.5)),)

    @property
    def scripted(self):
        return f"{__name__}:Script" if self.fault == "lazy script" else None

    @property
    def observation_fields(self):
        tightest = 0.01 if self.fault == "bounds" else 1.5
        return (
            Field("position", "m", (-tightest,) * 2, (tightest,) * 2),
            Field.unbounded("position" if self.fault == "twice" else "velocity", "m/s", 2),
        )

    @property
    def action_fields(self):
        most = np.inf if self.fault == "unbounded action" else 1.0
        return (Field("push", "N", (-most,) * 2, (most,) * 2),)

    @property
    def signal_fields(self):
        return (Field.unbounded("work", "J"),)

    @property
    def dynamics_vary(self):
        return self.fault == "claims varying dynamics"

    @property
    def sparse_reward(self):
        return self.fault == "claims sparse"

    @property
    def reward_bounds(self):
        return (-0.1, 0.0) if self.fault == "claims bounds" else (-np.inf, 1.0)

    @property
    def success_reward(self):
        return 2.0 if self.fault == "claims success" else None

    def sample_tasks(self, seed, n):
        rng = np.random.default_rng(None if self.fault == "tasks without seed" else seed)
        most = 5.0 if self.fault == "tasks out of bounds" else 0.5
        return rng.uniform(-most, most, (n, 3 if self.fault == "task width" else 2))

    def split(self):
        train = self.sample_tasks(1, 6)
        return TaskSplit(train, train[:2] if self.fault == "split" else self.sample_tasks(2, 3))

    def reward(self, observation, action, next_observation, task, signals=None):
        work = signals[..., 0] if self.fault == "signals" and signals is not None else 0.0
        if self.fault != "signals":
            work = require_signals(self.name, self.signal_fields, signals)[..., 0]
        if self.fault == "writes":
            next_observation[...] = 0.0
        if self.fault == "same for all":
            task = np.zeros_like(task)
        gap = np.linalg.norm(next_observation[..., :2] - task, axis=-1)
        if self.fault == "one column":
            return -gap[..., None]
        if self.fault == "normalises":
            return -gap / gap.max()
        if self.fault == "no broadcast":
            return -np.array(
                [np.linalg.norm(s[:2] - t) for s, t in zip(next_observation, task, strict=True)]
            )
        return -gap - 0.001 * work

    def simulator(self, n_envs, threads=1):
        return Dots(self.fault, n_envs, threads)

    def single_robot(self):
        return One(self.fault)


class Dots:
    def __init__(self, fault, n_envs, threads):
        self.fault, self.n_envs, self.threads = fault, n_envs, threads
        self.seen = np.zeros((n_envs, 4))
        self.resets = 0

    def reset(self, seeds, tasks):
        self.resets += 1
        drawn = [np.random.default_rng(int(seed)).uniform(-0.1, 0.1, 2) for seed in seeds]
        if self.fault == "seed":
            drawn = np.random.default_rng().uniform(-0.1, 0.1, (self.n_envs, 2))
        if self.fault == "remembers":
            drawn = np.array(drawn) + 0.01 * self.resets
        self.tasks = tasks
        self.seen[:] = 0.0
        self.seen[:, :2] = drawn
        self.over = np.zeros(self.n_envs, dtype=bool)
        self.work = np.zeros((self.n_envs, 1))
        SHARED["steps"] = 0
        return self._shown()

    def step(self, actions):
        before, push = self.seen.copy(), np.array(actions)
        SHARED["steps"] += 1
        if self.fault == "dead action":
            push[:, 1] = 0.0
        if self.fault == "mixes":
            push = push + push.mean(axis=0)
        if self.fault == "shared state":
            push = push * (1 + 0.1 * SHARED["steps"])
        if self.fault == "threads" and self.threads > 1:
            push = push * 1.001
        if self.fault == "undeclared dynamics":
            push = push * (1 + self.tasks[:, :1])
        self.seen[:, 2:] += 0.5 * push
        self.seen[:, :2] += 0.1 * self.seen[:, 2:]
        if self.fault != "resets itself":
            self.seen[self.over] = before[self.over]
        else:
            self.seen[self.over] = 0.0
        if self.fault == "nan":
            self.seen[0, 3] = np.nan
        self.work = np.abs(push).sum(axis=1, keepdims=True)
        now = np.abs(self.seen[:, :2]).max(axis=1) > 0.6
        known, self.over = self.over, self.over | now
        if self.fault == "takes it back":
            return self._shown(), self.over & ~known
        return self._shown(), self.over.astype(
            int
        ) if self.fault == "ends as int" else self.over.copy()

    def signals(self):
        return self.work[:, 0] if self.fault == "signal shape" else self.work.copy()

    def close(self):
        pass

    def _shown(self):
        if self.fault == "own array":
            return self.seen
        return self.seen[:, :3].copy() if self.fault == "width" else self.seen.copy()


class One:
    def __init__(self, fault):
        self.fault, self.dots = fault, Dots("", 1, 1)

    def reset(self, seed, task):
        return self.dots.reset(np.array([seed]), task[None])[0]

    def step(self, action):
        seen, over = self.dots.step((0.5 if self.fault == "another robot" else 1.0) * action[None])
        return seen[0], bool(over[0])

    def signals(self):
        return self.dots.signals()[0]

    def render(self, width, height):
        picture = np.zeros((height, width, 3), dtype=np.uint8)
        picture[1] = 0 if self.fault == "black" else 255
        return picture.swapaxes(0, 1) if self.fault == "turned picture" else picture

    def close(self):
        pass


class Script:
    """Does nothing at all."""

    POLICY = "lazy"

    @staticmethod
    def collect_scripted(family, seed, tasks, jobs, threads=1):
        from fieldtune.sim.noisy_script import Plan
        from fieldtune.sim.planned import collect_planned

        return collect_planned(
            family,
            tasks,
            jobs,
            lambda task, episode: Plan(episode, tasks[task], 1.0, np.zeros((20, 2))),
            lambda plans: lambda seen: np.zeros((len(seen), 2)),
        )

    @staticmethod
    def scripted_return(family, tasks, seeds, threads=1):
        return -1e9

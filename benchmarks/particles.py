"""One transition's update of the posterior over 1,000 particles, against its graph alone; and its
refinement after an episode.

`python -m benchmarks.particles [--quick]`. What a robot does between episodes, or beside its loop,
for every rewarded step: the decoder of cheetah-vel under each particle, on one thread. And what it
does once an episode is over: the whole context under 200 places more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.alone import main
from benchmarks.cycle import make_bundle
from benchmarks.figures import Goal, Role, Series, Table
from benchmarks.inference_alone import session
from benchmarks.smac_sides import make_ours, reference
from benchmarks.turns import Effort, in_turns
from fieldtune.export.manifest import LIKELIHOOD
from fieldtune.robot.policy.particles import ParticlePosterior
from fieldtune.robot.policy.policy import Policy
from fieldtune.robot.policy.refinement import PLACES, places
from fieldtune.train.agent.likelihood import Particles, log_likelihood
from fieldtune.train.data.replay import Batch

COUNT, LATENT = 1_000, 5
DECODERS = {"lean, 64×2": "[64, 64]", "wide, 300×3": "[300, 300, 300]"}
OURS, ONNX, TORCH = "Fieldtune's update", "onnxruntime alone", "plain torch"
REFINED = "Fieldtune's refinement"
ROLES: dict[str, Role] = {OURS: "ours", REFINED: "ours", ONNX: "floor", TORCH: "theirs"}
WITHIN_US = 1_000.0
EPISODE = 200  # steps
_MICROSECOND = 1e-6


class Sides:
    """The same transitions, weighed by everybody.

    Args:
        folder: where a bundle may be written.
        hidden: the decoder's layers, as a setting.
    """

    def __init__(self, folder: Path, hidden: str) -> None:
        rng = np.random.default_rng(0)
        z = rng.standard_normal((COUNT, LATENT))
        sizes = (f"algorithm.networks.decoder={hidden}", f"algorithm.latent_size={LATENT}")
        known = {"particles": z.tolist(), "reward_variance": 1.0, "unlike_below": -1.0}
        bundle, _ = make_bundle(folder / "policy.bundle", *sizes, likelihood=known)
        self._policy = Policy(bundle)
        self._agent = make_ours(reference(*sizes)).agent
        self._particles = Particles(torch.from_numpy(z).float(), 1.0)
        widths = self._agent.shape.observation, self._agent.shape.action
        self._s, self._a = (rng.standard_normal(width) for width in widths)
        self._session = session(bundle.graphs[LIKELIHOOD])
        rows = {"observation": self._s, "action": self._a, "reward": np.array([-0.5])}
        self._feed = {name: np.tile(row, (COUNT, 1)).astype("f4") for name, row in rows.items()}
        self._feed["z"] = z.astype("f4")
        once = self._policy.update(self._policy.prior(), self._s, self._a, -0.5, self._s)
        assert isinstance(once, ParticlePosterior)
        self._told = replace(once, log_weights=once.log_weights * EPISODE)
        self._few = {name: value[:PLACES] for name, value in self._feed.items()}
        self._few["z"] = places(z, self._told.log_weights, COUNT).astype("f4")
        constants = self._agent.normalisation
        self._row = Batch(
            observation=_row(constants.observation(self._s)),
            action=_row(constants.action(self._a)),
            reward=torch.full((1, 1), float(constants.reward(np.array(-0.5)))),
            next_observation=_row(constants.observation(self._s)),
            done=torch.zeros(1, 1),
        )

    def ours(self) -> NDArray[np.float64]:
        known = self._policy.update(self._policy.prior(), self._s, self._a, -0.5, self._s)
        assert isinstance(known, ParticlePosterior)
        return known.log_weights

    def onnx(self) -> NDArray[np.float64]:
        found: NDArray[np.float64] = self._session.run(None, self._feed)[0][:, 0]
        return found

    def torch(self) -> NDArray[np.float64]:
        return log_likelihood(self._agent, self._particles, self._row)[0].numpy()

    def refined(self) -> NDArray[np.float64]:
        """After an episode, in which the same transition came again and again."""
        context = [(self._s, self._a, -0.5, self._s)] * EPISODE
        known = self._policy.refined(self._told, context)
        assert isinstance(known, ParticlePosterior)
        return known.log_weights[known.own :]

    def refined_by_onnx(self) -> NDArray[np.float64]:
        """Of places that somebody else chose."""
        total = np.zeros(PLACES)
        for _ in range(EPISODE):
            total += self._session.run(None, self._few)[0][:, 0]
        return total

    def check(self) -> str:
        """Raises `AssertionError` unless everybody comes to the same."""
        expected = self.ours()
        for label, side in ((ONNX, self.onnx), (TORCH, self.torch)):
            apart = np.abs(side() - expected).max()
            if apart > 1e-4:
                raise AssertionError(f"{label} is {apart:g} away")
        if np.abs(self.refined() - self.refined_by_onnx()).max() > 1e-3:
            raise AssertionError(f"refined, {ONNX} comes to something else")
        return "log-likelihoods of all sides are equal within 1e-4"


def _row(values: NDArray[np.float32]) -> torch.Tensor:
    return torch.from_numpy(values)[None, None]


def _microseconds(run: Callable[[], object], calls: int) -> Callable[[], float]:
    """The median of so many calls."""

    def timed() -> float:
        found = []
        for _ in range(calls):
            started = time.perf_counter()
            run()
            found.append(time.perf_counter() - started)
        return float(np.median(found)) / _MICROSECOND

    return timed


def measure(effort: Effort) -> Iterator[Table]:
    """A table for each decoder; the goal is the lean one's."""
    torch.set_num_threads(1)
    calls = effort.choose(300, 3)
    for index, (named, hidden) in enumerate(DECODERS.items()):
        with TemporaryDirectory() as folder:
            sides = Sides(Path(folder), hidden)
        check = sides.check()
        runs = {
            label: _microseconds(run, calls)
            for label, run in ((OURS, sides.ours), (ONNX, sides.onnx), (TORCH, sides.torch))
        }
        yield Table(
            title=f"One step's update of {COUNT:,} particles, {named}",
            unit="µs",
            conditions=(
                f"cheetah-vel's fields, z of {LATENT}, decoder {named}; the median of {calls} "
                "updates a round and side, back to back; 1 thread"
            ),
            series=[
                Series(label, ROLES[label], values)
                for label, values in in_turns(runs, effort.rounds).items()
            ],
            higher_is_better=False,
            goals=[] if index else [Goal("< 1 ms", OURS, at_most=WITHIN_US)],
            checks=[check],
        )
        calls = effort.choose(20, 2)
        after = {
            REFINED: _microseconds(sides.refined, calls),
            ONNX: _microseconds(sides.refined_by_onnx, calls),
        }
        yield Table(
            title=f"Refinement after an episode of {EPISODE} steps, {named}",
            unit="ms",
            conditions=(
                f"cheetah-vel's fields, z of {LATENT}, {PLACES} places, decoder {named}; the "
                f"median of {calls} a round and side, back to back; 1 thread"
            ),
            series=[
                Series(label, ROLES[label], [value / 1e3 for value in values])
                for label, values in in_turns(after, effort.rounds).items()
            ],
            higher_is_better=False,
            checks=[check],
        )


if __name__ == "__main__":
    main(measure, __doc__.splitlines()[0])

"""The control cycle while z follows the rewards, against the same cycle with z held.

`python -m benchmarks.following [--quick]`. The cycle is that of `benchmarks.cycle`, with a bundle
of 1,000 particles: beside it the follower weighs every transition by a reward, on its own thread of
the same process, and z is taken anew at each step. Also how many steps z is behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.alone import main
from benchmarks.cycle import HZ, Cycle, make_bundle
from benchmarks.figures import Goal, Role, Series, Table
from benchmarks.turns import Effort
from fieldtune.robot.config import RealtimeConfig
from fieldtune.robot.policy.following import FollowedZ, Follower
from fieldtune.robot.timing.realtime import realtime

PARTICLES, LATENT = 1_000, 5
LEAN = ("algorithm.networks.decoder=[64, 64]", f"algorithm.latent_size={LATENT}")
PRIORITY = 50
HELD, FOLLOWED = "z held for the episode", "z follows the rewards"
ROLES: dict[str, Role] = {HELD: "floor", FOLLOWED: "ours"}


class Rewards:
    """One for every transition, at once."""

    def __init__(self) -> None:
        self._known: dict[int, float] = {}

    def follow(self) -> None:
        self._known[len(self._known)] = -1.0

    def so_far(self) -> dict[int, float]:
        return self._known.copy()


def followed(cycle: Cycle, cycles: int) -> tuple[list[int], list[int]]:
    """One episode: nanoseconds of every cycle, and how many steps z was behind in each."""
    policy, rewards = cycle.policy, Rewards()
    known = policy.prior()
    follower = Follower(
        policy, known, known.likeliest, rewards.so_far, priority=PRIORITY - 1
    ).start()
    z = FollowedZ(follower, 1, patient=False, stopped=lambda: "")

    def follow(*transition: np.ndarray) -> None:
        rewards.follow()
        follower.put(*transition)

    whole, _ = cycle.run(cycles, z, follow)
    if follower.finish(rewards.so_far(), lambda: None) is None:
        raise RuntimeError(follower.trouble)
    return whole, z.lags


def measure(effort: Effort) -> Iterator[Table]:
    """Medians by round, the slowest in a thousand over all rounds, and the lag."""
    cycles = effort.choose(1000, 20)
    found: dict[str, list[list[int]]] = {label: [] for label in ROLES}
    lags: list[int] = []
    with TemporaryDirectory() as temporary, ExitStack() as undo:
        bundle, _ = make_bundle(Path(temporary) / "policy.bundle", *LEAN, likelihood=_known())
        cycle = Cycle(bundle, Path(temporary))
        undo.callback(cycle.close)
        undo.enter_context(realtime(RealtimeConfig(priority=PRIORITY, lock_memory=False), 1.0))
        cycle.run(20)
        followed(cycle, 20)
        for _ in range(effort.rounds):
            found[HELD].append(cycle.run(cycles)[0])
            whole, behind = followed(cycle, cycles)
            found[FOLLOWED].append(whole)
            lags += behind
    conditions = (
        f"cheetah-vel's fields, a policy of 300×3, {PARTICLES} particles of {LATENT} numbers, a "
        f"decoder of 64×2, each transition rewarded, paced at {HZ} Hz; {cycles} cycles a round and "
        "side; real-time priority for both threads where permitted, the loop's above"
    )
    told = (
        f"z was {np.median(lags):g} steps behind in the median, {np.quantile(lags, 0.99):g} in the "
        f"worst of a hundred, {max(lags)} at most"
    )
    for title, share in (("median", None), ("slowest in a thousand", 0.999)):
        yield Table(
            title=f"One control cycle while z follows the rewards, {title}",
            unit="µs",
            conditions=conditions if share is None else f"{conditions}, all rounds together",
            series=[
                Series(label, ROLES[label], _microseconds(rounds, share))
                for label, rounds in found.items()
            ],
            higher_is_better=False,
            goals=[Goal("≤ 1.5× with z held", FOLLOWED, HELD, at_most=1.5)],
            checks=[told] if share is None else [],
        )


def _known() -> dict[str, object]:
    """The manifest's section `likelihood`."""
    particles = np.random.default_rng(0).standard_normal((PARTICLES, LATENT)).tolist()
    return {"particles": particles, "reward_variance": 1.0, "unlike_below": -1e9}


def _microseconds(rounds: list[list[int]], share: float | None) -> list[float]:
    if share is None:
        return [float(np.median(durations)) / 1e3 for durations in rounds]
    return [float(np.quantile(np.concatenate(rounds), share)) / 1e3]


if __name__ == "__main__":
    main(measure, __doc__.splitlines()[0])

"""What an arm did, by its own physics and by the daemon's journal, in numbers.

Reads the log of `benchmarks.franka_arm` and a journal; does not know how either was made.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.franka_arm import RECORD
from fieldtune.robot.episodes.episode import EndReason, Episode
from fieldtune.robot.journal.journal import Journal
from fieldtune.robot.policy.exploration import Draws
from fieldtune.sim.manipulation.reach.family import ReachFamily

Array = NDArray[np.float64]

STILL_RAD_S = 0.01
_JOINTS = 7


def physics(log: Path) -> NDArray[np.void]:
    """Every whole record so far."""
    size = log.stat().st_size // RECORD.itemsize
    return np.fromfile(log, RECORD, count=size)


def speed(rows: NDArray[np.void]) -> Array:
    """The fastest joint's, in rad/s, by record."""
    return np.abs(rows["dq"].astype(np.float64)).max(axis=1)


def rest_s(rows: NDArray[np.void], since: float) -> float:
    """From `since` to the first record from which on the arm stood still; inf where it did not."""
    after = rows[rows["at_s"] >= since]
    moving = np.flatnonzero(speed(after) >= STILL_RAD_S)
    if not len(moving):
        return 0.0
    if moving[-1] + 1 >= len(after):
        return float("inf")
    return float(after["at_s"][moving[-1] + 1] - since)


def joints_error(rows: NDArray[np.void]) -> Array:
    """Commanded minus real joint speeds in rad/s, of records in which a motion ran: `(n, 7)`."""
    moving = rows[np.abs(rows["dq_c"]).max(axis=1) > 0]
    return (moving["dq_c"] - moving["dq"]).astype(np.float64)


def whole_episodes(journal: Path) -> list[Episode]:
    with Journal.read(journal) as opened:
        episodes = [opened.episode(entry.number) for entry in opened.entries() if entry.footer]
    return [one for one in episodes if one.footer.end_reason is EndReason.HORIZON]


def from_the_family_m(episodes: list[Episode]) -> Array:
    """How far the end effector was from that of the family's simulator, which starts at the same
    seed and is given the same applied actions; `(episode, step)` in m."""
    family = ReachFamily(robot="panda")
    simulator = family.simulator(len(episodes))
    seeds = [Draws(one.header.seed, one.header.number).start_seed for one in episodes]
    simulated = simulator.reset(np.array(seeds), np.zeros((len(seeds), 3)))
    apart = []
    for step in range(min(len(one.steps) for one in episodes)):
        real = np.array([one.steps[step].observation for one in episodes])
        ways = family.end_effector(real) - family.end_effector(simulated)
        apart.append(np.linalg.norm(ways, axis=1))
        simulated, _ = simulator.step(np.array([one.steps[step].applied for one in episodes]))
    simulator.close()
    return np.array(apart).T


def moved_m(episodes: list[Episode]) -> Array:
    """How far the end effector went in each episode, `(episode,)` in m along its way."""
    ways = []
    for one in episodes:
        seen = np.array([step.observation for step in one.steps])
        places = seen[:, 2 * _JOINTS : 2 * _JOINTS + 3]
        ways.append(np.linalg.norm(np.diff(places, axis=0), axis=1).sum())
    return np.array(ways)

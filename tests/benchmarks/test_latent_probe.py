"""The probe finds in z what is there, in the parameter's own unit, and nothing where nothing is."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.latent_probe import probe
from fieldtune.sim.family import SEED, Field

DEVIATION = 2 / np.sqrt(12)  # of what is uniform on ±1


def tasks_and_z(rng, n, noise=0.0):
    """A thing, a place, a heading and a seed; z holds thing and heading, and each thing's place in
    a direction of its own."""
    thing = rng.integers(2, size=n)
    place, heading = rng.uniform(-1, 1, n), rng.uniform(0, 360, n)
    tasks = np.stack([thing, place, heading, rng.integers(99, size=n)], axis=-1)
    turn = np.deg2rad(heading)
    z = np.stack(
        [3.0 * thing, place * (thing == 0), place * (thing == 1), np.cos(turn), np.sin(turn)], -1
    )
    return z + noise * rng.standard_normal(z.shape), tasks.astype(float)


FIELDS = (
    Field("thing", "index", (0.0,), (1.0,)),
    Field("place", "m", (-1.0,), (1.0,)),
    Field("heading", "degrees", (0.0,), (360.0,)),
    Field("layouts", SEED, (0.0,), (99.0,)),
)


def test_what_z_holds_is_read_from_it_in_the_parameters_own_unit():
    rng = np.random.default_rng(0)
    fitted, judged = tasks_and_z(rng, 400, 0.05), tasks_and_z(rng, 200, 0.05)
    thing, place, heading = probe(FIELDS, *fitted, *judged)  # a seed is nothing to infer
    assert [one.name for one in (thing, place, heading)] == ["thing", "place", "heading"]
    assert thing.error == 0.0
    assert thing.guessed == pytest.approx(0.5, abs=0.1)
    assert place.error == pytest.approx(0.05, rel=0.2)
    assert place.guessed == pytest.approx(DEVIATION, rel=0.1)
    assert heading.error == pytest.approx(np.rad2deg(0.05), rel=0.2)
    assert heading.guessed == pytest.approx(360 / np.sqrt(12), rel=0.1)
    assert str(place).startswith(f"place: {place.error:.3g} m off (guessed: 0.")


def test_what_z_does_not_hold_is_no_better_than_guessed():
    rng = np.random.default_rng(0)
    (z, tasks), (kept_z, kept_tasks) = tasks_and_z(rng, 400), tasks_and_z(rng, 200)
    for one in probe(FIELDS, rng.permutation(z), tasks, rng.permutation(kept_z), kept_tasks):
        assert one.error > 0.9 * one.guessed

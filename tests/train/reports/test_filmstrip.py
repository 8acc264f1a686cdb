"""One robot, filmed on one task, on machines that can render and on those that cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

from fieldtune.sim.family import TaskFamily
from fieldtune.sim.registry import family as make_family
from fieldtune.train.agent.actor import Acting
from fieldtune.train.reports.filmstrip import Film, Frame, film, png, strip


@pytest.fixture
def trial(untrained) -> Callable:
    def run(family: TaskFamily, tasks: int, **options: int):
        return film(
            untrained(family),
            family,
            family.split().test[:tasks],
            exploration_episodes=2,
            exploring=Acting(),
            seed=3,
            **options,
        )

    return run


@pytest.mark.slow
def test_arm_is_filmed_exploring_and_then_acting(trial):
    family = make_family("reach")
    adaptation = trial(family, tasks=5, size=96)
    assert len(adaptation.exploration) == 2
    for shown in (*adaptation.exploration, adaptation.adapted):
        assert [frame.step for frame in shown.frames] == [0, 5, 12, 25, 50]
        assert shown.frames[0].reward is None
        assert all(frame.image.shape == (96, 96, 3) for frame in shown.frames)
        assert shown.frames[0].image.std() > 10
        # The return sums 50 negative rewards, of which these are four.
        assert shown.episode_return < sum(frame.reward or 0.0 for frame in shown.frames)
    first, last = adaptation.adapted.frames[0], adaptation.adapted.frames[-1]
    assert np.abs(first.image.astype(int) - last.image).max() > 30


@pytest.mark.slow
def test_a_target_behind_the_arm_is_not_the_one_that_is_filmed(trial):
    family = make_family("reach")
    # As seen from where the camera stands: behind the arm, in full view, and in between.
    targets = np.array([[0.463, 0.151, 0.277], [0.562, 0.288, 0.12], [0.334, 0.204, 0.227]])

    class Pair:
        def __getattr__(self, name: str):
            return getattr(family, name)

        def split(self):
            split = family.split()
            return type(split)(split.train, targets)

    adaptation = trial(Pair(), tasks=3, size=160)
    assert adaptation.task == 1


def test_filming_depends_on_its_seed_alone(trial):
    family = make_family("cheetah-vel")
    one, two = (trial(family, tasks=1, size=48) for _ in range(2))
    assert one.adapted.episode_return == two.adapted.episode_return
    assert np.array_equal(strip(one.adapted), strip(two.adapted))


def test_filming_leaves_torchs_random_state_alone(untrained):
    family = make_family("cheetah-vel")
    agent = untrained(family)
    before = torch.get_rng_state()
    tasks = family.split().test[:1]
    film(agent, family, tasks, exploration_episodes=1, exploring=Acting("step"), seed=0, size=32)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
def test_a_machine_without_graphics_says_what_to_install():
    code = (
        "import numpy as np\n"
        "from fieldtune.sim.registry import family as make\n"
        "from fieldtune.train.reports.filmstrip import NoPicture, film\n"
        "family = make('cheetah-vel')\n"
        "try:\n"
        "    film(None, family, family.split().test[:1], exploration_episodes=1,\n"
        "         exploring=None, seed=0)\n"
        "except NoPicture as error:\n"
        "    print(error)\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "DISPLAY"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {"MUJOCO_GL": "disabled"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Debian: libegl1" in done.stdout


def test_a_fault_of_the_robot_is_not_mistaken_for_missing_graphics(untrained):
    class Broken:
        def __getattr__(self, name: str):
            return getattr(make_family("cheetah-vel"), name)

        def single_robot(self):
            return _BrokenRobot()

    family = Broken()
    with pytest.raises(ZeroDivisionError):
        film(
            untrained(family),
            family,
            family.split().test[:1],
            exploration_episodes=1,
            exploring=Acting(),
            seed=0,
        )


class _BrokenRobot:
    def reset(self, *_: object) -> np.ndarray:
        raise ZeroDivisionError

    def close(self) -> None:
        pass


def test_a_strip_holds_every_frame_in_order():
    frames = [Frame(i, None, np.full((4, 4, 3), 40 * i, dtype=np.uint8)) for i in range(3)]
    image = strip(Film(0.0, tuple(frames)), gap=2)
    assert image.shape == (4, 16, 3)
    assert [int(image[0, x, 0]) for x in (0, 4, 6, 10, 12)] == [0, 255, 40, 255, 80]
    assert png(image).startswith(b"\x89PNG")

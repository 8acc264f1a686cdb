"""A robot filmed before, while and after it adapts: what is shown, how long, what is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from fieldtune.sim.registry import family as make_family
from fieldtune.train.agent.actor import Acting
from fieldtune.train.charts import AFTER
from fieldtune.train.cli.app import app
from fieldtune.train.reports.moving_picture import STILL_S, Shot, animated, shoot


@pytest.fixture
def make_shot():
    def make(rewards, success_reward=None, every=2):
        steps = [*range(0, len(rewards), every), len(rewards)]
        images = {k: np.full((100, 100, 3), 10 * k, dtype=np.uint8) for k in steps}
        return Shot("adapted", AFTER, images, np.array(rewards, dtype=float), success_reward)

    return make


def test_what_is_said_of_a_return_and_of_a_success(make_shot):
    dense = make_shot([-1.0, -0.5, -0.25])
    assert [dense.said(k) for k in range(4)] == ["return 0.00", "return −1.00", "return −1.50", "return −1.75"]  # fmt: skip # noqa: E501
    sparse = make_shot([-1.0, 0.0, -1.0, 0.0], success_reward=0.0)
    assert [sparse.said(k) for k in range(5)] == ["not yet", "not yet", "there", "not yet", "success"]  # fmt: skip # noqa: E501
    assert make_shot([-1.0, -1.0], success_reward=0.0).said(2) == "failed"
    near = make_shot([-0.2, -0.04, -0.06], success_reward=-0.05)
    assert [near.said(k) for k in range(4)] == ["not yet", "not yet", "there", "failed"]


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_shots_follow_each_other_at_the_robots_pace(make_shot, suffix):
    written = animated([make_shot([-1.0] * 5), make_shot([-1.0] * 3)], 0.1, suffix)
    lasts = []
    with Image.open(io.BytesIO(written)) as film:
        assert film.size == (100, 116)
        assert film.info["loop"] == 0
        assert film.n_frames == 7  # at 0, 2, 4, 5 and 0, 2, 3
        for frame in range(film.n_frames):
            film.seek(frame)
            film.load()
            lasts.append(film.info["duration"])
            image = film.convert("RGB")
            shown = [0, 20, 40, 50, 0, 20, 30][frame]
            assert np.array(image)[60, 50] == pytest.approx([shown] * 3, abs=6)
    assert lasts == [200, 200, 100, 1000 * STILL_S, 200, 100, 1000 * STILL_S]


def test_an_episode_that_ends_early_ends_on_film(make_shot):
    shot = make_shot([-1.0] * 6)
    cut = Shot(shot.title, shot.colour, shot.images, shot.rewards[:4], None)
    with Image.open(io.BytesIO(animated([cut], 0.1, ".gif"))) as film:
        assert film.n_frames == 3


@pytest.mark.slow
def test_the_arm_is_filmed_before_while_and_after(untrained):
    family = make_family("reach")
    told = []
    shots = shoot(
        untrained(family),
        family,
        family.split().train[3],
        exploration_episodes=1,
        posterior_sampling=False,
        exploring=Acting(),
        seed=3,
        every=20,
        size=96,
        progress=lambda done, total: told.append((done, total)),
    )
    assert [shot.title.split(":")[0] for shot in shots] == [
        "before",
        "exploring, 1 of 1",
        "adapted",
    ]
    assert told == [(1, 3), (2, 3), (3, 3)]
    for shot in shots:
        assert list(shot.images) == [0, 20, 40, 50]
        assert all(image.std() > 10 for image in shot.images.values())
        assert shot.said(0) == "not yet"
        assert shot.said(50) == ("success" if shot.rewards[-1] >= -0.05 else "failed")
        assert shot.rewards.shape == (50,)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "film.mp4"], "--out film.mp4: expected a name that ends in .gif or .webp"),
        (["--out", "film.gif", "--task", "1", "--at", "1"], "--task and --at: one robot"),
    ],
)
def test_what_cannot_be_filmed_is_refused(tmp_path, arguments, said):
    result = CliRunner().invoke(app, ["film", "--run", str(tmp_path), *arguments])
    assert result.exit_code != 0
    assert said in " ".join(result.stderr.split())
    assert not list(tmp_path.iterdir())

"""The figure of beliefs shows the beliefs, and what cannot be drawn is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from fieldtune.sim.family import Field
from fieldtune.sim.registry import family as make_family
from fieldtune.train.charts import to_png, to_small_png
from fieldtune.train.evaluation.beliefs import Belief, Believed
from fieldtune.train.reports.beliefs import COLOURS, NoPictureOfTasks, Space, belief_figure, density

VELOCITY = Space.of("cheetah-vel", (Field("velocity", "m/s", (0.0,), (3.0,)),))
DIRECTION = Space.of("ant-dir", (Field("direction", "degrees", (0.0,), (360.0,)),))
PLACE = Space.of("reach", make_family("reach").task_fields)


def sure(task, **what: object) -> Belief:
    """Certain of `task`, beside a point that counts for nothing."""
    return Belief(np.stack([task, task * 0.5]), np.array([1.0, 0.0]), **what)


def believed(tasks: np.ndarray, moments: int, **what: object) -> Believed:
    row = [sure(task, **what) for task in tasks]
    by = {"encoder": [row] * moments, "likelihood": [row] * moments}
    return Believed(tasks, tuple(range(moments)), by)


@pytest.mark.parametrize(("space", "task"), [(VELOCITY, 1.2), (DIRECTION, 200.0)])
def test_a_density_is_highest_where_the_task_is_believed(space, task):
    values, likely = density(space, sure(np.array([task])))
    assert values[likely.argmax()] == pytest.approx(task, abs=1.0 if space.turning else 0.01)
    assert likely.max() == 1.0


def test_a_density_of_directions_goes_on_across_zero():
    values, likely = density(DIRECTION, sure(np.array([359.0])))
    assert likely[values == 3.0] == pytest.approx(likely[values == 355.0])


@pytest.mark.parametrize(
    ("space", "tasks", "rows"),
    [
        (VELOCITY, [[0.5], [1.5], [2.5]], 2),
        (DIRECTION, [[10.0], [200.0]], 2),
        (PLACE, [[0.5, 0.2, 0.1]], 4),
    ],
    ids=["velocity", "direction", "place"],
)
def test_a_panel_for_each_inference_view_and_moment_with_the_truth_in_it(space, tasks, rows):
    tasks = np.array(tasks)
    figure = belief_figure(believed(tasks, 3), space, ["a", "b", "c"], "title")
    assert len(figure.axes) == 3 * rows
    view = space.views[0]
    for axes in figure.axes[:3]:
        marked = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) < 3]
        truth = np.deg2rad(tasks[:, 0]) if space.turning else tasks[:, view[0]]
        assert marked == pytest.approx(list(truth))
    assert [axes.get_title() for axes in figure.axes[:3]] == ["a", "b", "c"]
    assert to_png(figure, 30).startswith(b"\x89PNG")


def test_dots_of_places_are_as_large_as_they_are_likely():
    task = np.array([[0.5, 0.2, 0.1]])
    figure = belief_figure(believed(task, 1), PLACE, ["a"], "title")
    for axes, view in zip(figure.axes, PLACE.views * 2, strict=True):
        (dots,) = axes.collections
        assert np.asarray(dots.get_offsets()) == pytest.approx(task[:, view])  # nothing else counts


def test_a_task_beyond_the_range_is_inside_the_panel_and_called_unlike():
    figure = belief_figure(
        believed(np.array([[6.0]]), 1, unlike=True, episode_return=-12.3), VELOCITY, ["a"], "title"
    )
    assert figure.axes[0].get_xlim()[1] > 6.0
    assert figure.axes[0].texts[0].get_text() == "return −12.3\nunlike any"


def test_pictures_of_the_robot_have_a_row_of_their_own():
    frame = np.zeros((8, 8, 3), np.uint8)
    figure = belief_figure(
        believed(np.array([[1.0]]), 2), VELOCITY, ["a", "b"], "title", [frame, frame]
    )
    assert len(figure.axes) == 2 * 3
    assert [len(axes.images) for axes in figure.axes] == [1, 1, 0, 0, 0, 0]


def test_a_task_space_that_no_picture_can_show_is_refused_by_its_parameters():
    with pytest.raises(NoPictureOfTasks, match=r"walker-params: a task has 58 param.*at most 3"):
        Space.of("walker-params", make_family("walker-params").task_fields)
    with pytest.raises(NoPictureOfTasks, match=r"multi: a task's 'layouts' is a seed"):
        Space.of("multi", make_family("multi").task_fields)


def test_a_small_picture_is_the_same_one_in_fewer_bytes():
    rng = np.random.default_rng(0)
    task = np.array([0.5, 0.2, 0.1])
    cloud = Belief(task + rng.normal(0, 0.05, (500, 3)), np.full(500, 1 / 500))
    of_all = Believed(task[None], (0,), {"likelihood": [[cloud]]})
    one, two, whole = (belief_figure(of_all, PLACE, ["a"], "title") for _ in range(3))
    small = to_small_png(one, 100)
    assert len(small) < 0.6 * len(to_png(whole, 100))
    assert small == to_small_png(two, 100)


def test_a_small_picture_keeps_a_colour_that_is_rare():
    grey = np.random.default_rng(0).integers(0, 256, (120, 120, 1), np.uint8)
    frame = np.repeat(grey, 3, axis=2)
    frame[50:54, 50:54] = 0, 255, 0
    figure = belief_figure(believed(np.array([[1.0]]), 1), VELOCITY, ["a"], "title", [frame])
    shown = np.asarray(Image.open(io.BytesIO(to_small_png(figure, 100))).convert("RGB"), int)
    assert (shown[..., 1] - shown[..., [0, 2]].max(axis=-1)).max() > 150


def test_of_three_places_each_has_its_words_in_its_colour_once():
    tasks = np.array([[0.5, 0.2, 0.1], [0.3, 0.1, 0.2], [0.4, 0.3, 0.0]])
    figure = belief_figure(
        believed(tasks, 1, unlike=True, episode_return=-12.3), PLACE, ["a"], "title"
    )
    above, side = figure.axes[:2]
    assert [text.get_text() for text in above.texts] == ["−12.3\nunlike"] * 3
    assert [text.get_color() for text in above.texts] == list(COLOURS)
    assert not side.texts

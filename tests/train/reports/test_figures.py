"""Figures that show what was measured, and leave no trace in the program that drew them."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest

from fieldtune.train import charts
from fieldtune.train.evaluation.statistics import over_tasks
from fieldtune.train.reports import figures

DRAWN = {
    "returns": figures.return_bars,
    "curve": figures.adaptation_curve,
    "first": figures.first_episode,
    "embeddings": figures.embeddings,
}


@pytest.mark.parametrize("drawn", DRAWN.values(), ids=DRAWN.keys())
@pytest.mark.parametrize(
    "kept",
    [{}, {"oracle": None}, {"after": None, "oracle": None}, {"tasks": 30}, {"scripted": None}],
    ids=["all", "no oracle", "offline only", "30 tasks", "no script"],
)
def test_every_figure_is_drawn_from_what_there_is(drawn, kept, make_evaluation):
    svg = charts.to_svg(drawn(make_evaluation(**kept)), "name", "what it shows")
    ElementTree.fromstring(svg)


def test_bars_and_dots_are_the_returns(make_evaluation):
    evaluation = make_evaluation()
    (axes,) = figures.return_bars(evaluation).axes
    heights = [bar.get_height() for bar in axes.patches]
    assert heights == pytest.approx([evaluation.returns[name] for name in figures.BARS])
    dots = [np.asarray(points.get_offsets())[:, 1] for points in axes.collections]
    before = evaluation.phases["before"]
    assert dots[1] == pytest.approx(over_tasks(before.likelihood.returns[2]))
    assert dots[3] == pytest.approx(over_tasks(before.encoder.returns[2]))
    assert len(dots) == 6  # nothing is known of single tasks for random and scripted


def test_bars_of_positive_returns_stand_on_zero(make_evaluation):
    evaluation = make_evaluation(random=3.0, scripted=40.0)
    (axes,) = figures.return_bars(evaluation).axes
    assert axes.get_ylim()[0] < 0 < 40.0 < axes.get_ylim()[1]


def test_curves_are_of_both_inferences_from_the_first_episode_on(make_evaluation):
    evaluation = make_evaluation()
    (axes,) = figures.adaptation_curve(evaluation).axes
    lines = {line.get_label(): line for line in axes.lines}
    for name, inference in (("encoder", "the encoder"), ("likelihood", "the decoder's likelihood")):
        line = lines[f"after phase 2, by {inference}"]
        adapted = getattr(evaluation.phases["after"], name)
        assert list(line.get_xdata()) == [0, 1, 2, 3]
        expected = [np.mean(adapted.first_episode.returns), *np.mean(adapted.returns[1:], (1, 2))]
        assert line.get_ydata() == pytest.approx(expected)
    assert len(axes.collections) == 4  # each line's interval
    for label, name in (
        ("offline context, before phase 2", "offline_context"),
        ("true rewards in phase 2, by the encoder, after 2", "oracle"),
    ):
        assert lines[label].get_ydata()[0] == pytest.approx(evaluation.returns[name])


def test_rewards_go_by_seconds_and_are_smoothed_over_half_of_one(make_evaluation):
    evaluation = make_evaluation()
    (axes,) = figures.first_episode(evaluation).axes
    lines = {line.get_label(): line for line in axes.lines}
    line = lines["before phase 2, by the encoder"]
    rewards = evaluation.phases["before"].encoder.first_episode.rewards
    assert line.get_ydata()[0] == pytest.approx(np.mean(rewards[:10]))
    assert line.get_xdata()[[0, 1]] == pytest.approx([5.5 * 0.05, 6.5 * 0.05])
    assert len(line.get_xdata()) == len(rewards) - 9


def test_a_first_episode_that_was_not_measured_is_no_point(make_evaluation):
    whole = make_evaluation(after=None)
    before = whole.phases["before"]
    without = replace(before, encoder=replace(before.encoder, first_episode=None))
    evaluation = replace(whole, phases=whole.phases | {"before": without})
    (axes,) = figures.adaptation_curve(evaluation).axes
    lines = {line.get_label(): line for line in axes.lines}
    assert list(lines["before phase 2, by the encoder"].get_xdata()) == [1, 2, 3]
    assert len(figures.first_episode(evaluation).axes[0].lines) == 1


def test_a_panel_keeps_distances_that_lie_in_its_plane(make_evaluation):
    evaluation = make_evaluation()
    rng = np.random.default_rng(0)
    plane = np.linalg.qr(rng.normal(size=(5, 2)))[0]
    before = evaluation.phases["before"]
    flat = rng.normal(size=(2, 10, 4, 2))
    offline, online = flat @ plane.T
    phase = replace(
        before,
        encoder=replace(before.encoder, embeddings=online.tolist()),
        offline_embeddings=offline.tolist(),
    )
    shown_offline, shown_online, shares = figures.principal_plane(phase)
    assert np.linalg.norm(shown_online - shown_offline, axis=-1) == pytest.approx(
        np.linalg.norm(online - offline, axis=-1)
    )
    assert shares.sum() == pytest.approx(1.0)


def test_one_dimensional_z_still_has_a_panel(make_evaluation):
    evaluation = make_evaluation(after=None, oracle=None)
    before = evaluation.phases["before"]

    def first(embeddings):
        return [[z[:1] for z in task] for task in embeddings]

    flat = replace(
        before,
        encoder=replace(before.encoder, embeddings=first(before.encoder.embeddings)),
        offline_embeddings=first(before.offline_embeddings),
    )
    figures.embeddings(replace(evaluation, phases={"before": flat}))


def test_the_same_evaluation_gives_the_same_svg(make_evaluation):
    one, two = (
        charts.to_svg(figures.embeddings(make_evaluation()), "z", "points") for _ in range(2)
    )
    assert one == two


def test_colours_can_be_set_by_the_page(make_evaluation):
    svg = charts.to_svg(figures.return_bars(make_evaluation()), "bars", "bars")
    assert "var(--before)" in svg
    assert not [colour for colour in charts.THEME if colour in svg]


def test_ids_are_the_figures_own(make_evaluation):
    svg = charts.to_svg(figures.adaptation_curve(make_evaluation()), "curve", "lines")
    ids = set(re.findall(r'\bid="([^"]+)"', svg))
    assert all(name.startswith("curve-") for name in ids)
    assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg))
    for pair in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg):
        assert "".join(pair) in ids


def test_drawing_leaves_matplotlib_as_it_was(make_evaluation):
    before = dict(mpl.rcParams)
    charts.to_svg(figures.return_bars(make_evaluation()), "bars", "bars")
    assert dict(mpl.rcParams) == before
    assert not (
        "matplotlib.pyplot" in sys.modules and sys.modules["matplotlib.pyplot"].get_fignums()
    )

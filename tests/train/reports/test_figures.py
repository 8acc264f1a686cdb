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
    assert heights == pytest.approx([v for v in evaluation.returns.values() if v is not None])
    dots = [np.asarray(points.get_offsets())[:, 1] for points in axes.collections]
    assert dots[1] == pytest.approx(over_tasks(evaluation.phases["before"].curve[-1]))
    assert len(dots) == 4  # nothing is known of single tasks for random and scripted


def test_bars_of_positive_returns_stand_on_zero(make_evaluation):
    evaluation = make_evaluation(random=3.0, scripted=40.0)
    (axes,) = figures.return_bars(evaluation).axes
    assert axes.get_ylim()[0] < 0 < 40.0 < axes.get_ylim()[1]


def test_curve_has_a_point_for_each_number_of_episodes(make_evaluation):
    evaluation = make_evaluation()
    (axes,) = figures.adaptation_curve(evaluation).axes
    lines = {line.get_label(): line for line in axes.lines}
    after = lines["after phase 2"]
    assert list(after.get_xdata()) == [0, 1, 2]
    assert after.get_ydata() == pytest.approx(
        over_tasks(evaluation.phases["after"].curve).mean(axis=1)
    )
    ceiling = lines["offline context, before phase 2"].get_ydata()
    assert ceiling[0] == pytest.approx(evaluation.returns["offline_context"])


def test_a_panel_keeps_distances_that_lie_in_its_plane(make_evaluation):
    evaluation = make_evaluation()
    rng = np.random.default_rng(0)
    plane = np.linalg.qr(rng.normal(size=(5, 2)))[0]
    before = evaluation.phases["before"]
    flat = rng.normal(size=(2, 10, 4, 2))
    offline, online = flat @ plane.T
    phase = type(before)(
        curve=before.curve,
        offline_returns=before.offline_returns,
        online_embeddings=online.tolist(),
        offline_embeddings=offline.tolist(),
        updates=1,
        steps=0,
    )
    shown_offline, shown_online, shares = figures.principal_plane(phase)
    assert np.linalg.norm(shown_online - shown_offline, axis=-1) == pytest.approx(
        np.linalg.norm(online - offline, axis=-1)
    )
    assert shares.sum() == pytest.approx(1.0)


def test_one_dimensional_z_still_has_a_panel(make_evaluation):
    evaluation = make_evaluation(after=None, oracle=None)
    before = evaluation.phases["before"]
    for name in ("online_embeddings", "offline_embeddings"):
        rows = [[z[:1] for z in task] for task in getattr(before, name)]
        object.__setattr__(before, name, rows)
    figures.embeddings(evaluation)


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


def test_the_curve_of_another_inference_is_drawn_where_it_was_measured(make_evaluation):
    plain = make_evaluation()
    phase = plain.phases["after"]
    both = replace(
        plain, phases=plain.phases | {"after": replace(phase, likelihood_curve=phase.curve)}
    )
    drawn = [
        sum(line.get_linestyle() == ":" for line in figures.adaptation_curve(one).axes[0].lines)
        for one in (plain, both)
    ]
    assert drawn == [0, 1]

"""Several studies side by side, from small made-up numbers."""

from __future__ import annotations

import numpy as np
import pytest

from fieldtune.train.evaluation.results import EvaluationError
from fieldtune.train.study.cells import Cells, Metrics, OfflineCells, encode_metrics
from fieldtune.train.study.overview import adaptations, first_episodes
from scripts.study_figure import draw

SHAPE = (3, 2, 4, 2)  # context episodes, seed, task, repeat


def made_up(family, *, sparse=False, methods=("offline", "trained", "oracle")):
    rng = np.random.default_rng(len(family))

    def cells(method, inference):
        returns = rng.normal(-50, 1, SHAPE)
        ended = (rng.random(SHAPE) < 0.5).astype(float)
        return Cells(
            method=method,
            inference=inference,
            returns=returns.tolist(),
            first_episode=returns[0].tolist(),
            rewards=rng.normal(-1, 0.1, (2, 20)).tolist(),
            successes=ended.tolist() if sparse else None,
            first_successes=ended[0].tolist() if sparse else None,
        )

    return Metrics(
        family=family,
        seeds=2,
        period_s=0.05,
        random=-300.0,
        cells=[cells(m, by) for m in methods for by in ("encoder", "likelihood")],
        offline_context=[
            OfflineCells(
                "offline",
                np.full(SHAPE[1:], -40.0).tolist(),
                np.full(SHAPE[1:], 0.75).tolist() if sparse else None,
            )
        ],
    )


def test_each_study_has_a_panel_with_success_where_it_has_any():
    studies = [made_up("ant-dir"), made_up("drawer-door", sparse=True)]
    ant, drawer = adaptations(studies).axes
    assert [axes.get_title(loc="left") for axes in (ant, drawer)] == [
        "ant-dir, 2 seeds",
        "drawer-door, 2 seeds",
    ]
    assert drawer.get_ylabel() == "success"
    lines = {line.get_label(): line.get_ydata() for line in drawer.lines}
    cells = next(one for one in studies[1].cells if one.method == "trained")
    expected = [np.mean(cells.first_successes), *np.mean(cells.successes, axis=(1, 2, 3))[1:]]
    assert lines["after phase 2, by the encoder"] == pytest.approx(expected)
    assert lines["offline context, before phase 2"][0] == 0.75
    assert len(lines) == 6
    assert ant.get_ylabel() == "return (up is better)"
    seconds = first_episodes(studies).axes[0].lines[0].get_xdata()
    assert seconds[-1] < 20 * 0.05


def test_the_legend_has_what_only_one_of_the_studies_has():
    studies = [made_up("ant-dir"), made_up("cheetah-vel", methods=("offline",))]
    (legend,) = adaptations(studies).legends
    named = [text.get_text() for text in legend.get_texts()]
    assert len(named) == len(set(named))
    assert "after phase 2, by the encoder" in named


def test_a_study_of_phase_1_alone_is_drawn_too():
    (axes,) = adaptations([made_up("ant-dir", methods=("offline",))]).axes
    assert len(axes.lines) == 3


def test_the_command_draws_from_the_files_of_studies(tmp_path):
    for name in ("ant-dir", "cheetah-vel"):
        (tmp_path / name).mkdir()
        written = encode_metrics({"rows": []}, made_up(name))
        (tmp_path / name / "metrics.json").write_bytes(written)
    one, two = tmp_path / "adaptation.png", tmp_path / "first.png"
    draw(one, two, [tmp_path / "ant-dir", tmp_path / "cheetah-vel"])
    assert one.read_bytes().startswith(b"\x89PNG")
    assert two.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(EvaluationError, match=r"metrics\.json of a study of this version"):
        draw(one, two, [tmp_path])

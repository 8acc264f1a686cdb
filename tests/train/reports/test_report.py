"""A page that stands alone, says what the numbers say, and is whole or absent."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from fieldtune.sim.manipulation.reach.scripted import collect_scripted
from fieldtune.sim.registry import family as make_family
from fieldtune.train.charts import number, percent
from fieldtune.train.data.dataset import Dataset
from fieldtune.train.evaluation.results import DecoderError, Evaluation, load_evaluation
from fieldtune.train.evaluation.statistics import recovery, shift
from fieldtune.train.reports.conclusions import sentences
from fieldtune.train.reports.filmstrip import Film, Frame, NoPicture
from fieldtune.train.reports.report import FilmedTask, page, typical_tasks, write_report
from fieldtune.train.runs.checkpoint import Progress, save_checkpoint
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.runs.run import Run
from fieldtune.train.runs.untrained import untrained_from_seed

CONFIG = Path(__file__).parents[3] / "configs" / "reach.yaml"
MISSING = NoPicture("no graphics context; install EGL (Debian: libegl1)")


@pytest.fixture(scope="module")
def data():
    family = make_family("reach")
    split = family.split()
    all_of_test = [(task, 0) for task in range(len(split.test))]
    train = [[episode] for episode in collect_scripted(family, 0, split.train, [(0, 0), (1, 0)])]
    test = [[episode] for episode in collect_scripted(family, 1, split.test, all_of_test)]
    return Dataset("fieldtune/reach-v0", split.train[:2], split.test, train, test)


@pytest.fixture
def run(tmp_path, data) -> Run:
    (tmp_path / "checkpoints").mkdir()
    config = load_config(CONFIG, overrides=["offline.average_rate=1"])  # weights alone are saved
    return Run(config, tmp_path, make_family("reach"), data)


def filmed() -> FilmedTask:
    frames = (
        Frame(0, None, np.zeros((8, 8, 3), np.uint8)),
        Frame(50, -0.25, np.full((8, 8, 3), 255, np.uint8)),
    )
    return FilmedTask(3, (Film(-9.0, frames), Film(-8.0, frames)), Film(-4.5, frames))


def words(evaluation: Evaluation) -> str:
    return " ".join(" ".join(sentences(evaluation)).split())


class _Page(HTMLParser):
    """Tags that are open, text, and every address that a browser would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "href", "xlink:href", "srcset")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_page_asks_for_nothing_outside_itself(run, make_evaluation):
    html = page(run, make_evaluation(), filmed(), {})
    shown = _Page(html)
    assert shown.open == []
    assert shown.addresses
    assert all(address.startswith(("data:", "#")) for address in shown.addresses)
    assert not re.search(r"@import|<script|url\((?!#)", html)


@pytest.mark.parametrize(
    ("value", "shown"), [(-0.001, "0.00"), (-0.01, "−0.01"), (-10.04, "−10.0"), (float("nan"), "–")]
)
def test_a_number_is_never_minus_nothing(value, shown):
    assert number(value) == shown


@pytest.mark.parametrize(("share", "shown"), [(-0.004, "0"), (-0.006, "−1"), (1.0, "100")])
def test_a_share_is_never_minus_nothing(share, shown):
    assert percent(share) == f"{shown}\N{NO-BREAK SPACE}%"


def test_page_has_every_number_of_the_table(run, make_evaluation):
    evaluation = make_evaluation()
    text = _Page(page(run, evaluation, filmed(), {})).text
    for value in evaluation.returns.values():
        digits = 1 if abs(value) >= 10 else 2
        assert f"−{abs(value):.{digits}f}" in text
    assert "0.0132" in text
    assert "96 %" in text


def test_page_shows_facts_and_configuration_and_versions(run, make_evaluation):
    text = _Page(page(run, make_evaluation(), filmed(), {"Bundles swapped": "7 of 8"})).text
    assert "Bundles swapped 7 of 8" in text
    assert "publish_every: 500" in text
    assert "2 training and 10 held-out tasks, 12 episodes, 600 labelled transitions" in text
    assert "torch 2." in text


def test_text_from_outside_is_escaped(run, make_evaluation):
    html = page(run, make_evaluation(), filmed(), {"<script>": "<img src=x>"})
    assert "<script>" not in html
    assert "<img src=x>" not in html


def test_a_machine_without_graphics_gets_a_page_that_says_so(run, make_evaluation):
    text = _Page(page(run, make_evaluation(), MISSING, {})).text
    assert "could not render one: no graphics context; install EGL (Debian: libegl1)" in text
    assert f"fieldtune evaluate --run {run.folder}" in text


@pytest.mark.parametrize("left_out", [{"oracle": None}, {"after": None, "oracle": None}])
def test_phases_that_were_not_run_are_left_out(left_out, run, make_evaluation):
    html = page(run, make_evaluation(**left_out), filmed(), {})
    assert "with true rewards (oracle)" not in html
    if "after" in left_out:
        assert "has not been run" in html


def test_a_recovery_is_told_with_its_share(make_evaluation):
    evaluation = make_evaluation(before=-11.0, after=-6.2, oracle=-5.6)
    told = words(evaluation)
    assert "the return falls to" in told
    assert "better than before it" in told
    assert (
        f"That is {100 * recovery(evaluation).closed.value:.0f} % of the distance to the oracle"
        in told
    )


def test_a_goal_that_these_tasks_cannot_tell_from_before_is_no_gap(make_evaluation):
    told = words(make_evaluation(before=-5.0, after=-4.9, oracle=None, tasks=4))
    assert "How much was recovered cannot be said: the distance was" in told
    assert "That is" not in told


def test_what_the_likelihood_makes_of_it_is_told(make_evaluation):
    evaluation = make_evaluation()
    likelihood = evaluation.phases["after"].likelihood
    told = words(evaluation)
    first = number(float(np.mean(likelihood.first_episode.returns)))
    before = number(evaluation.phases["before"].likelihood.mean_return)
    assert (
        f"returns {number(likelihood.mean_return)} from 2 episodes, before it {before}: better than"
    ) in told
    assert f"In the very first episode, where it follows every step, it has {first}." in told


def test_the_runs_own_inference_is_told_first_and_is_in_the_tiles(make_evaluation, run):
    evaluation = make_evaluation()
    before = evaluation.phases["before"]
    by = {
        "likelihood": number(before.likelihood.mean_return),
        "encoder": number(before.encoder.mean_return),
    }
    for own, other in (("likelihood", "encoder"), ("encoder", "likelihood")):
        config = run.config.model_copy(update={"inference": own})
        shown = page(replace(run, config=config), evaluation, MISSING, {})
        tiles = re.findall(r'"tile".*?<b>(.*?)</b><span>(.*?)</span>', shown)
        how = " by likelihood" if own == "likelihood" else ""
        assert (by[own], f"own exploration{how}, before phase 2") in tiles
        told = " ".join(sentences(evaluation, own))
        phrase = {"likelihood": "Inferring by the decoder's", "encoder": "By its encoder, from"}
        assert told.index(phrase[own]) < told.index(phrase[other])
    known = replace(evaluation, phases={"before": replace(before, likelihood=None)})
    assert "own exploration, before phase 2" in page(run, known, MISSING, {})  # by its encoder


def test_success_is_told_of_the_runs_own_inference_and_of_what_it_is_held_against(
    make_evaluation, run
):
    def succeeding(adapted, share):
        return replace(adapted, successes=np.full(np.shape(adapted.returns), share).tolist())

    evaluation = make_evaluation()
    phases = {
        name: replace(
            phase,
            encoder=succeeding(phase.encoder, 0.25),
            likelihood=succeeding(phase.likelihood, 0.5),
            offline_successes=np.ones(np.shape(phase.offline_returns)).tolist(),
        )
        for name, phase in evaluation.phases.items()
    }
    known = replace(evaluation, phases=phases, random_success=0.0, scripted_success=0.875)
    assert (known.success["random"], known.success["scripted"]) == (0.0, 0.875)
    for own, share in (("likelihood", "50\u00a0%"), ("encoder", "25\u00a0%")):
        config = run.config.model_copy(update={"inference": own})
        shown = page(replace(run, config=config), known, MISSING, {})
        tiles = re.findall(r'"tile".*?<b>(.*?)</b><span>(.*?)</span>', shown)
        assert (share, f"succeed by {own}, after phase 2") in tiles
        assert "88\u00a0%" in shown  # of the script


def test_an_algorithm_without_an_encoder_says_what_the_page_means(make_evaluation, run):
    config = load_config(CONFIG, overrides=["algorithm={name: macaw}", "offline={}"])
    shown = page(replace(run, config=config), make_evaluation(), MISSING, {})
    assert "macaw has no encoder and adapts by gradient steps" in shown
    assert "has no encoder" not in page(run, make_evaluation(), MISSING, {})


def test_getting_worse_is_called_worse(make_evaluation):
    told = words(make_evaluation(before=-9.0, after=-12.0))
    assert "worse than before it" in told
    assert "That is" not in told


def test_a_difference_within_chance_is_not_called_better(make_evaluation):
    told = words(make_evaluation(before=-9.0, after=-8.95))
    assert "no difference that these tasks can show" in told


def test_no_collapse_is_not_called_one(make_evaluation):
    told = words(make_evaluation(before=-4.8, after=-4.7, oracle=-4.6))
    assert "no collapse here" in told
    assert "falls" not in told


def test_a_policy_no_better_than_chance_is_told_so(make_evaluation):
    told = words(make_evaluation(random=-3.0))
    assert "phase 1 has not learned these tasks" in told


def test_a_collapse_under_random_actions_is_told_so(make_evaluation):
    told = words(make_evaluation(before=-18.0))
    assert "less than random actions (−16.0)" in told


def test_a_poor_decoder_is_named_as_the_cause_to_look_at(make_evaluation):
    told = words(make_evaluation(explained=-0.2))
    assert "explains −20 % of the variance" in told
    assert "look there first" in told
    assert "those it was trained on" not in told  # an evaluation of before knows no more


def test_rewards_that_were_learned_by_heart_are_told_with_what_mends_it(make_evaluation):
    learned = DecoderError(0.5, explained=0.29, trained=0.87)
    told = words(make_evaluation(decoder=learned))
    assert "explains 29 % of the variance of rewards on the held-out tasks, and 87 %" in told
    assert "(`data.relabelled`)" in told
    told = words(make_evaluation(decoder=replace(learned, explained=0.83)))
    assert "learned these by heart" not in told


def test_shift_is_nothing_where_both_contexts_say_the_same(make_evaluation):
    before = make_evaluation().phases["before"]
    same = replace(before, encoder=replace(before.encoder, embeddings=before.offline_embeddings))
    assert shift(same).relative == 0.0
    assert shift(before).relative > 0.5


def test_the_filmed_task_is_neither_the_best_nor_the_worst(make_evaluation):
    evaluation = make_evaluation()
    returns = np.mean(evaluation.phases["after"].encoder.returns[2], axis=-1)
    typical = typical_tasks(evaluation)
    assert len(typical) == 5
    assert typical[0] == np.argsort(returns)[5]
    assert not {int(returns.argmin()), int(returns.argmax())} & set(typical)
    assert typical_tasks(make_evaluation(tasks=1)) == [0]


@pytest.mark.slow
def test_report_is_written_with_its_numbers_and_its_picture(run, make_evaluation):
    learner, rng = untrained_from_seed(run, 1e-3, 0)
    save_checkpoint(run.offline_checkpoint, learner, rng, Progress({"updates": 0}))
    evaluation = make_evaluation(after=None, oracle=None)
    report = write_report(run, evaluation, facts={"Wall time": "9 min"})
    assert report == run.folder / "report.html"
    images = re.findall(r'<img alt="sawyer at step (\d+)"', report.read_text())
    assert images == ["0", "5", "12", "25", "50"] * 3
    assert (run.folder / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert load_evaluation(run.folder / "evaluation.json") == evaluation
    written = {path.name for path in run.folder.iterdir()}
    assert written == {"checkpoints", "evaluation.json", "picture.png", "report.html"}


def test_a_report_is_written_where_nothing_can_be_rendered(run, make_evaluation, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise MISSING

    monkeypatch.setattr("fieldtune.train.reports.report.film", refuse)
    learner, rng = untrained_from_seed(run, 1e-3, 0)
    save_checkpoint(run.offline_checkpoint, learner, rng, Progress({"updates": 0}))
    assert "Debian: libegl1" in write_report(run, make_evaluation()).read_text()
    assert not (run.folder / "picture.png").exists()


def test_one_held_out_task_alone_proves_nothing_and_shows_no_infinity(make_evaluation):
    evaluation = make_evaluation(tasks=1)
    said = " ".join(sentences(evaluation))
    assert "On 1 task that" in said
    assert "one task alone does not say whether that is better" in said
    assert number(shift(evaluation.phases["before"]).relative) == "–"

from __future__ import annotations

from pathlib import Path

import pytest

from fieldtune.settings import ConfigError
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.study.plan import METHODS, Job, chosen_methods, jobs, ready

POINT_GOAL = Path(__file__).parents[3] / "configs" / "point-goal.yaml"


def finish(job):
    job.result.parent.mkdir(parents=True, exist_ok=True)
    job.result.write_text("{}")


def names(found):
    return [job.title for job in found]


def test_nothing_begins_before_the_data_is_there(tmp_path):
    assert names(ready(jobs(tmp_path, 2), set())) == ["collect"]


def test_each_method_begins_when_what_it_reads_is_done_and_not_before(tmp_path):
    everything = jobs(tmp_path, 1)
    finish(everything[0])
    assert names(ready(everything, set())) == [
        "seed 0: offline",
        "seed 0: meta-bc",
        "seed 0: pearl",
    ]
    finish(Job(tmp_path, "offline", 0))
    assert names(ready(everything, set()))[:6] == [
        "seed 0: trained",
        "seed 0: trained-encoder",
        "seed 0: frozen",
        "seed 0: frozen-oracle",
        "seed 0: oracle",
        "seed 0: longer-offline",
    ]


def test_what_was_begun_or_done_does_not_begin_again(tmp_path):
    everything = jobs(tmp_path, 1)
    finish(everything[0])
    begun = {Job(tmp_path, "pearl", 0)}
    finish(Job(tmp_path, "meta-bc", 0))
    assert names(ready(everything, begun)) == ["seed 0: offline"]


def test_every_method_runs_once_a_seed(tmp_path):
    titles = names(jobs(tmp_path, 3))
    assert len(titles) == len(set(titles)) == 1 + 3 * len(METHODS)


def test_methods_can_be_left_out_and_are_run_in_the_studys_order(tmp_path, make_config):
    chosen = chosen_methods("oracle, offline,trained", make_config())
    assert chosen == ("offline", "trained", "oracle")
    assert names(jobs(tmp_path, 1, chosen))[1:] == [f"seed 0: {name}" for name in chosen]


def test_what_would_be_the_same_is_run_once(make_config):
    assert chosen_methods(None, make_config()) == METHODS
    by_encoder = chosen_methods(None, make_config("inference=encoder"))
    assert set(METHODS) - set(by_encoder) == {"trained-encoder"}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("offline,traned", "--methods has 'traned': expected some of offline, trained, "),
        ("trained,oracle", "--methods lacks offline, .*: add it"),
        ("", "--methods has ''"),
        ("offline,smac", "--methods has 'smac', the study's own algorithm: offline is its phase 1"),
    ],
)
def test_methods_that_cannot_be_run_are_named(make_config, asked, told):
    with pytest.raises(ConfigError, match=told):
        chosen_methods(asked, make_config())


def test_other_algorithms_are_run_where_they_are_asked_for(make_config):
    asked = chosen_methods("unicorn, offline,online,pearl,focal", make_config())
    assert asked == ("offline", "pearl", "online", "focal", "unicorn")
    assert not {"focal", "csro", "unicorn", "online"} & set(chosen_methods(None, make_config()))


def test_cloning_that_is_told_runs_where_it_is_asked_for_and_something_succeeds(
    make_config, tmp_path
):
    with pytest.raises(ConfigError, match=r"told clones .*, and cheetah-vel has no success"):
        chosen_methods("offline,told", make_config())
    sparse = load_config(POINT_GOAL, overrides=["robot.family_options.rewards=sparse"])
    assert chosen_methods("told,offline", sparse) == ("offline", "told")
    assert "told" not in chosen_methods(None, sparse)
    everything = jobs(tmp_path, 1, ("offline", "told"))
    finish(everything[0])
    assert names(ready(everything, set())) == ["seed 0: offline", "seed 0: told"]


def test_a_study_of_an_algorithm_without_a_phase_2_has_none(make_config):
    narrow = "algorithm.networks={encoder: [5], policy: [6], critic: [7], decoder: [8]}"
    config = make_config("algorithm.name=pearl", narrow)
    assert chosen_methods(None, config) == ("offline", "meta-bc")
    assert chosen_methods("offline,smac", config) == ("offline", "smac")
    with pytest.raises(ConfigError, match="'trained', but algorithm 'pearl' has no phase 2"):
        chosen_methods("offline,trained", config)


def test_settings_that_an_algorithm_cannot_share_are_told_before_anything_runs(make_config):
    config = make_config("algorithm.repeat_tasks=true")
    with pytest.raises(
        ConfigError, match=r"'methods\.focal\.repeat_tasks' is True: expected false: "
    ):
        chosen_methods("offline,focal", config)
    mended = make_config("algorithm.repeat_tasks=true", "methods.focal.repeat_tasks=false")
    assert chosen_methods("offline,focal", mended) == ("offline", "focal")

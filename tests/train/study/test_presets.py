from __future__ import annotations

from pathlib import Path

import pytest

from fieldtune.sim.registry import family as make_family
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.study.presets import overrides

CONFIGS = sorted((Path(__file__).parents[3] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_file_of_configs_is_valid_and_of_the_family_it_is_named_for(path):
    config = load_config(path)
    assert config.family == path.stem == make_family(config.family).name


def test_the_reference_preset_sets_the_authors_sizes_over_the_familys_file():
    path = next(path for path in CONFIGS if path.stem == "cheetah-vel")
    lean = load_config(path, overrides=overrides("lean"))
    reference = load_config(path, overrides=overrides("reference"))
    assert lean == load_config(path)
    assert reference.algorithm.networks.policy == (300, 300, 300)
    assert reference.algorithm.meta_batch * reference.algorithm.batch == 4 * 256
    assert reference.offline.updates == 50_000
    assert reference.self_supervised.updates == 50 * 16_000
    assert reference.data == lean.data


def test_what_a_user_sets_wins_over_the_preset():
    path = next(path for path in CONFIGS if path.stem == "cheetah-vel")
    mine = [*overrides("reference"), "offline.updates=7"]
    assert load_config(path, overrides=mine).offline.updates == 7

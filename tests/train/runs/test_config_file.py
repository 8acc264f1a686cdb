"""A run's file: which section its algorithm key is checked against."""

from __future__ import annotations

import pytest
import yaml

from fieldtune import settings
from fieldtune.settings import ConfigError
from fieldtune.train.algorithms.smac import SmacSettings
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.study.plan import Study, load_study


def test_a_file_from_before_algorithms_had_names_is_read_as_it_was_meant(make_config, tmp_path):
    config = make_config("algorithm.advantage.clip=3.0")
    settings.dump(config, tmp_path / "config.yaml")
    saved = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert saved["algorithm"].pop("name") == "smac"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(saved))
    assert load_config(tmp_path / "config.yaml") == config


def test_an_algorithm_that_is_not_there_is_named_with_those_that_are(make_config):
    with pytest.raises(
        ConfigError, match=r"is 'dreamer': no such algorithm; installed: smac, meta-bc"
    ):
        make_config("algorithm.name=dreamer")
    with pytest.raises(ConfigError, match=r"'algorithm.name' is 3: expected a valid string"):
        make_config("algorithm.name=3")


def test_a_study_keeps_its_algorithms_own_keys(make_config, tmp_path):
    config = make_config("algorithm.advantage.clip=3.0")
    settings.dump(Study(config=config, seeds=2), tmp_path / "study.yaml")
    found = load_study(tmp_path / "study.yaml")
    assert (found.config, found.seeds) == (config, 2)
    assert isinstance(found.config.algorithm, SmacSettings)


def test_a_mistake_in_a_study_is_named_with_its_cure(make_config, tmp_path):
    path = tmp_path / "study.yaml"
    settings.dump(Study(config=make_config()), path)
    whole = yaml.safe_load(path.read_text())
    whole["config"]["algorithm"]["discuont"] = whole["config"]["algorithm"].pop("discount")
    path.write_text(yaml.safe_dump(whole))
    with pytest.raises(ConfigError, match=r"did you mean 'config\.algorithm\.discount'"):
        load_study(path)

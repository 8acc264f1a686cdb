from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fieldtune.sim.registry import family as make_family
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.study.presets import overrides, smaller_than_the_authors

CONFIGS = sorted((Path(__file__).parents[3] / "configs").glob("*.yaml"))
PATHS = {path.stem: path for path in CONFIGS}
each = pytest.mark.parametrize("name", PATHS)
THE_FILES_OWN = ("family", "seed", "data", "evaluation")
OTHERWISE = (  # a file that has its own mind about each section
    "inference=likelihood",
    "algorithm.name=pearl",
    "algorithm.n_step=20",
    "algorithm.latent_size=7",
    "algorithm.networks.dynamics=[9]",
    "offline={context: {trajectories: 9}, batch: 7}",
    "self_supervised={labels: 4, q_weight: 0.1, context: {trajectories: 9}, publish_every: 9}",
    "randomisation.mass=[0.5, 2.0]",
    "robot.exploration={action_noise: 0.3, prior_episodes: 9}",
)


def flat(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def reference(name: str, *before: str):
    return load_config(PATHS[name], overrides=[*before, *overrides("reference", name)])


def trained_by(config) -> dict[str, Any]:
    """Every setting that training depends on, by its dotted key."""
    exploration = config.robot.exploration.model_dump()
    sections = config.model_dump(exclude={*THE_FILES_OWN, "robot"})
    return dict(flat(sections | {"robot": {"exploration": exploration}}))


def bare_file(name: str, folder: Path) -> Path:
    """A run's file with nothing in it that is not asked for."""
    path = folder / "bare.yaml"
    robot = f"family: {name}, name: bare, driver: {{name: sim}}"
    path.write_text(f"family: {name}\nrobot: {{{robot}}}\n")
    return path


def test_the_reference_can_be_run_in_bfloat16_beside_methods_that_cannot():
    asked = [*overrides("reference", "push"), "algorithm.precision=bfloat16"]
    config = load_config(PATHS["push"], overrides=asked)
    assert config.methods["macaw"]["precision"] == "float32"


@each
def test_every_file_of_configs_is_valid_and_of_the_family_it_is_named_for(name):
    config = load_config(PATHS[name])
    assert config.family == name == make_family(config.family).name


@each
def test_the_reference_preset_inherits_nothing_that_training_depends_on(name, tmp_path):
    bare = bare_file(name, tmp_path)
    of_a_bare_file = load_config(bare, overrides=overrides("reference", name))
    assert trained_by(reference(name)) == trained_by(of_a_bare_file)
    assert trained_by(reference(name, *OTHERWISE)) == trained_by(of_a_bare_file)


@each
def test_what_the_reference_preset_has_other_than_the_defaults_it_sets_by_name(name, tmp_path):
    bare = bare_file(name, tmp_path)
    defaults = trained_by(load_config(bare))
    named = {each.partition("=")[0] for each in overrides("reference", name)}
    found = trained_by(reference(name))
    other = {key for key, value in found.items() if value != defaults.get(key)}
    assert other <= named
    assert len(other) > 20


@each
def test_the_reference_preset_leaves_data_evaluation_and_robot_to_the_file(name):
    before, after = load_config(PATHS[name]), reference(name)
    for own in THE_FILES_OWN[:-1]:
        assert getattr(before, own) == getattr(after, own)
    assert before.evaluation.model_copy(update={"action_noise": 0.0}) == after.evaluation
    changed = {"exploration": after.robot.exploration}
    assert before.robot.model_copy(update=changed) == after.robot


def test_the_lean_preset_is_the_file():
    assert overrides("lean", "cheetah-vel") == ()


@pytest.mark.parametrize(
    ("name", "iterations", "episodes"),
    [("cheetah-vel", 51, (3, 2)), ("ant-dir", 501, (3, 2)), ("reach", 501, (9, 11))],
)
def test_the_reference_preset_has_the_authors_numbers(name, iterations, episodes):
    config = reference(name)
    algorithm, phase_2 = config.algorithm, config.self_supervised
    assert algorithm.networks.policy == algorithm.networks.critic == (300, 300, 300)
    assert (algorithm.meta_batch, config.offline.batch, algorithm.batch) == (4, 128, 256)
    assert config.offline.updates == 50_000
    assert phase_2.updates == iterations * 16_000
    assert phase_2.steps == iterations * 5_000
    assert (phase_2.pooled, phase_2.drawn_offline) == (True, 0.0)
    assert (algorithm.prior_factor, algorithm.advantage.critics) == (False, "before")
    assert algorithm.distribution.log_std == (-20, 2)
    exploration = config.robot.exploration
    assert (exploration.prior_episodes, exploration.posterior_episodes) == episodes
    assert not smaller_than_the_authors(config)


def test_one_iteration_less_is_smaller_than_the_authors():
    less = f"self_supervised.updates={50 * 16_000}"
    path, preset = PATHS["cheetah-vel"], overrides("reference", "cheetah-vel")
    assert smaller_than_the_authors(load_config(path, overrides=[*preset, less]))
    assert smaller_than_the_authors(load_config(path))


def test_what_a_user_sets_wins_over_the_preset():
    mine = [*overrides("reference", "cheetah-vel"), "offline.updates=7"]
    assert load_config(PATHS["cheetah-vel"], overrides=mine).offline.updates == 7

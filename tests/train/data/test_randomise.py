"""Randomisation reaches the data and the exploration in process, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fieldtune.sim.manipulation.families.push import PushFamily
from fieldtune.sim.manipulation.variation import Variation
from fieldtune.train.collecting.collect import collect
from fieldtune.train.config import Randomisation
from fieldtune.train.data.dataset import DatasetError, read_dataset
from fieldtune.train.data.randomise import CannotRandomise, randomised
from fieldtune.train.phases.in_simulation import train_in_process
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.runs.opening import open_run
from fieldtune.train.runs.run import RunError

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("key", "value", "kept"),
    [
        ("mass", (0.5, 2.0), (0.5, 2.0)),
        ("friction", (0.5, 2.0), (0.5, 2.0)),
        ("actuator_gain", (0.9, 1.1), (0.9, 1.1)),
        ("observation_noise", {"m": 0.01}, (("m", 0.01),)),
        ("latency", (1, 3), (1, 3)),
    ],
)
def test_each_key_comes_to_the_family(key, value, kept):
    found = randomised(PushFamily("panda"), Randomisation(**{key: value}))
    assert getattr(found.variation, key) == kept
    assert replace(found, variation=PushFamily().variation) == PushFamily("panda")


def test_nothing_set_leaves_the_family_as_it_is(short_family):
    family = PushFamily()
    assert randomised(family, Randomisation()) is family
    assert randomised(short_family, Randomisation()) is short_family


def test_a_family_that_is_not_on_the_table_varies_where_it_says_that_it_can(short_family):
    class Elsewhere(type(short_family)):
        def with_variation(self, variation):
            return variation  # in the place of a family that varies so

    assert randomised(Elsewhere(), Randomisation(latency=(1, 2))) == Variation(latency=(1, 2))


def test_a_family_without_any_and_a_value_without_sense_are_refused_before_anything(
    make_config, tmp_path, short_family
):
    with pytest.raises(CannotRandomise, match="'cheetah-vel' has no `with_variation`"):
        randomised(short_family, Randomisation(mass=(1.0, 2.0)))
    with pytest.raises(CannotRandomise, match=r"randomisation\.observation_noise names the unit"):
        randomised(PushFamily(), Randomisation(observation_noise={"cm": 1.0}))
    with pytest.raises(RunError, match="randomisation is set"):
        open_run(make_config("randomisation.latency=[1,1]"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    config = make_config("randomisation.latency=[1,1]", f"data.path={tmp_path / 'data'}")
    with pytest.raises(DatasetError, match="randomisation is set"):
        collect(config)
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
def test_data_are_made_with_what_varies_and_their_card_says_so(tmp_path):
    varied, plain = (tmp_path / name for name in ("varied", "plain"))
    for folder, chosen in ((varied, ["randomisation.latency=[3,3]"]), (plain, [])):
        chosen += [f"data.path={folder}", "data.episodes_per_task=1"]
        collect(load_config(ROOT / "configs" / "push.yaml", overrides=chosen))
    late, prompt = (read_dataset(folder, PushFamily()).train[0][0] for folder in (varied, plain))
    still = np.abs(late.observations[3, :7] - late.observations[0, :7]).max()
    assert still < np.abs(prompt.observations[3, :7] - prompt.observations[0, :7]).max()
    assert "latency" in (varied / "README.md").read_text()
    assert "latency" not in (plain / "README.md").read_text()


def test_exploration_in_process_is_of_the_varying_family(make_trained, monkeypatch):
    run = make_trained("self_supervised.updates=1")
    made = []

    class Varying(type(run.family)):
        def simulator(self, n_envs, threads=1):
            made.append(n_envs)
            return super().simulator(n_envs, threads)

    monkeypatch.setattr(
        "fieldtune.train.phases.in_simulation.randomised",
        lambda _, settings: made.append(settings) or Varying(),
    )
    phase = train_in_process(run, run.finetune_checkpoint, true_rewards=False, trials_at_once=2)
    assert made == [run.config.randomisation, 2]
    assert np.isfinite(phase.steps)

"""Settings of a run: what is refused and how, and that every key does something."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import BaseModel

from fieldtune import plugins, settings
from fieldtune.robot.config import DriverConfig
from fieldtune.robot.drivers.hardware.options import ZmqOptions
from fieldtune.robot.drivers.sim import SimOptions
from fieldtune.settings import ConfigError
from fieldtune.sim import registry
from fieldtune.train.algorithms.registry import GROUP
from fieldtune.train.phases.offline import train_offline
from fieldtune.train.phases.self_supervised import SelfSupervisedPhase
from fieldtune.train.runs.config_file import ChosenAlgorithm, load_config
from fieldtune.train.runs.untrained import untrained
from fieldtune.train.study.plan import Study

MODEL = ChosenAlgorithm().config_model(Path())  # of a run that names no algorithm
CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_each_config_that_is_shipped_loads_and_is_of_a_known_family(path):
    config = load_config(path)
    assert config.family in registry.names()
    assert load_config(path, overrides=["seed=3"]).seed == 3


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_data_and_state_of_a_shipped_config_lie_in_the_checkout(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_config(path)
    checkout = path.parents[1]
    assert Path(config.data.path).parent == checkout / "data"
    assert config.robot.state_dir.parent == checkout / "runs"
    typed = load_config(path, overrides=["data.path=here"])
    assert typed.data.path == str(tmp_path / "here")


def test_the_simulated_robots_model_is_the_one_that_is_trained_for():
    path = next(path for path in CONFIGS if path.stem == "push")
    for overrides, robot in (([], "sawyer"), (["robot.model=panda"], "panda")):
        config = load_config(path, overrides=overrides)
        assert registry.family(config.family, **config.family_options).robot == robot


def test_a_run_from_before_robot_model_is_refused_with_the_cure(make_config):
    with pytest.raises(ConfigError) as refused:
        make_config("robot.driver.model=panda")
    assert "'robot.driver' is {'model': 'panda'}: which robot it is" in str(refused.value)
    assert "write 'robot.model' in the place of 'robot.driver.model'" in str(refused.value)


def test_resolved_settings_read_back_the_same(make_config, tmp_path):
    config = make_config("robot.driver.time_scale=.inf", "algorithm.learning_rate=3e-4")
    settings.dump(config, tmp_path / "resolved.yaml")
    assert load_config(tmp_path / "resolved.yaml") == config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("algorithm.discuont=0.9", "unknown key 'algorithm.discuont': did you mean 'algorithm.dis"),
        ("discount=0.9", "unknown key 'discount': did you mean 'algorithm.discount'"),
        ("offline.context.sise=[1, 2]", "did you mean 'offline.context.size'"),
        ("algorithm.batch='64'", "'algorithm.batch' is '64': expected a valid integer"),
        ("algorithm.batch=0", "'algorithm.batch' is 0: expected greater than or equal to 1"),
        ("algorithm.discount=1", "'algorithm.discount' is 1: expected less than 1"),
        ("algorithm.networks.policy=64", "'algorithm.networks.policy' is 64: expected a valid"),
        ("self_supervised.encoder=thawed", "expected 'trained' or 'frozen'"),
        ("offline.context.size=[8, 4]", "must be [smallest, largest]"),
        ("self_supervised.offline_share=2", "'self_supervised.offline_share' is 2: expected "),
        ("self_supervised.posterior_from=buffer", "needs offline_share 'pooled'"),
        ("algorithm.distribution.log_std=[2, -20]", "log_std [2.0, -20.0] must be [smallest, la"),
        ("self_supervised.first_steps=999", "first_steps 999 must not exceed steps 200"),
        ("algorithm.batch=99999999999", "expected less than or equal to 1000000"),
        ("algorithm.networks.encoder=[0, 16]", "'algorithm.networks.encoder[0]' is 0: expected gr"),
        ("seed=18446744073709551616", "'seed' is 18446744073709551616: expected a whole number of"),
        ("seed=9223372036854775808", "of 64 bits, at most 9223372036854775807"),
        ("algorithm.kl_weight=.inf", "'algorithm.kl_weight' is inf: expected a finite number"),
        ("algorithm.advantage.clip=.inf", "'algorithm.advantage.clip' is inf: expected a finite"),
        ("self_supervised.q_weight=.nan", "'self_supervised.q_weight' is nan: expected a finite"),
        ("randomisation.mass=[1, .inf]", "'randomisation.mass[1]' is inf: expected a finite"),
        ("family=reach", "robot.family is 'cheetah-vel'"),
        ("robot.family=reach", "family is 'cheetah-vel' but robot.family is 'reach'"),
    ],
)
def test_a_mistake_is_named_with_its_cure(make_config, override, message):
    with pytest.raises(ConfigError) as error:
        make_config(override)
    assert message in str(error.value)


def keys(model=MODEL, above=""):
    """Every key of a run but the robot's, which are the daemon's."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if (above, name) == ("", "robot"):
            continue
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from keys(inner, f"{above}{name}.")
        else:
            yield f"{above}{name}"


def models(model, seen):
    if model not in seen:
        seen.add(model)
        for field in model.model_fields.values():
            for inner in settings._models_in(field.annotation):
                models(inner, seen)
    return seen


@pytest.mark.parametrize("algorithm", plugins.names(GROUP))
def test_no_section_takes_an_infinity_unless_its_key_says_so(algorithm):
    """Of every section, also those of drivers and of algorithms that are to come."""
    chosen = ChosenAlgorithm.model_validate({"algorithm": {"name": algorithm}})
    known = models(chosen.config_model(Path()), set())
    for options in (SimOptions, ZmqOptions, Study):
        known |= models(options, set())
    lax = {one for one in known if one.model_config.get("allow_inf_nan") is not False}
    assert lax <= {DriverConfig}  # the driver's own model checks its keys


def test_the_largest_seed_makes_data_and_trains(make_run):
    train_offline(make_run("seed=9223372036854775807", "offline.updates=1"))


OFFLINE = {
    "seed": "5",
    "algorithm.latent_size": "4",
    "algorithm.networks.encoder": "[9]",
    "algorithm.networks.policy": "[9]",
    "algorithm.networks.critic": "[9]",
    "algorithm.networks.decoder": "[9]",
    "algorithm.networks.critic_layer_norm": "false",
    "algorithm.advantage.weights": "softmax",
    "algorithm.advantage.over": "mean",
    "algorithm.advantage.critics": "before",
    "algorithm.advantage.temperature": "2.0",
    "algorithm.advantage.clip": "1.01",
    "algorithm.distribution.log_std": "[-0.01, 0.01]",
    "algorithm.distribution.action_edge": "0.1",
    "algorithm.distribution.least_variance": "0.1",
    "algorithm.prior_factor": "false",
    "algorithm.meta_batch": "2",
    "algorithm.repeat_tasks": "true",
    "algorithm.unseen": "[joint_velocity]",
    "algorithm.precision": "bfloat16",
    "algorithm.batch": "9",
    "algorithm.discount": "0.5",
    "algorithm.n_step": "3",
    "algorithm.target_rate": "0.5",
    "algorithm.learning_rate": "0.01",
    "algorithm.reward_scale": "5.0",
    "algorithm.kl_weight": "1.0",
    "offline.batch": "9",
    "offline.average_rate": "0.5",
    "offline.context.source": "trajectories",
    "offline.context.trajectories": "1",
    "offline.context.size": "[9, 12]",
    "offline.updates": "4",
}
PHASE_TWO = {
    "self_supervised.encoder": "frozen",
    "self_supervised.contexts": "both",
    "self_supervised.context.source": "transitions",
    "self_supervised.context.trajectories": "1",
    "self_supervised.context.size": "[9, 12]",
    "self_supervised.learning_rate": "0.01",
    "self_supervised.keep_optimisers": "true",
    "self_supervised.offline_share": "0.75",
    "self_supervised.q_weight": "0.2",
    "self_supervised.scale_by_q": "false",
    "self_supervised.label_context": "3",
    "self_supervised.labels": "2",
    "self_supervised.average_rate": "0.5",
}
ELSEWHERE = {
    "family": "tests of the registry and of datasets",
    "family_file": "test_label_only.py",
    "data.path": "test_opening.py",
    "data.episodes_per_task": "test_collect.py",
    "data.agent": "test_collect.py",
    "data.relabelled": "test_opening.py and data/test_relabelled.py",
    "algorithm.name": "algorithms/test_registry.py",
    "algorithm.action_error_weight": "test_smac.py",
    "algorithm.q_weight": "test_smac.py",
    "methods": "algorithms/test_registry.py",
    "algorithm.clamp_q": "test_smac.py",
    "algorithm.networks.dynamics": "test_smac.py",
    "algorithm.dynamics_weight": "test_smac.py",
    "randomisation.mass": "tests/sim/manipulation/test_variation.py",
    "randomisation.friction": "tests/sim/manipulation/test_variation.py",
    "randomisation.actuator_gain": "tests/sim/manipulation/test_variation.py",
    "randomisation.observation_noise": "tests/sim/manipulation/test_variation.py",
    "randomisation.latency": "tests/sim/manipulation/test_variation.py",
    "device": "test_device.py",
    "tracker": "runs/test_trackers.py",
    "workers": "test_cores.py",
    "inference": "test_in_simulation.py, and the methods of study/test_study.py",
    "offline.checkpoint_every": "test_offline.py",
    "self_supervised.updates": "test_self_supervised.py",
    "self_supervised.first_steps": "test_self_supervised.py",
    "self_supervised.steps": "test_self_supervised.py",
    "self_supervised.label_z": "test_in_simulation.py",
    "self_supervised.posterior_from": "test_in_simulation.py",
    "self_supervised.publish_every": "test_finetune.py",
    "self_supervised.checkpoint_every": "test_in_process.py",
    "online.steps": "phases/test_online.py",
    "online.first_steps": "phases/test_online.py",
    "online.updates": "phases/test_online.py",
    "online.checkpoint_every": "phases/test_online.py",
    "evaluation.context_episodes": "test_evaluate.py",
    "evaluation.action_noise": "test_protocol.py",
    "evaluation.repeats": "test_evaluate.py",
}


def test_no_key_is_without_a_test_of_what_it_does():
    assert sorted(keys()) == sorted(OFFLINE | PHASE_TWO | ELSEWHERE)


def outcome(weights):
    return torch.cat([tensor.flatten().double() for tensor in weights.values()])


@pytest.fixture
def train_twice(make_run):
    """Phase 1 with and without an override; the weights of both."""

    def run(base, override):
        return [
            outcome(train_offline(make_run(*extra, folder=str(i))).agent.state_dict())
            for i, extra in enumerate(([*base], [*base, override]))
        ]

    return run


@pytest.mark.parametrize(("key", "value"), OFFLINE.items(), ids=OFFLINE)
def test_each_key_of_phase_one_changes_what_is_learned(train_twice, key, value):
    base = ["offline.updates=3"]
    if key == "offline.context.trajectories":
        base.append("offline.context.source=trajectories")
    plain, changed = train_twice(base, f"{key}={value}")
    assert plain.shape != changed.shape or not torch.equal(plain, changed)


def phase_two(run, episodes):
    phase = SelfSupervisedPhase(run)
    phase.add_unlabelled(episodes, [None] * len(episodes))
    for _ in range(4):
        phase.update()
    return outcome(phase.average.networks.state_dict())


@pytest.mark.parametrize(("key", "value"), PHASE_TWO.items(), ids=PHASE_TWO)
def test_each_key_of_phase_two_changes_what_is_learned(make_trained, random_episodes, key, value):
    episodes = random_episodes[0][:8]
    base = ["self_supervised.contexts=both"] if ".context." in key else []
    plain = phase_two(make_trained(*base, folder="plain"), episodes)
    changed = phase_two(make_trained(*base, f"{key}={value}", folder="changed"), episodes)
    assert not torch.equal(plain, changed)


def test_widths_and_latent_size_are_those_of_the_networks(make_run):
    run = make_run(
        "algorithm.latent_size=4",
        "algorithm.networks={encoder: [5], policy: [6, 7], critic: [8], decoder: [9]}",
    )
    agent = untrained(run).agent
    found = {
        name: [
            layer.out_features
            for layer in getattr(agent, name).body
            if hasattr(layer, "bias") and hasattr(layer, "out_features")
        ]
        for name in ("encoder", "policy", "q1", "q2", "decoder")
    }
    assert found == {
        "encoder": [5, 2 * 4],
        "policy": [6, 7, 2 * 6],
        "q1": [8, 1],
        "q2": [8, 1],
        "decoder": [9, 1],
    }

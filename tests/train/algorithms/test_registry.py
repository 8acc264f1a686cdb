"""A fourth algorithm is one class and one line: it trains, adapts, and says what it cannot do."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn
from typer.testing import CliRunner

from fieldtune import plugins
from fieldtune.settings import ConfigError
from fieldtune.train.agent.actor import MEAN_ACTION, Acting
from fieldtune.train.algorithms import registry
from fieldtune.train.algorithms.algorithm import Exportable
from fieldtune.train.algorithms.meta_bc import MetaBcSettings
from fieldtune.train.algorithms.optimisation import adam, gradient_step
from fieldtune.train.algorithms.registry import algorithm_class, settings_of
from fieldtune.train.algorithms.smac import SmacSettings
from fieldtune.train.cli.app import app
from fieldtune.train.config import AlgorithmSettings
from fieldtune.train.evaluation.measure import evaluate_run
from fieldtune.train.evaluation.protocol import Evaluator
from fieldtune.train.phases.offline import train_offline
from fieldtune.train.phases.self_supervised import SelfSupervisedPhase
from fieldtune.train.runs import added_decoder
from fieldtune.train.runs.checkpoint import CheckpointError
from fieldtune.train.runs.config_file import load_config, method_settings
from fieldtune.train.runs.methods import as_method
from fieldtune.train.runs.replays import held_out_replay
from fieldtune.train.runs.run import Run, RunError
from fieldtune.train.runs.trained import after_offline, newest
from fieldtune.train.study.plan import chosen_methods


class TinySettings(AlgorithmSettings):
    name: Literal["tiny"] = "tiny"
    width: int = 4


class TinyNetworks(nn.Module):
    def __init__(self, shape, normalisation, width):
        super().__init__()
        self.normalisation = normalisation
        self.body = nn.Sequential(
            nn.Linear(shape.observation, width), nn.Linear(width, shape.action)
        )


class TinyActor:
    """One linear policy for every task: its belief is in no numbers."""

    def __init__(self, networks: TinyNetworks, copies: int) -> None:
        self._networks, self._copies = networks, copies

    @property
    def embeddings(self):
        return np.zeros((self._copies, 0))

    def begin(self, rng):
        pass

    @torch.no_grad()
    def act(self, s, _rng):
        constants = self._networks.normalisation
        squashed = torch.tanh(self._networks.body(torch.from_numpy(constants.observation(s))))
        return constants.action_centre + constants.action_half_range * squashed.double().numpy()


class Tiny:
    """Clones behaviour, and takes no notice of the context."""

    adapts_by = "nothing at all"
    Settings = TinySettings

    def __init__(self, shape, normalisation, settings: TinySettings, learning_rate: float) -> None:
        self.networks = TinyNetworks(shape, normalisation, settings.width)
        self.optimisers = {"policy": adam(learning_rate, self.networks)}

    @classmethod
    def fresh(cls, shape, normalisation, settings, learning_rate):
        return cls(shape, normalisation, settings, learning_rate)

    @property
    def normalisation(self):
        return self.networks.normalisation

    def update(self, _context, batch):
        loss = (torch.tanh(self.networks.body(batch.observation)) - batch.action).square().mean()
        gradient_step(loss, *self.optimisers.values())
        return {"actor/loss": loss.item()}

    def adapt(self, context: Sequence, _acting: Acting = MEAN_ACTION) -> TinyActor:
        return TinyActor(self.networks, sum(len(batch.reward) for batch in context))


@pytest.fixture
def tiny_file(monkeypatch, tmp_path, write_config):
    """A run's file of an algorithm that is registered for this test alone."""
    module = ModuleType("tiny_algorithm")
    module.Tiny = Tiny
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(plugins.BUILT_IN["fieldtune.algorithms"], "tiny", "tiny_algorithm:Tiny")
    path = write_config(tmp_path / "tiny.yaml")
    whole = yaml.safe_load(path.read_text())
    whole["algorithm"] = {"name": "tiny", "meta_batch": 3, "batch": 8, "width": 5}
    path.write_text(yaml.safe_dump(whole))
    return path


@pytest.fixture
def tiny_run(tiny_file, tmp_path, short_family, small_dataset):
    run = Run(load_config(tiny_file), tmp_path / "run", short_family, small_dataset)
    run.offline_checkpoint.parent.mkdir(parents=True)
    return run


def weights(algorithm) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in algorithm.networks.state_dict().values()])


def test_it_trains_resumes_and_is_found_again(tiny_run):
    first = weights(train_offline(tiny_run, until=2))
    last = weights(train_offline(tiny_run))
    assert not torch.equal(first, last)
    found, phase, updates = newest(tiny_run)
    assert isinstance(found, Tiny)
    assert (phase, updates) == ("offline", 6)
    assert torch.equal(weights(found), last)
    assert found.networks.body[0].out_features == 5


@pytest.mark.usefixtures("tiny_file")
def test_tables_say_by_what_it_adapts():
    assert registry.adapts_by("tiny") == "nothing at all"
    assert registry.adapts_by("smac") is None
    assert registry.adapts_by("a method that is no algorithm") is None


def test_it_is_measured_by_the_same_protocol(tiny_run):
    trained = train_offline(tiny_run)
    evaluator = Evaluator.of(tiny_run.config, tiny_run.family, tiny_run.dataset.test_tasks)
    online = evaluator.online(trained, 0)
    offline = evaluator.offline(trained, held_out_replay(tiny_run, trained), 0)
    evaluator.close()
    assert online.curve.shape == (3, 2, 2)
    assert offline.returns.shape == (2, 2)
    assert online.quoted.embeddings.shape == (2, 2, 0)


def test_without_phase_two_it_says_so(tiny_run):
    train_offline(tiny_run)
    for phase, lacks in ((SelfSupervisedPhase, "phase 2"), (evaluate_run, "reward decoder")):
        with pytest.raises(RunError, match=f"algorithm 'tiny' has no {lacks}") as error:
            phase(tiny_run)
        assert len(str(error.value).splitlines()) == 1


def test_the_command_line_trains_it_and_says_what_it_cannot(tiny_file, tmp_path):
    def said(*arguments):
        found = CliRunner().invoke(app, [str(one) for one in arguments])
        return found.exit_code, found.output

    run = tmp_path / "from the command line"
    assert said("train", "--config", tiny_file, "--run", run)[0] == 0
    out = tmp_path / "tiny.bundle"
    code, text = said("export", "--run", run, "--out", out)
    assert code != 0
    assert "algorithm 'tiny' cannot be exported" in text
    assert not out.exists()
    address = f"ipc://{tmp_path}/hub"
    code, text = said("finetune", "--run", run, "--address", address)
    assert code != 0
    assert "algorithm 'tiny' has no phase 2" in text
    code, text = said("oracle", "--run", run)
    assert code != 0
    assert "algorithm 'tiny' has no phase 2" in text


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("algorithm.name=tini", "'algorithm.name' is 'tini': no such algorithm; did you mean 'tin"),
        ("algorithm.wdith=3", "unknown key 'algorithm.wdith': did you mean 'algorithm.width'?"),
        ("algorithm.kl_weight=1.0", "unknown key 'algorithm.kl_weight'"),
        ("algorithm.width=wide", "'algorithm.width' is 'wide': expected a valid integer"),
    ],
)
def test_each_algorithm_has_its_own_keys(tiny_file, override, message):
    with pytest.raises(ConfigError) as error:
        load_config(tiny_file, overrides=[override])
    assert message in str(error.value)


def test_a_file_that_names_no_algorithm_is_of_smac(make_config):
    config = make_config()
    assert config.algorithm == SmacSettings(**config.algorithm.model_dump())
    assert registry.DEFAULT == config.algorithm.name == "smac"


@pytest.mark.parametrize("name", ["meta-bc", "pearl", "focal"])
def test_a_baseline_is_configured_by_its_own_section(make_config, name):
    narrow = "algorithm.networks={encoder: [5], policy: [6], critic: [7], decoder: [8]}"
    config = make_config(f"algorithm.name={name}", narrow)
    assert type(config.algorithm) is algorithm_class(name).Settings
    with pytest.raises(ConfigError, match=r"unknown key 'algorithm\.advantage'"):
        make_config(f"algorithm.name={name}", "algorithm.advantage.clip=2.0")


def test_a_baseline_takes_what_it_knows_from_another_algorithms_section():
    known = SmacSettings(kl_weight=0.5, batch=9, dynamics_weight=3.0)
    assert settings_of("smac", known) is known
    assert settings_of("meta-bc", known) == MetaBcSettings(kl_weight=0.5, batch=9)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("methods.focla={}", "'methods.focla': no such algorithm; did you mean 'focal'?"),
        ("methods.smac={}", "'methods.smac' is the run's own algorithm: set its keys in"),
        (
            "methods.focal.divergense=1",
            "'methods.focal.divergense': did you mean 'methods.focal.diver",
        ),
        (
            "methods.focal.divergence=-1",
            "'methods.focal.divergence' is -1: expected greater than 0",
        ),
        ("methods.csro=fast", "'methods.csro' is 'fast'"),
    ],
)
def test_a_mistake_in_another_algorithms_settings_is_named_with_its_cure(
    make_config, override, message
):
    with pytest.raises(ConfigError) as error:
        make_config(override)
    assert message in str(error.value)


def test_another_algorithm_shares_the_runs_settings_but_for_its_own(make_config, make_run, same):
    own = ("methods.focal={divergence: 2.0, batch: 9, networks: {policy: [5]}}",)
    found = method_settings("focal", make_config(*own))
    assert (found.divergence, found.batch, found.latent_size) == (2.0, 9, 3)
    assert (found.networks.policy, found.networks.critic) == ((5,), (8,))
    assert method_settings("csro", make_config(*own)).batch == 8
    run = make_run(*own)
    learned = train_offline(run, name="focal")
    assert learned.agent.policy.body[0].out_features == 5
    assert same(
        dict(after_offline(run, "focal").networks.state_dict()),
        dict(learned.networks.state_dict()),
    )
    other = replace(run, config=make_config("methods.focal.divergence=3.0"))
    with pytest.raises(CheckpointError, match=r"trained with another method\.\w+ "):
        after_offline(other, "focal")


@pytest.mark.parametrize(("lacks", "says"), [("Settings", "has no `Settings`"), ("fresh", "fresh")])
def test_a_class_that_is_no_algorithm_is_refused_by_the_key_that_names_it(
    monkeypatch, tiny_file, lacks, says
):
    parts = {"Settings": TinySettings, "fresh": Tiny.fresh}
    del parts[lacks]
    monkeypatch.setattr(sys.modules["tiny_algorithm"], "Tiny", type("Tiny", (), parts))
    with pytest.raises(ConfigError, match=f"'algorithm.name' is 'tiny': .*{says}"):
        load_config(tiny_file)


def test_the_example_of_the_page_on_methods_trains_and_can_be_asked_and_exported(
    monkeypatch, make_run
):
    page = (Path(__file__).parents[3] / "docs" / "methods.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    module = ModuleType("weighted_cloning")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, "docs/methods.md", "exec"), vars(module))
    known = plugins.BUILT_IN["fieldtune.algorithms"]
    monkeypatch.setitem(known, "weighted-cloning", "weighted_cloning:WeightedCloning")
    monkeypatch.setattr(added_decoder, "UPDATES", 10)
    run = make_run("methods.weighted-cloning.temperature=0.5")
    learned = train_offline(run, name="weighted-cloning")
    given = added_decoder.decoded(as_method(run, "weighted-cloning"), learned)
    assert given is not learned
    assert isinstance(given, Exportable)
    assert chosen_methods("offline,weighted-cloning", run.config)[1] == "weighted-cloning"

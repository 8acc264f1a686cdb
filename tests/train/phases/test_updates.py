"""A phase's updates from data and draws on a device: the same updates as from numpy's, nothing read
back, nothing mixed between devices. What only a GPU can run is skipped with that reason."""

from __future__ import annotations

import copy
from functools import partial
from itertools import chain

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import Adam

from fieldtune.robot.config import RobotConfig
from fieldtune.train.agent.agent import Shape
from fieldtune.train.algorithms import latent, task_conditioned_sac
from fieldtune.train.algorithms.csro import Csro, CsroSettings
from fieldtune.train.algorithms.focal import Focal, FocalSettings
from fieldtune.train.algorithms.meta_bc import MetaBcSettings, MetaBehaviourCloning
from fieldtune.train.algorithms.optimisation import place
from fieldtune.train.algorithms.pearl import Pearl, PearlSettings
from fieldtune.train.algorithms.smac import Smac, SmacSettings
from fieldtune.train.algorithms.task_conditioned_sac import (
    TaskConditionedSac,
    TaskConditionedTransitions,
)
from fieldtune.train.algorithms.unicorn import Unicorn, UnicornSettings
from fieldtune.train.captured import Captured
from fieldtune.train.config import Context, Networks, Offline, RunConfig, SelfSupervised
from fieldtune.train.data import device_sampling
from fieldtune.train.data.replay import Lookahead, Replay, Trajectory
from fieldtune.train.data.resident_replay import ResidentReplay
from fieldtune.train.phases import updates
from fieldtune.train.phases.offline import train_offline
from fieldtune.train.phases.self_supervised import SelfSupervisedPhase
from fieldtune.train.runs.checkpoint import Progress, load_checkpoint, read_facts, save_checkpoint

needs_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no GPU here: only one can capture an update"
)
KINDS = {
    "smac": (Smac, SmacSettings),
    "pearl": (Pearl, PearlSettings),
    "meta-bc": (MetaBehaviourCloning, MetaBcSettings),
    "focal": (Focal, FocalSettings),
    "csro": (Csro, CsroSettings),
    "unicorn": (Unicorn, UnicornSettings),
}
META = torch.device("meta")  # knows shapes and devices, and no number that could be read
TASKS, LENGTH = 4, 12


@pytest.fixture
def make(make_learner):
    """`make(name)`: a small learner of that algorithm, the same weights every time."""
    known = make_learner().agent.normalisation

    def of(name, next_in_context=False, **changes):
        kind, section = KINDS[name]
        narrow = Networks(encoder=(8,), policy=(8,), critic=(8,), decoder=(8,), dynamics=(8,))
        small = {"latent_size": 2, "networks": narrow, "meta_batch": 3, "batch": 8}
        settings = section(**(small | changes))
        torch.manual_seed(0)
        return kind.fresh(Shape(3, 2, next_in_context), known, settings, 1e-3)

    return of


def filled(lookahead=None, tasks=range(TASKS)):
    rng = np.random.default_rng(0)
    replay = Replay(TASKS, TASKS * 3 * LENGTH, 3, 2, lookahead)
    for task in tasks:
        for _ in range(2):
            replay.add(
                task,
                Trajectory(
                    rng.standard_normal((LENGTH + 1, 3)).astype(np.float32),
                    rng.uniform(-1, 1, (LENGTH, 2)).astype(np.float32),
                    rng.standard_normal(LENGTH).astype(np.float32),
                    terminated=True,
                ),
            )
    return replay


def weights(learner):
    return torch.cat([p.detach().flatten().cpu() for p in learner.networks.parameters()])


@pytest.mark.parametrize("name", KINDS)
def test_a_context_that_is_filled_up_makes_the_same_update_as_a_shorter_one(name, make, make_batch):
    """The device-resident way against numpy's, given the same rows and the same noise."""
    plain, other = make(name), make(name)
    for seed in range(20):
        context, batch = make_batch(seed, rows=9), make_batch(100 + seed)
        size = 3 + seed % 6
        counted = (torch.arange(9) < size).float().expand(3, 9)
        torch.manual_seed(seed)
        plain.update(context.each(lambda column, n=size: column[:, :n]), batch)
        torch.manual_seed(seed)
        other.update(context._replace(counted=counted), batch)
    torch.testing.assert_close(weights(other), weights(plain), rtol=1e-4, atol=1e-5)


@pytest.fixture
def meta_learner(make, monkeypatch):
    """The same, on a device whose numbers cannot be read, and which mixes with no other."""

    def adam(rate, *trained):
        found = ([p] if isinstance(p, nn.Parameter) else p.parameters() for p in trained)
        return Adam(chain.from_iterable(found), rate, foreach=False)

    for module in (latent, task_conditioned_sac):
        monkeypatch.setattr(module, "adam", adam)

    def of(*arguments, **changes):
        with META:
            return make(*arguments, **changes)

    return of


@pytest.mark.parametrize("source", ["transitions", "trajectories"])
@pytest.mark.parametrize(("name", "bodies"), [*((n, False) for n in KINDS), ("smac", True)])
def test_draw_and_update_read_nothing_back_and_stay_on_their_device(
    meta_learner, name, bodies, source
):
    learner = meta_learner(name, bodies)
    resident = ResidentReplay(filled(Lookahead(3, 0.99)), META)
    phase = Offline(context=Context(source=source, size=(4, 20)))
    metrics = learner.update(*device_sampling.draw_offline(resident, learner.settings, phase))
    assert metrics
    assert {value.device for value in metrics.values()} == {META}
    with pytest.raises(RuntimeError):  # else this test could not fail
        next(iter(metrics.values())).item()
    with pytest.raises(RuntimeError):
        torch.rand(3, device=META) + torch.rand(3)


@pytest.mark.parametrize("advantage", [{"weights": "softmax"}, {"over": "mean"}])
@pytest.mark.parametrize("true_rewards", [True, False])
def test_nor_does_an_update_of_phase_2(meta_learner, advantage, true_rewards):
    learner = meta_learner("smac", advantage=advantage)
    offline, labelled = (ResidentReplay(filled(tasks=t), META) for t in (range(TASKS), [1, 3]))
    phase = SelfSupervised(context=Context(source="trajectories", size=(4, 20)))
    draws = device_sampling.draw_union(
        offline, labelled, learner.settings, phase, context_offline=False
    )
    metrics = learner.self_supervised_update(*draws, phase, true_rewards=true_rewards)
    assert {value.device for value in metrics.values()} == {META}


def told(device, rows=8):
    """A learner that is told the task, and transitions for it, on one device."""
    torch.manual_seed(0)
    learner = TaskConditionedSac(3, 2, 1, (8,), 1e-3, 0.9)
    columns = [torch.randn(rows, n) for n in (3, 2)], [torch.randn(rows), torch.randn(rows, 3)]
    (s, a), (r, reached) = columns
    batch = TaskConditionedTransitions(s, a, r, reached, torch.zeros(rows), torch.randn(rows, 1))
    return learner, TaskConditionedTransitions(*(column.to(device) for column in batch))


@pytest.mark.usefixtures("meta_learner")
def test_nor_does_an_update_of_the_agent_that_is_told_the_task():
    with META:
        learner, batch = told(META)
    assert {value.device for value in learner.update(batch).values()} == {META}


@pytest.fixture
def resident(monkeypatch):
    """Data and draws where the learner computes, also where that is the CPU."""
    monkeypatch.setattr(updates, "draws_there", lambda _: True)


@pytest.mark.usefixtures("resident")
def test_phase_1_learns_from_resident_data(make_run):
    run = make_run("offline.updates=3")
    first = weights(train_offline(run, until=1))
    last = weights(train_offline(run))
    assert read_facts(run.offline_checkpoint)["updates"] == 3
    assert not torch.equal(first, last)


@pytest.mark.usefixtures("resident")
def test_phase_2_follows_data_that_grows_and_goes_on_from_its_checkpoint(make_trained, tmp_path):
    run = make_trained()
    phase = SelfSupervisedPhase(run)
    episodes = run.dataset.train[0][:2]
    phase.add(0, episodes[0])
    phase.update()
    first = weights(phase.learner)
    phase.add(1, episodes[1])
    phase.update()
    assert not torch.equal(first, weights(phase.learner))
    assert not torch.equal(weights(phase.learner), weights(phase.average))
    phase.save(tmp_path / "some.safetensors")
    again = SelfSupervisedPhase(run)
    again.restore(tmp_path / "some.safetensors")
    phase.update()
    again.update()
    assert torch.isfinite(weights(again.learner)).all()
    assert again.updates == phase.updates == 3


def twenty(device, step, *, capture):
    """Twenty updates from one random state."""
    torch.cuda.manual_seed(1)
    update = Captured(device, step) if capture else step
    for _ in range(20):
        update()


@needs_cuda
@pytest.mark.parametrize("name", KINDS)
def test_captured_and_eager_updates_give_the_same_weights(name, make):
    device = torch.device("cuda", torch.cuda.current_device())
    found = []
    for capture in (False, True):
        learner = make(name)
        place(learner, device)
        resident = ResidentReplay(filled(), device)
        phase = Offline(context=Context(source="transitions", size=(4, 20)))

        def step(learner=learner, resident=resident, phase=phase):
            draws = device_sampling.draw_offline(resident, learner.settings, phase)
            return learner.update(*draws)

        twenty(device, step, capture=capture)
        found.append(weights(learner))
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-4)


@needs_cuda
def test_captured_and_eager_updates_of_the_agent_that_is_told_the_task_agree():
    device = torch.device("cuda", torch.cuda.current_device())
    found = []
    for capture in (False, True):
        learner, batch = told(device)
        place(learner, device)
        step = partial(learner.update, batch)
        twenty(device, step, capture=capture)
        found.append(weights(learner))
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-4)


@needs_cuda
def test_a_checkpoint_moves_between_devices(make, make_batch, tmp_path):
    device = torch.device("cuda", torch.cuda.current_device())
    first, path, rng = make("smac"), tmp_path / "some.safetensors", np.random.default_rng(0)
    place(first, device)
    first.update(*(make_batch(s).each(lambda column: column.to(device)) for s in (0, 1)))
    save_checkpoint(path, first, rng, Progress())
    for where in (device, torch.device("cpu")):
        other = make("smac")
        place(other, where)
        load_checkpoint(path, other, copy.deepcopy(rng))
        assert torch.equal(weights(other), weights(first))
        other.update(*(make_batch(s).each(lambda column, to=where: column.to(to)) for s in (2, 3)))


@pytest.mark.parametrize("name", KINDS)
def test_mixed_precision_is_of_updates_alone_and_learns_the_same_to_its_digits(name, make):
    deep = Networks(encoder=(8, 8), policy=(8, 8), critic=(8, 8), decoder=(8, 8))
    trained = {}
    for precision in ("float32", "bfloat16"):
        learner = make(name, precision=precision, networks=deep)
        config = RunConfig(
            family="any", algorithm=learner.settings, robot=RobotConfig(name="a", family="any")
        )
        step = updates.offline_updates(learner, filled(), np.random.default_rng(0), config)
        for _ in range(3):
            step()
        trained[precision] = weights(learner)
        assert {p.dtype for p in learner.networks.parameters()} == {torch.float32}
        assert not torch.is_autocast_enabled("cpu")
    assert not torch.equal(*trained.values())
    torch.testing.assert_close(*trained.values(), atol=0.01, rtol=0.0)

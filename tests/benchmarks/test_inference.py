"""Ablations of inference, on a tiny run: the same protocol as the library's, and honest tables."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from benchmarks import latent_probe, shortfall, trial
from benchmarks.decoding import held, looks
from benchmarks.inference import __main__ as command
from benchmarks.inference.beliefs import Belief, Following, believed, explore, first, judged
from benchmarks.inference.bench import NUMBERS, Bench, kept_back, own_randomness
from benchmarks.inference.decoders import explained, with_noise
from benchmarks.inference.exploring import PARTS, Changing, Questions
from benchmarks.inference.phase_two import VARIANTS, phase_two
from benchmarks.inference.refined import Climbed, Jittered, Library, Refined, candidate_likelihood
from benchmarks.inference.residuals import Weighed
from benchmarks.inference.sources import WithEncoder, half_between, posterior_means
from benchmarks.inference.tables import Row, Table, markdown, pooled
from fieldtune.sim.locomotion.cheetah_vel import CheetahVelFamily
from fieldtune.sim.rollout import rollout
from fieldtune.train.agent import by_likelihood
from fieldtune.train.agent.by_likelihood import ByLikelihood
from fieldtune.train.data.dataset import Dataset
from fieldtune.train.phases.offline import train_offline
from fieldtune.train.phases.self_supervised import SelfSupervisedPhase
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.runs.replays import held_out_replay
from fieldtune.train.runs.run import Run

SETTINGS = {
    "family": "cheetah-vel",
    "data": {"path": "unused"},
    "algorithm": {
        "latent_size": 3,
        "meta_batch": 3,
        "batch": 8,
        "networks": {"encoder": [8], "policy": [8], "critic": [8], "decoder": [8]},
    },
    "offline": {"context": {"source": "transitions", "size": [4, 8]}, "updates": 20},
    "self_supervised": {
        "updates": 4,
        "steps": 40,
        "first_steps": 10,
        "context": {"source": "transitions", "size": [4, 8]},
    },
    "evaluation": {"repeats": 2},
    "robot": {"name": "cheetah", "family": "cheetah-vel"},
}


class Short(CheetahVelFamily):
    @property
    def horizon(self) -> int:
        return 10


@pytest.fixture(scope="module")
def dataset():
    """Six tasks trained on and one held out, which nobody may look at."""
    family, rng = Short(), np.random.default_rng(0)
    tasks = family.split().train[:6]
    simulator = family.simulator(12)
    acted = rollout(
        simulator,
        family,
        lambda seen: rng.uniform(-1, 1, (len(seen), 6)),
        np.arange(12),
        np.repeat(tasks, 2, axis=0),
    )
    simulator.close()
    episodes = [acted[i : i + 2] for i in range(0, 12, 2)]
    return Dataset("tiny", tasks, np.full((1, 1), np.nan), episodes, [[]])


@pytest.fixture(scope="module")
def bench(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "checkpoints").mkdir()
    (folder / "tiny.yaml").write_text(yaml.safe_dump(SETTINGS))
    config = load_config(folder / "tiny.yaml")
    return Bench.of(Run(config, folder, Short(), kept_back(dataset, 2)))


@pytest.fixture(scope="module")
def belief(bench):
    return Belief.of(bench, bench.particles)


def test_the_last_tasks_are_kept_back_and_held_out_ones_left_alone(dataset):
    run = kept_back(dataset, 2)
    assert np.array_equal(run.train_tasks, dataset.train_tasks[:4])
    assert np.array_equal(run.test_tasks, dataset.train_tasks[4:])
    assert run.test[0] is dataset.train[4]
    for count in (0, 6):
        with pytest.raises(ValueError, match="--kept-back"):
            kept_back(dataset, count)


def test_what_z_holds_is_told_on_the_way_and_at_the_end(bench):
    found = list(looks(bench.run))
    assert [each.updates for each in found] == [10, 20]
    assert found[0].by_mean != found[0].by_draw != found[1].by_draw
    assert list(looks(bench.run)) == found
    blind = copy.deepcopy(bench.agent)  # says of every reward that it is the mean
    for parameter in blind.decoder.body[-1].parameters():
        parameter.detach().zero_()
    told = held(blind, held_out_replay(bench.run, blind), 0)
    assert told.by_mean == told.by_draw <= 0.01


def test_the_protocol_is_the_librarys_to_the_bit(bench, belief, monkeypatch):
    monkeypatch.setattr(by_likelihood, "MOST", 0)  # without places between particles
    by = ByLikelihood(bench.agent, bench.particles)
    theirs = bench.evaluator.online(by, bench.seed).curve
    episodes, after = explore(bench, belief)
    ours = judged(bench, after)
    for number in NUMBERS:
        assert np.array_equal(ours[f"K = {number}"], theirs[number])
    assert len(np.unique(theirs)) > len(NUMBERS)
    again = judged(bench, believed(belief, episodes))
    assert all(np.array_equal(ours[name], again[name]) for name in ours)
    within = bench.evaluator.first_episode(by, bench.seed)
    assert np.array_equal(first(bench, belief)["first episode"], within.returns)


def test_an_episode_in_parts_follows_one_z_after_another(bench, belief):
    with own_randomness(0):
        first_z, last_z = belief.choose(), belief.choose()
    acted = []
    for z in (first_z, torch.stack([first_z, last_z]), last_z):
        with own_randomness(3) as rng:
            acted.append([one.action[0] for one in bench.episode(z, rng)])
    whole, parts, other = (torch.stack(each) for each in acted)
    assert torch.equal(parts[:, :5], whole[:, :5])  # of ten steps
    assert not torch.equal(parts[:, 5], whole[:, 5])
    assert Changing(belief).choose().shape == (PARTS, *first_z.shape)
    assert not torch.equal(other, whole)


def test_exploring_by_turns_holds_a_draw_and_counts_every_reward(bench, belief):
    acting = replace(bench.exploring, z_hold=4)
    actor, held = Following(bench.agent, belief, acting), []
    act = actor.act
    actor.act = lambda s, rng: (act(s, rng), held.append(actor.embeddings))[0]
    with own_randomness(3) as rng:
        episode = bench.followed(actor, rng)
    whole = belief.after(episode)
    assert torch.allclose(actor.belief.known, whole.known, rtol=1e-4, atol=1e-4)
    assert len(held) == 10
    for part in (held[:4], held[4:8], held[8:]):
        assert all(np.array_equal(z, part[0]) for z in part)
    assert not np.array_equal(held[3], held[4])
    assert not np.array_equal(held[7], held[8])


def test_exploring_may_go_on_with_the_likeliest(bench, belief):
    acting = replace(bench.exploring, follows_rewards=True)
    actor, likeliest = Following(bench.agent, belief, acting), []
    heed = actor.heed
    actor.heed = lambda *step: (
        heed(*step),
        likeliest.append(np.array_equal(actor.embeddings, actor.belief.guess().double().numpy())),
    )
    drawn = actor.embeddings
    with own_randomness(3) as rng:
        bench.followed(actor, rng)
    assert likeliest == [True] * 10
    assert not np.array_equal(actor.embeddings, drawn)


def test_a_linear_probe_says_what_z_holds_of_tasks_kept_back(bench):
    of = bench.run, bench.agent, bench.kept_back, bench.run.dataset.test_tasks
    z, whose = latent_probe.embeddings(*of)
    assert z.shape == (2 * latent_probe.CONTEXTS, bench.agent.latent_size)
    np.testing.assert_array_equal(whose[:2], bench.run.dataset.test_tasks)
    velocity, kl = latent_probe.report(bench.run, bench.agent)
    assert velocity.startswith("velocity: ")
    assert " m/s off (guessed: " in velocity
    assert " nats × 0.1 = " in kl


def test_what_an_episode_falls_short_by_is_told_of_decoder_and_policy_apart(bench, monkeypatch):
    found = shortfall.shortfall(bench.run, bench.agent)
    assert found.ended < found.best
    assert found.decoder_error > 0
    monkeypatch.setattr(shortfall, "decoded_rewards", lambda *of: of[1].rewards + 0.25)
    generous = shortfall.shortfall(bench.run, bench.agent)
    assert generous.decoder_error == pytest.approx(0.25)
    assert (generous.ended, generous.best) == (found.ended, found.best)
    assert generous.believed == pytest.approx(found.ended + 0.25)


def test_a_probe_says_whether_the_agent_has_seen_the_tasks_kept_back(bench, dataset, monkeypatch):
    def opened(run):
        monkeypatch.setattr(latent_probe, "open_existing", lambda _: run)
        return latent_probe.opened(run.folder)

    run, _, seen = opened(bench.run)
    assert len(run.dataset.test) == 1  # of four
    assert seen == "20 updates; 3 tasks to fit on, 1 kept back from probe"
    apart = replace(bench.run, folder=bench.run.folder / "apart", dataset=trial.kept_back(dataset))
    (apart.folder / "checkpoints").mkdir(parents=True)
    train_offline(apart)
    _, _, seen = opened(replace(apart, dataset=dataset))
    assert seen == "20 updates; 5 tasks to fit on, 1 kept back from agent and probe"


def test_phase_2_is_trained_by_each_variant_and_goes_on_from_its_files(bench, monkeypatch):
    table = phase_two(bench)
    assert [row.name for row in table.rows] == [*VARIANTS, "before phase 2"]
    assert len({str(row.cells) for row in table.rows}) == len(table.rows)
    monkeypatch.setattr(SelfSupervisedPhase, "update", None)  # nothing is left to learn
    assert phase_two(bench) == table


def test_a_refined_z_is_likelier_than_every_particle(bench, belief):
    episodes, after = explore(bench, belief)
    contexts = [context[-1] for context in zip(*episodes[:1], strict=True)]
    best = after[0].known.max(dim=1).values

    def said(z):
        return candidate_likelihood(bench, contexts, z.unsqueeze(1))[:, 0]

    assert torch.allclose(said(after[0].guess()), best, atol=1e-5)
    library = Library.of(bench).after(episodes[0]).guess()
    assert (said(library) >= best - 1e-5).all()
    assert (said(library) > best + 1e-5).any()
    with own_randomness(0):
        jittered = Refined(belief, Jittered(bench)).after(episodes[0]).guess()
    climbed = Refined(belief, Climbed(bench, 20)).after(episodes[0])
    assert (said(jittered) >= best - 1e-5).all()
    assert (said(climbed.guess()) > best).all()
    assert next(iter(climbed.moved().values())) > 0


def test_the_encoders_draws_stand_beside_the_particles(bench, belief):
    episodes, _ = explore(bench, belief)
    own = WithEncoder(bench, belief).after(episodes[0])
    z, known = own._all()
    assert z.shape == (bench.copies, 1_100, 3)
    contexts = [one[0] for one in zip(*episodes[:1], strict=True)]
    assert torch.allclose(candidate_likelihood(bench, contexts, z), known, atol=1e-4)


def test_a_gaussian_of_one_variance_written_here_is_the_librarys(bench, belief):
    variance = bench.particles.reward_variance
    weighed = Weighed(bench, lambda said, seen: -(seen - said).square() / (2 * variance))
    episodes, after = explore(bench, belief)
    found = believed(replace(belief, likelihood=weighed), episodes)
    assert torch.allclose(found[-1].known, after[-1].known, rtol=1e-4)


def test_a_question_is_worth_the_variance_of_what_is_answered(bench):
    questions = Questions.of(bench)
    weights = torch.softmax(torch.randn(2, len(bench.particles.z)), dim=1)
    told = questions.told(weights)
    row = questions.rewards[3].numpy()
    mean = np.average(row, axis=1, weights=weights[1].numpy())
    spread = np.average((row - mean[:, None]) ** 2, axis=1, weights=weights[1].numpy())
    assert float(told[1, 3]) == pytest.approx(spread.mean(), rel=1e-3)


def test_noise_makes_a_decoder_worse_and_leaves_the_first_as_it_was(bench):
    before = explained(bench, bench.agent)
    assert explained(bench, with_noise(bench.agent, 1.0)) < before
    assert explained(bench, bench.agent) == before


def test_particles_stay_as_many(bench):
    z = half_between(posterior_means(bench, 31))
    assert z.shape == (31, 3)
    assert torch.equal(z[:16], posterior_means(bench, 31)[:16])


def test_every_part_runs_and_is_kept(bench, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.inference.sources.SIZES", (30, 10))
    monkeypatch.setattr("benchmarks.inference.tempers.TEMPERS", (1.0,))
    monkeypatch.setattr("benchmarks.inference.decoders.NOISES", (0.3,))
    monkeypatch.setattr("benchmarks.inference.decoders.UPDATES", (3,))
    (tmp_path / "seed-0").mkdir()
    command.ablate(lambda _: bench, tmp_path, [0], list(command.PARTS))
    page = (tmp_path / "ablations.md").read_text()
    assert page.count("**") == 2 * len(command.PARTS)
    assert page.strip() in capsys.readouterr().out.replace("\n\n\n", "\n\n")

    def refused(_):
        raise AssertionError("it was measured already")

    command.ablate(refused, tmp_path, [0], list(command.PARTS))
    assert (tmp_path / "ablations.md").read_text() == page


def test_a_cell_says_how_far_it_is_from_the_first_and_how_sure():
    one = Row.of("a", {"K = 1": np.array([[1.0, 3.0], [-8.0, -6.0]])}, {"temper": 0.5})
    other = Row.of("b", {"K = 1": np.array([[2.0, 4.0], [-5.0, -3.0]])}, {"temper": 0.5})
    lines = markdown(Table("t", "return", [one, other])).splitlines()
    assert lines[-2:] == [
        "| a | −2.5 | −2.5 | 0.5 |",
        "| b | −0.5 (+2.0 ± 1.0) | −0.5 | 0.5 |",
    ]


def test_seeds_are_pooled_task_by_task():
    tables = [
        Table("t", "return", [Row.of("a", {"K = 1": np.full((2, 2), value)}, {"f": value})])
        for value in (1.0, 3.0)
    ]
    found = pooled(tables)
    assert np.mean(found.rows[0].cells["K = 1"]) == 2.0
    assert len(found.rows[0].cells["K = 1"]) == 4
    assert found.rows[0].facts["f"] == 2.0

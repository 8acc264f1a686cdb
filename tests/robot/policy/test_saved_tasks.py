"""Saved tasks: kept to the bit, refused where they mean nothing, made again from the journal."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldtune.export.bundle import read_bundle
from fieldtune.robot.episodes.episode import EndReason
from fieldtune.robot.journal.journal import Journal
from fieldtune.robot.journal.quota import make_room
from fieldtune.robot.policy.exploration import Draws
from fieldtune.robot.policy.policy import Policy
from fieldtune.robot.policy.refinement import PLACES
from fieldtune.robot.policy.saved_tasks import SavedTasks, TaskError, recompute, require_fit
from fieldtune.robot.policy.task_records import GaussianTask, ParticleTask, posterior_of
from fieldtune.robot.programs.act import Acting
from fieldtune.robot.programs.adapt import Adaptation
from fieldtune.robot.rewards.driver import DriverRewards
from tests.robot.conftest import PARTICLES


@pytest.fixture
def tasks(config):
    return SavedTasks(config.tasks)


@pytest.fixture
def bundle(point_bundle):
    return point_bundle()


@pytest.fixture
def weighing(point_bundle):
    """A bundle that infers by particles; of what the mass does, no task that it trained on."""
    return point_bundle(particles=PARTICLES, unlike_below=-0.01)


@pytest.fixture
def weighed(config, mass, weighing, tasks):
    """As `learned`, by particles."""
    return _learn(config, mass, weighing, tasks)


@pytest.fixture
def learned(config, mass, bundle, tasks):
    """An adaptation kept as `push`, and the posterior it had come to."""
    return _learn(config, mass, bundle, tasks)


def _learn(config, mass, bundle, tasks):
    run = Adaptation(
        config,
        mass,
        DriverRewards(mass),
        bundle=bundle,
        save=lambda task: tasks.write("push", task, bundle),
    )
    list(run.run())
    mass.commands.clear()
    return run.posterior


@pytest.fixture
def other(point_bundle):
    """A bundle with another encoder."""
    return point_bundle(next_observation=True)


def test_a_task_comes_back_to_the_bit_with_its_bundle(learned, tasks, bundle):
    task = tasks.read("push")
    np.testing.assert_array_equal(task.posterior.precision, learned.precision)
    np.testing.assert_array_equal(task.posterior.precision_mean, learned.precision_mean)
    assert (task.transitions, task.episodes, task.rewards) == (10, [1, 2], "driver")
    assert tasks.bundle(task).read_bytes() == bundle.read_bytes()


def test_acting_takes_z_from_the_task_and_the_mean_action(learned, tasks, config, mass):
    task = tasks.read("push")
    acting = Acting(config, mass, "push", task, bundle=tasks.bundle(task), episodes=2)
    attempts = list(acting.run())
    assert [attempt.reason for attempt in attempts] == [EndReason.HORIZON] * 2
    with Journal.read(config.journal) as journal:
        for attempt in attempts:
            z = learned.sample(Draws(0, attempt.number).z)
            for step in journal.episode(attempt.number).steps:
                assert step.z == z.tolist()
                np.testing.assert_allclose(step.requested, 2 * np.tanh(z[:1]), rtol=1e-6)


@pytest.mark.usefixtures("learned")
def test_another_encoders_bundle_is_refused_before_anything_moves(tasks, config, mass, other):
    acting = Acting(config, mass, "push", tasks.read("push"), bundle=other, episodes=1)
    with pytest.raises(TaskError, match="tasks recompute push"):
        list(acting.run())
    assert mass.commands == []


@pytest.mark.usefixtures("learned")
@pytest.mark.parametrize("spoilt", [1e9, -1e300, 1e308])
def test_a_z_far_from_all_that_training_saw_is_refused_before_anything_moves(
    tasks, config, mass, bundle, spoilt
):
    task = msgspec.structs.replace(tasks.read("push"), precision_mean=[0.1, spoilt])
    mass.starts.clear()
    acting = Acting(config, mass, "push", task, bundle=bundle, episodes=1)
    with pytest.raises(TaskError, match=r"ten times what training saw is 20: .*adapt again"):
        list(acting.run())
    assert (mass.starts, mass.commands) == ([], [])


@pytest.mark.usefixtures("learned")
@pytest.mark.parametrize("precision", [1e-300, 0.0, -1.0, 0.99])
def test_a_precision_that_no_posterior_has_is_refused(tasks, precision):
    task = msgspec.structs.replace(tasks.read("push"), precision=[precision, 2.0])
    tasks.path("push").write_bytes(msgspec.json.encode(task))
    with pytest.raises(TaskError, match="precision has values that no posterior has"):
        tasks.read("push")


@pytest.mark.usefixtures("learned")
def test_a_bundle_with_the_same_encoder_and_another_policy_will_do(tasks, point_bundle):
    stronger = Policy(read_bundle(point_bundle(push=0.5)))
    task = tasks.read("push")
    assert stronger.bundle_id != task.bundle_id
    require_fit("push", task, stronger)


@pytest.mark.usefixtures("learned")
def test_the_journal_gives_the_same_posterior_again(tasks, config, bundle):
    task, policy = tasks.read("push"), Policy(read_bundle(bundle))
    with Journal.read(config.journal) as journal:
        again = recompute(task, journal, policy)
    assert msgspec.structs.replace(again, saved="") == msgspec.structs.replace(task, saved="")


@pytest.mark.usefixtures("learned")
def test_a_recomputed_task_fits_the_other_bundle(tasks, config, mass, other):
    policy = Policy(read_bundle(other))
    with Journal.read(config.journal) as journal:
        task = recompute(tasks.read("push"), journal, policy)
    require_fit("push", task, policy)
    (attempt,) = Acting(config, mass, "push", task, bundle=other, episodes=1).run()
    assert attempt.steps == 5


@pytest.mark.usefixtures("learned")
def test_a_context_that_the_journal_no_longer_has_is_not_half_recomputed(tasks, config, other):
    with Journal.open(config.journal) as journal:
        journal.acknowledge(journal.blob(1)[0])
        journal.acknowledge_rewards(1, journal.rewards_blob(1)[0])
        make_room(journal, 0)
        with pytest.raises(TaskError, match="adapt again"):
            recompute(tasks.read("push"), journal, Policy(read_bundle(other)))


@pytest.mark.usefixtures("learned")
def test_a_forgotten_task_leaves_no_bundle_behind(tasks, bundle):
    task = tasks.read("push")
    tasks.write("same", task, bundle)
    tasks.remove("push")
    assert tasks.names() == ["same"]
    assert tasks.bundle(task).exists()
    tasks.remove("same")
    assert list(tasks.folder.iterdir()) == []
    with pytest.raises(TaskError, match="no task 'same'"):
        tasks.remove("same")


@pytest.mark.parametrize("name", ["", "../push", "a/b", ".hidden", "x" * 65, "a b", "a\n", "ä"])
def test_a_name_that_leaves_the_folder_is_refused(tasks, name):
    with pytest.raises(TaskError, match="is no name for a task"):
        tasks.path(name)


@pytest.mark.usefixtures("learned")
def test_an_unknown_task_is_said_with_those_known(tasks):
    with pytest.raises(TaskError, match="it has: push"):
        tasks.read("pull")


@given(st.data())
def test_a_damaged_file_is_an_error_with_a_cure_or_a_sound_task(tmp_path_factory, data):
    tasks = SavedTasks(tmp_path_factory.getbasetemp() / "damaged")
    tasks.folder.mkdir(exist_ok=True)
    source = {"robot": "r", "family": "f", "bundle_id": "0" * 64, "transitions": 3}
    source |= {"episodes": [1], "rewards": "keys", "saved": "now"}
    text = bytearray(msgspec.json.encode(data.draw(st.sampled_from(_both(source)))))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text) - 1))
        text[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    tasks.path("t").write_bytes(text)
    said, task = "adapt again", None
    try:
        task = tasks.read("t")
    except TaskError as error:
        said = str(error)
    assert "adapt again" in said
    if isinstance(task, GaussianTask):
        assert np.isfinite(task.posterior.mean).all()
        assert (task.posterior.variance > 0).all()
    elif isinstance(task, ParticleTask):
        weights = task.over(np.zeros((len(task.log_weights), 2))).weights
        assert weights.sum() == pytest.approx(1)


def _both(source):
    gaussian = {"precision": [1.0, 2.0], "precision_mean": [0.5, -0.5]}
    weights = {"log_weights": [-1.0, -2.5, 0.0], "unlike_below": -1.25}
    return (
        GaussianTask(**source, encoder_sha256="1" * 64, **gaussian),
        ParticleTask(**source, likelihood_sha256="1" * 64, **weights),
    )


def test_a_file_of_version_1_is_read_as_it_was_written(tasks):
    """Byte by byte what a robot wrote before there were particles."""
    tasks.folder.mkdir(parents=True)
    tasks.path("push").write_text(_VERSION_1)
    task = tasks.read("push")
    assert task.encoder_sha256 == "1" * 64
    assert (task.transitions, task.episodes, task.familiarity) == (10, [1, 2], None)
    assert task.posterior.mean.tolist() == [0.25, -1.5]
    assert json.loads(msgspec.json.encode(task)) == json.loads(_VERSION_1)


_VERSION_1 = f"""{{
 "robot": "m1",
 "family": "points",
 "bundle_id": "{"0" * 64}",
 "encoder_sha256": "{"1" * 64}",
 "precision": [
  2.0,
  4.0
 ],
 "precision_mean": [
  0.5,
  -6.0
 ],
 "transitions": 10,
 "episodes": [
  1,
  2
 ],
 "rewards": "driver",
 "saved": "2026-11-20T10:00:00+00:00",
 "version": 1
}}
"""


def test_a_task_by_the_contexts_factors_alone_says_so(config, mass, tasks, point_bundle):
    """Its precision may be below 1, and a bundle whose product has the prior does not fit."""
    alone = point_bundle(prior_factor=False)
    learned = _learn(config, mass, alone, tasks)
    task = tasks.read("push")
    assert not task.prior_factor
    assert b'"prior_factor": false' in tasks.path("push").read_bytes()
    np.testing.assert_array_equal(task.posterior.precision, learned.precision)
    require_fit("push", task, Policy(read_bundle(alone)))
    with pytest.raises(TaskError, match="tasks recompute push"):
        require_fit("push", task, Policy(read_bundle(point_bundle())))
    widest = 1.0 / float(np.finfo(np.float32).max)  # of the widest factor that a graph can give
    wide = msgspec.structs.replace(task, precision=[widest, 0.5], precision_mean=[0.0, 1e6])
    tasks.write("wide", wide, alone)
    assert tasks.read("wide").posterior.precision.tolist() == [widest, 0.5]
    with pytest.raises(TaskError, match=f"its {task.transitions} rewarded steps were too few"):
        require_fit("wide", wide, Policy(read_bundle(alone)))


def test_a_file_of_a_version_to_come_is_refused(tasks):
    tasks.folder.mkdir(parents=True)
    tasks.path("push").write_text(_VERSION_1.replace('"version": 1', '"version": 3'))
    with pytest.raises(TaskError, match="adapt again"):
        tasks.read("push")


def test_a_task_by_particles_comes_back_to_the_bit_and_is_acted_on(
    weighed, tasks, weighing, config, mass
):
    task = tasks.read("push")
    known = posterior_of(task, read_bundle(tasks.bundle(task)).manifest)
    np.testing.assert_array_equal(known.log_weights, weighed.log_weights)
    np.testing.assert_array_equal(known.z, weighed.z)
    np.testing.assert_array_equal(known.z[:4], np.array(PARTICLES))
    assert (known.added, len(known.z)) == (PLACES, 4 + PLACES)
    assert (task.transitions, known.transitions) == (10, 10)
    assert tasks.bundle(task).read_bytes() == weighing.read_bytes()
    acting = Acting(config, mass, "push", task, bundle=tasks.bundle(task), episodes=2)
    numbers = [attempt.number for attempt in acting.run()]
    with Journal.read(config.journal) as journal:
        acted = [step.z for number in numbers for step in journal.episode(number).steps]
    assert acted == [weighed.likeliest.tolist()] * 10


def test_a_task_unlike_any_says_so_in_its_file_and_when_it_is_acted_on(
    weighed, tasks, config, mass, caplog
):
    task = tasks.read("push")
    assert task.familiarity.unlike
    assert task.familiarity.explained == pytest.approx(weighed.log_weights[:4].max() / 10)
    assert task.familiarity.effective == pytest.approx(weighed.effective)
    list(Acting(config, mass, "push", task, bundle=tasks.bundle(task), episodes=1).run())
    assert "task push: this task is unlike any that the bundle was trained on" in caplog.text


@pytest.mark.usefixtures("weighed")
def test_the_journal_gives_the_same_weights_again(tasks, config, weighing):
    task, policy = tasks.read("push"), Policy(read_bundle(weighing))
    with Journal.read(config.journal) as journal:
        again = recompute(task, journal, policy)
    assert msgspec.structs.replace(again, saved="") == msgspec.structs.replace(task, saved="")


@pytest.mark.usefixtures("weighed")
@pytest.mark.parametrize("change", ["other particles", "another likelihood", "none"])
def test_weights_of_other_particles_are_refused_before_anything_moves(
    tasks, config, mass, point_bundle, change
):
    other = {
        "other particles": {"particles": (*PARTICLES[:3], (3.0, 2.5))},
        "another likelihood": {"particles": PARTICLES, "next_observation": True},
        "none": {},
    }
    bundle, starts = point_bundle(**other[change]), list(mass.starts)
    acting = Acting(config, mass, "push", tasks.read("push"), bundle=bundle, episodes=1)
    with pytest.raises(TaskError, match=r"decoder and particles .* tasks recompute push"):
        list(acting.run())
    assert (mass.starts, mass.commands) == (starts, [])


@pytest.mark.usefixtures("weighed")
def test_a_task_goes_from_particles_to_the_encoder_and_back(tasks, config, bundle, weighing):
    first, records = tasks.read("push"), []
    for path in (bundle, weighing):
        policy = Policy(read_bundle(path))
        with Journal.read(config.journal) as journal:
            tasks.write("push", recompute(tasks.read("push"), journal, policy), path)
        records.append(tasks.read("push"))
        require_fit("push", records[-1], policy)
    assert [type(task) for task in records] == [GaussianTask, ParticleTask]
    assert msgspec.structs.replace(records[1], saved=first.saved) == first


@pytest.mark.usefixtures("weighed")
def test_weights_that_are_no_numbers_are_refused(tasks):
    text = tasks.path("push").read_text()
    number = str(tasks.read("push").log_weights[2])
    assert number in text
    tasks.path("push").write_text(text.replace(number, "1e999"))
    with pytest.raises(TaskError, match="adapt again"):
        tasks.read("push")

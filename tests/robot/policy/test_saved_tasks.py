"""Saved tasks: kept to the bit, refused where they mean nothing, made again from the journal."""

from __future__ import annotations

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
from fieldtune.robot.policy.saved_tasks import (
    SavedTask,
    SavedTasks,
    TaskError,
    recompute,
    require_fit,
)
from fieldtune.robot.programs.act import Acting
from fieldtune.robot.programs.adapt import Adaptation
from fieldtune.robot.rewards.driver import DriverRewards


@pytest.fixture
def tasks(config):
    return SavedTasks(config.tasks)


@pytest.fixture
def bundle(point_bundle):
    return point_bundle()


@pytest.fixture
def learned(config, mass, bundle, tasks):
    """An adaptation kept as `push`, and the posterior it had come to."""
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
    task = SavedTask("r", "f", "0" * 64, "1" * 64, [1.0, 2.0], [0.5, -0.5], 3, [1], "keys", "now")
    text = bytearray(msgspec.json.encode(task))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text) - 1))
        text[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    tasks.path("t").write_bytes(text)
    said, posterior = "adapt again", task.posterior
    try:
        posterior = tasks.read("t").posterior
    except TaskError as error:
        said = str(error)
    assert "adapt again" in said
    assert np.isfinite(posterior.mean).all()
    assert (posterior.variance > 0).all()

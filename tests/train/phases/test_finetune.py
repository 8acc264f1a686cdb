"""The trainer's side of the loop, with a real hub, a real bridge and episodes made by hand."""

from __future__ import annotations

import json
import logging
import shutil
import signal
import threading
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from fieldtune.export.bundle import read_bundle
from fieldtune.robot.bridge.client import BridgeClient
from fieldtune.robot.episodes import codec
from fieldtune.robot.episodes.episode import EndReason, Episode, Mode
from fieldtune.robot.journal.journal import Journal
from fieldtune.train.bridge.fleet import Watcher
from fieldtune.train.bridge.hub import Hub
from fieldtune.train.cli.app import app
from fieldtune.train.data.robot_episode import as_trajectory
from fieldtune.train.phases.finetune import Finetune, unusable
from fieldtune.train.runs.checkpoint import read_facts

ANY = "tcp://127.0.0.1:*"
STEPS = 20


@pytest.fixture(scope="module")
def make(make_header, make_step, make_footer):
    """`make(number, steps=20, ...)`: a cheetah's episode, its numbers drawn from `number`."""

    def episode(number=1, steps=STEPS, wide=20, end=EndReason.HORIZON, **header):
        rng = np.random.default_rng(number)
        rows = [
            make_step(
                index,
                observation=rng.normal(size=wide).tolist(),
                requested=rng.uniform(-1, 1, 6).tolist(),
                applied=rng.uniform(-1, 1, 6).tolist(),
                z=[0.0, 0.0, 0.0],
            )
            for index in range(steps)
        ]
        footer = make_footer(
            steps, end_reason=end, final_observation=rng.normal(size=wide).tolist()
        )
        head = make_header(number, **({"robot": "cheetah", "family": "cheetah-vel"} | header))
        return Episode(head, rows, footer)

    return episode


class Robot:
    """A journal with finished episodes, and a bridge that sends them up and takes bundles."""

    def __init__(self, folder, address, episodes):
        folder.mkdir(parents=True, exist_ok=True)
        self.journal = folder / "journal.sqlite"
        with Journal.open(self.journal) as journal, journal.transaction():
            for episode in episodes:
                number = journal.begin(episode.header)
                for step in episode.steps:
                    journal.add(number, codec.pack(step))
                journal.finish(number, episode.footer)
        self.client = BridgeClient(
            address, "cheetah", "cheetah-vel", "boot", self.journal, folder / "bundles"
        )
        self.swapped = []
        self.told_to_stop = False
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._live)

    def _live(self):
        while not self._done.is_set() and not self.told_to_stop:
            newest = self.client.newest_bundle()
            if newest is not None:
                bundle_id = read_bundle(newest).id
                if bundle_id not in self.swapped:
                    self.swapped.append(bundle_id)
                self.client.report("running", bundle_id)
            self.told_to_stop = self.client.stop_requested()
            time.sleep(0.02)

    def __enter__(self):
        self.client.start()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._thread.join(30)
        self._done.set()
        self._thread.join()
        self.client.close()


@pytest.fixture(scope="module")
def inbox(tmp_path_factory, make):
    """Ten episodes that have come over the bridge; not to be altered in place."""
    folder = tmp_path_factory.mktemp("arrived")
    with Hub(ANY, folder / "inbox") as hub:
        robot = Robot(folder / "robot", hub.address, [make(number) for number in range(1, 11)])
        client = robot.client.start()
        assert client.close(flush_timeout_s=60)
        assert len(list(hub.episodes(set()))) == 10
    return folder / "inbox"


@pytest.fixture
def hub(inbox, tmp_path):
    with Hub(ANY, shutil.copytree(inbox, tmp_path / "inbox")) as hub:
        yield hub


class Killed(Exception):
    pass


def killed_at(updates):
    def on_progress(now):
        if now.updates >= updates:
            raise Killed

    return on_progress


MORE = (
    "self_supervised.updates=60",
    "self_supervised.publish_every=1000",
    "self_supervised.checkpoint_every=13",
)


@pytest.mark.slow
def test_it_takes_in_labels_trains_and_publishes_while_the_robot_lives(
    make_trained, make, tmp_path
):
    run = make_trained()
    hub = Hub(ANY, tmp_path / "inbox").start()
    finetune = Finetune(run, hub)
    episodes = [make(number) for number in range(1, 11)]
    with Robot(tmp_path / "robot", hub.address, episodes) as robot:
        told = []
        phase = finetune.work(told.append)
        hub.close()  # at once, as the command does: the robot has heard the stop by then
    assert robot.told_to_stop
    assert (phase.updates, phase.steps, len(finetune.seen)) == (8, 200, 10)
    assert np.isfinite(phase.labelled.arrays()["reward"]).all()
    newest = read_bundle(run.bundles / "latest.bundle")
    assert robot.swapped[-1] == newest.id
    provenance = newest.manifest.provenance
    assert (provenance.phase, provenance.updates) == ("self-supervised", 8)
    assert (told[-1].updates, told[-1].steps, told[-1].episodes) == (8, 200, 10)
    assert told[-1].bundles == finetune.bundles == 3  # the offline one, after 4, after 8
    assert read_facts(run.finetune_checkpoint)["bundles"] == 3
    assert max(now.robots for now in told) == 1


@pytest.mark.slow
def test_bundles_come_every_so_many_updates_and_at_the_end(make_trained, hub):
    run = make_trained("self_supervised.publish_every=3", "self_supervised.updates=4")
    published = []

    class Listening:
        """The real hub, and a note of each bundle it was given."""

        def __getattr__(self, name):
            return getattr(hub, name)

        def publish(self, path):
            published.append(read_bundle(path).manifest.provenance)
            return hub.publish(path)

    Finetune(run, Listening()).work()
    assert [(one.phase, one.updates) for one in published] == [
        ("offline", 6),
        ("self-supervised", 3),
        ("self-supervised", 4),
    ]
    assert published[0].parent_bundle is None
    assert None not in [one.parent_bundle for one in published[1:]]


@pytest.mark.usefixtures("interruptible")
def test_interrupted_it_saves_what_it_learned(make_trained, hub):
    run = make_trained(*MORE)

    def interrupted(now):
        if now.updates >= 40:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        Finetune(run, hub).work(interrupted)
    assert read_facts(run.finetune_checkpoint)["updates"] == 40
    assert len(Finetune(run, hub).seen) == 10


@pytest.mark.usefixtures("interruptible")
def test_interrupted_before_it_learned_it_leaves_phase_1_free(make_trained, hub):
    run = make_trained(*MORE)
    with pytest.raises(KeyboardInterrupt):
        Finetune(run, hub).work(lambda _: signal.raise_signal(signal.SIGINT))
    assert not run.finetune_checkpoint.exists()


@pytest.mark.slow
def test_killed_midway_it_goes_on_as_if_never_stopped_and_takes_nothing_twice(make_trained, hub):
    whole = make_trained(*MORE, folder="whole")
    Finetune(whole, hub).work()
    run = make_trained(*MORE, folder="killed")
    with pytest.raises(Killed):
        Finetune(run, hub).work(killed_at(40))
    assert read_facts(run.finetune_checkpoint)["updates"] == 39
    torch.manual_seed(5)
    resumed = Finetune(run, hub)
    assert (resumed.phase.updates, resumed.phase.steps, len(resumed.seen)) == (39, 200, 10)
    phase = resumed.work()
    assert (phase.updates, phase.steps, len(resumed.seen)) == (60, 200, 10)
    found, expected = (load_file(one.finetune_checkpoint) for one in (run, whole))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.slow
def test_a_disk_that_refuses_delays_bundles_and_checkpoints_and_learning_goes_on(
    make_trained, hub, monkeypatch, caplog
):
    monkeypatch.setattr("fieldtune.train.phases.retried_write.RETRY_S", 0.0)
    run = make_trained(*MORE)
    finetune = Finetune(run, hub)
    run.bundles.write_text("in the way, as a full disk is")
    run.finetune_checkpoint.mkdir()

    def free(now):
        if now.updates >= 40 and run.bundles.is_file():
            assert (finetune.bundles, "a checkpoint cannot" in caplog.text) == (0, True)
            run.bundles.unlink()
            run.finetune_checkpoint.rmdir()

    assert finetune.work(free).updates == 60
    assert caplog.text.count("cannot be written") == 2
    facts = read_facts(run.finetune_checkpoint)
    assert (facts["updates"], len(facts["episodes"])) == (60, 10)
    assert read_bundle(run.bundles / "latest.bundle").manifest.provenance.updates == 60


@pytest.mark.slow
def test_killed_before_its_first_checkpoint_it_starts_over_from_the_inbox(make_trained, hub):
    run = make_trained(*MORE, "self_supervised.checkpoint_every=100")
    with pytest.raises(Killed):
        Finetune(run, hub).work(killed_at(20))
    assert not run.finetune_checkpoint.exists()
    again = Finetune(run, hub)
    assert (again.phase.updates, again.phase.steps, len(again.seen)) == (0, 0, 0)
    assert len(list(hub.episodes(again.seen))) == 10


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"family": "reach"}, "family is 'reach', this run's is 'cheetah-vel'"),
        ({"wide": 19}, "observations are [19] wide, expected 20"),
        ({"steps": 0}, "it has no complete step"),
        ({"steps": 1, "end": EndReason.INTERRUPTED}, "it has no complete step"),
        ({"steps": 21}, "it has 21 steps, cheetah-vel ends after 20"),
        ({"steps": 21, "end": EndReason.INTERRUPTED}, ""),
        ({"end": EndReason.FAULT}, ""),
        (
            {"end": EndReason.LATE},
            "the robot left out too many of its control periods (robot.limits.late_fraction)",
        ),
    ],
)
def test_what_cannot_be_learned_from_is_told_with_its_reason(make_run, make, changes, reason):
    assert unusable(make_run(), make(**changes)) == reason


def test_numbers_that_are_none_are_refused(make_run, make):
    run, episode = make_run(), make()
    episode.steps[3].observation[0] = float("nan")
    assert "observation 'root_height' at step 3 is nan m, expected a fin" in unusable(run, episode)
    episode = make()
    episode.steps[3].applied[0] = float("inf")
    assert "action 'joint_torque'[0] at step 3 is inf norm" in unusable(run, episode)
    episode = make()
    episode.steps[3].applied.append(0.0)
    assert unusable(run, episode) == "actions are [6, 7] wide, expected 6"


def test_unusable_episodes_are_passed_over_once_and_the_others_learned_from(
    make_trained, make, tmp_path, caplog
):
    run = make_trained()
    episodes = [make(1), make(2, family="reach"), make(3, steps=5, end=EndReason.INTERRUPTED)]
    episodes.append(make(4, mode=Mode.GUIDED, bundle_id=""))  # data for phase 1, and no exploration
    with Hub(ANY, tmp_path / "inbox") as hub:
        assert Robot(tmp_path / "robot", hub.address, episodes).client.start().close(60)
        finetune = Finetune(run, hub)
        with caplog.at_level(logging.WARNING, "fieldtune.train.phases.finetune"):
            finetune._ingest()
            finetune._ingest()
    assert caplog.text.count("(2 of robot 'cheetah') is not learned from: family is 'reach'") == 1
    assert [record.levelname for record in caplog.records].count("WARNING") == 1
    assert (finetune.phase.steps, len(finetune.seen)) == (STEPS + 4, 2)
    assert len(finetune.quarantined) == 1


def absurd(episode, value, where):
    """`episode` with one number that no sensor can have meant."""
    if where == "final_observation":
        episode.footer.final_observation[5] = value
    else:
        getattr(episode.steps[7], where)[5] = value
    return episode


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "value", "field"),
    [
        ("observation", 1e30, "observation 'joint_position'[3] at step 7 is 1e+30 rad"),
        ("observation", -1e308, "observation 'joint_position'[3] at step 7 is -1e+308 rad"),
        ("applied", 1e30, "action 'joint_torque'[5] at step 7 is 1e+30 normalised"),
        ("final_observation", 1e308, "observation 'joint_position'[3] at step 20 is 1e+308 rad"),
    ],
)
def test_an_absurd_number_from_a_robot_is_quarantined_and_the_run_goes_on(
    make_trained, make, tmp_path, caplog, where, value, field
):
    run = make_trained()
    run.folder.joinpath("config.yaml").touch()
    episodes = [absurd(make(1), value, where), *(make(number) for number in range(2, 12))]
    with Hub(ANY, run.folder / "inbox") as hub:
        finetune = Finetune(run, hub)
        told = []
        with Robot(tmp_path / "robot", hub.address, episodes):
            phase = finetune.work(told.append)
    assert (phase.updates, phase.steps, len(finetune.seen)) == (8, 200, 10)
    assert (told[-1].episodes, told[-1].quarantined) == (10, 1)
    saved = load_file(run.finetune_checkpoint)
    assert [n for n, tensor in saved.items() if not torch.isfinite(tensor.double()).all()] == []
    (line,) = Watcher(run.folder).look().robots
    assert (line.episodes, line.quarantined) == (11, 1)
    assert line.quarantine_reason.startswith(f"episode 1: {field}")
    assert field in caplog.text
    shown = CliRunner().invoke(app, ["fleet", "--run", str(run.folder), "--json"])
    assert json.loads(shown.stdout)["robots"][0]["quarantined"] == 1
    shown = CliRunner().invoke(app, ["fleet", "--run", str(run.folder), "--once"])
    assert "1; episode 1: " in shown.stdout


def test_a_restart_does_not_trip_over_what_was_quarantined_before(
    make_trained, make, tmp_path, caplog
):
    run = make_trained()
    episodes = [absurd(make(1), 1e30, "observation"), make(2)]
    with Hub(ANY, tmp_path / "inbox") as hub:
        assert Robot(tmp_path / "robot", hub.address, episodes).client.start().close(60)
        Finetune(run, hub)._ingest()
        assert caplog.text.count("is not learned from") == 1
        again = Finetune(run, hub)  # killed before its first checkpoint
        again._ingest()
        assert caplog.text.count("is not learned from") == 1
        assert (again.phase.steps, len(again.seen), len(again.quarantined)) == (STEPS, 1, 1)
        (kept,) = again.quarantined
        assert (tmp_path / "inbox" / f"{kept}.episode").exists()
        (run.folder / "quarantine" / f"{kept}.json").unlink()  # a person wants it looked at again
        Finetune(run, hub)._ingest()
    assert caplog.text.count("is not learned from") == 2


def test_a_quarantine_that_cannot_be_written_delays_only_its_note(
    make_trained, make, tmp_path, caplog
):
    run = make_trained()
    (run.folder / "quarantine").write_text("in the way, as a full disk is")
    with Hub(ANY, tmp_path / "inbox") as hub:
        episodes = [absurd(make(1), 1e30, "observation"), make(2)]
        assert Robot(tmp_path / "robot", hub.address, episodes).client.start().close(60)
        finetune = Finetune(run, hub)
        finetune._ingest()
        finetune._ingest()
    assert (finetune.phase.steps, len(finetune.quarantined)) == (STEPS, 1)
    assert caplog.text.count("cannot be noted in the quarantine") == 1


def test_an_episode_joins_the_task_that_its_robot_labelled_it_for(make_trained, make, tmp_path):
    run, episodes = make_trained(), [make(1, label_task=4), make(2, label_task=1)]
    with Hub(ANY, tmp_path / "inbox") as hub:
        assert Robot(tmp_path / "robot", hub.address, episodes).client.start().close(60)
        finetune = Finetune(run, hub)
        finetune._ingest()
    held = finetune.phase.labelled.arrays()["trajectories"]
    assert held[:, 0].tolist() == [4, 1]


def test_a_trajectory_has_the_actions_that_the_robot_really_made(make):
    episode = make()
    found = as_trajectory(episode)
    np.testing.assert_array_equal(found.actions, [step.applied for step in episode.steps])
    np.testing.assert_array_equal(found.observations[:-1], [s.observation for s in episode.steps])
    np.testing.assert_array_equal(found.observations[-1], episode.footer.final_observation)
    assert np.isnan(found.rewards).all()
    assert found.rewards.shape == (STEPS,)


@pytest.mark.parametrize(
    ("end", "steps", "terminated"),
    [
        (EndReason.HORIZON, STEPS, False),
        (EndReason.TERMINATED, STEPS, True),
        (EndReason.STOPPED, STEPS, False),
        (EndReason.FAULT, STEPS, False),
        (EndReason.INTERRUPTED, STEPS - 1, False),
    ],
)
def test_only_a_terminal_end_is_terminal_and_an_interrupted_one_loses_its_last_step(
    make, end, steps, terminated
):
    found = as_trajectory(make(end=end))
    assert (found.steps, len(found.observations)) == (steps, steps + 1)
    assert found.terminated == terminated


def test_a_last_step_of_which_nobody_saw_the_outcome_is_left_out(make):
    episode = make(end=EndReason.FAULT)
    episode.footer.final_observation.clear()
    found = as_trajectory(episode)
    assert (found.steps, len(found.observations)) == (STEPS - 1, STEPS)

"""The daemon: explores trial after trial, swaps bundles between episodes, and stops safely."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import os
import re
import resource
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from fieldtune.export.bundle import bundle_id
from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.bundles.judge import BundleJudge
from fieldtune.robot.bundles.store import KEPT
from fieldtune.robot.bundles.trust import BundleRecord
from fieldtune.robot.config import BoxConfig, ExplorationConfig, LimitsConfig, ZHold
from fieldtune.robot.drivers.driver import DriverFault
from fieldtune.robot.episodes.episode import EndReason, Mode
from fieldtune.robot.journal.journal import Journal
from fieldtune.robot.loop.bundle_fit import BundleRefused
from fieldtune.robot.loop.connected_robot import Latched
from fieldtune.robot.policy.exploration import Draws
from fieldtune.robot.policy.particles import ParticlePosterior
from fieldtune.robot.policy.posterior import GaussianPosterior
from fieldtune.robot.programs.explore import Daemon
from fieldtune.robot.safety.latch import held_by, latch, latched, release
from fieldtune.robot.safety.limits import LimitFault
from fieldtune.train.bridge.emergency_stop import stop_robots_on_signal
from fieldtune.train.bridge.hub import Hub


def episodes(config):
    with Journal.read(config.journal) as journal:
        return [journal.episode(entry.number) for entry in journal.entries()]


def test_a_run_records_whole_trials(config, mass, point_bundle):
    path = point_bundle()
    summary = Daemon(config, mass, episodes=8).run()
    recorded = episodes(config)
    assert [episode.header.mode for episode in recorded] == [
        Mode.PRIOR,
        Mode.PRIOR,
        Mode.POSTERIOR,
        Mode.POSTERIOR,
    ] * 2
    assert [episode.header.trial for episode in recorded] == [1, 1, 1, 1, 5, 5, 5, 5]
    assert {episode.header.bundle_id for episode in recorded} == {bundle_id(path)}
    assert {episode.footer.end_reason for episode in recorded} == {EndReason.HORIZON}
    assert (summary.episodes, summary.steps, summary.bundles_swapped) == (8, 40, 0)
    assert (summary.complete, summary.fault, summary.uploaded) == (True, "", None)
    assert mass.closed >= 1


def test_the_start_and_every_z_follow_from_the_header(config, mass, point_bundle):
    point_bundle()
    Daemon(config, mass, episodes=2).run()
    for episode, start in zip(episodes(config), mass.starts, strict=True):
        draws = Draws(episode.header.seed, episode.header.number)
        assert draws.start_seed == start
        expected = GaussianPosterior.prior(2).sample(draws.z).tolist()
        assert all(step.z == expected for step in episode.steps)


def test_the_context_is_labelled_by_the_decoder_and_followed(config, mass, point_bundle):
    point_bundle(reward=4.0)
    config = config.model_copy(update={"exploration": ExplorationConfig(prior_episodes=1)})
    Daemon(config, mass, episodes=3).run()
    recorded = episodes(config)
    label = np.random.default_rng([0, 1, 3]).integers(3)
    rewards = 4.0 * (1.0, 2.0, -1.0)[label]
    context = GaussianPosterior.prior(2)
    for _ in recorded[0].steps:
        context = context.update(np.array([rewards, 0.0]), np.full(2, math.log1p(math.e)))
    for episode in recorded[1:]:
        z = context.sample(Draws(0, episode.header.number).z)
        np.testing.assert_allclose(episode.steps[0].z, z, rtol=1e-5)


def test_with_particles_trials_begin_with_any_of_them_and_go_on_by_their_weights(
    config, mass, point_bundle
):
    """The decoder labels the context with one of the tasks: the nearest particle explains it."""
    near = ((11.0, 0.0), (21.0, 0.0), (-9.0, 0.0), (50.0, 50.0))  # a label is 10, 20 or −10
    path = point_bundle(particles=near, reward=10.0)
    exploration = ExplorationConfig(prior_episodes=1, posterior_episodes=1)
    config = config.model_copy(update={"exploration": exploration})
    Daemon(config, mass, bundle=path, episodes=16).run()
    recorded = episodes(config)
    prior = ParticlePosterior.prior(np.array(near))
    for first, second in zip(recorded[::2], recorded[1::2], strict=True):
        number = first.header.number
        assert {tuple(step.z) for step in first.steps} == {tuple(prior.sample(Draws(0, number).z))}
        assert {tuple(step.z) for step in second.steps} == {near[first.header.label_task]}
    assert {episode.header.mode for episode in recorded[1::2]} == {Mode.POSTERIOR}
    assert len({tuple(episode.steps[0].z) for episode in recorded[::2]}) > 2


@pytest.mark.parametrize("seed", range(4))
def test_sparse_labels_are_drawn_from_the_seed_and_never_lie_between(
    config, mass, point_bundle, seed
):
    point_bundle(reward=-0.3, sparse_reward=True)
    exploration = ExplorationConfig(prior_episodes=1)
    Daemon(
        config.model_copy(update={"exploration": exploration, "seed": seed}), mass, episodes=2
    ).run()
    first, second = episodes(config)
    label = np.random.default_rng([seed, 1, 3]).integers(3)
    threshold = np.random.default_rng([seed, 1, 4]).random()
    reward = 0.0 if 1.0 - 0.3 * (1.0, 2.0, -1.0)[label] > threshold else -1.0
    context = GaussianPosterior.prior(2)
    for _ in first.steps:
        context = context.update(np.array([reward, 0.0]), np.full(2, math.log1p(math.e)))
    z = context.sample(Draws(seed, second.header.number).z)
    np.testing.assert_allclose(second.steps[0].z, z, rtol=1e-5)


def test_z_is_held_as_configured(config, mass, point_bundle):
    point_bundle()
    config = config.model_copy(update={"exploration": ExplorationConfig(z_hold=ZHold.STEP)})
    Daemon(config, mass, episodes=4).run()
    for episode in episodes(config):
        assert len({tuple(step.z) for step in episode.steps}) == len(episode.steps)


def test_exploration_is_as_noisy_as_configured(config, mass, point_bundle, tmp_path):
    """A policy whose mean is 0: with half the noise its actions lie half as far from that."""
    path = point_bundle(tmp_path / "given.bundle", push=0.0, log_std=-2.0)
    spread = []
    for noise in (0.0, 0.5, 1.0):
        own = config.model_copy(
            update={
                "exploration": ExplorationConfig(action_noise=noise),
                "state_dir": config.state_dir / str(noise),
            }
        )
        robot = dataclasses.replace(mass, commands=[], starts=[])
        Daemon(own, robot, bundle=path, episodes=1).run()
        (episode,) = episodes(own)
        spread.append(np.arctanh(np.array([step.requested for step in episode.steps]) / 2.0))
    assert not spread[0].any()
    np.testing.assert_allclose(spread[1], 0.5 * spread[2], rtol=1e-5)
    assert spread[2].any()


def test_the_seed_decides_and_another_seed_differs(config, mass, point_bundle, tmp_path):
    path = point_bundle(tmp_path / "given.bundle")

    def commands(name: str, seed: int) -> list[float]:
        robot = dataclasses.replace(mass, commands=[], starts=[])
        own = config.model_copy(update={"state_dir": tmp_path / name, "seed": seed})
        Daemon(own, robot, bundle=path, episodes=4).run()
        return robot.commands

    assert commands("a", 3) == commands("b", 3) != commands("c", 4)


def test_numbering_goes_on_after_a_restart(config, mass, point_bundle):
    point_bundle()
    Daemon(config, mass, episodes=2).run()
    Daemon(config, mass, episodes=2).run()
    recorded = episodes(config)
    assert [episode.header.number for episode in recorded] == [1, 2, 3, 4]
    assert len({episode.header.boot_session for episode in recorded}) == 2
    assert len({tuple(episode.steps[0].z) for episode in recorded}) == 4


def test_limits_are_logged_before_anything_moves(config, mass, point_bundle, caplog):
    point_bundle()
    seen = []
    mass.trouble = lambda _: seen.append("limit action force in [-2, 2]" in caplog.text)
    with caplog.at_level(logging.INFO, "fieldtune.robot"):
        Daemon(config, mass, episodes=1).run()
    assert seen[0]


def test_an_observation_that_is_no_number_at_the_start_moves_nothing(config, mass, point_bundle):
    point_bundle()
    mass.state = np.array([np.nan, 0.0])
    with pytest.raises(LimitFault, match="observation position is nan"):
        Daemon(config, mass, episodes=1).run()
    assert (mass.starts, mass.commands) == ([], [])


def test_a_fault_ends_the_run_and_stays_until_a_person_rearms(config, mass, point_bundle):
    point_bundle()

    def fail(robot):
        if len(robot.commands) == 7:
            raise DriverFault("the cable is out")

    mass.trouble = fail
    summary = Daemon(config, mass, episodes=9).run()
    assert summary.fault == "the cable is out"
    assert [episode.footer.end_reason for episode in episodes(config)] == [
        EndReason.HORIZON,
        EndReason.FAULT,
    ]
    moved = len(mass.commands)
    with pytest.raises(Latched, match="the cable is out: look at the robot"):
        Daemon(config, mass, episodes=1).run()
    assert len(mass.commands) == moved
    config.latch.unlink()
    mass.trouble = lambda _: None
    assert Daemon(config, mass, episodes=1).run().complete


def test_a_robot_that_cannot_be_homed_is_a_fault(config, mass, point_bundle):
    point_bundle()

    def stuck(_):
        raise DriverFault("joint 3 does not move")

    mass.home = stuck
    summary = Daemon(config, mass, episodes=1).run()
    assert "joint 3 does not move" in summary.fault
    assert (summary.episodes, mass.commands) == (0, [])
    assert mass.held >= 1


def test_a_start_from_which_no_episode_can_go_on_is_a_fault_and_no_blame_on_the_bundle(
    config, mass, point_bundle
):
    point_bundle()
    homed = mass.home

    def home(seed):
        homed(seed)
        mass.terminated = True

    mass.home = home
    summary = Daemon(config, mass).run()
    assert "3 episodes in a row were over at their first observation" in summary.fault
    assert latched(config.latch) == summary.fault
    assert [episode.footer.steps for episode in episodes(config)] == [0, 0, 0]
    assert BundleRecord(config.bundle_record, 2).newest_proven is None


def test_two_episodes_that_end_at_once_are_forgiven(config, mass, point_bundle):
    point_bundle()
    homed = mass.home

    def home(seed):
        homed(seed)
        mass.terminated = len(mass.starts) % 3 != 0

    mass.home = home
    mass.trouble = lambda robot: setattr(robot, "terminated", False)
    summary = Daemon(config, mass, episodes=9).run()
    assert (summary.complete, summary.fault) == (True, "")


def over_after(steps):
    """Says `terminated` after so many commands in each episode; `steps(number)` from 1."""

    def install(mass):
        homed, before = mass.home, []

        def home(seed):
            homed(seed)
            before.append(len(mass.commands))

        def trouble(robot):
            done = len(robot.commands) + 1 - before[-1]
            robot.terminated = done >= steps(len(before))

        mass.home, mass.trouble = home, trouble

    return install


@pytest.mark.parametrize("steps", [1, 4])
def test_a_robot_that_is_over_as_soon_as_it_moves_is_a_fault_after_five_episodes(
    config, mass, point_bundle, steps
):
    point_bundle(push=0.0, horizon=100)
    over_after(lambda _: steps)(mass)
    summary = Daemon(config, mass, episodes=50).run()
    assert summary.episodes == len(mass.starts) == 5
    assert f"5 episodes in a row were over after fewer than 5 steps, the last after {steps}" in (
        summary.fault
    )
    assert latched(config.latch).startswith("5 episodes in a row")
    assert mass.held
    record = BundleRecord(config.bundle_record, 2)
    assert (record.newest_proven, record.why_bad(summary.bundle)) == (None, None)


@pytest.mark.parametrize(
    ("steps", "horizon"),
    [(lambda _: 5, 100), (lambda number: 1 if number % 5 else 30, 100), (lambda _: 2, 20)],
    ids=["long enough", "not in a row", "a tenth of a short horizon"],
)
def test_short_episodes_that_may_be_are_forgiven(config, mass, point_bundle, steps, horizon):
    point_bundle(push=0.0, horizon=horizon)
    over_after(steps)(mass)
    summary = Daemon(config, mass, episodes=12).run()
    assert (summary.complete, summary.fault) == (True, "")


def test_a_stop_while_homing_leaves_no_episode_and_no_fault(config, mass, point_bundle):
    point_bundle()
    daemon = Daemon(config, mass)
    homed = mass.home

    def home(seed):
        homed(seed)
        daemon.robot.request_stop("SIGTERM")
        daemon.robot.estop.leave("SIGTERM")

    mass.home = home
    summary = daemon.run()
    assert (summary.episodes, summary.fault, summary.ended) == (0, "", "SIGTERM")
    assert (mass.commands, latched(config.latch)) == ([], None)
    assert mass.held >= 1


def test_a_robot_that_could_not_be_held_is_not_confirmed_to_be(config, mass, point_bundle):
    point_bundle()

    def broken():
        raise OSError("no route")

    mass.hold = broken
    summary = Daemon(config, mass, episodes=1).run()
    assert "hold() failed, so the robot may still move" in summary.fault
    assert latched(config.latch) == summary.fault
    assert held_by(config.latch) is None


def test_a_stop_ends_the_running_episode_and_closes_the_journal(config, mass, point_bundle):
    point_bundle(horizon=1000)
    daemon = Daemon(config, mass)

    def ask(robot):
        if len(robot.commands) == 12:
            daemon.robot.request_stop("SIGTERM")

    mass.trouble = ask
    summary = daemon.run()
    (episode,) = episodes(config)
    assert (episode.footer.end_reason, episode.footer.steps) == (EndReason.STOPPED, 13)
    assert (summary.ended, summary.fault, summary.complete) == ("SIGTERM", "", False)
    assert mass.held >= 1


def test_max_run_s_ends_the_run(config, mass, point_bundle):
    known = point_bundle(push=0.0, horizon=10**6)
    BundleJudge(config.bundle_record, config.probation_episodes).sound(known)  # or that counts too
    config = config.model_copy(update={"limits": LimitsConfig(max_run_s=1.0)})
    summary = Daemon(config, mass).run()
    assert "max_run_s, 1 s, is over" in summary.ended
    assert summary.episodes == 1


def test_a_journal_that_cannot_be_written_is_a_fault_until_a_person_rearms(
    config, mass, point_bundle
):
    point_bundle(push=0.0, horizon=10**6)  # a slow disk must not let it drift away
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill_disk(robot):
        if len(robot.commands) == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))

    def rest():
        mass.held += 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    mass.trouble, mass.hold = fill_disk, rest
    try:
        summary = Daemon(config, mass).run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "the journal cannot be written" in summary.ended
    assert "free disk space" in summary.ended
    assert summary.ended == f"fault: {summary.fault}"
    with pytest.raises(Latched, match="the journal cannot be written"):
        Daemon(config, mass).run()
    release(config.latch)
    (episode,) = episodes(config)
    assert episode.footer.steps == summary.steps == len(mass.commands)


def deleted(state):
    """Renamed first: the daemon goes on writing, and rmtree would meet files that come and go."""
    state.rename(state.with_name("deleted"))
    shutil.rmtree(state.with_name("deleted"), ignore_errors=True)


def deleted_and_made_again(state):
    deleted(state)
    state.mkdir(exist_ok=True)


def moved(state):
    state.rename(state.with_name("elsewhere"))


def a_file_in_its_place(state):
    file = state.with_name("file")
    file.write_text("no folder")
    state.rename(state.with_name("deleted"))
    file.rename(state)


@pytest.mark.parametrize(
    "lose",
    [deleted, deleted_and_made_again, moved, a_file_in_its_place],
    ids=lambda lose: lose.__name__,
)
def test_a_state_folder_that_is_lost_is_a_fault_until_a_person_rearms(
    config, mass, point_bundle, tmp_path, lose
):
    # Whoever looks first: the recorder, or the emergency stop's watcher, whose files are there too.
    noticed = "the journal cannot be written|the emergency stop cannot be watched"
    bundle = point_bundle(tmp_path / "kept.bundle", push=0.0, horizon=10**6)

    def trouble(robot):
        if len(robot.commands) == 3:
            lose(config.state_dir)

    mass.trouble = trouble
    try:
        summary = Daemon(config, mass, bundle=bundle).run()
        assert re.search(noticed, summary.fault)
        made_of = [config.state_dir, config.state_dir.with_name("elsewhere")]
        if made_of[1].exists():  # put back, without the latch that came after it
            shutil.rmtree(made_of[0])
            made_of[1].rename(made_of[0])
        elif made_of[0].is_file():
            made_of[0].unlink()
        count, mass.trouble = len(mass.commands), lambda _: None
        with pytest.raises(Latched, match=noticed):
            Daemon(config, mass, bundle=bundle, episodes=1).run()
        assert len(mass.commands) == count
    finally:
        release(config.latch)
    config = config.model_copy(update={"limits": LimitsConfig(max_run_s=0.1)})
    assert not Daemon(config, mass, bundle=bundle).run().fault


def test_a_disk_that_is_full_is_no_fault(config, mass, point_bundle, tmp_path, mounted):
    bundle = point_bundle(tmp_path / "kept.bundle", push=0.0, horizon=10**6)

    def fill(robot):
        if len(robot.commands) == 3:
            with contextlib.suppress(OSError), (config.state_dir / "much").open("wb") as file:
                while True:
                    file.write(bytes(4096))

    mass.trouble, mass.hold = fill, lambda: (config.state_dir / "much").unlink(missing_ok=True)
    with mounted(config.state_dir, "-t", "tmpfs", "-o", "size=2m", "tmpfs"):
        summary = Daemon(config, mass, bundle=bundle).run()
        assert "the journal cannot be written" in summary.fault
        assert latched(config.latch) is None


def test_a_disk_that_turns_read_only_is_a_fault_that_the_next_run_finds(
    config, mass, point_bundle, tmp_path, mounted
):
    bundle = point_bundle(tmp_path / "kept.bundle", push=0.0, horizon=10**6)
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(16 * 2**20)
    if not shutil.which("mkfs.ext4"):
        pytest.skip("no mkfs.ext4 here")
    subprocess.run(["mkfs.ext4", "-q", disk], check=True)

    def abort(robot):
        if len(robot.commands) == 3:
            subprocess.run(["mount", "-o", "remount,abort", config.state_dir], check=False)

    mass.trouble = abort
    try:
        with mounted(config.state_dir, "-o", "loop", disk):
            summary = Daemon(config, mass, bundle=bundle).run()
            assert "the journal cannot be written" in summary.fault
            assert not config.latch.exists()
            with pytest.raises(Latched, match="the journal cannot be written"):
                Daemon(config, mass, bundle=bundle, episodes=1).run()
    finally:
        release(config.latch)


def test_without_a_bundle_or_a_bridge_nothing_starts(config, mass):
    with pytest.raises(BundleRefused, match=r"put one there, give --bundle, or set robot\.bridge"):
        Daemon(config, mass).run()
    assert not mass.starts


def _fields(*names: str, unit: str = "m", width: int = 1) -> tuple[FieldSpec, ...]:
    units = {"position": unit, "velocity": "m/s"}
    return tuple(
        FieldSpec(name=name, unit=units[name], low=(-9.0,) * width, high=(9.0,) * width)
        for name in names
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"observation_fields": _fields("velocity", "position")}, "come in the order"),
        (
            {"observation_fields": _fields("position", "velocity", unit="mm")},
            "'position' is in 'm'",
        ),
        ({"observation_fields": _fields("position", "velocity", width=2)}, "is 1 wide, the bundle"),
        ({"robot": "panda"}, "made for 'panda'"),
        ({"family": "reach"}, "this robot serves 'points'"),
        ({"period_s": 0.1}, "control period is 0.05 s"),
        ({"push": math.nan}, "policy.onnx gives the action"),
        ({"reward": math.nan}, "decoder.onnx gives the reward"),
    ],
)
def test_a_bundle_that_does_not_fit_moves_nothing(
    config, mass, point_bundle, tmp_path, changes, says
):
    path = point_bundle(tmp_path / "given.bundle", **changes)
    with pytest.raises(BundleRefused, match=r"given\.bundle refused") as caught:
        Daemon(config, mass, bundle=path).run()
    assert says in str(caught.value)
    assert (mass.starts, mass.commands) == ([], [])


def test_an_older_good_bundle_is_used_when_the_newest_is_broken(config, mass, point_bundle, caplog):
    good = point_bundle()
    broken = good.with_name("f" * 64 + ".bundle")
    data = bytearray(good.read_bytes())
    data[len(data) // 2] ^= 1
    broken.write_bytes(data)
    summary = Daemon(config, mass, episodes=1).run()
    assert summary.bundle == bundle_id(good)
    assert "f" * 64 in caplog.text


def test_a_new_bundle_in_the_folder_is_taken_between_episodes(config, mass, point_bundle):
    first, made = point_bundle(), []

    def deliver(robot):
        if len(robot.commands) == 12:  # in the middle of the third episode
            made.append(point_bundle(push=0.5))

    mass.trouble = deliver
    summary = Daemon(config, mass, episodes=5).run()
    recorded = episodes(config)
    old, new = bundle_id(first), bundle_id(made[0])
    assert [episode.header.bundle_id for episode in recorded] == [old] * 3 + [new] * 2
    assert [episode.header.trial for episode in recorded] == [1, 1, 1, 4, 4]
    assert recorded[3].header.mode is Mode.PRIOR
    assert (summary.bundles_swapped, summary.bundle) == (1, new)


def test_with_a_new_bundle_old_ones_go_but_for_what_episodes_ran_and_the_proven_one(
    config, mass, point_bundle, tmp_path
):
    first = point_bundle()
    ran = first.rename(first.with_name(f"{bundle_id(first)}.bundle"))
    Daemon(config, mass, episodes=1).run()
    old = [config.bundles / f"{number:064x}.bundle" for number in range(KEPT + 1)]
    for age, path in enumerate((ran, *old)):
        path.touch()
        os.utime(path, ns=(age, age))
    BundleRecord(config.bundle_record, 1).passed(old[0].stem)
    own = point_bundle(push=0.2).rename(tmp_path / "own.bundle")

    def deliver(robot):
        if len(robot.commands) == 7:  # in the middle of its first episode here
            point_bundle(push=0.5)

    mass.trouble = deliver
    summary = Daemon(config, mass, bundle=own, episodes=2).run()
    assert summary.bundles_swapped == 1
    assert ran.exists()
    assert [path.exists() for path in old] == [True, False] + [True] * (KEPT - 1)


def test_a_bad_new_bundle_is_refused_and_the_old_one_stays(config, mass, point_bundle, caplog):
    first = point_bundle()

    def deliver(robot):
        if len(robot.commands) == 3:
            point_bundle(push=math.nan)

    mass.trouble = deliver
    summary = Daemon(config, mass, episodes=4).run()
    assert {episode.header.bundle_id for episode in episodes(config)} == {bundle_id(first)}
    assert (summary.bundles_swapped, summary.complete) == (0, True)
    assert caplog.text.count("refused") == 1
    assert "the old one stays" in caplog.text


def test_a_bundle_whose_data_were_never_like_this_is_refused_and_ends_no_robot(
    config, mass, point_bundle, caplog
):
    first = point_bundle()
    seen = tuple(
        field.model_copy(update={"low": (0.0,), "high": (0.1,)})
        for field in mass.observation_fields
    )

    def deliver(robot):
        if len(robot.commands) == 4:  # the last but one of its episode
            point_bundle(observation_seen=seen)
            robot.state[1] = 40.0

    mass.trouble = deliver
    summary = Daemon(config, mass, episodes=3).run()
    assert {episode.header.bundle_id for episode in episodes(config)} == {bundle_id(first)}
    assert (summary.bundles_swapped, summary.complete, summary.fault) == (0, True, "")
    assert "refused: observation velocity is 40" in caplog.text
    assert latched(config.latch) is None


def test_a_bundle_that_only_running_shows_to_be_wrong_costs_nothing_at_any_start(
    config, mass, point_bundle, misbehaving, caplog
):
    """With a good one beside it the robot runs that, and asks no trial again."""
    good, (bad, said) = point_bundle(push=0.5), misbehaving
    os.utime(good, ns=(0, 0))
    for start in range(2):
        caplog.clear()
        summary = Daemon(config, mass, episodes=1).run()
        assert (summary.bundle, summary.fault) == (bundle_id(good), "")
        assert re.search(f"bundle {bad.name} refused: .*({said})", caplog.text)
        assert ("its trial on this robot refused it" in caplog.text) == bool(start)


def test_with_only_a_bad_bundle_it_says_so_and_moves_nothing(config, mass, point_bundle):
    point_bundle(push=math.nan)
    for _ in range(2):
        with pytest.raises(BundleRefused, match="no bundle that this robot can run"):
            Daemon(config, mass, episodes=1).run()
    assert (mass.starts, mass.commands) == ([], [])


def test_a_sound_bundle_is_tried_once(config, mass, point_bundle, monkeypatch):
    point_bundle()
    assert Daemon(config, mass, episodes=1).run().complete
    began = []
    monkeypatch.setattr("fieldtune.robot.bundles.judge.Trial", lambda *_: began.append(True))
    assert Daemon(config, mass, episodes=1).run().complete
    assert began == []


def test_a_stop_is_heard_while_a_bundle_is_tried(
    config, mass, point_bundle, endless_bundle, monkeypatch
):
    """Also an emergency stop: the robot holds and latches, whatever the trial does."""
    good = point_bundle()
    os.utime(good, ns=(0, 0))
    daemon = Daemon(config, mass)
    exploring = threading.Event()
    monkeypatch.setattr(daemon, "_explore", lambda go=daemon._explore: (exploring.set(), go()))
    thread = threading.Thread(target=daemon.run)
    thread.start()
    assert exploring.wait(120)  # latched before, it would not begin, and end at rest
    held = mass.held
    latch(config.latch, "it hums")
    wait_until(lambda: held_by(config.latch) is not None)
    assert mass.held > held
    thread.join()
    assert (daemon.summary.fault, mass.commands) == ("it hums", [])
    assert endless_bundle.exists()


@pytest.fixture
def hub(tmp_path):
    with Hub("tcp://127.0.0.1:*", tmp_path / "inbox") as hub:
        yield hub


def wait_until(condition) -> None:
    while not condition():
        time.sleep(0.01)


def test_over_the_bridge_it_waits_explores_swaps_uploads_and_stops(
    config, mass, point_bundle, hub, tmp_path, caplog
):
    config = config.model_copy(update={"bridge": hub.address})
    mass.time_scale = 20.0
    daemon = Daemon(config, mass)
    results = []
    thread = threading.Thread(target=lambda: results.append(daemon.run()))
    thread.start()
    wait_until(lambda: any(view.robot == "m1" for view in hub.robots()))
    assert mass.commands == []
    first = point_bundle(tmp_path / "first")
    second = point_bundle(tmp_path / "second", push=0.5)
    third = point_bundle(tmp_path / "third", push=math.nan)
    for path in (first, second):
        hub.publish(path)
        wait_until(lambda path=path: daemon.summary.bundle == bundle_id(path))
        before = daemon.summary.episodes
        wait_until(lambda before=before: daemon.summary.episodes > before + 1)
    hub.publish(third)
    wait_until(lambda: f"bundle {bundle_id(third)} is not used" in caplog.text)
    hub.request_stop()
    thread.join()
    (summary,) = results
    assert summary.ended == "the trainer asked to stop"
    assert summary.uploaded is True
    assert summary.bundles_swapped == 1
    assert summary.bundle == bundle_id(second)
    uploaded = {content.header.number: content for _, content in hub.episodes(set())}
    assert [uploaded[number] for number in sorted(uploaded)] == episodes(config)
    used = [episode.header.bundle_id for episode in episodes(config)]
    assert list(dict.fromkeys(used)) == [bundle_id(first), bundle_id(second)]


def test_a_bridge_without_a_trainer_does_not_hinder_exploring(
    config, mass, point_bundle, monkeypatch
):
    monkeypatch.setattr("fieldtune.robot.programs.session.STOPPED_FLUSH_S", 0.1)
    point_bundle()
    config = config.model_copy(update={"bridge": "tcp://127.0.0.1:9"})
    daemon = Daemon(config, mass, episodes=4)
    summary = daemon.run()
    assert (summary.complete, summary.uploaded) == (True, False)
    with Journal.read(config.journal) as journal:
        assert len(journal.pending()) == 4


def test_constructing_a_daemon_touches_nothing(config, mass, tmp_path):
    Daemon(config, mass)
    assert list(Path(tmp_path).iterdir()) == []
    assert not mass.connected


def test_a_run_tells_how_the_loop_kept_time(config, mass, point_bundle, caplog):
    point_bundle()
    with caplog.at_level(logging.INFO, "fieldtune.robot"):
        summary = Daemon(config, mass, episodes=2).run()
    assert summary.cycles["cycles"] == 10
    assert set(summary.cycles["stages_us"]) == {
        "read",
        "infer",
        "limit",
        "apply",
        "record",
        "cycle",
    }
    assert "cycles: 10 at" in caplog.text


def test_what_a_person_loosened_is_said_at_start(config, mass, point_bundle, caplog):
    point_bundle()
    limits = LimitsConfig(observation_age_s=2.0, loosen={"observation_age_s": "a slow camera"})
    with caplog.at_level(logging.INFO, "fieldtune.robot"):
        Daemon(config.model_copy(update={"limits": limits}), mass, episodes=1).run()
    assert "limit LOOSENED: robot.limits.observation_age_s is 2" in caplog.text
    assert "a slow camera" in caplog.text


def slowly(config, mass):
    """The mass in real time, at 200 Hz."""
    mass.time_scale = 10.0
    return config


def test_a_latch_written_by_another_process_stops_the_running_episode(config, mass, point_bundle):
    point_bundle(horizon=10**6)
    slowly(config, mass)
    mass.trouble = lambda robot: latch(config.latch, "smoke") if len(robot.commands) == 5 else None
    summary = Daemon(config, mass).run()
    assert (summary.fault, summary.ended) == ("smoke", "fault: smoke")
    (episode,) = episodes(config)
    assert (episode.footer.end_reason, episode.footer.fault) == (EndReason.FAULT, "smoke")
    assert latched(config.latch) == "smoke"
    assert held_by(config.latch) is not None
    assert mass.held >= 1


def test_an_emergency_stop_between_episodes_latches(config, mass, point_bundle):
    point_bundle()
    daemon = Daemon(config, mass)
    homed = mass.home

    def home(seed):
        homed(seed)
        if len(mass.starts) == 3:
            daemon.robot.estop.trip("while homing")

    mass.home = home
    summary = daemon.run()
    assert "while homing" in summary.fault
    assert "while homing" in latched(config.latch)
    assert (summary.episodes, len(mass.starts)) == (2, 3)
    with pytest.raises(Latched, match="while homing"):
        Daemon(config, mass).run()


def test_an_emergency_stop_while_waiting_for_a_bundle_latches(config, mass, hub, monkeypatch):
    monkeypatch.setattr("fieldtune.robot.programs.session.STOPPED_FLUSH_S", 0.1)
    config = config.model_copy(update={"bridge": hub.address})
    daemon = Daemon(config, mass)
    threading.Timer(0.3, latch, (config.latch, "smoke")).start()
    assert daemon.run().fault == "smoke"
    assert held_by(config.latch) is not None
    assert mass.commands == []


def test_the_trainers_emergency_stop_holds_at_once_and_latches(
    config, mass, point_bundle, hub, tmp_path
):
    point_bundle(horizon=10**6)
    config = slowly(config.model_copy(update={"bridge": hub.address}), mass)
    daemon = Daemon(config, mass)

    def ask(robot):
        if len(robot.commands) == 100:
            os.kill(os.getpid(), signal.SIGUSR1)

    mass.trouble, before = ask, signal.getsignal(signal.SIGUSR1)
    stop_robots_on_signal(tmp_path, lambda: hub.request_stop(emergency=True))
    try:
        summary = daemon.run()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert summary.fault == f"emergency stop by the trainer at {hub.address}"
    assert latched(config.latch) == summary.fault
    assert episodes(config)[-1].footer.end_reason is EndReason.FAULT


def fast(config) -> object:
    """A robot that faults above 0.2 m/s."""
    box = {"velocity": BoxConfig(low=(-0.2,), high=(0.2,))}
    return config.model_copy(update={"limits": LimitsConfig(box=box)})


def test_a_new_bundle_that_faults_is_never_run_again_and_the_old_one_is(
    config, mass, point_bundle, caplog
):
    config = fast(config)
    good, made = point_bundle(push=0.0), []

    def deliver(robot):
        if len(robot.commands) == 12:  # the good one has run two episodes
            made.append(point_bundle(push=100.0))

    mass.trouble = deliver
    summary = Daemon(config, mass, episodes=9).run()
    assert "observation velocity is" in summary.fault
    assert summary.bundle == bundle_id(made[0])
    assert f"bundle {summary.bundle} is marked as bad" in caplog.text
    release(config.latch)
    mass.state = np.zeros(2)  # by hand
    again = Daemon(config, mass, episodes=2).run()
    assert (again.bundle, again.fault, again.complete) == (bundle_id(good), "", True)
    with pytest.raises(BundleRefused, match="it faulted in its first episodes on this robot"):
        Daemon(config, mass, bundle=made[0]).run()


def test_a_proven_bundle_is_not_given_up_for_a_later_fault(config, mass, point_bundle):
    config = fast(config)
    path = point_bundle(push=0.0)
    Daemon(config, mass, episodes=3).run()

    def fail(_):
        raise DriverFault("the cable is out")

    mass.trouble = fail
    assert Daemon(config, mass, episodes=1).run().fault == "the cable is out"
    release(config.latch)
    mass.trouble = lambda _: None
    assert Daemon(config, mass, episodes=1).run().bundle == bundle_id(path)


def test_probation_lasts_as_long_as_the_config_says(config, mass, point_bundle):
    config = fast(config).model_copy(update={"probation_episodes": 4})
    old = point_bundle(push=0.0)
    Daemon(config, mass, episodes=4).run()
    new = point_bundle(push=0.001)
    Daemon(config, mass, episodes=3).run()

    def fail(_):
        raise DriverFault("the cable is out")

    mass.trouble = fail
    assert Daemon(config, mass, episodes=1).run().bundle == bundle_id(new)
    release(config.latch)
    mass.trouble = lambda _: None
    # Counted anew in each life of the daemon: three and a fault is not four.
    assert Daemon(config, mass, episodes=1).run().bundle == bundle_id(old)


def test_a_robot_that_is_latched_while_its_driver_connects_does_not_move(
    config, mass, point_bundle
):
    point_bundle()
    connect = mass.connect

    def slowly():
        connect()
        latch(config.latch, "it hums")

    mass.connect = slowly
    with pytest.raises(Latched, match="it hums"):
        Daemon(config, mass, episodes=1).run()
    assert (mass.starts, mass.commands) == ([], [])


@pytest.mark.parametrize("where", ["apply", "hold"])
def test_a_driver_that_exits_is_a_fault_and_no_end_of_the_run(config, mass, point_bundle, where):
    point_bundle()

    def lost(*_):
        raise SystemExit(0)

    setattr(mass, where, lost)
    summary = Daemon(config, mass, episodes=1).run()
    assert f"{where} raised SystemExit" in summary.fault
    assert f"{where} raised SystemExit" in latched(config.latch)


def test_signals_that_a_driver_takes_for_itself_are_given_back(config, mass, point_bundle, caplog):
    point_bundle()
    connect, before = mass.connect, signal.getsignal(signal.SIGTERM)

    def greedy():
        connect()
        signal.signal(signal.SIGTERM, lambda *_: None)

    mass.connect = greedy
    Daemon(config, mass, episodes=1).run()
    assert signal.getsignal(signal.SIGTERM) is before
    assert "the driver took SIGTERM for itself" in caplog.text

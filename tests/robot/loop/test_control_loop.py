"""The loop: what happens in an episode, and that nothing bad reaches the motors."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from fieldtune.export.bundle import read_bundle
from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.config import BoxConfig, CommandKind, JointsConfig, LimitsConfig, ZHold
from fieldtune.robot.drivers.driver import DriverFault
from fieldtune.robot.episodes.episode import EndReason, EpisodeHeader, Mode
from fieldtune.robot.loop.control_loop import run_episode
from fieldtune.robot.loop.parts import EpisodeSpec, LoopParts
from fieldtune.robot.loop.states import State, States
from fieldtune.robot.policy.exploration import ZSource
from fieldtune.robot.policy.policy import Policy
from fieldtune.robot.policy.posterior import GaussianPosterior
from fieldtune.robot.safety.build import build_limits
from fieldtune.robot.safety.estop import EStop
from fieldtune.robot.timing.clock import Clock

SEEN = (
    FieldSpec(name="position", unit="m", low=(-1.0,), high=(2.0,)),
    FieldSpec(name="velocity", unit="m/s", low=(-3.0,), high=(0.5,)),
)


class Kept:
    """A recorder that keeps everything in memory."""

    def __init__(self) -> None:
        self.header, self.footer, self.steps = None, None, []

    def begin(self, header) -> None:
        self.header = header

    def put(self, step) -> None:
        self.steps.append(step)

    def end(self, footer) -> None:
        self.footer = footer


@pytest.fixture
def make_parts(mass, point_bundle):
    def make(limits: LimitsConfig | None = None, **bundle) -> LoopParts:
        policy = Policy(read_bundle(point_bundle(**bundle)))
        mass.connect()
        mass.home(0)
        states = States()
        states.to(State.ARMED)
        built = build_limits(
            limits or LimitsConfig(),
            observation_fields=mass.observation_fields,
            robot_action_fields=mass.action_fields,
            policy_action_fields=policy.manifest.action_fields,
            period_s=mass.period_s,
            observation_seen=policy.manifest.observation_seen,
        )
        return LoopParts(mass, policy, built, Kept(), Clock(mass.period_s, math.inf), states)

    return make


def make_spec(horizon=5, stop=lambda: "", follow=lambda *_: None, noise=None) -> EpisodeSpec:
    header = EpisodeHeader(
        robot="m1",
        family="points",
        boot_session="b",
        number=1,
        trial=1,
        bundle_id="0" * 64,
        mode=Mode.PRIOR,
        seed=0,
        started_ns=0,
        period_s=0.05,
    )
    z = ZSource(GaussianPosterior.prior(2), ZHold.EPISODE, np.random.default_rng(0))
    return EpisodeSpec(header, horizon, z, noise, follow, stop, lambda: (5, 1))


def assert_fault(parts: LoopParts, outcome, says: str) -> None:
    assert outcome.reason is EndReason.FAULT
    assert says in outcome.fault
    assert parts.driver.held >= 1
    assert parts.recorder.footer.end_reason is EndReason.FAULT
    assert parts.recorder.footer.fault == outcome.fault
    assert parts.recorder.footer.steps == len(parts.recorder.steps) == outcome.steps
    assert (parts.states.current, parts.states.fault_reason) == (State.FAULT, outcome.fault)


def test_an_episode_runs_to_its_horizon_and_rests(make_parts):
    parts = make_parts()
    outcome = run_episode(parts, make_spec(horizon=7))
    steps, footer = parts.recorder.steps, parts.recorder.footer
    assert (outcome.reason, outcome.steps) == (EndReason.HORIZON, 7)
    assert [step.index for step in steps] == list(range(7))
    assert [step.applied[0] for step in steps] == parts.driver.commands
    assert footer.final_observation == parts.driver.state.tolist()
    assert (footer.clock_offset_ns, footer.clock_uncertainty_ns) == (5, 1)
    assert all(step.reason == "" and step.requested == step.applied for step in steps)
    assert len({tuple(step.z) for step in steps}) == 1
    assert parts.driver.held == 1
    assert parts.states.current is State.HOLD


def test_every_transition_is_followed_once_in_order(make_parts):
    parts, seen = make_parts(), []
    run_episode(parts, make_spec(follow=lambda *transition: seen.append(transition)))
    steps, final = parts.recorder.steps, parts.recorder.footer.final_observation
    observations = [step.observation for step in steps] + [final]
    assert [before.tolist() for before, _, _ in seen] == observations[:-1]
    assert [after.tolist() for _, _, after in seen] == observations[1:]
    assert [action.tolist() for _, action, _ in seen] == [step.applied for step in steps]


def test_noise_is_reproducible_and_its_absence_is_the_mean(make_parts):
    def commands(noise):
        parts = make_parts(log_std=-1.0)
        run_episode(parts, make_spec(noise=noise))
        start = len(parts.driver.commands) - 5
        return parts.driver.commands[start:]

    assert commands(np.random.default_rng(3)) == commands(np.random.default_rng(3))
    assert len(set(commands(np.random.default_rng(3)))) == 5
    assert len(set(commands(None))) == 1


def test_a_terminal_state_ends_the_episode(make_parts):
    parts = make_parts()

    def tip_over(mass):
        mass.terminated = len(mass.commands) == 2

    parts.driver.trouble = tip_over
    outcome = run_episode(parts, make_spec())
    assert (outcome.reason, outcome.steps) == (EndReason.TERMINATED, 3)


def test_a_stop_ends_the_episode_within_a_period(make_parts):
    parts = make_parts()
    run = make_spec(horizon=100, stop=lambda: "asked" if len(parts.driver.commands) == 4 else "")
    outcome = run_episode(parts, run)
    assert (outcome.reason, outcome.steps) == (EndReason.STOPPED, 4)
    assert (parts.states.current, parts.states.reason) == (
        State.HOLD,
        "stopped after 4 steps: asked",
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_observation_that_is_no_number_is_a_fault_and_not_an_input(make_parts, bad):
    parts = make_parts()

    def break_sensor(mass):
        if len(mass.commands) == 2:
            mass.period_s = bad  # the next state is computed with it

    parts.driver.trouble = break_sensor
    outcome = run_episode(parts, make_spec())
    assert_fault(parts, outcome, "observation position is")
    assert parts.recorder.footer.final_observation == []
    assert len(parts.driver.commands) == 3


def test_a_stale_observation_is_a_fault_and_not_an_input(make_parts):
    parts = make_parts()
    parts.clock = Clock(0.05, 1.0)
    parts.driver.age_ns = 501_000_000
    outcome = run_episode(parts, make_spec())
    assert_fault(parts, outcome, "s old, at most 0.500 s are allowed")
    assert parts.driver.commands == []


def test_a_tighter_age_limit_makes_an_observation_stale_sooner(make_parts):
    parts = make_parts(LimitsConfig(observation_age_s=0.05))
    parts.clock = Clock(0.05, 1.0)
    parts.driver.age_ns = 51_000_000
    assert_fault(parts, run_episode(parts, make_spec()), "at most 0.050 s")


def test_an_observation_that_grows_old_in_inference_is_not_acted_on(make_parts):
    parts = make_parts(LimitsConfig(observation_age_s=0.1))
    now, act = simulate_time(parts), parts.policy.act

    def stood_still(*given):
        action = act(*given)
        now[0] += 101_000_000 if len(parts.driver.commands) == 2 else 0
        return action

    parts.policy.act = stood_still
    outcome = run_episode(parts, make_spec(horizon=50))
    assert_fault(parts, outcome, "the observation is 0.101 s old now that its command is ready")
    assert len(parts.driver.commands) == 2
    assert parts.recorder.footer.final_observation == parts.driver.state.tolist()


def test_a_driver_that_takes_too_long_to_apply_is_held_at_once_and_the_step_is_recorded(make_parts):
    parts = make_parts(LimitsConfig(observation_age_s=0.1))
    now = simulate_time(parts)

    def block(mass):
        now[0] += 2_000_000_000 if len(mass.commands) == 2 else 0

    parts.driver.trouble = block
    outcome = run_episode(parts, make_spec(horizon=50))
    assert_fault(parts, outcome, "the loop has stood still for 2.000 s")
    assert len(parts.driver.commands) == outcome.steps == 3
    assert now[0] == parts.recorder.steps[-1].sense_ns + 2_000_000_000
    assert parts.recorder.footer.final_observation == []


def test_a_fast_simulation_ages_by_its_links_delay_and_not_by_a_busy_machines(make_parts):
    parts = make_parts(LimitsConfig(observation_age_s=0.05))
    read, act = parts.driver.read, parts.policy.act
    last = [read()]

    def stalled(*given):
        time.sleep(0.06)  # put aside, while nothing moves
        return act(*given)

    def link():
        time.sleep(0.06)
        return last[0]

    def apply(action, into=parts.driver.apply):
        applied = into(action)
        last[0] = read()
        return applied

    parts.policy.act, parts.driver.read, parts.driver.apply = stalled, link, apply
    assert run_episode(parts, make_spec(horizon=3)).reason is EndReason.HORIZON

    parts = make_parts(LimitsConfig(observation_age_s=0.05))
    parts.driver.age_ns = 60_000_000  # the link's own
    assert_fault(parts, run_episode(parts, make_spec()), "at most 0.050 s")


def test_output_that_is_no_number_never_reaches_the_driver(make_parts):
    parts = make_parts(push=math.nan)
    assert_fault(parts, run_episode(parts, make_spec()), "the policy's action force is nan")
    assert parts.driver.commands == []


def test_output_outside_the_policys_range_never_reaches_the_driver(make_parts):
    parts = make_parts()
    parts.policy._half_range = np.array([50.0])
    parts.policy.low, parts.policy.high = np.array([-50.0]), np.array([50.0])
    parts.policy._centre = np.array([40.0])
    assert_fault(parts, run_episode(parts, make_spec()), "outside [-2, 2]")
    assert parts.driver.commands == []


@pytest.mark.parametrize(
    "error", [DriverFault("the cable is out"), OSError("gone"), ValueError("?")]
)
def test_a_driver_that_fails_is_held_within_the_step(make_parts, error):
    parts = make_parts()

    def fail(mass):
        if len(mass.commands) == 2:
            raise error

    parts.driver.trouble = fail
    outcome = run_episode(parts, make_spec())
    assert_fault(parts, outcome, str(error))
    assert len(parts.driver.commands) == 2


def test_a_driver_that_cannot_be_read_is_held(make_parts):
    parts = make_parts()
    parts.driver.connected = False
    assert_fault(parts, run_episode(parts, make_spec()), "not connected")


def test_a_driver_that_reports_nonsense_is_held(make_parts):
    parts = make_parts()
    parts.driver.apply = lambda action: action * math.nan
    assert_fault(parts, run_episode(parts, make_spec()), "the driver says that it applied")


def test_a_glitch_in_an_unbounded_field_is_a_fault_before_it_is_acted_on_or_kept(make_parts):
    parts, followed = make_parts(observation_seen=SEEN), []

    def glitch(mass):
        if len(mass.commands) == 2:
            mass.state[1] = 1e3

    parts.driver.trouble = glitch
    outcome = run_episode(parts, make_spec(follow=lambda *_: followed.append(_)))
    assert_fault(parts, outcome, "observation velocity is 1000.01, outside [-30, 30], ten times")
    assert len(parts.driver.commands) == 3
    assert len(followed) == 2
    assert parts.recorder.footer.final_observation == []
    assert max(step.observation[1] for step in parts.recorder.steps) < 1


def test_a_driver_that_reports_an_absurd_number_is_held(make_parts):
    parts = make_parts()
    parts.driver.apply = lambda action: action + 1e30
    assert_fault(parts, run_episode(parts, make_spec()), "the driver says that it applied")
    assert parts.recorder.steps == []


def test_a_driver_that_cannot_hold_is_a_fault_that_says_so(make_parts):
    parts = make_parts()

    def broken():
        parts.driver.held += 1
        raise OSError("no route")

    parts.driver.hold = broken
    outcome = run_episode(parts, make_spec())
    assert_fault(parts, outcome, "hold() failed, so the robot may still move: use its own button")
    assert "OSError: no route" in outcome.fault
    assert not outcome.at_rest


def test_nothing_but_the_hold_comes_between_a_fault_and_rest(make_parts):
    """Neither the recorder nor the state's change, which is logged, is told before."""
    parts, order = make_parts(), []
    parts.driver.trouble = lambda mass: parts.estop.trip("smoke") if len(mass.commands) == 2 else 0
    parts.driver.hold = lambda: order.append("hold")
    parts.recorder.end = lambda _: order.append("recorder")
    parts.states.on_change = lambda: order.append(str(parts.states.current))
    run_episode(parts, make_spec())
    assert order == ["running", "hold", "recorder", "fault"]


def test_an_interrupt_from_the_keyboard_still_holds(make_parts):
    parts = make_parts()

    def interrupt(_):
        raise KeyboardInterrupt

    parts.driver.trouble = interrupt
    with pytest.raises(KeyboardInterrupt):
        run_episode(parts, make_spec())
    assert parts.driver.held == 1


def test_what_was_clamped_is_recorded_with_its_reason(make_parts):
    parts = make_parts(LimitsConfig(action_range={"force": (-0.1, 0.1)}), push=100.0)
    run_episode(parts, make_spec())
    for step in parts.recorder.steps:
        assert abs(step.requested[0]) > 1.9
        assert abs(step.applied[0]) == 0.1
        assert step.reason == "range force"


def test_what_the_hardware_did_differently_is_recorded(make_parts):
    parts = make_parts()
    parts.driver.apply = lambda action: action / 2
    run_episode(parts, make_spec())
    for step in parts.recorder.steps:
        assert step.applied[0] == step.requested[0] / 2
        assert step.reason == "driver"


def test_the_action_rate_is_kept_from_step_to_step(make_parts):
    parts = make_parts(LimitsConfig(action_rate={"force": 1.0}), log_std=1.0)
    run_episode(parts, make_spec(horizon=40, noise=np.random.default_rng(0)))
    changes = np.abs(np.diff(parts.driver.commands))
    assert changes.max() <= 1.0 * 0.05 + 1e-12
    assert any("rate force" in step.reason for step in parts.recorder.steps)


def test_leaving_a_box_without_an_actuator_is_a_fault(make_parts):
    parts = make_parts(
        LimitsConfig(box={"velocity": BoxConfig(low=(-0.2,), high=(0.2,))}), push=100.0
    )
    assert_fault(parts, run_episode(parts, make_spec(horizon=100)), "observation velocity is")


@pytest.mark.parametrize(("wraps", "ends"), [(True, "horizon"), (False, "fault")])
def test_a_joint_turns_across_the_seam_of_its_angle(mass, make_parts, wraps, ends):
    mass.observation_fields = (
        FieldSpec(name="position", unit="rad", low=(-math.pi,), high=(math.pi,)),
        mass.observation_fields[1].model_copy(update={"unit": "rad/s"}),
    )
    group = JointsConfig(names=("j",), position="position", wraps=wraps)
    parts = make_parts(LimitsConfig(joints=(group,), joint_velocity={"j": 2.0}), push=0.0)
    mass.state = np.array([3.0, 0.8])

    def wrap(mass):
        mass.state[0] = (mass.state[0] + math.pi) % (2 * math.pi) - math.pi

    mass.trouble = wrap
    outcome = run_episode(parts, make_spec(horizon=10))
    assert outcome.reason == ends
    positions = [step.observation[0] for step in parts.recorder.steps]
    assert max(positions) > 3.1
    if wraps:
        assert min(positions) < -3.0
    else:
        assert_fault(parts, outcome, "joint j: velocity -124.")


def test_timings_and_ages_are_recorded(make_parts):
    parts = make_parts()
    parts.driver.age_ns = 1_000_000
    run_episode(parts, make_spec())
    for step in parts.recorder.steps:
        assert step.observation_age_ns >= 1_000_000
        assert step.infer_ns > 0
        assert step.apply_ns > 0


def test_a_slow_step_is_marked_as_an_overrun(make_parts):
    parts, now = make_parts(), [0]

    def sleep(seconds):
        now[0] += round(seconds * 1e9)

    parts.clock = Clock(0.05, 1.0, now_ns=lambda: now[0], sleep=sleep)
    parts.driver.read = lambda read=parts.driver.read: type(read())(read().values, now[0])

    def work(mass):
        now[0] += 120_000_000 if len(mass.commands) == 2 else 1_000_000

    parts.driver.trouble = work
    outcome = run_episode(parts, make_spec())
    assert [step.overrun for step in parts.recorder.steps] == [False, False, True, False, False]
    assert outcome.overruns == 1


def freeze(parts: LoopParts, values: bool, time: bool) -> None:
    """From the third read on, give the second observation again: its values, its time, or both."""
    reads = []

    def read(read=parts.driver.read):
        now = read()
        reads.append(now)
        if len(reads) <= 2:
            return now
        return type(now)((reads[1] if values else now).values, (reads[1] if time else now).sense_ns)

    parts.driver.read = read


def test_a_sensor_that_repeats_its_last_value_under_new_times_is_a_fault(make_parts):
    parts = make_parts(LimitsConfig(frozen_periods=4))
    freeze(parts, values=True, time=False)
    assert_fault(parts, run_episode(parts, make_spec(horizon=50)), "to the last bit for 4 periods")
    assert len(parts.driver.commands) == 2 + 3


def test_a_robot_may_rest_where_the_config_allows_it(make_parts):
    parts = make_parts(LimitsConfig(frozen_periods=None))
    freeze(parts, values=True, time=False)
    assert run_episode(parts, make_spec(horizon=200)).reason is EndReason.HORIZON


def simulate_time(parts: LoopParts) -> list[int]:
    """Give the parts a clock that only sleeping moves."""
    now = [10**12]

    def sleep(seconds):
        now[0] += round(seconds * 1e9)

    parts.clock = Clock(0.05, 1.0, now_ns=lambda: now[0], sleep=sleep)
    parts.driver.read = lambda read=parts.driver.read: type(read())(read().values, now[0])
    return now


def test_a_link_that_gives_the_same_observation_again_is_a_fault_when_it_is_too_old(make_parts):
    parts = make_parts(LimitsConfig(observation_age_s=0.16))
    simulate_time(parts)
    freeze(parts, values=True, time=True)
    outcome = run_episode(parts, make_spec(horizon=50))
    assert_fault(parts, outcome, "at most 0.160 s are allowed")
    ages = [step.observation_age_ns / 1e9 for step in parts.recorder.steps]
    assert ages == pytest.approx([0.0, 0.0, 0.05, 0.10, 0.15])  # held one period after the deadline


@pytest.mark.parametrize("step", range(7))
@pytest.mark.parametrize("trouble", ["nan", "old", "future"])
def test_whatever_is_wrong_with_an_observation_it_is_held_in_the_same_period(
    make_parts, step, trouble
):
    parts, reads = make_parts(), []
    parts.clock = Clock(0.005, 1.0)

    def read(read=parts.driver.read):
        now = read()
        reads.append(now)
        if len(reads) <= step:
            return now
        shift = {"nan": 0, "old": -600_000_000, "future": 600_000_000}[trouble]
        values = now.values * math.nan if trouble == "nan" else now.values
        return type(now)(values, now.sense_ns + shift)

    parts.driver.read = read
    outcome = run_episode(parts, make_spec(horizon=50))
    assert outcome.reason is EndReason.FAULT
    assert (len(parts.driver.commands), parts.driver.held, len(reads)) == (step, 1, step + 1)


def test_an_emergency_stop_moves_nothing_more(make_parts):
    parts = make_parts()
    parts.driver.trouble = lambda mass: (
        parts.estop.trip("red button") if len(mass.commands) == 3 else 0
    )
    assert_fault(parts, run_episode(parts, make_spec(horizon=50)), "red button")
    assert len(parts.driver.commands) == 4


def test_a_loop_that_stands_still_is_stopped_when_it_moves_again(make_parts):
    parts = make_parts()
    now = simulate_time(parts)
    parts.estop = EStop()
    beats = []
    parts.estop.beat = lambda at, patience: beats.append((at, patience))
    run_episode(parts, make_spec())
    assert beats == [(10**12 + index * 50_000_000, 500_000_000) for index in range(6)]
    assert now[0] >= beats[-1][0]


def test_joints_keep_their_limits_from_step_to_step(make_parts):
    joints = JointsConfig(
        names=("slider",),
        position="position",
        velocity="velocity",
        command="force",
        command_kind=CommandKind.EFFORT,
    )
    limits = LimitsConfig(
        joints=(joints,),
        joint_velocity={"slider": 0.5},
        joint_effort={"slider": 0.4},
        frozen_periods=None,
    )
    parts = make_parts(limits, push=100.0)
    outcome = run_episode(parts, make_spec(horizon=100))
    assert outcome.reason is EndReason.HORIZON
    reasons = {step.reason for step in parts.recorder.steps}
    assert {"joint effort slider", "joint effort slider; joint velocity slider"} <= reasons
    assert max(abs(command) for command in parts.driver.commands) == 0.4
    assert abs(parts.driver.state[1]) == pytest.approx(0.5, abs=0.021)


@pytest.mark.parametrize("kind", [CommandKind.POSITION, CommandKind.DISPLACEMENT])
def test_a_joint_at_its_velocity_limit_is_no_fault_after_a_late_cycle(mass, make_parts, kind):
    """What one command moves it by is seen in whatever time lies between two readings."""
    mass.action_fields = (FieldSpec(name="force", unit="m", low=(-2.0,), high=(2.0,)),)
    joints = JointsConfig(
        names=("slider",), position="position", command="force", command_kind=kind
    )
    limits = LimitsConfig(
        joints=(joints,), joint_velocity={"slider": 0.5}, frozen_periods=None, late_fraction=0.2
    )
    parts = make_parts(limits, push=100.0)
    now = simulate_time(parts)

    def follow(action):
        here = mass.state[0] if kind is CommandKind.DISPLACEMENT else 0.0
        mass.state = np.array([here + action[0], 0.0])
        mass.commands.append(mass.state[0])
        return action

    def read_late(read=mass.read):
        now[0] += 30_000_000 if len(mass.commands) == 7 else 0
        return read()

    mass.apply, mass.read = follow, read_late
    outcome = run_episode(parts, make_spec(horizon=20))
    assert (outcome.reason, outcome.fault) == (EndReason.HORIZON, "")
    times = np.diff([step.sense_ns for step in parts.recorder.steps])
    assert times.min() == 20_000_000  # of a period of 50 ms
    assert np.abs(np.diff(mass.commands)).max() == pytest.approx(0.5 * 0.05)


def test_a_joint_beyond_its_velocity_limit_is_a_fault_however_its_times_jitter(mass, make_parts):
    joints = JointsConfig(names=("slider",), position="position")
    limits = LimitsConfig(joints=(joints,), joint_velocity={"slider": 0.5}, frozen_periods=None)
    parts = make_parts(limits)
    now = simulate_time(parts)
    began = now[0]

    def read_late(read=mass.read):
        now[0] += 30_000_000 if len(mass.commands) % 2 else 0
        mass.state = np.array([0.6 * (now[0] - began) / 1e9, 0.0])
        return read()

    mass.read = read_late
    outcome = run_episode(parts, make_spec(horizon=20))
    assert_fault(parts, outcome, "joint slider: velocity 0.6 observed")
    assert outcome.steps <= 2


def late(parts: LoopParts, periods: float) -> None:
    """Each command takes so many periods."""
    now = simulate_time(parts)

    def work(_):
        now[0] += round(periods * 50_000_000)

    parts.driver.trouble = work


def test_a_robot_that_keeps_no_period_is_late_and_its_episode_says_so(make_parts):
    parts = make_parts()
    late(parts, 2.5)
    outcome = run_episode(parts, make_spec(horizon=100))
    assert outcome.reason is parts.recorder.footer.end_reason is EndReason.LATE
    assert "12 of 50 control periods were left out, at most 20% may be" in outcome.fault
    assert parts.driver.held == 1
    assert (parts.states.current, parts.states.fault_reason) == (State.FAULT, outcome.fault)
    assert len(parts.recorder.steps) == outcome.steps == 6


def test_how_late_a_robot_may_be_is_configured(make_parts):
    loosen = {"late_fraction": "a slow camera"}
    parts = make_parts(LimitsConfig(late_fraction=0.9, loosen=loosen))
    late(parts, 2.5)
    assert run_episode(parts, make_spec(horizon=100)).reason is EndReason.HORIZON
    parts = make_parts(LimitsConfig(late_fraction=0.02))
    late(parts, 1.5)
    outcome = run_episode(parts, make_spec(horizon=100))
    assert (outcome.reason, outcome.steps) == (EndReason.LATE, 2)


def test_a_simulation_at_another_pace_is_never_late(make_parts):
    parts = make_parts()
    late(parts, 2.5)
    parts.clock.time_scale = 20.0
    assert run_episode(parts, make_spec(horizon=100)).reason is EndReason.HORIZON


def test_skipped_periods_are_counted_and_not_made_up_for(make_parts):
    parts = make_parts()
    now = simulate_time(parts)

    def work(mass):
        now[0] += 160_000_000 if len(mass.commands) == 2 else 1_000_000

    parts.driver.trouble = work
    outcome = run_episode(parts, make_spec())
    assert (outcome.overruns, outcome.skipped, outcome.steps) == (1, 3, 5)
    assert (parts.report.overruns, parts.report.skipped, parts.report.cycles) == (1, 3, 5)
    starts = np.diff([step.sense_ns for step in parts.recorder.steps])
    assert starts.tolist() == [50_000_000, 50_000_000, 200_000_000, 50_000_000]

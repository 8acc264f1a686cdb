"""The driver keeps its promises, against the pretend bench; on the real one:
`fieldtune-robot check --config robot.yaml --connect`."""

import math
import time
from importlib.metadata import entry_points

import numpy as np
import pytest
from fieldtune.robot.drivers.checked import checked
from fieldtune.robot.drivers.driver import DriverFault

from bench_logs.driver import START, START_NOISE, BenchLogsDriver
from bench_logs.pretend_bench import CONTACT, FASTEST, LAG_S, STIFFNESS, WATCHDOG_S, PretendBench


def made(**options):
    options = BenchLogsDriver.Options(home_speed=FASTEST, **options)
    return checked(BenchLogsDriver("bench-logs", options), "bench-logs")


@pytest.fixture
def driver():
    """Connected, and behind the boundary that the control loop has before it too."""
    one = made()
    one.connect()
    yield one
    one.close()


def position(driver):
    return driver.read().values[0]


def test_fieldtune_finds_it_by_its_name():
    found = entry_points(group="fieldtune.drivers", name="bench-logs")
    assert [one.load() for one in found] == [BenchLogsDriver], "run make install"


def test_an_action_moves_it_and_hold_stops_it(driver):
    np.testing.assert_array_equal(driver.apply(np.array([0.05])), [0.05])
    time.sleep(0.15)
    driver.hold()
    assert position(driver) > 0.002
    time.sleep(6 * LAG_S)
    before = position(driver)
    time.sleep(0.05)
    assert position(driver) == pytest.approx(before, abs=2e-4)


def test_it_stops_by_itself_when_commands_stop_coming(driver):
    driver.apply(np.array([0.05]))
    time.sleep(WATCHDOG_S + 6 * LAG_S)
    before = position(driver)
    time.sleep(0.05)
    assert position(driver) == pytest.approx(before, abs=2e-4)


def test_homing_ends_near_the_start_and_the_seed_chooses_where(driver):
    starts = []
    for seed in (0, 2, 0):
        driver.home(seed)
        starts.append(position(driver))
        assert abs(starts[-1] - START) < START_NOISE + 0.002
    assert starts[0] == pytest.approx(starts[2], abs=0.002)
    assert abs(starts[0] - starts[1]) > 0.004


def test_the_part_presses_back():
    now = [0.0]
    bench = PretendBench(clock=lambda: now[0], seed=0)
    while bench.state()[0] < CONTACT + 0.02:
        bench.command(FASTEST)
        now[0] += 0.1
    reached, force, _ = bench.state()
    assert force == pytest.approx(STIFFNESS * (reached - CONTACT), abs=1.0)


def test_only_a_bench_that_tests_gives_rewards():
    seen = np.array([0.05, 20.0])
    for wanted, reward in ((None, math.nan), (20.0, 0.0), (70.0, -1.0)):
        one = made(wanted_force=wanted)
        one.connect()
        assert one.reward(seen, np.zeros(1), seen) == pytest.approx(reward, nan_ok=True)
        one.close()


def test_disconnected_it_says_so():
    one = BenchLogsDriver("bench-logs", BenchLogsDriver.Options())
    with pytest.raises(DriverFault, match="not connected"):
        one.apply(np.zeros(1))
    one.close()

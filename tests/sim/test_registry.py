"""Families are found by name, and mistakes are explained."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from fieldtune.sim.family import bounds, width
from fieldtune.sim.registry import UnknownFamily, family, names


def test_every_listed_family_describes_itself() -> None:
    for name in names():
        found = family(name)
        assert found.name == name
        assert found.horizon > 0
        assert found.period_s > 0
        low, high = bounds(found.action_fields)
        assert (low < high).all()
        tasks = found.split()
        assert tasks.train.shape[1] == tasks.test.shape[1] == width(found.task_fields)


def test_unknown_family_lists_the_known_ones() -> None:
    with pytest.raises(UnknownFamily, match=r"'reech'.*cheetah-vel, .*reach"):
        family("reech")


def test_unknown_option_lists_the_known_ones() -> None:
    with pytest.raises(UnknownFamily, match=r"'robt'; options: none"):
        family("reach", robt="panda")
    with pytest.raises(UnknownFamily, match=r"'robot'; options: none"):
        family("cheetah-vel", robot="panda")


def test_unknown_robot_lists_the_known_ones() -> None:
    with pytest.raises(UnknownFamily, match=r"'ur5'; choose one of: panda, sawyer"):
        family("reach", robot="ur5")


def test_describing_and_scoring_load_no_simulator() -> None:
    run_python(
        """
        import sys
        import numpy as np
        from fieldtune.sim.family import width
        from fieldtune.sim.registry import family, names
        for name in names():
            one = family(name)
            task = one.split().test[0]
            s = np.zeros(width(one.observation_fields))
            signals = np.zeros(width(one.signal_fields))
            one.reward(s, np.zeros(width(one.action_fields)), s, task, signals)
        heavy = {"mujoco", "robosuite", "gymnasium", "numba", "torch"} & set(sys.modules)
        assert not heavy, heavy
        """
    )


@pytest.mark.slow
def test_simulating_never_loads_torch() -> None:
    run_python(
        """
        import sys
        import numpy as np
        from fieldtune.sim.registry import family, names
        for name in names():
            one = family(name)
            simulator = one.simulator(1)
            task = one.split().test[:1]
            simulator.reset(np.array([0]), task)
            simulator.close()
            one.single_robot().reset(0, task[0])
        assert "torch" not in sys.modules
        """
    )


def run_python(code: str) -> None:
    """Run `code` in a fresh interpreter; show what it said where it failed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", names())
def test_every_reward_lies_within_what_a_family_declares(name: str) -> None:
    found, rng = family(name), np.random.default_rng(0)
    fields = found.observation_fields, found.action_fields, found.observation_fields
    before, action, after = (3.0 * rng.standard_normal((50, width(each))) for each in fields)
    signals = rng.standard_normal((50, width(found.signal_fields)))
    paid = found.reward(before, action, after, found.sample_tasks(0, 50), signals)
    low, high = found.reward_bounds
    assert low <= paid.min() <= paid.max() <= high

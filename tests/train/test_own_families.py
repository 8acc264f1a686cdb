"""Families of a stranger's package: the code of docs/families.md, run as it stands there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from fieldtune.robot.drivers.lookup import create_driver
from fieldtune.settings import ConfigError
from fieldtune.sim.checks import moves
from fieldtune.sim.checks.check_family import check_family
from fieldtune.sim.family import require_signals
from fieldtune.sim.gymnasium import BadEnvironment
from fieldtune.sim.mjcf import ModelError, Unstable, positions, sensors, velocities
from fieldtune.sim.registry import UnknownFamily, code, family, options
from fieldtune.sim.rollout import random_return
from fieldtune.sim.scripted import BadScript, scripted
from fieldtune.train.collecting.collect import collect
from fieldtune.train.data.dataset import DatasetError, read_metadata
from fieldtune.train.evaluation.measure import evaluate_run
from fieldtune.train.exporting.opened import open_for_export
from fieldtune.train.phases.offline import train_offline
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.runs.opening import open_run

PAGE = (Path(__file__).parents[2] / "docs" / "families.md").read_text()
BLOCKS = dict(re.findall(r"`(\w+)\.py`[^\n]*\n\n```python\n(.*?)```", PAGE, re.DOTALL))
TOML = tomllib.loads(re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)[0])
(YAML,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
SMALL = [
    "data.episodes_per_task=2",
    "workers=1",
    "device=cpu",
    "algorithm.networks={encoder: [16], policy: [16], critic: [16], decoder: [16]}",
    "offline.updates=3",
    "evaluation.context_episodes=1",
    "evaluation.repeats=1",
]


@pytest.fixture
def package(install, monkeypatch):
    """The page's package, as `pip install` leaves it, for this process and its children."""
    offered = TOML["project"]["entry-points"]["fieldtune.families"]
    entries = "".join(f"{name} = {place}\n" for name, place in offered.items())
    folder = install("swing-arm", f"[fieldtune.families]\n{entries}", **BLOCKS)
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{Path(__file__).parents[2]}")
    monkeypatch.setattr(moves, "SPEED_S", 0.0)
    return folder


def follow(one, steps, actions, simulator=None):
    """Start two copies and push them as hard as they go."""
    simulator = one.simulator(2) if simulator is None else simulator
    simulator.reset(np.arange(2), one.sample_tasks(0, 2))
    for _ in range(steps):
        simulator.step(np.full((2, actions), 3.0))


@pytest.mark.parametrize("name", ["swing-arm", "pendulum-hold"])
@pytest.mark.usefixtures("package")
def test_the_pages_families_keep_their_promises_and_are_as_short_as_it_says(name):
    lines = BLOCKS[name.replace("-", "_")].strip().splitlines()
    assert len(lines) <= (80 if name == "swing-arm" else 40)
    found = {one.name: one for one in check_family(family(name), name)}
    assert {one.state for one in found.values()} == {"ok"}, found
    drawn = "the single robot draws itself"
    assert found["pictures"].text == drawn or "none on this machine" in found["pictures"].text


@pytest.mark.usefixtures("package")
def test_one_of_ours_is_changed_by_inheriting_it():
    near, ours = family("near-reach"), family("reach")
    assert (near.horizon, near.success_reward, len(near.split().train)) == (30, -0.02, 60)
    home = np.asarray(ours.arm.home_position)
    np.testing.assert_allclose(near.sample_tasks(0, 9) - home, (ours.sample_tasks(0, 9) - home) / 2)
    assert (near.observation_fields, near.arm) == (ours.observation_fields, ours.arm)


@pytest.mark.usefixtures("package")
def test_a_strangers_family_goes_the_whole_way_by_a_runs_file(tmp_path):
    (tmp_path / "swing-arm.yaml").write_text(YAML)
    config = load_config(tmp_path / "swing-arm.yaml", overrides=SMALL)
    assert config.family_options == {"damping": 0.2}
    collect(config)
    known = read_metadata(tmp_path / "data")
    assert known["family_options"] == {"damping": 0.2}
    assert options(open_for_export(tmp_path / "data").family) == {"damping": 0.2}
    assert known["how"]["policy"].startswith("scripted and noisy")
    assert (tmp_path / "data" / "contact.png").exists()
    run = open_run(config, tmp_path / "run")
    assert options(run.family) == {"damping": 0.2}
    train_offline(run)
    evaluation = evaluate_run(run)
    assert evaluation.scripted > random_return(run.family, run.dataset.test_tasks, np.arange(4))
    driver = create_driver(config.robot, "swing-arm.yaml")
    driver.connect()
    driver.home(0)
    stiff = family("swing-arm", damping=5.0).single_robot()
    soft = run.family.single_robot()
    for robot in (stiff, soft):
        robot.reset(0, run.dataset.test_tasks[0])
        seen = [robot.step(np.full(2, 3.0))[0] for _ in range(5)][-1]
        robot.close()
    for _ in range(5):
        driver.apply(np.full(2, 3.0))
    np.testing.assert_array_equal(driver.read().values, seen)
    driver.close()
    other = load_config(
        tmp_path / "swing-arm.yaml", overrides=[*SMALL, "robot.family_options.damping=0.5"]
    )
    with pytest.raises(DatasetError, match=r"made with the option damping = 0\.2 .* is 0\.5: set"):
        open_run(other, tmp_path / "other")


@pytest.mark.usefixtures("package")
def test_options_that_a_family_does_not_take_are_refused(tmp_path):
    (tmp_path / "swing-arm.yaml").write_text(YAML)

    def asked(option):
        config = load_config(tmp_path / "swing-arm.yaml", overrides=[f"robot.{option}"])
        return family(config.family, **config.family_options)

    with pytest.raises(UnknownFamily, match="unknown option 'dampin'; options: damping"):
        asked("family_options={dampin: 1.0}")
    with pytest.raises(UnknownFamily, match="'damping' is 'much': expected float, as the default"):
        asked("family_options={damping: much}")
    assert asked("family_options={damping: 1}").damping == 1
    with pytest.raises(ConfigError, match=r"write 'robot\.model' in the place of"):
        asked("family_options={robot: ur5}")


def test_an_edit_of_the_package_is_another_code(package):
    before = code(family("swing-arm"))
    (package / "swing_arm.py").write_text(BLOCKS["swing_arm"].replace('mass="1"', 'mass="2"'))
    assert code(family("swing-arm")) != before != ""
    assert code(family("reach")) == ""


@pytest.mark.usefixtures("package")
def test_a_script_that_is_not_there_is_named():
    kind = type(family("swing-arm"))
    for place, message in (
        ("swing_arm:NONE", r"'swing_arm:NONE', which cannot be imported \(.*'NONE'"),
        ("swing_arm", "has no 'POLICY'"),
    ):
        other = type("Other", (kind,), {"scripted": place})
        with pytest.raises(BadScript, match=message):
            scripted(other())


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"mjcf": "arm.xml"}, "expected MJCF text or an absolute path"),
        (
            {"mjcf": "<mujoco><bodi/></mujoco>"},
            "the MJCF cannot be compiled: (.|\\n)*bodi",
        ),
        ({"mjcf": Path("/nowhere/arm.xml")}, "swing-arm: the MJCF cannot be compiled"),
        ({"keyframe": "home"}, "swing-arm: keyframe is 'home'"),
        ({"action_scale": (1.0, 1.0, 1.0)}, "action_scale has 3 numbers for 2 components"),
    ],
)
@pytest.mark.usefixtures("package")
def test_what_is_wrong_with_a_model_is_said_with_the_family(said, message):
    kind = type(family("swing-arm"))
    one = type("Other", (kind,), said)()
    with pytest.raises(ModelError, match=message):
        follow(one, 1, 2)


@pytest.mark.usefixtures("package")
def test_picks_are_held_against_the_model():
    kind = type(family("swing-arm"))
    for pick, message in (
        (positions("q", "rad", "wrist"), r"field 'q': the model has no joint 'wrist'.*'shoulder'"),
        (positions("q", "rad", "elbow", width=2), "are 1 numbers in the model, the field has 2"),
        (sensors("s", "m", "tip"), "the model has no sensor 'tip'"),
        (positions("q", "deg", "elbow"), "'q' is in 'deg', and MuJoCo's joints in 'rad'"),
        (velocities("v", "mm/s", "elbow"), "'v' is in 'mm/s', and MuJoCo's joints in 'm/s'"),
    ):
        with pytest.raises(ModelError, match=f"swing-arm: {message}|swing-arm: field .*{message}"):
            type("Other", (kind,), {"observed": (pick,)})().simulator(1)


@pytest.mark.usefixtures("package")
def test_a_simulation_that_is_unstable_says_so_and_starts_anew(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo writes a log where it is
    stiff = BLOCKS["swing_arm"].replace(' integrator="implicitfast"', "")
    assert stiff != BLOCKS["swing_arm"]
    kind = type(family("swing-arm"))
    text = re.findall(r'MJCF = """(.*?)"""', stiff, re.DOTALL)[0].format(damping=0.5)
    one = type("Other", (kind,), {"mjcf": text})()
    simulator = one.simulator(2)
    first = simulator.reset(np.arange(2), one.sample_tasks(0, 2))
    with pytest.raises(Unstable, match=r"swing-arm: number 0 .* is nan: .* smaller timestep"):
        follow(one, 50, 2, simulator)
    np.testing.assert_array_equal(simulator.reset(np.arange(2), one.sample_tasks(0, 2)), first)
    simulator.close()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"horizon": 120}, "truncated after 100 steps, the horizon is 120: make it with"),
        ({"action_fields": ()}, r"actions are Box.*the family's are a Box of \(0,\)"),
        ({"observation_fields": ()}, r"observations are \[2, 3\], expected \[2, 0\]"),
    ],
)
@pytest.mark.usefixtures("package")
def test_an_environment_that_is_not_as_the_family_says_is_refused(said, message):
    one = type("Other", (type(family("pendulum-hold")),), said)()
    with pytest.raises(BadEnvironment, match=f"pendulum-hold: .*{message}"):
        follow(one, 100, 1)


@pytest.mark.usefixtures("package")
def test_bodies_that_vary_fall_and_are_measured_keep_the_promises_too():
    kind = type(family("swing-arm"))

    def tune(_, model, task):
        model.body("lower").mass = 0.7 * 3.0 ** task[0]

    def reward(self, _s, _a, _next, task, signals=None):
        speed = require_signals(self.name, self.signal_fields, signals)
        return np.zeros(task.shape[:-1]) - np.linalg.norm(speed, axis=-1)

    sensor = '<sensor><framelinvel name="v" objtype="site" objname="tip"/></sensor>'
    text = family("swing-arm").mjcf.replace("</worldbody>", f"</worldbody>{sensor}")
    said = {
        "mjcf": text,
        "measured": (sensors("tip_velocity", "m/s", "v", width=3),),
        "terminal": lambda _, read: np.abs(read("qpos")).max(axis=-1) > 0.5,
        "dynamics_vary": True,
        "tune": tune,
        "reward": reward,
        "scripted": None,
        "reward_bounds": (-np.inf, 0.0),
    }
    found = {one.name: one for one in check_family(type("Other", (kind,), said)())}
    assert {one.state for one in found.values()} == {"ok"}, found
    assert found["dynamics"].text == "differ by task"
    assert found["termination"].text == "8 of 8 copies terminated, and kept their last observation"

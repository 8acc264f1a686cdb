"""The `zmq` driver against real servers: a whole episode, and whatever may go wrong on the way."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from fieldtune.robot.cli.app import app
from fieldtune.robot.config import DriverConfig, ExplorationConfig, LimitsConfig, RobotConfig
from fieldtune.robot.drivers.driver import DriverFault
from fieldtune.robot.drivers.hardware.description import HardwareDescription, write_description
from fieldtune.robot.drivers.hardware.driver import ZmqDriver
from fieldtune.robot.drivers.hardware.frames import Say, State
from fieldtune.robot.drivers.hardware.options import ZmqOptions, served_description
from fieldtune.robot.drivers.lookup import create_driver
from fieldtune.robot.drivers.sim import SimDriver, SimOptions
from fieldtune.robot.episodes.episode import EndReason
from fieldtune.robot.journal.entry import Entry
from fieldtune.robot.journal.journal import Journal, JournalError
from fieldtune.robot.programs.explore import Daemon
from fieldtune.robot.safety.latch import held_by, latched
from tests.robot.drivers.conftest import kind_of

SERVERS = Path(__file__).parents[4] / "servers"
MOVER = """
import sys, time
import numpy as np
from pathlib import Path
from fieldtune.robot.drivers.hardware.driver import ZmqDriver
from fieldtune.robot.drivers.hardware.options import ZmqOptions
driver = ZmqDriver("joints", ZmqOptions(
    address=sys.argv[1], description=Path(sys.argv[2]), lease_s=0.4, timeout_s=20.0))
driver.connect()
driver.home(0)
try:
    while True:
        driver.read()
        driver.apply(np.array([0.05, 0.05]))
        print("moving", flush=True)
        time.sleep(0.02)
except Exception as error:
    print(f"fault: {error}", flush=True)
"""


def taken(driver, server) -> ZmqDriver | None:
    """The driver, in a session of its own; None while another one moves the robot."""
    try:
        return driver(server)
    except DriverFault as fault:
        if "another session moves the robot" not in str(fault):
            raise
        return None


@pytest.fixture
def explore(options, make_bundle, tmp_path):
    """Run the daemon for two episodes on a served robot; its summary and the journal's episodes."""

    def run(server, horizon=10, meanwhile=lambda config: None):  # noqa: ARG005
        state = tmp_path / "state"
        (state / "bundles").mkdir(parents=True)
        settings = options(server, lease_s=0.4)
        description = served_description(settings)
        make_bundle(
            state / "bundles" / "joints.bundle",
            family="joints",
            robot=description.robot,
            observation_fields=description.observation_fields,
            action_fields=description.action_fields,
            period_s=description.period_s,
            horizon=horizon,
        )
        config = RobotConfig(
            name="served",  # by no other file's tests: `stop` finds a robot by its name
            family="joints",
            state_dir=state,
            driver=DriverConfig(name="zmq", **as_in_a_file(settings)),
            exploration=ExplorationConfig(prior_episodes=1, posterior_episodes=1),
            limits=LimitsConfig(action_range={"velocity": (-0.5, 0.5)}),
        )
        daemon = Daemon(config, create_driver(config, "robot.yaml"), episodes=2)
        other = threading.Thread(target=meanwhile, args=(config,))
        other.start()
        summary = daemon.run()
        other.join()
        with Journal.read(config.journal) as journal:
            return summary, [journal.episode(entry.number) for entry in journal.entries()]

    return run


def entries(path: Path) -> list[Entry]:
    with contextlib.suppress(JournalError), Journal.read(path) as journal:
        return journal.entries()
    return []


def as_in_a_file(options: ZmqOptions) -> dict[str, object]:
    return options.model_dump(mode="json", exclude_none=True)


def test_episodes_through_the_real_loop(joints, explore):
    summary, episodes = explore(joints)
    assert (summary.fault, summary.episodes, summary.complete) == ("", 2, True)
    assert len(episodes) == 2
    for episode in episodes:
        assert episode.footer.end_reason is EndReason.HORIZON
        assert len(episode.steps) == 10
        assert all(step.observation_age_ns >= 0 for step in episode.steps)
        applied = [step.applied for step in episode.steps]
        velocities = [step.observation[2:] for step in episode.steps]
        assert np.abs(applied).max() <= 0.5
        assert velocities[1:] == applied[:-1]
    assert "asked to hold" in joints.log


def test_a_client_that_hangs_with_its_socket_open_is_stopped_by_the_server(
    joints, options, driver, tmp_path
):
    options(joints)
    client = subprocess.Popen(
        [sys.executable, "-c", MOVER, joints.address, tmp_path / "description.json"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        for _ in range(5):
            assert client.stdout.readline() == "moving\n"
        client.send_signal(signal.SIGSTOP)
        while (second := taken(driver, joints)) is None:
            time.sleep(0.01)
        stopped = second.read().values
        assert stopped[2:].tolist() == [0.0, 0.0]
        assert 0 < stopped[0] < 2.9
        client.send_signal(signal.SIGCONT)
        assert "this session does not hold the robot" in client.stdout.read().splitlines()[-1]
        assert second.read().values.tolist() == stopped.tolist()
    finally:
        client.kill()
        client.wait()
        client.stdout.close()
    assert "the lease ran out while driven" in joints.log


def test_a_client_that_was_away_for_too_long_has_to_home_again(joints, driver):
    late = driver(joints, lease_s=0.1)
    late.home(0)
    late.read()
    late.apply(np.array([0.1, 0.1]))
    late.read()
    time.sleep(0.3)
    with pytest.raises(DriverFault, match=r"refuses COMMAND: .*the lease ran out while driven"):
        late.apply(np.array([0.1, 0.1]))
    late.home(0)
    late.read()
    assert late.apply(np.array([0.1, 0.1])).tolist() == [0.1, 0.1]


def test_fields_are_readable_while_disconnected(joints, driver, described):
    offered = described(joints)
    here = driver(joints, connect=False)
    joints.close()
    assert here.observation_fields == offered.observation_fields
    assert here.action_fields == offered.action_fields
    assert (here.robot, here.period_s, here.time_scale) == ("joints", 0.02, 1.0)


def test_the_time_of_an_observation_is_never_later_than_it_was_sensed(joints, driver):
    """The server's clock is this machine's own here, so what it said is the truth."""
    here = driver(joints)
    for _ in range(50):
        before = time.monotonic_ns()
        answer, sensed = here._sense()
        mapped = here._link.clock.ours(sensed.sense_ns, answer.returned_ns)
        assert mapped <= sensed.sense_ns
        assert sensed.sense_ns - mapped < 1_000_000_000
        assert here.read().sense_ns <= time.monotonic_ns()
        assert sensed.sense_ns >= before


UNHELD = "has not said that it holds; it does by itself when its lease runs out, if it lives"


def test_a_server_that_hangs_is_a_fault_in_time_and_not_taken_to_hold(joints, driver):
    here = driver(joints)
    here.home(0)
    here._timeout_s = here._hold_patience_s = 0.1
    joints.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(DriverFault, match=r"no answer to SENSE within 0\.1 s"):
            here.read()
        with pytest.raises(DriverFault, match="no answer to COMMAND"):
            here.apply(np.zeros(2))
        with pytest.raises(DriverFault, match=rf"no answer to HOLD .*{UNHELD}"):
            here.hold()
        with pytest.raises(DriverFault, match=UNHELD):
            here.close()
    finally:
        joints.process.send_signal(signal.SIGCONT)
    here.close()


def test_a_server_that_hangs_is_not_confirmed_to_hold_and_stop_ends_with_1(
    joints, explore, tmp_path
):
    stopped = []

    def stop(config: RobotConfig) -> None:
        moved = tmp_path / "state" / "journal.sqlite"
        while not moved.exists() or not any(e.steps > 3 for e in entries(moved)):
            time.sleep(0.02)
        joints.process.send_signal(signal.SIGSTOP)
        robot = config.model_dump(mode="json", include={"name", "family", "state_dir"})
        path = tmp_path / "stop.yaml"
        path.write_text(yaml.safe_dump({"robot": robot}))
        command = ["stop", "--config", str(path), "--wait-s", "10"]
        stopped.append(CliRunner().invoke(app, command))

    try:
        summary, _ = explore(joints, horizon=10**6, meanwhile=stop)
    finally:
        joints.process.send_signal(signal.SIGCONT)
    assert UNHELD in summary.fault
    latch = tmp_path / "state" / "fault.txt"
    assert latched(latch)
    assert held_by(latch) is None
    (done,) = stopped
    assert done.exit_code == 1
    assert "use the robot's own button" in done.stderr


def test_a_hold_is_asked_for_again_where_an_answer_is_lost(joints, line, driver):
    between = line(joints)
    here = driver(joints, address=between.address, timeout_s=0.5, home_patience_s=20.0)
    here._hold_patience_s = 20.0
    here.home(0)
    lost = []

    def loses(frame: bytes) -> bool:
        if kind_of(frame) == Say.HELD and len(lost) < 2:
            lost.append(frame)
            return True
        return False

    between.loses = loses
    here.hold()
    assert len(lost) == 2


def test_a_server_that_another_session_has_is_not_taken_to_hold(joints, driver, raw):
    here = driver(joints)
    here.home(0)
    here.hold()
    other = raw(joints)
    other.home()
    with pytest.raises(DriverFault, match=rf"does not hold the robot: say hello: .*{UNHELD}"):
        here.hold()
    here.close()  # it was at rest when it was let go
    assert other.sense()[1].state is State.READY


def test_a_server_that_ends_while_its_robot_rests_is_no_fault_when_it_is_let_go(joints, driver):
    here = driver(joints)
    here.home(0)
    here.hold()
    joints.close()
    here._timeout_s = here._hold_patience_s = 0.1
    here.close()


def test_answers_that_come_too_late_are_not_taken_for_others(joints, driver):
    here = driver(joints)
    here.home(0xFFFF)
    here._timeout_s = 0.1
    joints.process.send_signal(signal.SIGSTOP)
    with pytest.raises(DriverFault, match="no answer"):
        here.read()
    joints.process.send_signal(signal.SIGCONT)
    here._timeout_s = 20.0
    observation = here.read()
    assert observation.values[:2].tolist() == [0.2, 0.2]
    assert here.apply(np.zeros(2)).tolist() == [0.0, 0.0]


def test_a_server_that_is_killed_is_a_fault(joints, driver):
    here = driver(joints)
    joints.close()
    here._timeout_s = here._hold_patience_s = 0.5
    with pytest.raises(DriverFault, match=r"link is down|no answer"):
        here.read()
    with pytest.raises(DriverFault, match=UNHELD):
        here.hold()


def test_a_server_that_was_restarted_knows_no_old_session(joints_command, serve, driver, tmp_path):
    address = f"ipc://{tmp_path}/joints"
    first = serve(*joints_command, address=address)
    here = driver(first)
    here.home(0)
    first.close()
    serve(*joints_command, address=address)
    here._timeout_s = 1.0
    fault = ""
    while "does not hold the robot" not in fault:  # the link may still be down at first
        with pytest.raises(DriverFault) as caught:
            here.read()
        fault = str(caught.value)
    with pytest.raises(DriverFault, match=UNHELD):
        here.close()
    here.connect()
    assert here.read().values.tolist() == [0.0] * 4


def test_nobody_there_is_explained_and_leaves_nothing_open(joints, driver):
    here = driver(joints, connect=False, connect_timeout_s=0.2)
    joints.close()
    with pytest.raises(DriverFault, match=r"no hardware server answers within 0\.2 s: start it"):
        here.connect()
    for use in (here.read, lambda: here.apply(np.zeros(2)), lambda: here.home(0)):
        with pytest.raises(DriverFault, match="not connected"):
            use()
    here.hold()
    here.close()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"robot": "other"}, "offers robot joints, the description file says other"),
        ({"period_s": 0.05}, r"offers period_s 0\.02, the description file says 0\.05"),
        ({"action_fields": "observation_fields"}, "offers action_fields velocity, the descri"),
        ({"unit": "deg"}, r"offers observation_fields \(name='position' unit='rad'.*unit='deg'"),
    ],
)
def test_hardware_that_is_not_what_was_written_down_is_a_fault(
    joints, options, driver, change, says
):
    offered = served_description(options(joints))
    if "unit" in change:
        first, second = offered.observation_fields
        change = {"observation_fields": (first.model_copy(update=change), second)}
    elif "action_fields" in change:
        change = {"action_fields": offered.observation_fields[:1]}
    write_description(options(joints).description, offered.model_copy(update=change))
    with pytest.raises(DriverFault, match=says):
        driver(joints)
    with pytest.raises(DriverFault, match="not connected"):
        driver(joints, connect=False).read()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"lease_s": 0.6}, r"robot.driver.lease_s is 0\.6 .* allows at most 0\.5: set it lower"),
        ({"address": "tcp://10.0.0.7:5790"}, "expected tcp://127.0.0.1:PORT or ipc://PATH; with"),
        ({"server_key": "0" * 64}, "server_key and robot.driver.secret belong together"),
        ({"server_key": "0" * 64, "secret": Path("/nowhere")}, "/nowhere: no key there"),
        ({"description": Path("/nowhere")}, "no file /nowhere: make it with `fieldtune-robot desc"),
    ],
)
def test_settings_that_cannot_be_are_explained(joints, options, changes, says):
    settings = options(joints).model_copy(update=changes)
    with pytest.raises(DriverFault, match=says):
        ZmqDriver("joints", settings)


@pytest.mark.parametrize("content", ["", "{}", '{"schema_version": 2}', "[1", '{"robots": 1}'])
def test_a_file_that_is_no_description_is_explained(tmp_path, content):
    path = tmp_path / "d.json"
    path.write_text(content)
    settings = ZmqOptions(address="tcp://127.0.0.1:1", description=path)
    with pytest.raises(DriverFault, match="make it anew with `fieldtune-robot describe`"):
        ZmqDriver("joints", settings)


def test_a_written_description_is_read_back_with_its_infinite_bounds(tmp_path, joints, described):
    offered = described(joints)
    write_description(tmp_path / "d.json", offered)
    text = (tmp_path / "d.json").read_text()
    assert HardwareDescription.model_validate_json(text) == offered
    assert '"-Infinity"' in text


@pytest.mark.slow
def test_a_served_simulation_is_the_simulation(serve, driver):
    """The same start, the same actions, the same numbers to the last bit."""
    here = driver(serve(sys.executable, SERVERS / "serve_sim.py", "hopper-params"), lease_s=0.08)
    reference = SimDriver("hopper-params", SimOptions())
    reference.connect()
    assert here.observation_fields == reference.observation_fields
    assert here.action_fields == reference.action_fields
    here.home(3)
    reference.home(3)
    rng = np.random.default_rng(0)
    here._lease_ns = 80_000_000
    for _ in range(10):
        mine, theirs = here.read(), reference.read()
        assert mine.values.tolist() == theirs.values.tolist()
        assert mine.terminated == theirs.terminated
        assert (mine.signals is None) == (theirs.signals is None)
        if mine.signals is not None:
            assert mine.signals.tolist() == theirs.signals.tolist()
        action = 0.1 * rng.uniform(-1, 1, len(reference.action_fields[0].low))
        assert here.apply(action).tolist() == reference.apply(action).tolist()
    reference.close()


@pytest.fixture
def settings_file(tmp_path):
    def write(address: str) -> Path:
        path = tmp_path / "robot.yaml"
        path.write_text(
            "robot: {name: served, family: joints, driver: {name: zmq, connect_timeout_s: 0.3, "
            f"address: '{address}', description: {tmp_path}/d.json}}}}\n"
        )
        return path

    return write


def describe(*arguments: object):
    return CliRunner().invoke(app, ["describe", "--config", *map(str, arguments)])


ODD = f"""
import sys
from dataclasses import replace
sys.path.insert(0, {str(SERVERS)!r})
from hardware_frames import Field
from hardware_server import parser, serve
from serve_joints import DESCRIPTION, Joints

first, second = DESCRIPTION.observation
action, = DESCRIPTION.action
odd = replace(DESCRIPTION, CHANGE)
serve(Joints(), odd, parser("odd").parse_args())
"""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            "observation=[first, replace(second, name=first.name)]",
            "observation field 'position' is there twice: name each once",
        ),
        (
            "action=[replace(action, high=(1.0, float('inf')))]",
            "action field 'velocity' has a bound that is infinite",
        ),
    ],
    ids=["twice", "infinite"],
)
def test_describe_refuses_what_no_robot_could_be_driven_by(
    serve, settings_file, tmp_path, change, says
):
    server = serve(sys.executable, "-c", ODD.replace("CHANGE", change))
    done = describe(settings_file(server.address))
    assert done.exit_code == 1
    assert says in done.stderr
    assert not (tmp_path / "d.json").exists()


def test_describe_writes_what_the_server_offers_and_never_over_what_differs(
    joints, described, settings_file, tmp_path
):
    config, written = settings_file(joints.address), tmp_path / "d.json"
    result = describe(config)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "action velocity (rad/s): [-1, 1] [-1, 1]" in result.stdout
    offered = described(joints)
    assert HardwareDescription.model_validate_json(written.read_text()) == offered
    assert describe(config).exit_code == 0
    write_description(written, offered.model_copy(update={"period_s": 0.05}))
    result = describe(config)
    assert (result.exit_code, "offers period_s 0.02" in result.stderr) == (1, True)
    assert describe(config, "--replace").exit_code == 0
    assert HardwareDescription.model_validate_json(written.read_text()) == offered


def test_describe_explains_what_it_cannot_ask(settings_file):
    config = settings_file("tcp://127.0.0.1:1")
    assert "no hardware server answers" in describe(config).stderr
    assert "only the driver 'zmq'" in describe(config, "robot.driver.name=sim").stderr

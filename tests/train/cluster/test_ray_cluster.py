"""Ray itself, in two nodes on this machine; what runs there are shells, and pieces of real data."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

from fieldtune.settings import ConfigError
from fieldtune.train.cluster import ray_cluster
from fieldtune.train.cluster.ray_cluster import ClusterError, join
from fieldtune.train.cluster.request import Request
from fieldtune.train.collecting.on_cluster import on_cluster, spread_by
from fieldtune.train.collecting.pieces import Asked, ScriptedData
from fieldtune.train.collecting.spreading import WorkerFailed, in_this_process
from fieldtune.train.config import Randomisation
from fieldtune.train.study.plan import Job, Study
from fieldtune.train.study.ray_runner import RayRunner
from fieldtune.train.study.scheduler import open_study

WAIT_S = 300
HALF = Request(1, 0.5)
SEEN = '"$RAY_RAYLET_PID $CUDA_VISIBLE_DEVICES"'

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(two_machines):
    assert two_machines.address == os.environ["RAY_ADDRESS"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_task_oom_retries", "1")  # each takes Ray longer to begin
        joined = join()
    yield joined
    joined.close()


@pytest.fixture
def shell(cluster, tmp_path):
    """`shell(name, request, command)`: a task that leaves what it sees in the file `name`."""

    def start(name, request, command, **options):
        leaves = [tmp_path / name]
        whole = f"cd {tmp_path} && {command} && echo {SEEN} > .{name} && mv .{name} {name}"
        return cluster.start(subprocess.call, request, leaves, ["sh", "-c", whole], **options)

    return start


@pytest.fixture
def waiting(cluster, tmp_path):
    """`waiting(name, request)`: a task that makes `name`.here, and `name` once there is `go`.

    In Ray's own process: a child is killed as its machine's Ray is gone, and how it ended may still
    be told as what the task returned.
    """

    def start(name, request, **options):
        code = f"""
import pathlib, time
folder = pathlib.Path({str(tmp_path)!r})
(folder / "{name}.here").touch()
while not (folder / "go").exists():
    time.sleep(0.1)
(folder / "{name}").touch()
"""
        return cluster.start(exec, request, [tmp_path / name], code, **options)

    return start


def ended(task):
    deadline = time.monotonic() + WAIT_S
    while (status := task.poll()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return status


def test_tasks_fill_both_machines_and_two_share_a_gpu(shell, tmp_path):
    here = "touch {0}.here; until test -e a.here -a -e b.here -a -e c.here; do sleep 0.1; done"
    asked = {"a": HALF, "b": HALF, "c": Request()}
    tasks = [shell(name, what, here.format(name)) for name, what in asked.items()]
    assert [ended(task) for task in tasks] == [0, 0, 0]  # each has waited for the others
    a, b, c = ((tmp_path / name).read_text().split() for name in asked)
    assert a == b
    assert a[1] == "0"
    assert c[0] != a[0]
    assert c[1:] == []  # what asks for no GPU sees none


def test_what_no_machine_has_room_for_is_said_with_what_there_is(cluster):
    assert cluster.room(HALF) == 2
    with pytest.raises(ClusterError, match=r"no machine .* has room for 4 cores") as error:
        cluster.room(Request(4))
    for has in ("has 1 core and 0 GPUs", "has 2 cores and 1 GPU"):
        assert has in str(error.value)


def test_machines_that_are_not_alike_are_refused(cluster, tmp_path, monkeypatch):
    cluster.require_alike(tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(ray_cluster, "installed", lambda: {"mujoco": "1.2.3"})
    with pytest.raises(ClusterError, match=r"mujoco is \S+ on \S+, and 1\.2\.3 where"):
        cluster.require_alike(tmp_path)
    with pytest.raises(ClusterError, match=r"mujoco is"):  # of one that came later
        ended(cluster.start(os.getpid, Request(), []))


def test_a_task_that_fails_raises_or_is_killed_says_how(cluster, shell, tmp_path):
    assert ended(shell("failed", Request(), "false")) == 1
    with pytest.raises(ClusterError, match=r"nowhere/b: No such file"):
        ended(cluster.start(os.mkdir, Request(), [], str(tmp_path / "nowhere" / "b")))
    with pytest.raises(ClusterError, match="process that this ran in ended"):
        ended(shell("killed", Request(), "kill -9 $PPID; sleep 5"))


def test_pieces_of_two_machines_are_those_of_one_bit_for_bit(cluster, tmp_path):
    asked = Asked(
        family="reach", robot=None, randomisation=Randomisation(), seed=0, episodes_per_task=1
    )
    pieces = ScriptedData(asked).pieces()[:3]
    made = []
    for name, spread in (("one", in_this_process), ("two", on_cluster(cluster, at_most=2))):
        (tmp_path / name).mkdir()
        spread(asked, tmp_path / name, pieces, made.append)
    assert made[:3] == pieces
    assert set(made[3:]) == set(pieces)
    for piece in pieces:
        one, two = (piece.file(tmp_path / name).read_bytes() for name in ("one", "two"))
        assert one == two
    nobodys = asked.model_copy(update={"robot": "nobody"})
    with pytest.raises(WorkerFailed, match=r"task 0 of split 'train': .*nobody"):
        on_cluster(cluster)(nobodys, tmp_path, pieces[:1], made.append)


def test_jobs_of_a_study_run_there_and_leave_their_results_and_logs(cluster, make_config, tmp_path):
    study = Study(config=make_config(f"data.path={tmp_path / 'data'}"), seeds=2)
    open_study(tmp_path / "s", study)
    (tmp_path / "data").mkdir()  # what is there is taken, and found to be no dataset later
    data, *seeds = (Job(tmp_path / "s", *of) for of in (["collect"], ["pearl", 0], ["pearl", 1]))
    runner = RayRunner(cluster, HALF, slots=2, together=2)
    started = [runner.start([data]), runner.start(seeds)]
    assert [ended(handle) for handle in started] == [0, 1]
    assert data.done
    for job in seeds:
        assert str(tmp_path / "data") in job.log.read_text()


def test_data_of_one_agent_cannot_be_spread(make_config):
    with (
        pytest.raises(ConfigError, match="'cheetah-vel' come from one agent"),
        spread_by("ray", make_config()),
    ):
        pass


def test_a_cluster_that_is_not_there_is_said_at_once(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(ClusterError, match=r"RAY_ADDRESS is '127\.0\.0\.1:1', and nothing answers"):
        join()


def test_a_task_with_too_little_memory_ends_and_says_so(two_machines, shell):
    """On a machine that finds itself full whatever runs there; Ray's own would never end."""
    full = {"RAY_memory_usage_threshold": "0.01", "RAY_memory_monitor_refresh_ms": "100"}
    node = two_machines.add_node(
        num_cpus=3, env_vars=full, object_store_memory=80 * 2**20, include_log_monitor=False
    )
    try:
        with pytest.raises(ClusterError, match=r"machine's memory was full: let fewer .*--jobs"):
            ended(shell("full", Request(3), "sleep 60", retries=2))
    finally:
        two_machines.remove_node(node)


def test_of_a_machine_that_dies_the_tasks_end_or_begin_again_on_another(
    two_machines, shell, waiting, tmp_path
):
    """The last here: the machine with the GPU does not come back."""
    lost = waiting("lost", Request(1, 1.0))
    again = [waiting(name, Request(), retries=2) for name in ("a", "b")]
    deadline = time.monotonic() + WAIT_S
    while not all((tmp_path / f"{name}.here").exists() for name in ("lost", "a", "b")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    waits = shell("waits", Request(1, 1.0), "true")
    (with_gpu,) = two_machines.worker_nodes
    two_machines.remove_node(with_gpu, allow_graceful=False)
    with pytest.raises(ClusterError, match="the machine that this ran on is gone"):
        ended(lost)
    with pytest.raises(ClusterError, match=r"no machine .* has room for 1 core and 1 GPU"):
        ended(waits)
    (tmp_path / "go").touch()  # no sooner: a process outlives its machine's Ray by a moment
    assert [ended(task) for task in again] == [0, 0]

"""Disks that fill up, and processes that end, while a dataset's episodes are written."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from minari.dataset.minari_storage import MinariStorage

from fieldtune.file_errors import sentence
from fieldtune.sim.locomotion.cheetah_vel import CheetahVelFamily
from fieldtune.train.data.dataset import DatasetError, read_dataset, write_dataset
from fieldtune.train.data.episode_process import WritingFailed, write_episodes

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system: needs root")
FIELDTUNE = [sys.executable, "-m", "fieldtune.train.launch"]


@pytest.fixture
def small_disk(tmp_path, mounted):
    """`small_disk("1m")`: a disk of that size, for a block."""
    return lambda size: mounted(tmp_path / "disk", "-t", "tmpfs", "-o", f"size={size}", "tmpfs")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@only_root
@pytest.mark.parametrize("size", ["8k", "16k", "300k", "1m"])
def test_a_disk_that_fills_is_one_error_that_names_the_dataset_and_leaves_nothing(
    small_disk, short_family, random_episodes, size
):
    """Whether the first page, a chunk, or what HDF5 keeps back until it closes finds no room."""
    train, test = random_episodes
    with small_disk(size) as disk:
        with pytest.raises(OSError, match="No space left") as raised:
            write_dataset(disk / "data", short_family, train=train, test=test, how={})
        assert sentence(raised.value) == (
            f"{disk / 'data'}: No space left on device: free some space"
        )
        assert names(disk) == []


@pytest.mark.slow
@only_root
def test_an_import_onto_a_disk_that_fills_is_one_sentence_and_leaves_nothing(tmp_path, small_disk):
    rng, family = np.random.default_rng(0), CheetahVelFamily()
    for task in ("a", "b"):
        s, a = rng.normal(size=(151, 20)), rng.uniform(-1, 1, (150, 6))
        with h5py.File(tmp_path / f"{task}.hdf5", "w") as file:
            file["obs"], file["next_obs"], file["actions"] = s[:-1], s[1:], a
            file["rewards"] = family.reward(s[:-1], a, s[1:], np.array([1.0]))
            file["terminals"] = np.zeros(150)
    tasks = tmp_path / "tasks.json"
    tasks.write_text(json.dumps({"train": {"a": 0.5}, "test": {"b": 1.0}}))
    arguments = ["--family", family.name, "--tasks", tasks, "--hdf5", tmp_path / "{task}.hdf5"]
    with small_disk("64k") as disk:
        done = subprocess.run(
            [*FIELDTUNE, "import", *map(str, arguments), "--stride", "1", "--out", disk / "out"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1, done.stderr
        told = f"error: {disk / 'out'}: No space left on device: free some space\n"
        assert done.stderr.endswith(told)
        assert "Traceback" not in done.stderr + done.stdout
        assert names(disk) == []


@pytest.mark.slow
@only_root
def test_a_collection_onto_a_disk_that_fills_keeps_its_rounds_and_goes_on(tmp_path, small_disk):
    with small_disk("11m") as disk:
        settings = {
            "family": "cheetah-vel",
            "data": {
                "path": str(disk / "data"),
                "episodes_per_task": 1,
                "agent": {"rounds": 2, "updates_per_round": 1, "hidden": [8], "relabelled": 0},
            },
            "robot": {"name": "a", "family": "cheetah-vel"},
        }
        config = tmp_path / "run.yaml"
        config.write_text(yaml.safe_dump(settings))
        collect = [*FIELDTUNE, "collect", "--config", str(config)]
        done = subprocess.run(collect, capture_output=True, text=True, check=False)
        assert done.returncode == 1, done.stderr
        told = f"error: {disk / 'data'}: No space left on device: free some space\n"
        assert done.stderr.endswith(told)
        assert "Traceback" not in done.stderr + done.stdout
        assert names(disk) == [".data.collecting"]
        rounds = {path: path.stat().st_mtime_ns for path in disk.glob(".data.collecting/round*")}
        assert len(rounds) == 2

        subprocess.run(["mount", "-o", "remount,size=80m", str(disk)], check=True)
        done = subprocess.run(collect, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert names(disk) == ["data"]
        assert len(read_dataset(disk / "data", CheetahVelFamily()).train) == 100


def storage(folder):
    from gymnasium.spaces import Box

    MinariStorage.new(folder, Box(-1, 1, (2,)), Box(-1, 1, (1,)))
    return folder


def row(steps=3):
    return {
        "observations": np.zeros((steps + 1, 2)),
        "actions": np.zeros((steps, 1)),
        "rewards": np.arange(steps, dtype=float),
        "terminations": np.zeros(steps, bool),
        "truncations": np.arange(steps) == steps - 1,
        "attributes/split": "train",
        "attributes/task": np.zeros(0),
        "attributes/task_index": 3,
    }


def writer():
    """The process that writes for this one. A process that just began has no command line yet."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for found in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                parent = int((found.parent / "stat").read_text().rpartition(")")[2].split()[1])
                ours = b"fieldtune.train.data.episode_process" in found.read_bytes()
                if parent == os.getpid() and ours:
                    return int(found.parent.name)
    raise AssertionError("nothing writes")


def test_what_is_sent_is_written_with_its_attributes(tmp_path):
    folder = storage(tmp_path / "data")
    write_episodes(folder, [row(3), row(5)])
    (first, second) = MinariStorage.read(folder).get_episodes([0, 1])
    assert (first["rewards"].tolist(), len(second["rewards"])) == ([0.0, 1.0, 2.0], 5)
    (known, _) = MinariStorage.read(folder).get_episode_metadata([0, 1])
    assert (known["split"], known["task_index"], known["task"].shape) == ("train", 3, (0,))


def test_a_process_that_is_killed_while_it_writes_is_said_with_the_cure(tmp_path):
    def rows():
        yield row()
        os.kill(writer(), signal.SIGKILL)
        while True:  # until the pipe breaks
            yield row(1000)

    with pytest.raises(WritingFailed, match=r"ended with SIGKILL, with .* MB of room on"):
        write_episodes(storage(tmp_path / "data"), rows())


def test_what_is_wrong_with_a_row_is_said_and_nothing_is_left(
    tmp_path, short_family, random_episodes, monkeypatch
):
    train, test = random_episodes
    monkeypatch.setattr(
        "fieldtune.train.data.dataset._row", lambda *_: row() | {"bogus": np.zeros(1)}
    )
    with pytest.raises(DatasetError, match=r"data is not written: TypeError: .*bogus"):
        write_dataset(tmp_path / "data", short_family, train=train, test=test, how={})
    assert names(tmp_path) == []


def test_an_error_in_this_process_ends_the_other(tmp_path):
    found = []

    def rows():
        yield row()
        found.append(writer())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_episodes(storage(tmp_path / "data"), rows())
    assert not Path(f"/proc/{found[0]}").exists()


def test_the_process_ends_with_the_one_that_it_writes_for(tmp_path):
    folder = storage(tmp_path / "data")
    script = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from tests.train.data.test_episode_process import row, writer\n"
        "from fieldtune.train.data.episode_process import write_episodes\n"
        "def rows():\n"
        "    yield row()\n"
        "    print(writer(), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        f"write_episodes(Path({str(folder)!r}), rows())\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    status = Path(f"/proc/{int(done.stdout)}")
    limit = time.monotonic() + 60
    while status.exists() and time.monotonic() < limit:
        time.sleep(0.05)
    assert not status.exists()

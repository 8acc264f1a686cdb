"""Small files in the formats of others, as their own tools write them."""

from __future__ import annotations

import json
from types import SimpleNamespace

import h5py
import minari
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gymnasium.spaces import Box, Dict, Tuple
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage
from scipy.spatial.transform import Rotation

HOME = np.array([0.45, 0.16, 0.11])  # near where a Sawyer's hand starts


def reaching(seed, steps=12):
    """A joint-space log of 11 numbers a frame, degrees and mm, and absolute targets in mm."""
    rng = np.random.default_rng(seed)
    joints = np.cumsum(rng.uniform(-1, 1, (steps, 7)), axis=0)
    hand = 1000 * HOME + np.cumsum(rng.uniform(-5, 5, (steps, 3)), axis=0)
    state = np.hstack([joints, hand, rng.uniform(0, 1, (steps, 1))])
    target = hand + rng.uniform(-40, 40, (steps, 3))
    return {"observation.state": state, "action": np.hstack([target, np.zeros((steps, 1))])}


def demo(target, seed, steps=9):
    rng = np.random.default_rng(seed)
    before = {
        "robot0_joint_pos": rng.uniform(-0.5, 0.5, (steps + 1, 7)),
        "robot0_joint_vel": rng.uniform(-0.5, 0.5, (steps + 1, 7)),
        "robot0_eef_pos": HOME + np.cumsum(rng.uniform(-5e-3, 5e-3, (steps + 1, 3)), axis=0),
        "target_pos": np.tile(target, (steps + 1, 1)),
    }
    found = {f"obs/{key}": rows[:-1] for key, rows in before.items()}
    found |= {f"next_obs/{key}": rows[1:] for key, rows in before.items()}
    found["obs/agentview_image"] = np.zeros((steps, 4, 4, 3), np.uint8)
    return found | {
        "actions": rng.uniform(-1, 1, (steps, 7)),
        "rewards": rng.uniform(0, 1, steps),
        "dones": np.arange(steps) == steps - 1,
    }


def halfcheetah(path, seed, lengths, terminal=None):
    rng, rows = np.random.default_rng(seed), sum(lengths)
    columns = {
        "observations": rng.normal(size=(rows, 17)),
        "actions": rng.uniform(-1, 1, (rows, 6)),
        "rewards": rng.normal(size=rows),
        "terminals": np.zeros(rows, bool),
        "timeouts": np.zeros(rows, bool),
        "infos/qpos": rng.normal(size=(rows, 9)),
        "infos/qvel": rng.normal(size=(rows, 9)),
    }
    columns["timeouts"][np.cumsum(lengths) - 1] = True
    if terminal is not None:
        columns["terminals"][terminal] = True
    with h5py.File(path, "w") as file:
        for key, column in columns.items():
            file[key] = column
    return columns


def ant(direction, seed, steps=6):
    rng = np.random.default_rng(seed)
    turns = Rotation.random(steps + 1, random_state=seed).as_quat()
    seen = {
        "torso": {"height": rng.uniform(0.4, 0.8, (steps + 1, 1)), "quaternion": turns},
        "joints": (rng.normal(size=(steps + 1, 8)), rng.normal(size=(steps + 1, 8))),
        "velocity": rng.normal(size=(steps + 1, 6)),
    }
    infos = {
        "velocity": rng.normal(size=(steps + 1, 2)),
        "effort": rng.uniform(0, 1, (steps + 1, 1)),
        "goal": np.full((steps + 1, 1), direction),
    }
    return seen, rng.uniform(-1, 1, (steps, 8)), rng.normal(size=steps), infos


@pytest.fixture
def others():
    """What others' robots recorded, small and random, by who recorded it."""
    return SimpleNamespace(reaching=reaching, demo=demo, halfcheetah=halfcheetah, ant=ant)


@pytest.fixture
def lerobot_dataset():
    """`write(folder, episodes, fps=20, **features)`: each episode a dict of `(T, n)` and `task`."""

    def write(folder, episodes, fps=20, version="v3.0", **features):
        meta, data = folder / "meta", folder / "data" / "chunk-000"
        (meta / "episodes" / "chunk-000").mkdir(parents=True)
        data.mkdir(parents=True)
        texts = list(dict.fromkeys(e["task"] for e in episodes))
        for number, episode in enumerate(episodes):  # one file each: an episode may be in any
            rows = len(next(v for k, v in episode.items() if k != "task"))
            columns = {
                k: pa.array(np.asarray(v).tolist()) for k, v in episode.items() if k != "task"
            }
            columns["episode_index"] = pa.array([number] * rows)
            columns["task_index"] = pa.array([texts.index(episode["task"])] * rows)
            pq.write_table(pa.table(columns), data / f"file-{number:03d}.parquet")
        lengths = [len(next(v for k, v in e.items() if k != "task")) for e in episodes]
        known = {"episode_index": list(range(len(episodes))), "length": lengths}
        pq.write_table(pa.table(known), meta / "episodes" / "chunk-000" / "file-000.parquet")
        tasks = {"task_index": list(range(len(texts))), "__index_level_0__": texts}
        pq.write_table(pa.table(tasks), meta / "tasks.parquet")
        found = {
            key: {"dtype": "float32", "shape": [np.reshape(v, (len(v), -1)).shape[1]]}
            for key, v in episodes[0].items()
            if key != "task"
        }
        for key in ("episode_index", "task_index"):
            found[key] = {"dtype": "int64", "shape": [1]}
        info = {"codebase_version": version, "fps": fps, "features": found | features}
        (meta / "info.json").write_text(json.dumps(info))
        return folder

    return write


@pytest.fixture
def robomimic_file():
    """`write(path, demos, rate=20, masks={})`: each demo a dict of datasets by path."""

    def write(path, demos, rate=20, masks=None):
        with h5py.File(path, "w") as file:
            data = file.create_group("data")
            data.attrs["env_args"] = json.dumps({"env_kwargs": {"control_freq": rate}})
            for number, demo in enumerate(demos):
                group = data.create_group(f"demo_{number}")
                group.attrs["num_samples"] = len(demo["actions"])
                for key, column in demo.items():
                    group[key] = column
            for name, listed in (masks or {}).items():
                file[f"mask/{name}"] = np.array(listed, dtype="S")
        return path

    return write


@pytest.fixture
def minari_dicts():
    """`write(folder, episodes)`: observations of a dict with a tuple in it, infos by name."""

    def write(folder, episodes):
        (folder / "data").mkdir(parents=True)

        def box(width):
            return Box(-np.inf, np.inf, (width,), np.float64)

        spaces = {
            "torso": Dict({"height": box(1), "quaternion": box(4)}),
            "joints": Tuple((box(8), box(8))),
            "velocity": box(6),
        }
        storage = MinariStorage.new(
            folder / "data", observation_space=Dict(spaces), action_space=Box(-1, 1, (8,))
        )
        storage.update_metadata(
            {"dataset_id": "somebody/ants-v0", "minari_version": minari.__version__}
        )
        storage.update_episodes(
            EpisodeBuffer(
                observations=seen,
                actions=actions,
                rewards=rewards,
                terminations=np.arange(len(rewards)) == len(rewards) - 1,
                truncations=np.zeros(len(rewards), bool),
                infos=infos,
            )
            for seen, actions, rewards, infos in episodes
        )
        return folder

    return write

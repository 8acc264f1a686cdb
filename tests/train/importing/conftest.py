"""Small files in the formats of others, as their own tools write them."""

from __future__ import annotations

import json

import h5py
import minari
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gymnasium.spaces import Box, Dict, Tuple
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage


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

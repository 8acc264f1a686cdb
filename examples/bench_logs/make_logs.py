"""The logs that a laboratory would have: a LeRobot v3 dataset, and the list of its tasks.

`python make_logs.py --out logs` writes `logs/` and `targets.json`. An operator, told how hard to
press, drives the pretend bench, well or badly; its test rates each step. In the logs' own units:
mm, N, mm/s. No part of the package: whoever has logs needs no script that makes them.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench_logs.driver import SCALE, START, START_NOISE
from bench_logs.pretend_bench import FASTEST, STIFFNESS, PretendBench

FPS, FRAMES, EPISODES = 10, 31, 8  # a second, an episode, a task
TRAINED, HELD_OUT = np.linspace(8.0, 104.0, 17), (20.0, 44.0, 62.0, 92.0)  # N

_COUNTED = ("frame_index", "episode_index", "index", "task_index")
_INDEXED = {  # LeRobot reads tasks by pandas, and wants their texts as the table's index
    "index_columns": ["task"],
    "column_indexes": [],
    "columns": [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": of, "metadata": None}
        for name, kind, of in (("task_index", "int64", "int64"), ("task", "unicode", "object"))
    ],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("logs"), help="the dataset's folder")
    parser.add_argument("--episodes", type=int, default=EPISODES, help="of each task")
    given = parser.parse_args()
    if given.out.exists():
        parser.error(f"{given.out} is there already: remove it, or name another folder")
    texts = {f"press at {force:g} N": force for force in (*TRAINED, *HELD_OUT)}
    episodes = [
        (text, recorded(force, np.random.default_rng([task, number]), number))
        for task, (text, force) in enumerate(texts.items())
        for number in range(given.episodes)
    ]
    write(given.out, list(texts), episodes)
    split = {"train": {}, "test": {}}
    for text, force in texts.items():
        split["test" if force in HELD_OUT else "train"][text] = [force]
    (given.out.parent / "targets.json").write_text(json.dumps(split, indent=2) + "\n")
    print(f"{given.out}: {len(episodes)} episodes of {len(texts)} tasks, and targets.json")


def recorded(force, rng, number):
    """Columns of one episode: three of four do the task, the others press at anything."""
    meant = force if number % 4 else rng.uniform(0.0, 110.0)
    gain, noise = rng.uniform(0.5, 2.0), rng.uniform(0.05, 0.4) * FASTEST
    time_s = [0.0]
    begins, seed = START + rng.uniform(-START_NOISE, START_NOISE), int(rng.integers(2**31))
    bench = PretendBench(clock=lambda: time_s[0], seed=seed, position=begins)
    rows = {"observation.state": [], "action": [], "next.reward": []}
    for _ in range(FRAMES):
        position, pressed, _ = bench.state()
        ahead = (meant - pressed) / STIFFNESS if pressed > 1.0 else FASTEST / gain
        told = bench.command(gain * ahead + noise * rng.normal())
        rows["observation.state"].append([1000.0 * position, pressed])
        rows["action"].append([1000.0 * told])
        time_s[0] += 1.0 / FPS
        rows["next.reward"].append(-abs(bench.state()[1] - force) / SCALE)
    return rows


def write(folder, texts, episodes):
    """LeRobot's layout of version 3: one data file, and what meta/ says of it."""
    places = [folder / "data/chunk-000", folder / "meta/episodes/chunk-000"]
    for place in places:
        place.mkdir(parents=True)
    columns = {name: [] for name in (*episodes[0][1], "timestamp", *_COUNTED)}
    for number, (text, rows) in enumerate(episodes):
        for name, column in rows.items():
            columns[name] += column
        columns["timestamp"] += [frame / FPS for frame in range(FRAMES)]
        columns["frame_index"] += range(FRAMES)
        columns["episode_index"] += [number] * FRAMES
        columns["task_index"] += [texts.index(text)] * FRAMES
    columns["index"] = list(range(len(columns["frame_index"])))
    types = dict.fromkeys(_COUNTED, pa.int64()) | {
        "observation.state": pa.list_(pa.float32(), 2),
        "action": pa.list_(pa.float32(), 1),
    }
    data = {name: pa.array(c, types.get(name, pa.float32())) for name, c in columns.items()}
    pq.write_table(pa.table(data), places[0] / "file-000.parquet")

    firsts = [number * FRAMES for number in range(len(episodes))]
    zeros = [0] * len(episodes)
    known = {
        "episode_index": list(range(len(episodes))),
        "tasks": [[text] for text, _ in episodes],
        "length": [FRAMES] * len(episodes),
        "data/chunk_index": zeros,
        "data/file_index": zeros,
        "dataset_from_index": firsts,
        "dataset_to_index": [first + FRAMES for first in firsts],
        "meta/episodes/chunk_index": zeros,
        "meta/episodes/file_index": zeros,
    }
    pq.write_table(pa.table(known), places[1] / "file-000.parquet")
    tasks = pa.table({"task_index": list(range(len(texts))), "task": texts})
    tasks = tasks.replace_schema_metadata({"pandas": json.dumps(_INDEXED)})
    pq.write_table(tasks, folder / "meta/tasks.parquet")

    names = {"observation.state": ["position.mm", "force.N"], "action": ["velocity.mm_s"]}
    features = {
        name: {
            "dtype": "int64" if name in _COUNTED else "float32",
            "shape": [len(names.get(name, [name]))],
            "names": names.get(name),
        }
        for name in columns
    }
    info = {
        "codebase_version": "v3.0",
        "robot_type": "bench",
        "total_episodes": len(episodes),
        "total_frames": len(columns["index"]),
        "total_tasks": len(texts),
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": FPS,
        "splits": {"train": f"0:{len(episodes)}"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": None,
        "features": features,
    }
    (folder / "meta/info.json").write_text(json.dumps(info, indent=2) + "\n")


if __name__ == "__main__":
    main()

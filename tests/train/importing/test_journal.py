"""Robots' own episodes as labelled data: of a journal, of a trainer's inbox, end to end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from fieldtune.robot.episodes import codec
from fieldtune.robot.episodes.episode import (
    EndReason,
    EpisodeFooter,
    EpisodeHeader,
    Mode,
    Step,
    ToldTask,
)
from fieldtune.robot.episodes.rewards import pack_rewards
from fieldtune.robot.journal.journal import Journal
from fieldtune.sim.registry import family as make_family
from fieldtune.train.bridge.inbox import Inbox
from fieldtune.train.cli.app import app
from fieldtune.train.data.dataset import DatasetError, read_dataset, read_metadata
from fieldtune.train.importing.formats.journal import RobotJournal
from fieldtune.train.importing.journal import read_journal

ROOT = Path(__file__).parents[3]
CHEETAH = make_family("cheetah-vel")
STEPS = 6


def episode(
    number, *, task=None, mode=Mode.SCRIPTED, end=EndReason.HORIZON, steps=STEPS, **changes
):
    """Header, steps and footer of a cheetah's episode, drawn from its number."""
    rng = np.random.default_rng(number)
    seen, acted = rng.normal(size=(steps + 1, 20)), rng.uniform(-1, 1, (steps, 6))
    header = EpisodeHeader(
        robot="c1",
        family="cheetah-vel",
        boot_session="boot",
        number=number,
        trial=1,
        bundle_id="",
        mode=mode,
        seed=0,
        started_ns=number,
        period_s=CHEETAH.period_s,
        task=msgspec.UNSET if task is None else task,
    )
    header = msgspec.structs.replace(header, **changes)
    parts = [
        Step(k, k, seen[k].tolist(), 0, [0.0] * 6, acted[k].tolist(), "", [], 0, 0, False)
        for k in range(steps)
    ]
    return header, parts, EpisodeFooter(end, steps, seen[-1].tolist()), seen, acted


FAST, SLOW = ToldTask("fast", [2.0]), ToldTask(parameters=[0.5])
GIVEN = {step: -0.1 * step for step in range(STEPS)}


@pytest.fixture
def write(tmp_path):
    """`write(*episodes)`: each an `episode(...)` and its rewards, into a journal; its path."""

    def make(*episodes):
        path = tmp_path / "robot" / "journal.sqlite"
        with Journal.open(path) as journal, journal.transaction():
            for (header, steps, footer, _, _), rewards in episodes:
                journal.begin(header)
                journal.add(header.number, *map(codec.pack, steps))
                journal.finish(header.number, footer)
                journal.add_rewards(header.number, rewards, "keys")
        return path

    return make


@pytest.fixture
def many(write):
    hurried = episode(5, task=FAST, mode=Mode.GUIDED)
    hurried[1][2] = msgspec.structs.replace(hurried[1][2], reason="beyond joint_torque[0]")
    return write(
        (episode(1, task=FAST), GIVEN),
        (episode(2, task=SLOW, mode=Mode.GUIDED), {}),
        (episode(3, task=SLOW, mode=Mode.ADAPT), {0: 5.0}),
        (episode(4, mode=Mode.PRIOR), GIVEN),
        (hurried, GIVEN),
        (episode(6, task=FAST, end=EndReason.LATE), GIVEN),
    )


def test_rewards_that_were_given_are_kept_and_others_are_the_familys_own(many):
    found = read_journal(CHEETAH, str(many), None, held_out=1)
    assert sorted(found.by_task) == ["0.5", "fast"]
    (fast,) = found.episodes("fast")
    *_, seen, acted = episode(1)
    np.testing.assert_array_equal(fast.observations, seen)
    np.testing.assert_array_equal(fast.actions, acted)
    np.testing.assert_array_equal(fast.rewards, list(GIVEN.values()))
    for number, slow in zip((2, 3), found.episodes("0.5"), strict=True):
        *_, seen, acted = episode(number)
        ours = CHEETAH.reward(seen[:-1], acted, seen[1:], np.array([0.5]))
        np.testing.assert_allclose(slow.rewards, ours)
    assert found.how()["rewards"].startswith("as given in 1 episodes (keys); in 2 the family's own")
    assert found.how()["policy"] == "robots' episodes: 1 adapt, 1 guided, 1 scripted"
    assert sorted(note.split(" ", 1)[0] for note in found.notes) == ["1", "1", "1"]
    for text in ("no known task", "too many control periods", "the hand was faster"):
        assert any(text in note for note in found.notes)


def test_a_task_that_nobody_knows_more_of_is_left_out_by_its_name(write):
    path = str(
        write(
            (episode(1, task=FAST), GIVEN),
            (episode(2, task=ToldTask("odd")), GIVEN),
            (episode(3, task=SLOW), GIVEN),
        )
    )
    with pytest.raises(DatasetError, match="'odd' is told by its name alone"):
        read_journal(CHEETAH, path, None, 1)
    found = read_journal(CHEETAH, path, None, 1, ["odd"])
    assert sorted(found.by_task) == ["0.5", "fast"]
    assert found.left_out(["0.5", "fast"]) == ["1 episodes of task 'odd' (--leave-out)"]
    with pytest.raises(
        DatasetError, match=r"--leave-out 'od': .* there are \['0.5', 'fast', 'odd'\]"
    ):
        read_journal(CHEETAH, path, None, 1, ["od"])


@pytest.mark.parametrize(
    ("odd", "changes", "name"),
    [
        (ToldTask("odd", [0.3, 0.1, 0.5]), {}, "odd"),
        (ToldTask(parameters=[0.3, 0.1]), {}, "0.3 0.1"),
        (ToldTask("odd"), {"family": "another"}, "odd"),
    ],
)
def test_what_was_mistyped_when_recording_is_left_out_by_its_name(write, odd, changes, name):
    path = str(
        write(
            (episode(1, task=FAST), GIVEN),
            (episode(2, task=odd, **changes), GIVEN),
            (episode(3, task=SLOW), GIVEN),
        )
    )
    with pytest.raises(DatasetError) as refused:
        read_journal(CHEETAH, path, None, 1)
    assert f"--leave-out {name!r}" in str(refused.value)
    found = read_journal(CHEETAH, path, None, 1, [name])
    assert sorted(found.by_task) == ["0.5", "fast"]
    assert f"1 episodes of task {name!r} (--leave-out)" in found.notes


def test_what_a_trainer_received_is_the_same_data(many, tmp_path):
    inbox = Inbox(tmp_path / "run" / "inbox")
    inbox.prepare()
    with Journal.read(many) as journal:
        for entry in reversed(journal.entries()):
            sha256, blob = journal.blob(entry.number)
            (inbox.path / f"{sha256}.episode").write_bytes(blob)
            if rewards := journal.rewards(entry.number):
                record = pack_rewards(sha256, "c1", "keys", rewards)
                name = f"{codec.address(record)}.rewards"
                (inbox.path / "rewards" / name).write_bytes(record)
    ours = read_journal(CHEETAH, str(many.parent), None, held_out=1)
    theirs = read_journal(CHEETAH, str(tmp_path / "run"), None, held_out=1)
    assert (ours.how(), sorted(ours.notes)) == (theirs.how(), sorted(theirs.notes))
    for task in ("fast", "0.5"):
        for one, other in zip(ours.episodes(task), theirs.episodes(task), strict=True):
            np.testing.assert_array_equal(one.observations, other.observations)
            np.testing.assert_array_equal(one.rewards, other.rewards)


@pytest.mark.parametrize(
    ("episodes", "options", "said"),
    [
        (
            [(episode(1, family="reach", task=FAST), {})],
            {},
            "is of family 'reach', expected 'cheeta",
        ),
        ([(episode(1), GIVEN)], {}, "no episode can be used: 1 episodes of no known task"),
        ([(episode(1, task=FAST), GIVEN)], {}, "give --held-out N"),
        (
            [(episode(1, task=FAST), GIVEN)],
            {"held_out": 1},
            "--held-out is 1, the episodes are of 1",
        ),
        ([(episode(1, task=ToldTask("odd")), GIVEN)], {}, "task 'odd' is told by its name alone"),
        ([(episode(1, task=ToldTask("a", [1.0, 2.0])), {})], {}, "task 'a' is .*expects velocity"),
        (
            [(episode(1, task=FAST), {}), (episode(2, task=ToldTask("fast", [1.0])), {})],
            {"held_out": 1},
            "episode 2: task 'fast' is .*episode 1.*: one name is of one task",
        ),
        ([(episode(1, task=FAST, steps=201), {})], {}, "has 201 steps, cheetah-vel ends after 200"),
        ([(episode(1, task=FAST, period_s=1.0), {})], {}, "a step is 1 s"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place_and_the_cure(write, episodes, options, said):
    with pytest.raises(DatasetError, match=said):
        read_journal(CHEETAH, str(write(*episodes)), None, **options)


def test_names_are_looked_up_in_a_task_file(write, tmp_path):
    path = write(*((episode(n, task=ToldTask(f"t{n % 2}")), GIVEN) for n in (1, 2, 3)))
    tasks = tmp_path / "tasks.json"
    tasks.write_text(json.dumps({"train": {"t1": [0.5]}, "test": {"t0": [2.0]}}))
    given = ["import", "--family", "cheetah-vel", "--journal", path, "--tasks", tasks]
    done = CliRunner().invoke(app, [*map(str, given), "--out", str(tmp_path / "data")])
    assert done.exit_code == 0, done.output
    assert "3 episodes, 18 transitions" in done.output
    data = read_dataset(tmp_path / "data", CHEETAH)
    assert (len(data.train[0]), len(data.test[0])) == (2, 1)
    assert read_metadata(tmp_path / "data")["how"]["rewards"] == "as given in 3 episodes (keys)"

    tasks.write_text(json.dumps({"train": {"t1": [0.5]}, "test": {"x": [2.0]}}))
    found = read_journal(CHEETAH, str(path), tasks)
    with pytest.raises(DatasetError, match="no episode is of task 'x'"):
        found.episodes("x")
    with pytest.raises(
        DatasetError, match=r"2 episodes are of no task in the task file: 't0'|1 ep"
    ):
        found.left_out(["t1"])


def test_a_mapping_reads_a_journal_too(many):
    journal = RobotJournal(str(many))
    assert journal.keys == {"observation": 20, "action": 6, "reward": 1, "terminated": 1}
    assert journal.period_s == CHEETAH.period_s
    first, second, *_ = journal.episodes(frozenset({"observation", "action", "reward"}))
    assert first.attributes == {
        "robot": "c1",
        "mode": "scripted",
        "number": 1,
        "trial": 1,
        "task": "fast",
    }
    assert first.columns["reward"][:, 0].tolist() == list(GIVEN.values())
    assert np.isnan(second.columns["reward"]).all()


def test_recorded_by_a_real_robot_imported_and_trained_on(tmp_path):
    """The commands of docs/record.md, as processes."""
    path = tmp_path / "run.yaml"
    settings = yaml.safe_load((ROOT / "configs" / "cheetah-vel.yaml").read_text())
    settings["data"] = {"path": str(tmp_path / "real")}
    settings["robot"] |= {
        "state_dir": str(tmp_path / "robot"),
        "driver": {"name": "sim", "time_scale": float("inf")},
    }
    path.write_text(yaml.safe_dump(settings))

    def run(program, *arguments):
        done = subprocess.run(
            [sys.executable, "-m", f"fieldtune.{program}.launch", *map(str, arguments)],
            cwd=ROOT,
            env=os.environ | {"NO_COLOR": "1", "COLUMNS": "120"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    for velocity in (0.5, 1.5):
        said = run(
            *("robot", "record", "--config", path, "--by", "waves", "--steps", 20),
            *("--episodes", 2, "--rewards", "driver", "--parameters", velocity),
            f"robot.driver.task=[{velocity}]",
        )
        assert "20 rewarded" in said
    said = run(
        "train", "import", "--config", path, "--journal", tmp_path / "robot", "--held-out", 1
    )
    assert "4 episodes, 80 transitions" in said
    assert "rewards differ from the family's own by 0.000 of their spread" in said
    run(
        *("train", "train", "--config", path, "--run", tmp_path / "run", "--until", 2),
        *("offline.updates=2", "algorithm.meta_batch=1", "algorithm.batch=16"),
    )

from __future__ import annotations

import numpy as np
import pytest

from fieldtune.sim.registry import UnknownFamily, family
from fieldtune.train.collecting.collect import collect
from fieldtune.train.data.dataset import DatasetError, read_dataset, read_metadata


def test_an_existing_folder_stops_it_before_anything_is_made(make_config, tmp_path):
    (tmp_path / "data").mkdir()
    told = []
    with pytest.raises(DatasetError, match=r"never overwritten: remove it or set data.path"):
        collect(make_config(f"data.path={tmp_path / 'data'}"), lambda *now: told.append(now))
    assert told == []
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.agent={rounds: 1}", "data.episodes_per_task=1"], "data.agent.rounds is 1"),
        (["data.agent={rounds: 2}", "data.episodes_per_task=2"], "data.agent.rounds is 2"),
        (
            ["family=reach", "robot.family=reach", "data.agent={rounds: 2}"],
            "data.agent is set, but the data of 'reach' is scripted",
        ),
    ],
)
def test_data_that_cannot_be_made_as_asked_is_refused_and_nothing_written(
    make_config, tmp_path, overrides, message
):
    with pytest.raises(DatasetError, match=message):
        collect(make_config(f"data.path={tmp_path / 'data'}", *overrides))
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_family_is_named(make_config, tmp_path):
    overrides = [f"data.path={tmp_path / 'data'}", "family=reech", "robot.family=reech"]
    with pytest.raises(UnknownFamily, match="reech"):
        collect(make_config(*overrides))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("cheetah-vel", ["data.agent={rounds: 2, updates_per_round: 1}"]),
        ("reach", []),
    ],
)
def test_every_task_of_both_splits_gets_its_episodes_with_its_own_rewards(
    make_config, tmp_path, name, overrides
):
    folder = tmp_path / "data"
    of_family = [f"family={name}", f"robot.family={name}", f"data.path={folder}"]
    told = []
    result = collect(
        make_config(*of_family, "data.episodes_per_task=1", *overrides),
        lambda done, total, _: told.append((done, total)),
    )
    known = family(name)
    data = read_dataset(folder, known)
    tasks = len(data.train) + len(data.test)
    assert (result.episodes, result.transitions) == (tasks, tasks * known.horizon)
    assert result.id == data.id == f"fieldtune/{name}-v0"
    for episodes, parameters in ((data.train, data.train_tasks), (data.test, data.test_tasks)):
        for (episode,), task in zip(episodes, parameters, strict=True):
            s = episode.observations
            expected = known.reward(s[:-1], episode.actions, s[1:], task)
            np.testing.assert_allclose(episode.rewards, expected, atol=1e-9)
    how = read_metadata(folder)["how"]
    assert (how["seed"], how["episodes_per_task"]) == (0, 1)
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]

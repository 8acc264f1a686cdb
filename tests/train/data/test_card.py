from __future__ import annotations

import re
from dataclasses import replace

import minari
import numpy as np
import pytest

from fieldtune.sim.family import TaskSplit
from fieldtune.sim.registry import family as make_family
from fieldtune.sim.rollout import LabelledEpisode
from fieldtune.train.charts import to_png
from fieldtune.train.data.card import DPI, Described, card, returns_figure
from fieldtune.train.data.dataset import write_dataset

CHEETAH = make_family("cheetah-vel")
TASKS = TaskSplit(np.array([[0.5], [1.25]]), np.array([[2.0]]))


def episode(task, rewards, **changes):
    steps = len(rewards)
    return replace(
        LabelledEpisode(
            task, np.zeros((steps + 1, 20)), np.zeros((steps, 6)), np.array(rewards), False
        ),
        **changes,
    )


@pytest.fixture
def described():
    train = [episode(0, [-1.0, -2.0]), episode(0, [-5.0]), episode(1, [-7.0, -1.0, -1.0])]
    test = [episode(0, [-0.25], terminated=True)]
    how = {"policy": "by hand", "seed": 3, "return_by_round": [-9.5, -4.25]}
    return Described("fieldtune/x-v0", CHEETAH, TASKS, {"train": train, "test": test}, how)


def rows(text, first):
    """A table's rows whose first cell is `first`."""
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    return [row for row in cells if row and row[0] == first]


def test_it_counts_what_is_there(described):
    text = card(described, 12_345_678)
    assert "3 tasks of the family `cheetah-vel` (robot `half-cheetah`" in text
    assert "4 episodes, 7 transitions, 12.3 MB on disk" in text
    assert rows(text, "training")[0] == ["training", "2", "3", "6", "0"]
    assert rows(text, "held-out")[0] == ["held-out", "1", "1", "1", "1"]


def test_returns_are_by_split_by_task_and_by_round(described):
    text = card(described, 1)
    # Returns: −3 and −5 for the first task, −9 for the second.
    _, by_split, first, second = rows(text, "training")
    assert by_split[1:] == ["−9.00", "−7.00", "−5.00", "−4.00", "−3.00", "−5.67"]
    assert first[1:] == ["0", "0.5", "2", "−5.00", "−4.50", "−4.00", "−3.50", "−3.00"]
    assert second[1:4] == ["1", "1.25", "1"]
    assert "1: −9.50, 2: −4.25." in text


def test_every_field_is_there_with_its_unit(described):
    text = card(described, 1)
    for kind in ("observation_fields", "action_fields", "task_fields"):
        for field in getattr(CHEETAH, kind):
            (row,) = rows(text, f"`{field.name}`")
            assert row[2:4] == [str(field.width), field.unit]


def test_it_says_how_the_data_were_made_and_how_to_load_them(described):
    text = card(described, 1)
    assert "policy: by hand\nseed: 3\n" in text
    assert 'read_dataset(Path("FOLDER"), family("cheetah-vel"))' in text
    exec(compile(re.search(r"```python\n(from.*?)data = ", text, re.DOTALL)[1], "card", "exec"), {})


def test_tasks_of_many_numbers_are_counted_and_not_printed():
    hopper = make_family("hopper-params")
    tasks = hopper.split()
    bare = LabelledEpisode(0, np.zeros((2, 11)), np.zeros((1, 3)), np.ones(1), False)
    described = Described("x", hopper, tasks, {"train": [bare], "test": []}, {})
    text = card(described, 1)
    assert max(len(line) for line in text.splitlines() if line.startswith("| training")) < 80
    assert "Nobody measured the signals" in text


def test_a_task_without_an_episode_is_shown_as_such(described):
    without = replace(described, episodes={"train": described.episodes["train"][:2], "test": []})
    text = card(without, 1)
    assert rows(text, "training")[-1] == ["training", "1", "1.25", "0", "–", "–", "–", "–", "–"]
    to_png(returns_figure(without), DPI)


def test_the_same_data_have_the_same_card_and_picture(described):
    assert card(described, 7) == card(described, 7)
    first, again = (to_png(returns_figure(described), DPI) for _ in range(2))
    assert first == again


def test_a_dataset_has_its_card_beside_it_and_minari_is_not_disturbed(
    dataset_folder, short_family, random_episodes, tmp_path
):
    assert {path.name for path in dataset_folder.iterdir()} == {"data", "README.md", "returns.png"}
    text = (dataset_folder / "README.md").read_text()
    assert text.startswith("# fieldtune/cheetah-vel-v0\n")
    assert "260 episodes, 5,200 transitions" in text
    assert minari.MinariDataset(dataset_folder / "data").total_steps == 5200
    train, test = random_episodes
    write_dataset(tmp_path / "x", short_family, train=train, test=test, how={"policy": "random"})
    for name in ("README.md", "returns.png", "data/main_data.hdf5", "data/metadata.json"):
        assert (tmp_path / "x" / name).read_bytes() == (dataset_folder / name).read_bytes(), name

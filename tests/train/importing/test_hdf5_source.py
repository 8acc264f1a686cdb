from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fieldtune.train.data.dataset import DatasetError
from fieldtune.train.importing.hdf5_source import KEYS, TransitionFiles, read_transitions

HORIZON = 20  # of `short_family`


def columns_of(episodes, *, reversed_each=False, across=True):
    """Rows as a replay buffer saves them; `reversed_each` as MACAW's does."""
    parts = []
    for e in episodes:
        done = np.zeros(e.steps, bool)
        done[-1] = e.terminated
        rows = (e.observations[:-1], e.actions, e.observations[1:], e.rewards, done)
        parts.append([part[::-1] if reversed_each else part for part in rows])
    joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
    found = dict(zip(KEYS, joined, strict=True))
    for key in ("rewards", "terminals"):
        found[key] = found[key][:, None] if across else found[key]
    for key in ("obs", "next_obs", "actions", "rewards"):
        found[key] = found[key].astype(np.float32)
    return found


def write(path, columns):
    with h5py.File(path, "w") as file:
        for key, column in columns.items():
            file.create_dataset(key, data=column)
        file.create_dataset("discount_factor", data=0.99)  # others' keys do not matter
    return path


@pytest.fixture
def columns(random_episodes):
    return columns_of(random_episodes[0][:3])


@pytest.mark.parametrize("across", [True, False])
@pytest.mark.parametrize("reversed_each", [True, False])
def test_whole_trajectories_come_back_forwards_however_they_stand(
    tmp_path, short_family, random_episodes, reversed_each, across
):
    given_ones = random_episodes[0][:3]
    saved = columns_of(given_ones, reversed_each=reversed_each, across=across)
    found = read_transitions(write(tmp_path / "0.hdf5", saved), short_family, stride=1)
    assert len(found) == 3
    by_start = {episode.observations[0].astype(np.float32).tobytes(): episode for episode in found}
    for expected in given_ones:
        episode = by_start[expected.observations[0].astype(np.float32).tobytes()]
        np.testing.assert_allclose(episode.observations, expected.observations, rtol=1e-6)
        np.testing.assert_allclose(episode.actions, expected.actions, rtol=1e-6)
        np.testing.assert_allclose(episode.rewards, expected.rewards, rtol=1e-6)
        assert (episode.following, episode.terminated) == (None, False)
        assert episode.observations.dtype == episode.rewards.dtype == np.float64


def test_episodes_that_fall_between_the_rows_that_are_kept_are_said(
    tmp_path, short_family, random_episodes
):
    write(tmp_path / "0.hdf5", columns_of(random_episodes[0][:3]))
    source = TransitionFiles(str(tmp_path / "{task}.hdf5"), short_family, stride=1000)
    assert len(source.episodes("0")) == 1
    assert source.left_out(["0"]) == ["2 episodes so short that none of their rows is every 1000th"]


@pytest.mark.parametrize("reversed_each", [True, False])
@pytest.mark.parametrize("stride", [2, 7, 19, 1000])
def test_the_transitions_kept_are_the_baselines_every_nth_row(
    tmp_path, short_family, random_episodes, stride, reversed_each
):
    saved = columns_of(random_episodes[0][:5], reversed_each=reversed_each)
    found = read_transitions(write(tmp_path / "0.hdf5", saved), short_family, stride)

    def rows(*parts):
        return sorted(np.hstack([np.float32(part) for part in parts]).tolist())

    kept = {key: column[::stride] for key, column in saved.items()}
    expected = rows(kept["obs"], kept["actions"], kept["next_obs"], kept["rewards"])
    assert expected == rows(
        np.concatenate([e.observations[:-1] for e in found]),
        np.concatenate([e.actions for e in found]),
        np.concatenate([e.next_observations for e in found]),
        np.concatenate([e.rewards for e in found])[:, None],
    )


def test_a_seventh_is_the_default_and_the_last_rows_can_be_had_alone(
    tmp_path, short_family, columns
):
    path = write(tmp_path / "0.hdf5", columns)
    assert sum(e.steps for e in read_transitions(path, short_family)) == 9  # of 60 rows
    (last,) = read_transitions(path, short_family, stride=1, last=15)
    np.testing.assert_array_equal(last.observations[:-1], columns["obs"][-15:])


def cut(episode, steps):
    """Its first `steps`, the last of which led to a terminal state."""
    return replace(
        episode,
        observations=episode.observations[: steps + 1],
        actions=episode.actions[:steps],
        rewards=episode.rewards[:steps],
        terminated=True,
    )


@pytest.fixture
def ended(random_episodes):
    """The first of three episodes fell after six steps."""
    first, *others = random_episodes[0][:3]
    return columns_of([cut(first, 6), *others])


def test_a_terminal_row_ends_its_episode_unless_it_is_the_time_limit(tmp_path, short_family, ended):
    ended["terminals"][6 + HORIZON - 1] = True
    found = read_transitions(write(tmp_path / "0.hdf5", ended), short_family, stride=1)
    assert [(e.steps, e.terminated) for e in found] == [
        (6, True),
        (HORIZON, False),  # said to be terminal, at the horizon
        (HORIZON, False),
    ]


def test_a_terminal_row_that_is_not_kept_does_not_end_what_is(tmp_path, short_family, ended):
    found = read_transitions(write(tmp_path / "0.hdf5", ended), short_family, stride=4)
    assert [e.terminated for e in found] == [False] * 3
    found = read_transitions(write(tmp_path / "1.hdf5", ended), short_family, stride=5)
    assert [e.terminated for e in found] == [True, False, False]


@pytest.mark.parametrize("reversed_each", [True, False])
def test_an_end_in_mid_episode_is_refused(tmp_path, short_family, random_episodes, reversed_each):
    columns = columns_of(random_episodes[0][:3], reversed_each=reversed_each)
    columns["terminals"][25] = True
    with pytest.raises(DatasetError, match=r"'terminals' row 25 ends an episode, but its next_obs"):
        read_transitions(write(tmp_path / "0.hdf5", columns), short_family)


def test_episodes_longer_than_the_horizon_are_refused_before_they_are_thinned_out(
    tmp_path, short_family, columns
):
    """As an environment writes them that resets itself: its next_obs is of the next episode."""
    columns["next_obs"][HORIZON - 1] = columns["obs"][HORIZON]
    message = (
        r"0.hdf5: rows 0 to 39 follow each other as one episode: it has 40 steps, cheetah-vel ends "
        r"after 20 \(an environment that resets itself"
    )
    with pytest.raises(DatasetError, match=message):
        read_transitions(write(tmp_path / "0.hdf5", columns), short_family, stride=7)


@pytest.mark.parametrize("wide", ["obs", "next_obs"])
@pytest.mark.parametrize("kept_as", [np.float32, np.float64])
def test_float32_beside_float64_is_not_taken_for_shuffled(
    tmp_path, short_family, random_episodes, wide, kept_as
):
    columns = columns_of(random_episodes[0][:3])
    whole = random_episodes[0][:3]
    rows = {"obs": slice(None, -1), "next_obs": slice(1, None)}[wide]
    columns[wide] = np.concatenate([e.observations[rows] for e in whole])
    other = "next_obs" if wide == "obs" else "obs"
    columns[other] = columns[other].astype(kept_as)
    found = read_transitions(write(tmp_path / "0.hdf5", columns), short_family, stride=1)
    assert [e.steps for e in found] == [HORIZON] * 3
    assert all(e.following is None for e in found)


def test_actions_in_another_unit_are_refused_with_what_would_explain_them(
    tmp_path, short_family, columns
):
    columns["actions"] *= 100
    message = r"0.hdf5: rows 0 to 19 .*action 'joint_torque'\[\d\] at step 0 is .*\(cm for m, or"
    with pytest.raises(DatasetError, match=message):
        read_transitions(write(tmp_path / "0.hdf5", columns), short_family)


def test_columns_that_are_kept_in_another_file_are_not_followed(tmp_path, short_family, columns):
    elsewhere = write(tmp_path / "elsewhere.hdf5", columns)
    raw = tmp_path / "raw"
    raw.write_bytes(columns["rewards"].tobytes())
    del columns["rewards"]
    for name, link in (
        ("link", lambda file: file.__setitem__("rewards", h5py.ExternalLink(elsewhere, "rewards"))),
        (
            "raw",
            lambda file: file.create_dataset(
                "rewards", (60, 1), "f4", external=[(str(raw), 0, h5py.h5f.UNLIMITED)]
            ),
        ),
    ):
        path = write(tmp_path / f"{name}.hdf5", columns)
        with h5py.File(path, "a") as file:
            link(file)
        with pytest.raises(DatasetError, match=r"'rewards' is kept in another file: write it into"):
            read_transitions(path, short_family)


def drop(key):
    return lambda columns: columns.pop(key)


def put(key, value):
    return lambda columns: columns.update({key: value(columns[key])})


def spoil(key, row, value):
    def change(columns):
        columns[key][row] = value

    return change


def shuffle(columns):
    order = np.random.default_rng(0).permutation(len(columns["obs"]))[:20]
    columns.update({key: column[order] for key, column in columns.items()})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("next_obs"), r"0.hdf5: no key 'next_obs', only \['actions', 'discount_factor'"),
        (
            put("obs", lambda x: x[:, :17]),
            r"'obs' is \[60, 17\], expected \[rows, 20\] for cheetah",
        ),
        (put("actions", lambda x: x[..., None]), r"'actions' is \[60, 6, 1\]"),
        (
            put("rewards", lambda x: np.hstack([x, x])),
            r"'rewards' is \[60, 2\], expected \[rows, 1",
        ),
        (put("rewards", lambda x: x[:-1]), r"'rewards' has 59 rows, 'obs' has 60"),
        (put("terminals", lambda x: x[:0]), r"'terminals' has 0 rows"),
        (
            put("obs", lambda x: x.astype("S4")),
            r"'obs' is <HDF5 dataset .*expected an array of num",
        ),
        (put("actions", lambda x: x[0, 0]), r"'actions' is <HDF5 dataset"),
        (
            spoil("rewards", 7, np.nan),
            r"'rewards' row 7 is \[nan\], expected finite numbers, as in",
        ),
        (spoil("next_obs", 59, np.inf), r"'next_obs' row 59 is \[inf inf"),
        (shuffle, r"only \d of 20 rows have a next_obs that is the obs of a row beside"),
        (lambda c: c.update({k: x[:0] for k, x in c.items()}), r"'obs' has no rows"),
    ],
)
def test_a_malformed_file_is_refused_by_file_key_and_value(
    tmp_path, short_family, columns, change, message
):
    change(columns)
    with pytest.raises(DatasetError, match=message):
        read_transitions(write(tmp_path / "0.hdf5", columns), short_family)


def test_a_missing_file_and_one_that_is_no_hdf5_are_named(tmp_path, short_family):
    with pytest.raises(DatasetError, match=r"7.hdf5: no such file; .* check the pattern"):
        TransitionFiles(str(tmp_path / "{task}.hdf5"), short_family).episodes("7")
    (tmp_path / "7.hdf5").write_text("hello")
    with pytest.raises(DatasetError, match=r"7.hdf5: no HDF5 file, which is what is read"):
        TransitionFiles(str(tmp_path / "{task}.hdf5"), short_family).episodes("7")
    (tmp_path / "7.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n, and then cut")
    with pytest.raises(DatasetError, match=r"7.hdf5: not a readable HDF5 file"):
        TransitionFiles(str(tmp_path / "{task}.hdf5"), short_family).episodes("7")


shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
kinds = st.sampled_from(["f4", "f8", "i8", "u1", "?", "S3"])
values = st.sampled_from([0.0, 1.0, -1.0, np.nan, np.inf])


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from(KEYS), st.tuples(shapes, kinds, values), min_size=1),
    st.integers(1, 9),
)
def test_arrays_of_any_shape_and_kind_are_read_or_refused(short_family, strange, stride):
    with tempfile.TemporaryDirectory() as folder:
        s = np.arange(21.0)[:, None] + np.zeros(20)
        columns = {
            "obs": s[:-1],
            "next_obs": s[1:],
            "actions": np.zeros((20, 6)),
            "rewards": np.zeros(20),
            "terminals": np.zeros(20, bool),
        }
        for key, (shape, kind, value) in strange.items():
            with np.errstate(invalid="ignore"):
                columns[key] = np.full(shape, value).astype(kind)
        path = write(Path(folder) / "0.hdf5", columns)
        try:
            found = read_transitions(path, short_family, stride)
        except DatasetError as error:
            named = str(path) in str(error)
            assert named
        else:
            assert all(np.isfinite(e.observations).all() for e in found)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_truncated_file_is_refused(tmp_path, short_family, data):
    whole = tmp_path / "whole.hdf5"
    if not whole.exists():
        zeros = {key: np.zeros((4, 1)) for key in KEYS}
        write(whole, zeros | {"obs": np.zeros((4, 20)), "next_obs": np.zeros((4, 20))})
    content = whole.read_bytes()
    cut = tmp_path / "cut.hdf5"
    cut.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(DatasetError, match=r"cut\.hdf5"):
        read_transitions(cut, short_family)

"""Old bundles go, but for those that somebody may still need."""

from __future__ import annotations

import os

import pytest

from fieldtune.robot.bundles.store import (
    KEPT,
    bundle_of_id,
    folder_bytes,
    forget_bundles,
    kept_beside,
    make_room,
    stored_bundles,
)
from fieldtune.robot.journal.journal import Journal, JournalError


def store(folder, count):
    """Files as fetched from a trainer, oldest first; `0…0` is the oldest."""
    folder.mkdir(exist_ok=True)
    made = [folder / f"{number:064x}.bundle" for number in range(count)]
    for age, path in enumerate(made, 1):
        path.write_bytes(b"x")
        os.utime(path, ns=(age, age))
    return made


def test_the_newest_and_the_needed_stay(tmp_path):
    made = store(tmp_path, KEPT + 5)
    forgotten = forget_bundles(tmp_path, {made[1].stem})
    assert sorted(forgotten) == [made[0], *made[2:5]]
    assert stored_bundles(tmp_path) == [*reversed(made[5:]), made[1]]
    assert forget_bundles(tmp_path, {made[1].stem}) == []


def test_the_bundle_of_a_saved_task_is_found_beside_the_journal(tmp_path, make_bundle):
    folder = tmp_path / "tasks"
    folder.mkdir()
    made = make_bundle(folder / "made.bundle")
    found = bundle_of_id(made, kept_beside(tmp_path / "journal.sqlite"))
    assert found is not None
    assert found.id == made


def test_what_a_person_has_put_there_stays(tmp_path):
    store(tmp_path, KEPT)
    own = [tmp_path / "walk.bundle", tmp_path / "notes.txt", tmp_path / f"{'A' * 64}.bundle"]
    for path in own:
        path.write_bytes(b"mine")
        os.utime(path, ns=(0, 0))
    assert forget_bundles(tmp_path, set()) == []
    assert all(path.exists() for path in own)


def test_a_file_that_has_just_gone_is_not_listed(tmp_path):
    made = store(tmp_path, 2)
    (tmp_path / "gone.bundle").symlink_to(tmp_path / "nowhere")
    assert stored_bundles(tmp_path) == made[::-1]


def test_a_folder_that_refuses_or_is_not_there_is_no_error(tmp_path):
    assert forget_bundles(tmp_path / "none", set()) == []
    made = store(tmp_path, KEPT)
    in_the_way = tmp_path / f"{'e' * 64}.bundle"
    in_the_way.mkdir()
    os.utime(in_the_way, ns=(0, 0))
    assert forget_bundles(tmp_path, set()) == []
    assert len(stored_bundles(tmp_path)) == len(made) + 1


def test_the_oldest_from_the_trainer_go_until_a_new_one_fits(tmp_path):
    made = store(tmp_path, 6)
    (tmp_path / "walk.bundle").write_bytes(b"of a person")
    os.utime(tmp_path / "walk.bundle", ns=(0, 0))
    assert folder_bytes(tmp_path) == 17
    assert make_room(tmp_path, 4, 21, {made[0].stem}) == ""
    assert folder_bytes(tmp_path) == 17, "it fits as it is"
    assert make_room(tmp_path, 4, 18, {made[0].stem}) == ""
    assert stored_bundles(tmp_path) == [made[5], made[4], made[0], tmp_path / "walk.bundle"]


def test_what_must_stay_is_not_deleted_for_a_new_one(tmp_path):
    made = store(tmp_path, 3)
    why = make_room(tmp_path, 10**6, 10**6, {made[0].stem, made[1].stem})
    assert "raise robot.journal_quota_mb" in why
    assert stored_bundles(tmp_path) == [made[1], made[0]]


def test_without_a_bound_nothing_goes(tmp_path):
    made = store(tmp_path, 3)
    assert make_room(tmp_path, 10**12, None, set()) == ""
    assert len(stored_bundles(tmp_path)) == len(made)
    assert folder_bytes(tmp_path / "none") == 0


def test_a_journal_knows_which_bundles_its_episodes_ran(tmp_path, make_header):
    path = tmp_path / "journal.sqlite"
    with Journal.open(path) as journal:
        assert journal.bundles() == set()
        ran = {journal.begin(make_header(number)): make_header(number) for number in (1, 2)}
        assert journal.bundles() == {header.bundle_id for header in ran.values()}
        journal.connection.execute("UPDATE episodes SET header = x'80' WHERE number = 1")
        with pytest.raises(JournalError, match="journal verify"):
            journal.bundles()

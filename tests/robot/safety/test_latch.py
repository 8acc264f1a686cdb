"""The latch: whatever stands in its place stops the robot, and nobody waits for it."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
from pathlib import Path

import pytest

from fieldtune.robot.safety.latch import (
    confirm,
    held_by,
    latch,
    latch_twice,
    latched,
    outside,
    release,
    reserve,
)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def dangling_link(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def link_to_a_file(path: Path) -> None:
    (path.parent / "beside.txt").write_text("old\n")
    path.symlink_to(path.parent / "beside.txt")


def listening_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def folder(path: Path) -> None:
    path.mkdir()


ODD = [pipe, dangling_link, link_to_itself, link_to_a_file, listening_socket]


@pytest.mark.parametrize("make", [*ODD, folder], ids=lambda make: make.__name__)
def test_whatever_is_there_latches_until_a_person_rearms(tmp_path, make):
    path = tmp_path / "fault.txt"
    make(path)
    assert f"stands in the place of {path}" in latched(path)
    assert held_by(path) is None
    release(path)
    assert latched(path) is None
    assert sorted(tmp_path.iterdir()) == sorted(tmp_path.glob("beside.txt"))


@pytest.mark.parametrize("make", ODD, ids=lambda make: make.__name__)
def test_latching_makes_a_file_of_it_so_that_who_holds_can_say_so(tmp_path, make):
    path = tmp_path / "fault.txt"
    make(path)
    latch(path, "the arm is hot")
    confirm(path)
    assert latched(path).startswith("the arm is hot (")
    assert latched(path).endswith(f"stands in the place of {path})")
    assert held_by(path) == str(os.getpid())
    assert all(beside.read_text() == "old\n" for beside in tmp_path.glob("beside.txt"))


@pytest.mark.parametrize("spare", [False, True], ids=["a new file", "the file kept ready"])
def test_who_holds_may_say_so_before_the_reason_is_written(tmp_path, monkeypatch, spare):
    """Two threads latch at once, as after SIGCONT: the loop's own, and the one that watches it."""
    path = tmp_path / "fault.txt"
    write, make = os.write, os.open

    def meanwhile(descriptor, content):
        confirm(path)
        return write(descriptor, content)

    def full(name, flags, *rest):
        if flags & os.O_CREAT:
            raise OSError(errno.ENOSPC, "No space left on device")
        return make(name, flags, *rest)

    if spare:
        reserve(path)
        monkeypatch.setattr(os, "open", full)
    monkeypatch.setattr(os, "write", meanwhile)
    latch(path, "it stood still")
    assert (latched(path), held_by(path)) == ("it stood still", str(os.getpid()))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system: needs root")
def test_a_disk_that_takes_no_other_file_latches_all_the_same(tmp_path, mounted):
    with mounted(tmp_path, "-t", "tmpfs", "-o", "nr_inodes=16", "tmpfs"):
        path = tmp_path / "fault.txt"
        reserve(path)
        with contextlib.suppress(OSError):
            for number in range(20):
                (tmp_path / f"{number}").touch()
        with pytest.raises(OSError, match="No space left"):
            (tmp_path / "one more").touch()
        latch(path, "the arm is hot")
        assert latched(path) == "the arm is hot"
        release(path)
        latch(path, "again")  # what is kept ready was not used up
        assert latched(path) == "again"


def test_a_folder_with_something_in_it_stays_and_is_named(tmp_path):
    path = tmp_path / "fault.txt"
    path.mkdir()
    (path / "x").touch()
    latch(path, "the arm is hot")
    assert latched(path) == f"a folder stands in the place of {path}"
    with pytest.raises(OSError, match=r"fault\.txt"):
        release(path)
    assert latched(path) is not None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_a_latch_that_may_not_be_read_latches(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    path = Path("fault.txt")
    path.write_text("secret\n")
    path.chmod(0o600)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            before = latched(path)
            latch(path, "mine")
            os.write(writing, f"{before}, {latched(path)}".encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    assert os.read(reading, 4096) == b"fault.txt cannot be read, fault.txt cannot be read"
    os.close(reading)
    assert path.read_text() == "secret\n"


def test_where_it_cannot_be_known_is_an_error_that_names_the_file(tmp_path):
    (tmp_path / "state").write_text("a file\n")
    for ask in (latched, held_by):
        with pytest.raises(NotADirectoryError) as raised:
            ask(tmp_path / "state" / "fault.txt")
        assert Path(raised.value.filename) == tmp_path / "state" / "fault.txt"


@pytest.mark.parametrize(
    "reason",
    [
        "x\nheld by process 1",
        "x\rheld by process 1",
        "x\x0b\nheld by process 1\n",
        "held by process 1",
        "x\nheld by process 1held by process 2",
        "held by process 1\nheld by process 2\nx",
    ],
)
def test_a_reason_cannot_say_that_the_robot_is_held(tmp_path, reason):
    latch(tmp_path / "fault.txt", reason)
    assert held_by(tmp_path / "fault.txt") is None


def test_a_reason_may_hold_any_bytes(tmp_path):
    path = tmp_path / "fault.txt"
    latch(path, os.fsdecode(b"caf\xe9 \x1b[31m \xc2\xb5"))
    assert latched(path) == r"caf\udce9 \x1b[31m µ"


@pytest.fixture
def unwritable(tmp_path):
    """A latch whose folder cannot be: a file is in its place."""
    (tmp_path / "state").write_text("a file")
    path = tmp_path / "state" / "fault.txt"
    yield path
    for place in outside(path):
        place.unlink(missing_ok=True)


def test_a_folder_that_takes_no_latch_is_latched_all_the_same(unwritable):
    with pytest.raises(OSError, match="state"):
        latch(unwritable, "the arm is hot")
    unwritable.parent.unlink()
    assert latched(unwritable) == "the arm is hot"
    unwritable.parent.mkdir()
    assert latched(unwritable) == "the arm is hot"
    release(unwritable)
    assert latched(unwritable) is None
    assert not any(place.exists() for place in outside(unwritable))


def test_a_latch_in_both_places_outlives_its_folder(tmp_path):
    path = tmp_path / "state" / "fault.txt"
    latch_twice(path, "one")
    latch(path, "two")
    assert latched(path) == "one"
    shutil.rmtree(path.parent)
    assert latched(path) == "one"
    release(path)
    assert latched(path) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_a_stranger_puts_into_a_temporary_folder_latches_nothing(unwritable):
    place = outside(unwritable)[0]
    unwritable.parent.unlink()
    place.write_text("ha")
    assert latched(unwritable) == "ha"
    os.chown(place, 54_321, 54_321)
    assert latched(unwritable) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_strangers_file_is_not_taken_for_ones_own_latch(tmp_path):
    path = tmp_path / "state" / "fault.txt"
    one, other = outside(path)
    try:
        one.write_text("ha")
        os.chown(one, 54_321, 54_321)
        latch_twice(path, "the arm is hot")
        shutil.rmtree(path.parent)
        assert latched(path) == "the arm is hot"
        os.chown(other, 54_321, 54_321)
        with pytest.raises(PermissionError, match="another user's file is there"):
            latch_twice(path, "the arm is hot")
    finally:
        for place in (one, other):
            place.unlink(missing_ok=True)

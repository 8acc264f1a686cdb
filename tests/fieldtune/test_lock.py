"""One holder at a time, among real processes that end well, badly or not at all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fieldtune import lock as locks
from fieldtune.lock import FileLock, Held, exclusive

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys
from pathlib import Path
from fieldtune.lock import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def lock(tmp_path):
    return tmp_path / ".it.lock"


@pytest.fixture
def holder(lock):
    """Another process that holds the lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_told_who_holds_it(lock, holder):
    with pytest.raises(Held) as error, exclusive(lock):
        pass
    assert error.value.holder == str(holder.pid)


def test_it_is_free_when_its_holder_was_killed(lock, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with exclusive(lock):
        assert lock.read_text() == f"{os.getpid()}\n"


def test_it_leaves_no_file_when_it_ends_well_or_with_an_error(lock):
    with pytest.raises(ZeroDivisionError), exclusive(lock):
        1 / 0  # noqa: B018
    assert not lock.exists()


def test_a_lock_of_another_that_took_the_same_name_is_left_alone(tmp_path):
    """A folder removed by its holder, who then lets go, may have been made anew."""
    folder = tmp_path / "kept"
    folder.mkdir()
    with exclusive(folder / "lock"):
        shutil.rmtree(folder)
        folder.mkdir()
        (folder / "lock").write_text("of another")
    assert (folder / "lock").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(OSError, match="nowhere"), exclusive(tmp_path / "nowhere" / "lock"):
        pass


def test_a_lock_that_stays_is_held_until_its_release_and_leaves_its_file(lock):
    taken = FileLock.take(lock)
    assert locks.holder(lock) == str(os.getpid())
    with pytest.raises(Held):
        FileLock.take(lock)
    for _ in range(2):
        taken.release()
    assert locks.holder(lock) is None
    assert lock.exists()
    FileLock.take(lock).release(remove=True)
    assert not lock.exists()


def test_asking_who_holds_it_makes_no_file_and_waits_for_none(lock, holder):
    assert locks.holder(lock) == str(holder.pid)
    assert locks.holder(lock.with_name("none")) is None
    assert not lock.with_name("none").exists()

"""Errors of files: each names the file that a person gave, and what to do."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal

import pytest

from fieldtune.file_errors import naming, require_writable, sentence
from fieldtune.files import replace_atomically, sync, write_atomically


@contextlib.contextmanager
def no_room():
    """Files may not grow: what `write` then says has no path, as on a full disk.

    Within a test alone: pytest itself may be writing to a file.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_write_without_room_names_the_target(tmp_path):
    path = tmp_path / "x"
    for write in (
        lambda: write_atomically(path, b"1"),
        lambda: write_atomically(path, bytes(100_000)),
    ):
        with no_room(), pytest.raises(OSError, match="File too large") as raised:
            write()
        assert raised.value.filename == str(path)
        assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_made_or_replaced_names_the_target_and_no_temporary(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "folder", tmp_path / "file" / "x", tmp_path / "none" / "x"):
        with pytest.raises(OSError, match=path.name) as raised:
            write_atomically(path, b"1")
        assert sentence(raised.value).startswith(f"{path}: ")
    with pytest.raises(FileNotFoundError) as raised:
        sync(tmp_path / "none")
    assert sentence(raised.value) == f"{tmp_path / 'none'}: No such file or directory"


def test_a_file_in_a_temporary_folder_beside_the_target_names_the_target(tmp_path):
    with pytest.raises(FileNotFoundError) as raised, naming(tmp_path / "x"):
        (tmp_path / ".x.partial" / "data" / "y").read_bytes()
    assert raised.value.filename == str(tmp_path / "x")


def test_another_files_error_inside_keeps_its_name(tmp_path):
    with (
        pytest.raises(FileNotFoundError) as raised,
        replace_atomically(tmp_path / "x"),
    ):
        (tmp_path / "source").read_bytes()
    assert str(raised.value.filename) == str(tmp_path / "source")


def test_a_device_or_a_pipe_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no file that could be replaced"):
        write_atomically(tmp_path / "pipe", b"1")
    assert (tmp_path / "pipe").is_fifo()
    write_atomically(tmp_path / "pipe", b"1", over_anything=True)
    assert (tmp_path / "pipe").read_bytes() == b"1"


def test_a_cure_follows_where_one_is_known(tmp_path):
    with pytest.raises(OSError, match="No space") as raised, naming(tmp_path / "x"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    said = sentence(raised.value)
    assert said == f"{tmp_path / 'x'}: No space left on device: free some space"
    assert "`ulimit -n`" in sentence(OSError(errno.EMFILE, os.strerror(errno.EMFILE)))


def test_a_target_that_cannot_be_written_is_known_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    require_writable(tmp_path / "file")
    require_writable(tmp_path / "new" / "deep" / "x")
    for path, kind in (
        (tmp_path, IsADirectoryError),
        (tmp_path / "file" / "x", NotADirectoryError),
    ):
        with pytest.raises(kind) as raised:
            require_writable(path)
        assert raised.value.filename == str(path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_link_to_nothing_is_known_before_the_work_with_the_cure(tmp_path):
    """A disk that is not mounted: a folder cannot be moved there, a file would hide the link."""
    (tmp_path / "link").symlink_to("disk/data")
    for path in (tmp_path / "link", tmp_path / "link" / "deep" / "x"):
        with pytest.raises(OSError, match="is a link to disk/data") as raised:
            require_writable(path)
        assert "mount or make what it leads to, or remove the link" in sentence(raised.value)
        assert raised.value.filename == str(tmp_path / "link")
    (tmp_path / "disk" / "data").mkdir(parents=True)
    require_writable(tmp_path / "link" / "deep" / "x")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system: needs root")
def test_a_read_only_mount_is_called_so(tmp_path, mounted):
    with (
        mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "ro", "tmpfs") as disk,
        pytest.raises(OSError, match="Read-only") as raised,
    ):
        require_writable(disk / "x")
    assert "work on a copy" in sentence(raised.value)

from __future__ import annotations

import pytest

from fieldtune.files import write_atomically


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_no_debris(tmp_path):
    path = tmp_path / "file"
    path.mkdir()  # cannot be replaced by a file
    with pytest.raises(OSError, match="file"):
        write_atomically(path, b"new")
    assert list(tmp_path.iterdir()) == [path]

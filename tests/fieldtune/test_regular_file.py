"""What stands in the place of a file is never waited for."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from fieldtune.regular_file import open_regular, read_regular


def test_a_file_is_read_links_followed(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("x")
    assert read_regular(tmp_path / "link") == b"abc"


def test_a_pipe_a_socket_a_device_and_a_folder_are_refused_with_their_name(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)  # a socket's name is short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name, said in (("pipe", "a pipe"), ("socket", "a socket"), ("zero", "a device")):
        with pytest.raises(OSError, match=f"is {said}, expected a file: .*{name}"):
            open_regular(tmp_path / name)
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        open_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")


@pytest.mark.parametrize(
    "use",
    [
        "from fieldtune.lock import exclusive\nwith exclusive(path): pass",
        "from fieldtune.files import sync\nsync(path)",
        "from fieldtune.settings import load\nload(None, path)",
    ],
    ids=["lock", "sync", "settings"],
)
def test_no_pipe_is_waited_for(tmp_path, use):
    os.mkfifo(tmp_path / "pipe")
    script = f"import sys\nfrom pathlib import Path\npath = Path(sys.argv[1])\n{use}\n"
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "pipe"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "pipe" in done.stderr.splitlines()[-1]

from __future__ import annotations

import pytest

from fieldtune.own_files import HALVES, digest
from fieldtune.train.cluster.alike import FILES, NotAlike, installed, require_alike
from fieldtune.train.collecting import pieces, resumable


def test_a_machine_with_another_version_or_other_files_is_named_with_both():
    require_alike(installed(), {})
    with pytest.raises(NotAlike, match=r"mujoco is \S+ on \S+, and 1\.2\.3 where the command runs"):
        require_alike(installed() | {"mujoco": "1.2.3"}, {})
    with pytest.raises(NotAlike, match="fieldtune's files is"):
        require_alike(installed() | {FILES: "0" * 12}, {})


def test_a_folder_that_is_not_shared_is_named(tmp_path):
    (tmp_path / "there").write_text("x")
    require_alike({}, {str(tmp_path / "there"): "x"})
    for name, text in (("there", "another's"), ("missing", "x")):
        with pytest.raises(NotAlike, match=rf"{tmp_path} is not the same folder on"):
            require_alike({}, {str(tmp_path / name): text})


def test_versions_that_decide_the_bits_of_data_are_compared():
    assert {*pieces.LIBRARIES, *resumable.LIBRARIES} <= installed().keys()


def test_a_checkout_and_an_installation_of_the_same_files_are_alike(tmp_path):
    halves = [half for half in HALVES if half]
    checkout, copy = tmp_path / "checkout" / "fieldtune", tmp_path / "copy"
    for half in halves:
        for folder in (checkout.parent / half / "room", copy / half / "room"):
            folder.mkdir(parents=True)
            (folder / "file.py").write_text(half)
    checkout.mkdir()
    for half in halves:
        (checkout / half).symlink_to(f"../{half}")
    for package in (checkout, copy):
        (package / "__init__.py").write_text("")
    assert digest(package=checkout) == digest(package=copy)
    (copy / "sim" / "room" / "file.py").write_text("changed")
    digest.cache_clear()
    assert digest(package=checkout) != digest(package=copy)

"""The Dockerfile asks for what the rest of the repository says; no container is built here."""

from __future__ import annotations

import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
PAGE = (ROOT / "docs" / "container.md").read_text()
SETUP = (ROOT / "scripts" / "setup.sh").read_text()
FROM = re.findall(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, re.MULTILINE)
STAGES = [stage for _, stage in FROM]


def ignored_by(name: str) -> list[str]:
    return [
        line.strip("/")
        for line in (ROOT / name).read_text().splitlines()
        if line and not line.startswith("#")
    ]


def test_every_stage_begins_from_one_before_it_or_from_an_image_with_its_whole_version():
    assert DOCKERFILE.count("\nFROM ") == len(FROM)
    for number, (image, _) in enumerate(FROM):
        assert image in STAGES[:number] or re.fullmatch(r"[a-z]+:\d+\.\d+\.\d+-[a-z-]+", image)


def test_the_python_is_one_that_the_constraints_were_made_with():
    python = re.search(r"^FROM python:(\d+\.\d+)\.", DOCKERFILE, re.MULTILINE)
    assert python is not None
    assert f"on Python {python[1]} " in (ROOT / "constraints.txt").read_text()


def test_what_setup_would_install_is_a_layer_of_its_own():
    """Then nothing is left for it to ask apt for, as it says by `missing` and `wanted`."""
    asked = set(re.findall(r'(?:missing|wanted)="\$(?:missing|wanted) ([a-z0-9.+-]+)"', SETUP))
    installed = re.search(r"apt-get install [^&]*?--no-install-recommends ([^&]*)", DOCKERFILE)
    assert installed is not None
    assert asked == set(installed[1].split())


def test_both_targets_make_the_environment_and_run_the_demo_as_no_root():
    for target in ("cpu", "cuda"):
        stage = DOCKERFILE.partition(f"AS {target}\n")[2].partition("\nFROM ")[0]
        assert "make .venv/.installed" in stage
        assert 'CMD ["make", "demo"]' in stage
        assert re.search(r"^USER [1-9]", stage, re.MULTILINE)
        assert f"--target {target} " in PAGE


def test_an_image_has_all_that_is_tracked_and_nothing_that_git_leaves_out():
    patterns = ignored_by(".dockerignore")
    names = [pattern.removeprefix("**/") for pattern in patterns]
    assert set(ignored_by(".gitignore")) <= set(names)
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no repository of git here")
    left_out = [
        name
        for name in listed.stdout.splitlines()
        for pattern in patterns
        if fnmatch(name, pattern.removeprefix("**/"))
        or name.startswith(f"{pattern}/")
        or fnmatch(name.partition("/")[0], pattern)
    ]
    assert not left_out


def test_every_path_that_is_copied_is_there():
    for source in re.findall(r"^COPY (\S+) \S+$", DOCKERFILE, re.MULTILINE):
        assert (ROOT / source).exists()

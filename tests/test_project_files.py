"""Files for forges, citations and hooks say what the project does, and name only what is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

from scripts import smoke
from tests import declared_arguments

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_a_forks_checks_are_the_projects_own():
    workflow = read(".github/workflows/ci.yml")
    ran = [
        step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step
    ]
    assert ran == ["make check", "make docs", "make test"]
    assert {command.removeprefix("make ") for command in ran} <= targets()
    ours = re.findall(r"^make .*", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert set(ours) <= set(ran)
    assert workflow["permissions"] == {"contents": "read"}


def test_a_forks_python_is_one_that_the_workstation_takes():
    low = re.search(r"3\.11", (ROOT / "scripts/setup.sh").read_text())
    versions = {
        step["with"]["python-version"]
        for job in read(".github/workflows/ci.yml")["jobs"].values()
        for step in job["steps"]
        if "python-version" in step.get("with", {})
    }
    assert low is not None
    assert versions == {low[0]}


def test_a_release_runs_what_the_makefile_has_on_each_python():
    workflow = read(".github/workflows/release.yml")
    jobs = workflow["jobs"]
    ran = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    makes = [command for command in ran if command.startswith("make ")]
    assert makes == ["make dist"]
    assert {command.removeprefix("make ") for command in makes} <= targets()
    for name, versions in (("smoke", smoke.ROBOT), ("train", smoke.TRAIN)):
        assert tuple(jobs[name]["strategy"]["matrix"]["python"]) == versions
    for module, words in re.findall(r"python -m (scripts\.\w+) (.*)", "\n".join(ran)):
        words = re.sub(r"\$\{\{.*?\}\}|\"\$\w+\"( > .*)?", "3.11", words)
        declared_arguments.parse(module, words.split())


def test_a_release_may_write_only_where_it_has_to_and_publishes_what_was_tried():
    workflow = read(".github/workflows/release.yml")
    assert workflow[True] == {"push": {"tags": ["v*"]}}  # YAML reads `on` so
    assert workflow["permissions"] == {"contents": "read"}
    granted = {
        (name, what)
        for name, job in workflow["jobs"].items()
        for what, how in job.get("permissions", {}).items()
        if how == "write"
    }
    signs = {("build", "id-token"), ("build", "attestations")}
    assert granted == signs | {("release", "contents"), ("pypi", "id-token")}
    for name in ("release", "pypi"):
        assert set(workflow["jobs"][name]["needs"]) == {"smoke", "train"}
    assert workflow["jobs"]["pypi"]["environment"] == "pypi"


def test_the_citation_is_of_this_licence():
    cited = read("CITATION.cff")
    assert cited["license"] == PROJECT["license"]
    assert {"cff-version", "message", "title", "authors"} <= set(cited)  # what the format asks for
    for paper in (cited["preferred-citation"], *cited["references"]):
        assert {"type", "title", "authors", "year"} <= set(paper)
        assert all({"given-names", "family-names"} == set(author) for author in paper["authors"])


def test_hooks_run_what_make_check_runs():
    check = re.search(r"^check:.*?\n\n", (ROOT / "Makefile").read_text(), re.DOTALL | re.MULTILINE)
    assert check is not None
    (local,) = read(".pre-commit-config.yaml")["repos"]
    for hook in local["hooks"]:
        tool, _, arguments = hook["entry"].removeprefix(".venv/bin/").partition(" ")
        assert f"$(VENV)/bin/{tool}" in check[0]
        assert arguments.split(" ")[0] in check[0]

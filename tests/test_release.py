"""A release: one version everywhere, the files it holds, what it says of its dependencies."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from scripts import licences, smoke
from scripts.dependencies import PROJECT, brought_by, installed_in, requirements
from scripts.release_notes import FILES, disagreements, parts
from scripts.sbom import narrowed

ROOT = Path(__file__).parents[1]
FALLBACK = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools_scm"][
    "fallback_version"
]
RELEASED = "# Changelog\n\n## 1.2.0 (2027-01-31)\n\n- New.\n\n## 1.1.0 (2027-01-01)\n\n- Old.\n"
CITED = "version: 1.2.0\ndate-released: 2027-01-31\n"


HERE = Path(sys.prefix)  # the environment of these tests


def pyproject(fallback: str) -> str:
    return f'[tool.setuptools_scm]\nfallback_version = "{fallback}"\n'


def test_changelog_citation_and_fallback_agree_on_the_version():
    assert disagreements(*((ROOT / name).read_text() for name in FILES)) == []


@pytest.mark.parametrize(
    ("changelog", "cited", "fallback", "said"),
    [
        (RELEASED, CITED, "1.2.0", ""),
        (RELEASED, CITED, "1.2.1.dev0", "fallback_version 1.2.1.dev0, not 1.2.0"),
        (RELEASED, CITED.replace("1.2", "1.1"), "1.2.0", "has version 1.1.0, CHANGELOG.md 1.2.0"),
        (RELEASED, "version: 1.2.0\n", "1.2.0", "date-released None, CHANGELOG.md 2027-01-31"),
        ("# C\n\n## Unreleased\n\n" + RELEASED, CITED, "1.2.1.dev0", ""),
        ("# C\n\n## Unreleased\n\n" + RELEASED, CITED, "1.2.0", "does not end in .dev0"),
        ("# C\n\n## Unreleased\n\n" + RELEASED, CITED, "1.2.0.dev0", "not after 1.2.0"),
        ("# C\n\n## Unreleased\n", CITED, "0.1.0.dev0", "has version 1.2.0, CHANGELOG.md None"),
    ],
)
def test_a_version_that_was_forgotten_somewhere_is_named(changelog, cited, fallback, said):
    found = disagreements(changelog, cited, pyproject(fallback))
    assert (said in "\n".join(found)) if said else not found


def test_a_releases_notes_are_its_own_part_of_the_changelog():
    assert [(part.version, part.text) for part in parts(RELEASED)] == [
        ("1.2.0", "- New."),
        ("1.1.0", "- Old."),
    ]
    with pytest.raises(ValueError, match=re.escape("write '## 1.2.3 (2026-11-27)'")):
        parts("# C\n\n## Version 2\n")


def test_a_tree_without_git_has_the_fallback_as_version(wheel):
    """As the wheel of these tests, made from a copy; an image and a forge's archive are others."""
    assert wheel.name.split("-")[1] == str(Version(FALLBACK))


@pytest.mark.slow
def test_the_sdist_is_small_and_makes_the_wheel_of_the_checkout(wheel, tmp_path):
    """The sdist of all that git tracks has what the wheel needs, its papers, and nothing else."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no repository of git here")
    clone = tmp_path / "clone"
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_symlink() or (ROOT / name).is_file():
            target = clone / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_symlink():
                target.symlink_to((ROOT / name).readlink())
            else:
                target.write_bytes((ROOT / name).read_bytes())
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", clone]
    subprocess.run(["git", "init", "-q", clone], check=True)
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "all"], check=True)
    build = "from setuptools.build_meta import build_sdist; import sys; build_sdist(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", build, tmp_path], cwd=clone, check=True, capture_output=True
    )
    (sdist,) = tmp_path.glob("*.tar.gz")
    assert sdist.stat().st_size < 2e6
    with tarfile.open(sdist) as archive:
        top = {name.split("/")[1] for name in archive.getnames() if "/" in name}
        archive.extractall(tmp_path, filter="data")
    papers = {"README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "constraints.txt"}
    made = {"fieldtune.egg-info", "PKG-INFO", "setup.cfg"}
    assert top == papers | made | {"fieldtune", "pyproject.toml", "MANIFEST.in"}
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    source = sdist.with_name(sdist.name.removesuffix(".tar.gz"))
    subprocess.run([*pip, "-w", tmp_path, source], check=True)
    (again,) = tmp_path.glob("*.whl")
    assert re.fullmatch(r"\d+\.\d+\.\d+\.dev1\+g[0-9a-f]+", again.name.split("-")[1])
    assert files(again) == files(wheel)


def files(wheel: Path) -> dict[str, str]:
    """A hash by name, of all but the metadata's, which have the version."""
    from zipfile import ZipFile

    with ZipFile(wheel) as archive:
        return {
            name: hashlib.sha256(archive.read(name)).hexdigest()
            for name in archive.namelist()
            if ".dist-info/" not in name
        }


def test_an_installation_is_followed_from_package_to_package():
    robot = brought_by(requirements(), installed_in(HERE))
    train = brought_by(requirements("train"), installed_in(HERE))
    assert {"numpy", "flatbuffers", "mdurl"} <= robot < train  # of onnxruntime, of rich by way
    assert not {"torch", "mujoco", "pytest"} & robot
    assert "quadprog" in train  # robosuite's qpsolvers[quadprog]
    assert not {"ray", "ruff", "mkdocs"} & train
    with pytest.raises(LookupError, match="no-such-thing>=3 is not installed there: run make"):
        brought_by([Requirement("no-such-thing>=3")], installed_in(HERE))


def test_a_bill_of_materials_has_what_is_needed_and_what_needs_it(tmp_path):
    wheel = tmp_path / "fieldtune-1.2.0-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    names = ("numpy", "onnxruntime", "protobuf", "ray")
    everything = {
        "metadata": {"tools": {}},
        "components": [{"name": name, "bom-ref": name} for name in names],
        "dependencies": [
            {"ref": "onnxruntime", "dependsOn": ["numpy", "protobuf", "ray"]},
            {"ref": "ray", "dependsOn": ["protobuf"]},
        ],
    }
    bill = narrowed(everything, {"numpy", "onnxruntime", "protobuf"}, (), wheel)
    assert [one["name"] for one in bill["components"]] == ["numpy", "onnxruntime", "protobuf"]
    assert bill["dependencies"] == [
        {"ref": "fieldtune==1.2.0", "dependsOn": ["numpy", "onnxruntime"]},
        {"ref": "onnxruntime", "dependsOn": ["numpy", "protobuf"]},
    ]
    (digest,) = bill["metadata"]["component"]["hashes"]
    assert digest["content"] == hashlib.sha256(b"wheel").hexdigest()
    with pytest.raises(ValueError, match="lacks flatbuffers"):
        narrowed(everything, {"numpy", "flatbuffers"}, (), wheel)


def listed() -> dict[str, str]:
    """Licences by package, as docs/licences.md has them."""
    rows = re.findall(r"^\| ([a-z0-9-]+) \| (.+) \|$", licences.PAGE.read_text(), re.MULTILINE)
    return {name: licence for name, licence in rows if name != "package"}


def test_every_requirement_has_its_licence_on_the_page():
    optional = PROJECT["optional-dependencies"]
    named = {canonicalize_name(one.name) for one in requirements(*optional)}
    assert not named - set(listed()), "make licences"


def test_no_strong_copyleft_and_no_unknown_licence_is_unexplained():
    strong = {name for name, licence in listed().items() if licences.STRONG.search(licence)}
    assert strong == {"quadprog", "robosuite"}
    text = licences.PAGE.read_text()
    for name in strong:
        assert f"- **{name}**: {licences.EXPLAINED[name]}." in text


@pytest.mark.parametrize(
    ("licence", "strong"),
    [
        ("GNU General Public License v2 or later (GPLv2+)", True),
        ("AGPL-3.0-only", True),
        ("GPL-3.0-or-later WITH GCC-exception-3.1", True),
        ("UNKNOWN", True),
        ("Other/Proprietary License", True),
        ("GNU Lesser General Public License v3 (LGPLv3)", False),
        ("MPL-2.0 AND MIT", False),
    ],
)
def test_a_licence_that_must_be_explained_ends_the_page(licence, strong):
    found, groups = {"numpy": "BSD", "thing": licence}, {"Robot": {"numpy", "thing"}}
    if strong:
        with pytest.raises(ValueError, match=r"explain in scripts/licences\.py: thing"):
            licences.page(found, groups)
    else:
        assert f"| thing | {licence} |" in licences.page(found, groups)


@pytest.mark.slow
def test_no_manipulation_family_needs_what_is_under_the_gpl():
    """docs/licences.md says that it may be uninstalled."""
    script = """
import sys
for name in ("quadprog", "qpsolvers", "mink"):
    sys.modules[name] = None  # an import of it fails
import numpy as np
from fieldtune.sim.registry import family
for name in ("reach", "push", "multi", "drawer-door", "pick-place"):
    made = family(name)
    tasks = made.sample_tasks(0, 1)
    batch, robot = made.simulator(1), made.single_robot()
    batch.reset(np.zeros(1, np.int64), tasks)
    batch.step(np.zeros((1, sum(field.width for field in made.action_fields))))
    robot.reset(0, tasks[0])
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_a_python_that_is_not_there_is_told():
    running = ".".join(map(str, sys.version_info[:2]))
    assert smoke.interpreter(running) is not None
    assert smoke.interpreter("3.99") is None
    done = subprocess.run(
        [sys.executable, "-m", "scripts.smoke", "--python", "3.99", "--dist", "nowhere"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "nowhere has 0 wheels of fieldtune, not one: make dist" in done.stderr

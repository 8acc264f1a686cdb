"""The documentation's site: its navigation, its generated reference, and a strict build of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from fieldtune import plugins
from fieldtune.robot.cli.app import app as robot
from fieldtune.robot.drivers.faults import FaultOptions
from fieldtune.robot.drivers.hardware.options import ZmqOptions
from fieldtune.robot.drivers.sim import SimOptions
from fieldtune.train.algorithms.registry import GROUP
from fieldtune.train.cli.app import app as trainer
from fieldtune.train.runs.config_file import ChosenAlgorithm
from scripts import reference

ROOT = Path(__file__).parents[1]
FILE = yaml.load((ROOT / "mkdocs.yml").read_text(), yaml.BaseLoader)  # passes over its own tags


def named(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for one in nav.values() if isinstance(nav, dict) else nav:
            yield from named(one)


def test_the_navigation_names_every_page_once_and_no_other():
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert Counter(named(FILE["nav"])) == Counter([*pages, *PAGES])


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return reference.pages()


PAGES = ("reference/cli.md", "reference/configuration.md", "reference/python.md")


def commands(command: Any, name: str) -> Iterator[str]:
    yield name
    for inner, below in getattr(command, "commands", {}).items():
        yield from commands(below, f"{name} {inner}")


def test_every_command_has_its_part_with_its_examples_as_code(pages):
    page = pages["reference/cli.md"]
    for app, name in ((trainer, "fieldtune"), (robot, "fieldtune-robot")):
        known = list(commands(typer.main.get_command(app), name))
        assert len(known) > 10
        for one in known:
            assert re.search(rf"^#+ `{one}`$", page, re.MULTILINE), one
    assert "```bash\nfieldtune-robot adapt --config FILE --save left-shelf\n" in page
    assert not re.search(r"^  |<span|&#x27;", page, re.MULTILINE)
    assert page.count("```") % 2 == 0


@pytest.mark.parametrize("algorithm", plugins.names(GROUP))
def test_every_key_of_the_configuration_is_there_and_explained(algorithm, pages):
    page = pages["reference/configuration.md"]
    parts = re.split(r"^## ", page, flags=re.MULTILINE)[1:]
    chosen = ChosenAlgorithm.model_validate({"algorithm": {"name": algorithm}})
    sections = list(reference.sections(chosen.config_model(Path())))
    sections += [("robot.driver", model) for model in (SimOptions, ZmqOptions)]
    sections += [("robot.driver.faults", FaultOptions)]
    for key, model in sections:
        title = f"`{key}`" if key else "The whole file"
        there = "".join(part for part in parts if part.startswith((f"{title}\n", f"{title} with")))
        for name in model.model_fields:
            assert f"\n| `{name}` | " in there, f"{key}.{name}"
            assert reference.described(model, name), f"{key}.{name} is explained nowhere"


def test_every_name_that_a_package_may_import_is_on_the_page_of_python_once(pages):
    page = pages["reference/python.md"]
    for module, names in reference.public_names().items():
        part = page.split(f"\n## `{module}`\n")[1].split("\n## ")[0]
        for name in names:
            assert (f"::: {module}.{name}\n" in part) != (f"`{name}` is [" in part), name
    assert "`Field` is [fieldtune.sim.family's](#fieldtune.sim.family.Field)" in page


class Addresses(HTMLParser):
    """What a page loads: scripts, styles, pictures, fonts."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        one = dict(attrs)
        if tag in ("script", "img", "iframe") and one.get("src"):
            self.loaded.append(str(one["src"]))
        if tag == "link" and one.get("rel") != "canonical" and one.get("href"):
            self.loaded.append(str(one["href"]))


@pytest.mark.slow
def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("mkdocs", reason="pip install '.[docs]'")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    built = sorted(tmp_path.rglob("*.html"))
    assert len(built) >= len(list(named(FILE["nav"])))
    for page in built:
        found, text = Addresses(), page.read_text()
        assert "```" not in re.sub(r"<pre>.*?</pre>", "", text, flags=re.DOTALL), page.name
        found.feed(text)
        for address in found.loaded:
            assert not re.match(r"(https?:)?//", address), f"{page.name} loads {address}"
            if page.name != "404.html" and not address.startswith("data:"):
                there = page.parent / address.partition("?")[0].partition("#")[0]
                assert there.exists(), f"{page.name} loads {address}"
    assert not list(tmp_path.rglob("*.py"))
    python = (tmp_path / "reference" / "python.html").read_text()
    assert 'id="fieldtune.sim.family.TaskFamily.reward"' in python
    assert "Leading dimensions broadcast" in python  # a docstring's own words

"""What a user's package imports of fieldtune is promised in one table, and all of it is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from scripts.reference import PROMISE, public_names

ROOT = Path(__file__).parents[2]
PAGE = "docs/your-own-robot.md"
PAGES = (PAGE, "docs/families.md", "docs/drivers.md", "docs/datasets.md", "docs/bundle.md")


def imported(text: str) -> Iterator[tuple[int, str, str]]:
    """Line, module and name of each import of fieldtune's."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            named = [(one.name, "") for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            named = [(node.module or "", one.name) for one in node.names]
        else:
            continue
        for module, name in named:
            if module.split(".")[0] == "fieldtune":
                yield node.lineno, module, name


def written() -> Iterator[tuple[str, str]]:
    """What is written for others to copy: examples, templates, and the pages' Python."""
    for file in sorted((ROOT / "examples").rglob("*.py")):
        yield file.relative_to(ROOT).as_posix(), file.read_text()
    for file in sorted((ROOT / "train/new_package/templates").rglob("*.py.template")):
        text = re.sub(r"\$\{?\w+\}?", "word", file.read_text())
        yield file.relative_to(ROOT).as_posix(), text
    for page in PAGES:
        blocks = re.findall(r"^```python[^\n]*\n(.*?)^```", (ROOT / page).read_text(), re.S | re.M)
        for number, block in enumerate(blocks, 1):
            yield f"{page}, block {number}", block


def test_nothing_private_is_imported():
    known = public_names()
    wrong = [
        f"{place}:{line} imports {module}:{name or '(all of it)'}"
        for place, text in written()
        for line, module, name in imported(text)
        if name not in known.get(module, ())
    ]
    assert not wrong, f"{PAGE} does not promise:\n" + "\n".join(wrong)


def test_nothing_private_is_reached_for():
    """Nor by an attribute that begins with an underscore, of anything but oneself."""
    wrong = [
        f"{file.relative_to(ROOT)}:{node.lineno} uses {ast.unparse(node)}"
        for file in sorted((ROOT / "examples").rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not (isinstance(node.value, ast.Name) and node.value.id == "self")
    ]
    assert not wrong, "\n".join(wrong)


def test_what_is_promised_is_there():
    """Each name of the table, in one of its row's modules."""
    known = public_names()
    assert len(known) > 10
    text = (ROOT / PAGE).read_text().split(f"## {PROMISE}\n")[1]
    names = {
        name
        for row in re.findall(r"^\| `fieldtune[^|]*\|([^|]*)\|", text, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert names - set().union(*known.values()) == set()

"""docs/licences.md, the licences of what fieldtune needs: `python -m scripts.licences ENVIRONMENT`.

As the packages' own metadata say (pip-licenses reads them). What asks for more than to be named is
explained here by hand, and a package that should be and is not ends the command.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Mapping
from pathlib import Path

from packaging.utils import canonicalize_name

from scripts.dependencies import PROJECT, ROOT, brought_by, installed_in, requirements

PAGE = ROOT / "docs" / "licences.md"
ALONE = ("wandb", "mlflow", "trackio", "openvino")  # extras that `make` does not install
STRONG = re.compile(r"\b(?:AGPL|GPL|GNU (?:Affero )?General Public|UNKNOWN|Proprietary)", re.I)

# By package: what its metadata leave open, or what its licence asks of whoever passes it on.
EXPLAINED = {
    "robosuite": "names no licence in its metadata; the file LICENSE in its wheel is MIT's",
    "quadprog": "GPL 2 or later. robosuite requires it by way of qpsolvers, for an inverse "
    "kinematics that its wheel lacks: fieldtune imports neither, and no manipulation family loads "
    "them, as a test holds. Nothing of it is in fieldtune's files. **Whoever passes on an "
    "environment or an image with it passes on GPL software**, and has to keep that licence's "
    "terms for it; `pip uninstall quadprog qpsolvers mink` takes it out, and the families run",
}

HEAD = """# Licences

Fieldtune is under the [Apache License 2.0](../LICENSE). Its wheel and its sdist hold fieldtune's
own files alone; pip installs the packages below beside it, each under its own licence. The lists
are what their metadata say in the versions of `constraints.txt`, on Linux and Python 3.11; of
libraries that a package's wheel bundles, as opencv-python does FFmpeg, that package's own files
tell. `make licences` writes this page, `make dist` puts it beside the wheel, and names and versions
are in the bills of materials there ([releasing.md](releasing.md)). It is a list, no legal advice.
"""
NVIDIA = """
PyPI's build of torch for Linux also requires NVIDIA's CUDA libraries (`cuda-toolkit`, `nvidia-…`),
which are under NVIDIA's own terms, and triton. They are not in the lists, which were made with a
build of torch without CUDA.
"""


def licences(python: Path) -> dict[str, str]:
    """What pip-licenses says of an environment's packages, by canonical name."""
    tool = Path(sys.executable).parent / "pip-licenses"
    command = [tool, "--python", python, "--format=json", "--with-system"]
    said = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return {canonicalize_name(one["Name"]): " ".join(one["License"].split()) for one in said}


def page(found: Mapping[str, str], groups: Mapping[str, set[str]]) -> str:
    """The page's text.

    Args:
        found: a licence by canonical name.
        groups: what each heading lists, in order; what an earlier one has is not listed again.

    Raises:
        ValueError: a package of strong copyleft, or without a licence in its metadata, is not
            explained.
    """
    listed = set().union(*groups.values())
    if unexplained := [
        name for name in sorted(listed) if STRONG.search(found[name]) and name not in EXPLAINED
    ]:
        raise ValueError(f"explain in scripts/licences.py: {', '.join(unexplained)}")
    explained = [f"- **{name}**: {EXPLAINED[name]}." for name in sorted(listed & EXPLAINED.keys())]
    weak = sorted(name for name in listed if re.search("LGPL|MPL|Mozilla", found[name]))
    parts = [HEAD, "## What asks for more than to be named\n", *explained]
    parts.append(f"- Of weaker copyleft (LGPL, MPL), used as they come: {', '.join(weak)}.")
    parts.append(NVIDIA)
    before: set[str] = set()
    for heading, names in groups.items():
        rows = [f"| {name} | {found[name]} |" for name in sorted(names - before)]
        parts += [f"## {heading}\n", "| package | licence |", "|---|---|", *rows, ""]
        before |= names
    return "\n".join(parts).rstrip() + "\n"


def _groups(environment: Path) -> Iterator[tuple[str, set[str]]]:
    installed = installed_in(environment)
    extras = PROJECT["optional-dependencies"]
    inside = [extra for extra in extras if extra not in (*ALONE, "train", "dev", "docs")]
    yield "The robot's side, `fieldtune`", brought_by(requirements(), installed)
    yield "The workstation adds, `fieldtune[train]`", brought_by(requirements("train"), installed)
    yield f"Extras add: {', '.join(inside)}", brought_by(requirements(*inside), installed)
    known = {canonicalize_name(one.name) for one in requirements(*ALONE)}
    yield f"Extras of which only themselves are listed: {', '.join(ALONE)}", known
    yield (
        "To work on fieldtune, `docs` and `dev`",
        brought_by(requirements("docs", "dev"), installed),
    )


def _alone(folder: Path) -> dict[str, str]:
    """Licences of the extras that are not installed, without what they need in turn."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    lines = [str(one) for extra in ALONE for one in requirements(extra)[len(requirements()) :]]
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", *lines], check=True)
    return licences(python)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("environment", type=Path, help="with fieldtune[train,dev], as .venv")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = _alone(Path(folder)) | licences(given.environment / "bin" / "python")
    PAGE.write_text(page(found, dict(_groups(given.environment))))
    print(PAGE.relative_to(ROOT))


if __name__ == "__main__":
    main()

"""Software bills of materials of the wheel in dist/, in CycloneDX's format: `python -m scripts.sbom
ENVIRONMENT DIST`, once for the robot's side, once for `fieldtune[train]`.

cyclonedx-py describes all of an environment; what else is installed in it is left out here.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Set
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from scripts.dependencies import PROJECT, brought_by, installed_in, requirements

SIDES = {"robot": (), "train": ("train",)}  # extras by the file's name


def describe(environment: Path, wheel: Path) -> dict[str, dict[str, Any]]:
    """A bill of materials for each of `SIDES`."""
    tool = Path(sys.executable).parent / "cyclonedx-py"
    command = [tool, "environment", "--output-reproducible", environment / "bin" / "python"]
    everything = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    installed = installed_in(environment)
    return {
        side: narrowed(everything, brought_by(requirements(*extras), installed), extras, wheel)
        for side, extras in SIDES.items()
    }


def narrowed(
    everything: dict[str, Any], names: Set[str], extras: tuple[str, ...], wheel: Path
) -> dict[str, Any]:
    """What an environment's bill says of some of its packages, with the wheel as what needs them.

    Args:
        everything: the environment's bill, as JSON.
        names: canonical names of the packages that are kept.
        extras: of fieldtune, that ask for them.
        wheel: fieldtune's, whose hash becomes the subject's.

    Raises:
        ValueError: the environment's bill lacks one of `names`.
    """
    kept = [one for one in everything["components"] if canonicalize_name(one["name"]) in names]
    if missing := names - {canonicalize_name(one["name"]) for one in kept}:
        raise ValueError(f"the environment's bill lacks {', '.join(sorted(missing))}")
    references = {one["bom-ref"] for one in kept}
    graph = [
        one | {"dependsOn": [ref for ref in one.get("dependsOn", ()) if ref in references]}
        for one in everything["dependencies"]
        if one["ref"] in references
    ]
    direct = {canonicalize_name(requirement.name) for requirement in requirements(*extras)}
    needs = [one["bom-ref"] for one in kept if canonicalize_name(one["name"]) in direct]
    subject = _subject(extras, wheel)
    return everything | {
        "metadata": everything["metadata"] | {"component": subject},
        "components": kept,
        "dependencies": [{"ref": subject["bom-ref"], "dependsOn": needs}, *graph],
    }


def _subject(extras: tuple[str, ...], wheel: Path) -> dict[str, Any]:
    version = wheel.name.split("-")[1]
    of = f"[{','.join(extras)}]" if extras else ""
    return {
        "type": "application",
        "bom-ref": f"fieldtune{of}=={version}",
        "name": f"fieldtune{of}",
        "version": version,
        "description": PROJECT["description"],
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(wheel.read_bytes()).hexdigest()}],
        "licenses": [{"license": {"id": PROJECT["license"], "acknowledgement": "declared"}}],
        "purl": f"pkg:pypi/fieldtune@{version.replace('+', '%2B')}",
    }


def main() -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("environment", type=Path, help="with fieldtune[train], as .venv")
    parser.add_argument("dist", type=Path, help="where the wheel is, and the bills go")
    given = parser.parse_args()
    (wheel,) = given.dist.glob("*.whl")
    for side, bill in describe(given.environment, wheel).items():
        text = json.dumps(bill, indent=2) + "\n"
        if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
            raise SystemExit(f"{side}: not valid CycloneDX: {error}")
        if found := re.search(r"file://\S*", text):
            raise SystemExit(f"{side}: names a file of this machine: {found[0]}")
        path = given.dist / f"fieldtune-{wheel.name.split('-')[1]}-{side}.cdx.json"
        path.write_text(text)
        print(f"{path}: {len(bill['components'])} packages")


if __name__ == "__main__":
    main()

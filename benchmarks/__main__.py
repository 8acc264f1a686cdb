"""`python -m benchmarks [--quick] [--resume] [NAME ...]`: every benchmark, and docs/benchmarks.md.

Each runs in a process of its own, one after the other, and the page is written after each. One that
fails is reported with its reason, and the others still run. The page holds what was named, or
everything; with `--resume` also what an earlier run of the same versions has left, which is not
measured again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from benchmarks.figures import Report, Table
from benchmarks.machine import machine, versions
from benchmarks.page import page
from fieldtune.files import write_atomically

ROOT = Path(__file__).parents[1]
NAMES = (
    "locomotion",
    "islands",
    "manipulation",
    "smac",
    "wide",
    "lean",
    "gpu",
    "cycle",
    "cpp",
    "particles",
    "following",
    "bridge",
    "journal",
    "view",
    "start",
    "scaling",
    "cores",
)


def run(name: str, quick: bool) -> list[Table] | str:
    """The tables of one benchmark, or why there are none."""
    with TemporaryDirectory() as temporary:
        found = Path(temporary) / "tables.json"
        command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(found)]
        done = subprocess.run(command + ["--quick"] * quick, cwd=ROOT, stderr=subprocess.PIPE)
        if done.returncode == 0:
            return msgspec.json.decode(found.read_bytes(), type=list[Table])
    said = done.stderr.decode(errors="replace").strip()
    print(said, file=sys.stderr)
    return said.splitlines()[-1] if said else f"ended with status {done.returncode}"


def begun(folder: Path, found: dict[str, str], quick: bool) -> Report | None:
    """What a run of the same versions left in `folder`, but for what failed; None for none."""
    try:
        report = msgspec.json.decode((folder / "benchmarks.json").read_bytes(), type=Report)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    if report.versions != found or report.quick != quick:
        return None
    return msgspec.structs.replace(report, failed={})


def measure(names: list[str], report: Report, folder: Path) -> None:
    """Every benchmark of `names` that `report` does not have yet, and the page after each."""
    for name in names:
        if name in report.results:
            print(f"benchmarks.{name}: there already", flush=True)
            continue
        print(f"benchmarks.{name}", flush=True)
        result = run(name, report.quick)
        if isinstance(result, str):
            report.failed[name] = result
        else:
            report.results[name] = result
        write(report, folder)


def write(report: Report, folder: Path) -> None:
    """benchmarks.md and the raw numbers, benchmarks.json, beside it; always in the same order."""
    found = report.results
    in_order = {name: found[name] for name in NAMES if name in found}
    report = msgspec.structs.replace(report, results=in_order)
    numbers = msgspec.json.format(msgspec.json.encode(report), indent=1)
    write_atomically(folder / "benchmarks.json", numbers + b"\n")
    write_atomically(folder / "benchmarks.md", page(report).encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all")
    parser.add_argument("--quick", action="store_true", help="seconds, and numbers of no meaning")
    parser.add_argument("--resume", action="store_true", help="keep what an earlier run has left")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="the page's folder")
    given = parser.parse_args()
    unknown = sorted(set(given.names) - set(NAMES))
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}: there are {', '.join(NAMES)}")
    given.out.mkdir(parents=True, exist_ok=True)  # found missing after an hour, all would be lost
    found = versions()
    report = begun(given.out, found, given.quick) if given.resume else None
    here = machine()
    if report is None:
        report = Report(here, found, given.quick, {}, {})
    elif here["commit"] not in report.machine["commit"]:
        report.machine["commit"] += f", resumed at {here['commit']}"
    measure(given.names or list(NAMES), report, given.out)
    print(f"{given.out / 'benchmarks.md'}: {len(report.tables)} tables")
    if report.failed:
        raise SystemExit(f"these failed: {', '.join(report.failed)}")


if __name__ == "__main__":
    main()

"""`python -m benchmarks.inference CONFIG FOLDER [--kept-back N] [--seeds 0,1] [--only PART,...]`.

Trains phase 1 in FOLDER/seed-N where it is not there, or goes on with it; what was measured there
is kept in its ablations.json and not measured again. Prints each table, pooled over the seeds, and
writes all of them to FOLDER/ablations.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import msgspec
import torch

from benchmarks.inference.bench import Bench, open_kept_back, own_randomness
from benchmarks.inference.decoders import decoders
from benchmarks.inference.exploring import exploring
from benchmarks.inference.phase_two import phase_two
from benchmarks.inference.refined import refinement
from benchmarks.inference.residuals import residuals
from benchmarks.inference.sources import number, source
from benchmarks.inference.tables import Table, markdown, pooled
from benchmarks.inference.tempers import temper
from benchmarks.inference.unlike import unlike
from fieldtune.files import write_atomically
from fieldtune.train.runs.config_file import load_config

PARTS: dict[str, Callable[[Bench], Table]] = {
    "sources": source,
    "number": number,
    "temper": temper,
    "unlike": unlike,
    "refinement": refinement,
    "exploring": exploring,
    "residuals": residuals,
    "decoders": decoders,
    "phase-2": phase_two,
}
_RANDOMNESS = 1_000  # of a part's own draws: none of the protocol's


def ablate(
    open_bench: Callable[[int], Bench], folder: Path, seeds: Sequence[int], parts: Sequence[str]
) -> None:
    """Measure what is not in `folder` yet, part by part.

    Args:
        open_bench: gives a seed's bench, when it is first needed.
        folder: of everything.
        seeds: of phase 1, its particles and all draws.
        parts: names in `PARTS`.
    """
    for part in parts:
        for seed in seeds:
            path = results(folder, seed)
            known = read(path)
            if part not in known:
                bench = open_bench(seed)
                with own_randomness(seed, _RANDOMNESS):
                    known[part] = PARTS[part](bench)
                write_atomically(path, msgspec.json.encode(known))
        print(f"\n{markdown(_pooled(folder, seeds, part))}", flush=True)
        write_atomically(folder / "ablations.md", page(folder, seeds).encode())


def page(folder: Path, seeds: Sequence[int]) -> str:
    """Every part that all the seeds have."""
    common = [part for part in PARTS if all(part in read(results(folder, s)) for s in seeds)]
    return "\n\n".join(markdown(_pooled(folder, seeds, part)) for part in common) + "\n"


def results(folder: Path, seed: int) -> Path:
    return folder / f"seed-{seed}" / "ablations.json"


def read(path: Path) -> dict[str, Table]:
    if not path.exists():
        return {}
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Table])


def _pooled(folder: Path, seeds: Sequence[int], part: str) -> Table:
    return pooled([read(results(folder, seed))[part] for seed in seeds])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--kept-back", type=int, default=20, help="training tasks to act in")
    parser.add_argument("--seeds", type=_numbers, default=[0])
    parser.add_argument("--only", type=_parts, default=list(PARTS), help=", ".join(PARTS))
    given = parser.parse_intermixed_args()  # settings on either side of an option
    torch.set_num_threads(1)

    @cache
    def open_bench(seed: int) -> Bench:
        config = load_config(given.config, overrides=[*given.overrides, f"seed={seed}"])
        return Bench.of(open_kept_back(config, given.folder / f"seed-{seed}", given.kept_back))

    ablate(open_bench, given.folder, given.seeds, given.only)


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _parts(text: str) -> list[str]:
    parts = text.split(",")
    for part in parts:
        if part not in PARTS:
            raise argparse.ArgumentTypeError(f"{part!r} is none of {', '.join(PARTS)}")
    return parts


if __name__ == "__main__":
    main()

"""Draws docs/adaptation.png and docs/first-episode.png from several studies' numbers.

    python -m scripts.study_figure docs/adaptation.png docs/first-episode.png \\
        docs/results/cheetah-vel-climbing docs/results/ant-dir-climbing \\
        docs/results/drawer-door

The first file is adaptation by episodes of own exploration, the second the reward by second within
the first episode; then the studies' folders, a panel each.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fieldtune.files import write_atomically
from fieldtune.train.charts import to_png
from fieldtune.train.study.cells import read_metrics
from fieldtune.train.study.figures import DPI
from fieldtune.train.study.overview import adaptations, first_episodes


def draw(adaptation: Path, first_episode: Path, folders: list[Path]) -> None:
    """Write both figures. Raises `EvaluationError` where a folder has no study's `metrics.json`."""
    studies = [read_metrics(folder / "metrics.json") for folder in folders]
    write_atomically(adaptation, to_png(adaptations(studies), DPI))
    write_atomically(first_episode, to_png(first_episodes(studies), DPI))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("adaptation", type=Path)
    parser.add_argument("first_episode", type=Path)
    parser.add_argument("studies", type=Path, nargs="+")
    given = parser.parse_args()
    draw(given.adaptation, given.first_episode, given.studies)


if __name__ == "__main__":
    main()

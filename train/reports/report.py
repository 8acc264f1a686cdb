"""The report of a run: one HTML file with its figures, numbers and pictures inside.

Assembles what `fieldtune.train.reports.conclusions`, `fieldtune.train.reports.figures` and
`fieldtune.train.reports.filmstrip` make; the page itself is `templates/report.html`. It measures
nothing but the filmed trial.
"""

from __future__ import annotations

import platform
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from fieldtune.file_errors import require_writable
from fieldtune.files import write_atomically
from fieldtune.train import charts
from fieldtune.train.agent.actor import Acting
from fieldtune.train.algorithms.registry import adapts_by
from fieldtune.train.charts import number, percent
from fieldtune.train.evaluation.results import HEADLINES, Evaluation, Inference, save_evaluation
from fieldtune.train.evaluation.statistics import mean, recovery, returns_by_task, shift
from fieldtune.train.reports import figures
from fieldtune.train.reports.conclusions import nearer_goal, sentences
from fieldtune.train.reports.films import inferring_by_likelihood
from fieldtune.train.reports.filmstrip import Film, NoPicture, film, png, strip
from fieldtune.train.runs.run import Run
from fieldtune.train.runs.trained import newest

NONE = "–"
RETURNS = {
    "offline_context": "Infers the task from labelled offline data of it",
    "online_before": "Infers it from its own exploration, before phase 2",
    "online_after": "The same after phase 2, which explores without rewards",
    "oracle": "The same after a phase 2 with true rewards",
    "likelihood_before": "Its own exploration, by the decoder's likelihood, before phase 2",
    "likelihood_after": "The same after phase 2",
    "likelihood_oracle": "The same after a phase 2 with true rewards",
    "first_episode_before": "No exploration: the likelihood, step by step, before phase 2",
    "first_episode_after": "The same after phase 2",
    "first_episode_oracle": "The same after a phase 2 with true rewards",
    "random": "Uniformly random actions",
    "scripted": "A script that knows the task",
}
OWN = {  # contexts of own exploration, the episode within which it is included
    "online": "own exploration, by encoder",
    "likelihood": "own exploration, by likelihood",
    "first_episode": "within the first episode, by likelihood",
}
PHASES = {
    "before": "phase 1, offline",
    "after": "phase 2, self-supervised",
    "oracle": "phase 2 with true rewards (oracle)",
}
PACKAGES = ("fieldtune", "torch", "onnxruntime", "mujoco", "robosuite", "numpy")
FILES = ("evaluation.json", "picture.png", "report.html")


@dataclass(frozen=True)
class FilmedTask:
    """The report's pictures: a trial on the held-out task `task`, its exploration and what came."""

    task: int
    exploration: tuple[Film, ...]
    adapted: Film


def require_report_writable(folder: Path) -> None:
    """Raise `OSError` where `write_report` could not write, before hours of measuring."""
    for name in FILES:
        require_writable(folder / name)


def write_report(
    run: Run, evaluation: Evaluation, *, facts: Mapping[str, str] | None = None
) -> Path:
    """Write `report.html`, `evaluation.json` and, where it can be rendered, `picture.png`.

    A machine that cannot render gets a report that says so. Each file is written atomically.

    Args:
        facts: more rows for "how it was produced", in order.

    Returns:
        The report's path in the run's folder.
    """
    save_evaluation(run.folder / "evaluation.json", evaluation)
    picture: FilmedTask | NoPicture
    try:
        picture = _film_typical_task(run, evaluation)
    except NoPicture as error:
        picture = error
    else:
        write_atomically(run.folder / "picture.png", png(strip(picture.adapted)))
    path = run.folder / "report.html"
    write_atomically(path, page(run, evaluation, picture, facts or {}).encode())
    return path


def page(
    run: Run, evaluation: Evaluation, picture: FilmedTask | NoPicture, facts: Mapping[str, str]
) -> str:
    """The whole page as HTML. It asks for nothing outside itself; all text is escaped.

    Args:
        run: whose family, folder and config are shown.
        evaluation: the numbers and figures.
        picture: pictures of one task, or why there are none.
        facts: more rows for "how it was produced", in order.
    """
    environment = Environment(
        loader=PackageLoader("fieldtune.train"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    phases, own = evaluation.phases, _own_inference(run, evaluation)
    return environment.get_template("report.html").render(
        family=evaluation.family,
        robot=run.family.robot,
        seed=evaluation.seed,
        sentences=[*sentences(evaluation, own), *_not_by_encoder(run)],
        tiles=_tiles(evaluation, own),
        inference=own,
        returns=_returns(evaluation),
        has_success=evaluation.success is not None,
        phases=_phases(evaluation),
        shifts={name: shift(phase) for name, phase in phases.items()},
        decoder=evaluation.decoder,
        context_episodes=phases["before"].encoder.quoted,
        repeats=len(phases["before"].offline_returns[0]),
        figures=_figures(evaluation),
        rows=_rows(picture) if isinstance(picture, FilmedTask) else [],
        task=picture.task if isinstance(picture, FilmedTask) else None,
        shown=getattr(run.family, "in_pictures", ""),
        no_picture=str(picture) if isinstance(picture, NoPicture) else None,
        folder=str(run.folder),
        produced=_produced(run, evaluation) | dict(facts),
        config=yaml.safe_dump(
            run.config.model_dump(mode="json"), sort_keys=False, allow_unicode=True
        ),
        number=number,
        percent=percent,
    )


def _own_inference(run: Run, evaluation: Evaluation) -> Inference:
    """What the run's robots infer by; the encoder, or what stands in its place, where particles
    could not be weighed."""
    measured = evaluation.phases["before"].likelihood is not None
    return run.config.inference if measured else "encoder"


def _not_by_encoder(run: Run) -> list[str]:
    name = run.config.algorithm.name
    other = adapts_by(name)
    if other is None:
        return []
    return [f"{name} has no encoder and adapts by {other}, which this page shows as by encoder."]


def typical_tasks(evaluation: Evaluation, inference: Inference = "encoder") -> list[int]:
    """The middle half of the held-out tasks by return after the newest phase, the median first."""
    newest = "after" if "after" in evaluation.phases else "before"
    source = f"likelihood_{newest}" if inference == "likelihood" else HEADLINES[newest]
    order = np.argsort(returns_by_task(evaluation)[source], kind="stable")
    from_median = np.argsort(np.abs(np.arange(len(order)) - len(order) // 2), kind="stable")
    return [int(task) for task in order[from_median][: (len(order) + 1) // 2]]


def _film_typical_task(run: Run, evaluation: Evaluation) -> FilmedTask:
    trained, _, _ = newest(run)
    own = _own_inference(run, evaluation)
    typical = typical_tasks(evaluation, own)
    trial = film(
        inferring_by_likelihood(run, trained) if own == "likelihood" else trained,
        run.family,
        run.dataset.test_tasks[typical],
        exploration_episodes=evaluation.phases["before"].encoder.quoted,
        exploring=Acting.with_rewards(run.config.robot.exploration),
        seed=run.config.seed,
        posterior_sampling=own == "likelihood",
    )
    return FilmedTask(typical[trial.task], trial.exploration, trial.adapted)


def _tiles(evaluation: Evaluation, inference: Inference) -> list[tuple[str, str, str]]:
    """The few numbers to remember, of the run's own inference: label, value, colour of the figures.
    What was not measured has none."""
    returns = evaluation.returns
    shown = [("offline context", returns["offline_context"], "offline")]
    if inference == "likelihood":
        shown += [
            (
                "own exploration by likelihood, before phase 2",
                returns["likelihood_before"],
                "before",
            ),
            ("the same after phase 2", returns.get("likelihood_after"), "after"),
            ("by the encoder instead, before phase 2", returns["online_before"], "ink"),
        ]
    else:
        shown += [
            ("own exploration, before phase 2", returns["online_before"], "before"),
            ("own exploration, after phase 2", returns["online_after"], "after"),
        ]
    tiles = [(name, number(value), colour) for name, value, colour in shown if value is not None]
    newest = "after" if "after" in evaluation.phases else "before"
    source = f"likelihood_{newest}" if inference == "likelihood" else HEADLINES[newest]
    if evaluation.success is not None and source in evaluation.success:
        which = f"succeed by {inference}, {newest} phase 2"
        tiles.append((which, percent(evaluation.success[source]), "ink"))
    found = recovery(evaluation)
    if inference == "encoder" and found is not None and found.closed is not None:
        goal = nearer_goal(evaluation).split(",")[0]
        tiles.append((f"recovered, of the way to {goal}", percent(found.closed.value), "ink"))
    return tiles


def _returns(evaluation: Evaluation) -> list[dict[str, str]]:
    by_task = returns_by_task(evaluation)
    rows = []
    for name, value in evaluation.returns.items():
        if value is None:
            continue
        between = mean(by_task[name]) if name in by_task else None
        share = None if evaluation.success is None else evaluation.success.get(name)
        rows.append(
            {
                "success": NONE if share is None else percent(share),
                "name": _name(name),
                "value": number(value),
                "interval": (
                    f"{number(between.low)} to {number(between.high)}" if between else NONE
                ),
                "meaning": RETURNS[name],
            }
        )
    return rows


def _name(source: str) -> str:
    """A source of context, in the words of the table."""
    kind, _, phase = ("online_oracle" if source == "oracle" else source).rpartition("_")
    if kind in OWN:
        return f"{OWN[kind]}, {phase}"
    return figures.BARS[source][0].replace("\n", " ")


def _phases(evaluation: Evaluation) -> list[dict[str, str]]:
    return [
        {
            "name": PHASES[name],
            "updates": f"{phase.updates:,}",
            "steps": f"{phase.steps:,}" if phase.steps else NONE,
            "offline": number(float(np.mean(phase.offline_returns))),
            "online": number(phase.encoder.mean_return),
            "shift": f"{number(shift(phase).relative)} ×",
        }
        for name, phase in evaluation.phases.items()
    ]


def _figures(evaluation: Evaluation) -> dict[str, str]:
    """Inline SVG by name, the one thing that the page does not escape: all text in it is ours."""
    drawn = {
        "returns": "Bars: mean return on held-out tasks by source of context, one dot a task",
        "curve": "Lines: return by number of exploration episodes, by encoder and by likelihood",
        "first": "Lines: reward by second within the first episode, by encoder and by likelihood",
        "embeddings": "Points: posterior means, offline contexts and own exploration",
    }
    made = {
        "returns": figures.return_bars,
        "curve": figures.adaptation_curve,
        "first": figures.first_episode,
        "embeddings": figures.embeddings,
    }
    return {
        name: charts.to_svg(made[name](evaluation), name, description)
        for name, description in drawn.items()
    }


def _rows(picture: FilmedTask) -> list[dict[str, object]]:
    """The pictures, an episode a row."""
    titles = [f"Exploration, episode {i + 1}" for i in range(len(picture.exploration))]
    films: list[tuple[str, Film]] = [
        *zip(titles, picture.exploration, strict=True),
        ("Adapted, mean action", picture.adapted),
    ]
    return [
        {
            "title": title,
            "episode_return": number(shown.episode_return),
            "frames": [
                {
                    "png": b64encode(png(frame.image)).decode(),
                    "step": frame.step,
                    "reward": "" if frame.reward is None else number(frame.reward),
                }
                for frame in shown.frames
            ],
        }
        for title, shown in films
    ]


def _produced(run: Run, evaluation: Evaluation) -> dict[str, str]:
    data = run.dataset
    episodes = [episode for split in (data.train, data.test) for task in split for episode in task]
    return {
        "Dataset": f"{evaluation.dataset}: {len(data.train_tasks)} training and "
        f"{len(data.test_tasks)} held-out tasks, {len(episodes):,} episodes, "
        f"{sum(episode.steps for episode in episodes):,} labelled transitions",
        "Seed": str(evaluation.seed),
        "Versions": ", ".join([f"Python {platform.python_version()}", *map(_versioned, PACKAGES)]),
    }


def _versioned(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} (not installed)"

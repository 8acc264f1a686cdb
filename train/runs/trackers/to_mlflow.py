"""Curves in MLflow: at `MLFLOW_TRACKING_URI`, else in a database of the run's own folder."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from fieldtune.train.runs.trackers.tracker import Tracked

EXPERIMENT = "fieldtune"
_LONGEST = 500  # letters of a parameter


class MLflow:
    """Implements `fieldtune.train.runs.trackers.tracker.Tracker`. One run of MLflow a phase.

    Without `MLFLOW_TRACKING_URI` all is in `RUN/mlflow.db`:
    `mlflow ui --backend-store-uri sqlite:///RUN/mlflow.db` shows it.
    """

    library: ClassVar[str] = "mlflow"

    def __init__(self, tracked: Tracked) -> None:
        from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]  # an extra
        from mlflow.entities import Param  # pyright: ignore[reportMissingImports]

        default = f"sqlite:///{tracked.folder.absolute() / 'mlflow.db'}"
        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI", default))
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        known = tracked.remembered("mlflow")
        if known is None:
            experiment = self._client.get_experiment_by_name(name)
            where = (
                self._client.create_experiment(name)
                if experiment is None
                else experiment.experiment_id
            )
            run = self._client.create_run(where, run_name=tracked.name)
            self._id = run.info.run_id
            tracked.remember("mlflow", self._id)
            params = [
                Param(key, str(value)[:_LONGEST]) for key, value in _flat(tracked.config or {})
            ]
            self._client.log_batch(self._id, params=params)
        else:
            self._id = known
            self._client.update_run(known, status="RUNNING")

    def add(self, update: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric  # pyright: ignore[reportMissingImports]

        now = int(time.time() * 1e3)
        points = [Metric(_name(name), value, now, update) for name, value in values.items()]
        self._client.log_batch(self._id, metrics=points)

    def close(self) -> None:
        self._client.set_terminated(self._id)


def _flat(values: Mapping[str, Any], above: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{above}{key}.")
        else:
            found.append((f"{above}{key}", value))
    return found


def _name(metric: str) -> str:
    """As MLflow takes names: letters, digits, and a few signs."""
    return "".join(letter if letter.isalnum() or letter in "_-. :/" else "_" for letter in metric)

"""Every check of a bundle by name: what reading makes, and its trial in a process of its own.

Knows files and trials. It must not know what becomes of a bundle that fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fieldtune.export.bundle import Bundle, BundleError, checking, read_bytes
from fieldtune.robot.bundles.trial import Trial

TRIAL = "trial: loads in ONNX Runtime, gives numbers of the right shapes, in time"


@dataclass(frozen=True)
class Check:
    """One check. `wrong` is what it found, empty where all is well."""

    name: str
    wrong: str = ""

    @property
    def ok(self) -> bool:
        return not self.wrong


def check_bundle(path: Path) -> Iterator[Check]:
    """The checks in their order, each as it is made; none follows the first that fails.

    Raises:
        BundleError: the file cannot be read.
        OSError: no process can be started for the trial.
    """
    steps = checking(read_bytes(path), source=path.name)
    name, bundle = "", None
    while bundle is None:
        try:
            following = next(steps)
        except StopIteration as done:
            bundle = done.value
        except BundleError as error:
            yield Check(name, str(error))
            return
        else:
            if name:
                yield Check(name)
            name = following
    yield Check(name)
    yield _trial(path, bundle)


def _trial(path: Path, bundle: Bundle) -> Check:
    trial = Trial(path, bundle.id).start()
    try:
        return Check(TRIAL, trial.wait().refused)
    finally:
        trial.close()

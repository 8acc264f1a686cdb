"""What an episode's numbers are called: the fields of the bundle that it ran, or of the driver.

Looks; does not judge. An episode whose names nobody knows any more is still an episode.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from fieldtune.robot.bundles.store import bundle_of_id
from fieldtune.robot.drivers.driver import Driver
from fieldtune.robot.episodes.episode import EpisodeHeader
from fieldtune.robot.mcap.schemas import Names

UNKNOWN = Names((), (), "nobody: numbers go by their place")


def bundle_names(
    folders: Sequence[Path], driver: Callable[[], Driver | None]
) -> Callable[[EpisodeHeader], Names]:
    """Names by bundle, looked for once each in `folders`; where it is gone, the driver's.

    Args:
        folders: with `*.bundle` files.
        driver: makes a disconnected driver, only when it is needed; None where there is none.
    """
    known: dict[str, Names] = {}
    fallback: list[Names] = []

    def names(header: EpisodeHeader) -> Names:
        if header.bundle_id not in known:
            found = _from_bundles(header.bundle_id, folders)
            if found is None and not fallback:
                fallback.append(_from_driver(driver()))
            known[header.bundle_id] = found or fallback[0]
        return known[header.bundle_id]

    return names


def _from_bundles(wanted: str, folders: Sequence[Path]) -> Names | None:
    found = bundle_of_id(wanted, folders)
    if found is None:
        return None
    manifest = found.manifest
    return Names(manifest.observation_fields, manifest.action_fields, f"bundle {wanted}")


def _from_driver(driver: Driver | None) -> Names:
    if driver is None:
        return UNKNOWN
    return Names(driver.observation_fields, driver.action_fields, f"driver of {driver.robot}")

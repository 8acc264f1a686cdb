"""The loop of a phase: updates one after another, their metrics, and a checkpoint now and then."""

from __future__ import annotations

from collections.abc import Callable

from fieldtune.train.phases.stopping import between_updates
from fieldtune.train.phases.updates import Update
from fieldtune.train.runs.readings import Readings

OnUpdate = Callable[[int], None]


def repeat(
    update: Update,
    done: int,
    last: int,
    readings: Readings,
    *,
    every: int,
    save: OnUpdate,
    on_update: OnUpdate,
) -> None:
    """Make updates from `done` to `last`; save now and then, at the end, and before Ctrl-C ends it.

    Args:
        update: makes one.
        done, last: numbers of updates.
        readings: are handed each one's metrics, and read before anything is saved.
        every: how many updates lie between two checkpoints.
        save: writes a checkpoint after so many updates.
        on_update: told the number done after each one.

    Raises:
        KeyboardInterrupt: once it is saved.
    """
    with between_updates() as stopped:
        while done < last:
            metrics = update()
            done += 1
            readings.add(done, metrics)
            on_update(done)
            ending = stopped()
            if done % every == 0 or done == last or ending:
                readings.read()
                save(done)
            if ending:
                break

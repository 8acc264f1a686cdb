"""A robot shown: as it is now, until it ends or somebody has seen enough; or as it was, at once.

Joins the journal's news and the monitor's look with a picture. It must not know entities.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from fieldtune.errors import UserError
from fieldtune.export.bundle import Bundle
from fieldtune.robot.bundles.store import bundle_of_id
from fieldtune.robot.config import RobotConfig
from fieldtune.robot.drivers.driver import Driver
from fieldtune.robot.journal.journal import JournalError
from fieldtune.robot.mcap.field_names import bundle_names
from fieldtune.robot.mcap.schemas import Names
from fieldtune.robot.monitor.snapshot import Life, look
from fieldtune.robot.view.model import Model, model_of
from fieldtune.robot.view.news import Newsreader, trial_of_newest
from fieldtune.robot.view.picture import RobotPicture
from fieldtune.robot.view.recording import Recording
from fieldtune.robot.view.status_picture import StatusPicture

log = logging.getLogger(__name__)

LOOK_S = 0.2
STATUS_S = 1.0


class NothingToShow(UserError):
    """The journal has no such episodes. The message says which it has."""


def show_recorded(
    recording: Recording,
    journal: Path,
    picture: RobotPicture,
    *,
    first: int = 1,
    last: int | None = None,
    ended: threading.Event | None = None,
) -> int:
    """Draw a journal's episodes from `first` to `last`, both included; how many there were.

    Raises:
        NothingToShow: none.
        JournalError, sqlite3.Error: the journal cannot be read.
    """
    reader, count = Newsreader(journal, first, last), 0
    while not (ended is not None and ended.is_set()) and (found := reader.look()):
        for news in found:
            picture.tell(news)
            count += news.begun
    if not count:
        raise NothingToShow(f"{journal}: no episode from {first} to {last or 'the newest'}")
    recording.stream.flush(blocking=True)
    return count


def show_live(
    recording: Recording,
    config: RobotConfig,
    config_file: Path,
    picture: RobotPicture,
    ended: threading.Event,
    *,
    until_end: bool = False,
) -> None:
    """Draw what the robot does, from the trial under way on, until `ended` is set.

    Args:
        recording: to draw into.
        config: of the robot, whose state folder is read.
        config_file: that it is from, for cures.
        picture: of the episodes.
        ended: ends it.
        until_end: also the end of the robot's process does, where one was there.
    """
    status = StatusPicture(recording)
    reader: Newsreader | None = None
    ran, next_look, trouble = False, 0.0, ""
    while True:
        over = ended.is_set()
        if time.monotonic() >= next_look or over:
            next_look = time.monotonic() + STATUS_S
            snapshot = look(config, config_file)
            status.tell(snapshot, picture.now)
            ran |= snapshot.life in (Life.RUNNING, Life.SILENT)
            over |= until_end and ran and snapshot.life in (Life.ENDED, Life.DIED)
        found = False
        try:
            if reader is None:
                reader = Newsreader(config.journal, trial_of_newest(config.journal))
            while news := reader.look():
                found = True
                for one in news:
                    picture.tell(one)
            trouble = ""
        except (JournalError, sqlite3.Error) as error:  # it is only just being made, or moved
            if str(error) != trouble:
                log.warning("%s", error)
            trouble = str(error)
        if over and not found:
            return
        ended.wait(LOOK_S if not over else 0.0)


def robot_picture(
    recording: Recording,
    *,
    folders: Sequence[Path],
    config: RobotConfig | None,
    driver: Callable[[], Driver | None],
    model: str | None,
    live: bool,
) -> RobotPicture:
    """The picture of one robot's episodes.

    Args:
        recording: to draw into.
        folders: with bundles.
        config: of the robot, for its model; None without one.
        driver: makes a disconnected driver, for fields where no bundle tells them.
        model: of the robot in 3-D, in the place of the configured one.
        live: whether a status is shown beside it.
    """

    @cache
    def bundle(bundle_id: str) -> Bundle | None:
        return bundle_of_id(bundle_id, folders)

    def of_robot(robot: str, names: Names) -> Model:
        return model_of(None if config is None else config.limits, model, robot, names.observation)

    return RobotPicture(recording, bundle_names(folders, driver), bundle, of_robot, live=live)

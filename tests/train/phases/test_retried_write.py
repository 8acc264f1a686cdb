"""What a full disk refuses is written as soon as it can be, and nobody else stops for it."""

from __future__ import annotations

import logging

import pytest

from fieldtune.train.phases.retried_write import RetriedWrite


@pytest.fixture
def disk():
    """A write that is refused while `disk.full`; `disk.tried` counts."""

    class Disk:
        full, tried = True, 0

        def write(self):
            self.tried += 1
            if self.full:
                raise OSError(28, "No space left on device")

    return Disk()


def test_it_is_tried_again_until_it_is_there_and_then_no_more(disk, monkeypatch, caplog):
    monkeypatch.setattr("fieldtune.train.phases.retried_write.RETRY_S", 0.0)
    retried = RetriedWrite("a bundle", disk.write)
    with caplog.at_level(logging.INFO, "fieldtune.train.phases.retried_write"):
        retried.write()
        retried.retry_if_due()
        disk.full = False
        retried.retry_if_due()
        retried.retry_if_due()
    assert disk.tried == 3
    assert caplog.text.count("a bundle cannot be written, trying again: [Errno 28]") == 1
    assert caplog.text.count("a bundle is written again") == 1


def test_it_is_not_tried_all_the_time(disk):
    retried = RetriedWrite("a bundle", disk.write)
    retried.write()
    retried.retry_if_due()
    assert disk.tried == 1


def test_what_is_no_fault_of_the_disk_is_raised():
    def wrong():
        raise ValueError("the bundle is wrong")

    with pytest.raises(ValueError, match="the bundle is wrong"):
        RetriedWrite("a bundle", wrong).write()

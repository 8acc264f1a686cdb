"""A driver that is being tried out: the boundary, which also notes whose memory crosses it.

For trials alone, since it keeps what the driver gave. It must not know what is tried.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fieldtune.robot.drivers.checked import CheckedDriver
from fieldtune.robot.drivers.driver import Array, Observation

_READ = "read"


class WatchedDriver(CheckedDriver):
    """As the driver that it is made of. `reused` names methods that hand out memory again that they
    handed out before; `changes_actions` says whether `apply` changes the array that it is given."""

    def __init__(self, driver: CheckedDriver) -> None:
        super().__init__(driver.driver, driver.label)
        self.reused: set[str] = set()
        self.changes_actions = False
        self._given: dict[str, tuple[Array, Array]] = {}
        self._read_before: tuple[Any, int] = (None, 0)

    def read(self) -> Observation:
        before, before_ns = self._read_before
        seen = super().read()
        given, _ = self._given[_READ]
        newer = seen.sense_ns != before_ns  # the same observation again may be the same array
        if before is not None and newer and np.shares_memory(before, given):
            self.reused.add(_READ)
        self._read_before = given, seen.sense_ns
        return seen

    def _call(self, method: str, call: Callable[..., Any], *arguments: Any) -> Any:
        before = [np.array(one) for one in arguments]
        given = super()._call(method, call, *arguments)
        if method == "apply" and not np.array_equal(before[0], arguments[0]):
            self.changes_actions = True
        return given

    def _own(self, method: str, what: str, given: Any, shape: tuple[int, ...] | None) -> Array:
        own = super()._own(method, what, given, shape)
        if what != "signals":
            kept, copy = self._given.get(method, (given, own))
            if not np.array_equal(kept, copy, equal_nan=True):
                self.reused.add(method)
            self._given[method] = (given, own)
        return own

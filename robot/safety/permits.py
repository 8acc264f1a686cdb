"""Leave to loosen a limit: only where the config names that limit, and says why.

Knows `robot.limits.loosen`. It must not know what any limit means.
"""

from __future__ import annotations

from collections.abc import Mapping

from fieldtune.robot.config import Loosenable
from fieldtune.robot.safety.layout import LimitsError


class Permits:
    """Asked once for each limit that the config sets. `used` says what was loosened."""

    def __init__(self, reasons: Mapping[Loosenable, str]) -> None:
        self._reasons = reasons
        self._needed: set[Loosenable] = set()
        self.used: list[str] = []

    def require(
        self,
        limit: Loosenable,
        key: str,
        wanted: tuple[float, float],
        allowed: tuple[float, float],
        whose: str,
    ) -> bool:
        """Whether `wanted` reaches outside `allowed`. Raises `LimitsError` where it may not.

        Args:
            key: of the config, under `robot.limits`.
            whose: who allows no more, for the message.
        """
        if allowed[0] <= wanted[0] and wanted[1] <= allowed[1]:
            return False
        text = f"robot.limits.{key} is {_shown(wanted)}, {whose} {_shown(allowed)}"
        if limit not in self._reasons:
            raise LimitsError(
                f"{text}: limits can only be tightened, unless robot.limits.loosen.{limit} says "
                "why this one is not"
            )
        self._needed.add(limit)
        self.used.append(f"limit LOOSENED: {text}: {self._reasons[limit]}")
        return True

    def require_all_used(self) -> None:
        """Raise `LimitsError` for leave that nothing needs: it would stand open for later."""
        for limit in self._reasons:
            if limit not in self._needed:
                raise LimitsError(f"robot.limits.loosen.{limit} loosens nothing: remove it")


def _shown(ends: tuple[float, float]) -> str:
    return f"{ends[1]:.6g}" if ends[0] == 0 else f"[{ends[0]:.6g}, {ends[1]:.6g}]"

"""The fleet as a page of Markdown. Pure text; must not know the viewer."""

from __future__ import annotations

from fieldtune.robot.rationed_log import printable
from fieldtune.train.bridge.fleet import FleetView, RobotLine

_HEAD = ("robot", "state", "heard of", "bundle", "pending", "episodes", "steps", "latest fault")


def fleet_table(view: FleetView) -> str:
    """The trainer's line, then a row a robot."""
    lines = [f"trainer: {_cell(view.trainer)}", ""]
    lines += [f"| {' | '.join(_HEAD)} |", "|---" * len(_HEAD) + "|"]
    lines += [f"| {' | '.join(map(_cell, _row(line)))} |" for line in view.robots]
    return "\n".join(lines)


def _row(line: RobotLine) -> list[str]:
    heard = "" if line.silent_s in (None, float("inf")) else f"{line.silent_s:.1f} s ago"
    return [
        line.robot,
        (line.state or "not connected") if line.present else "silent",
        heard,
        line.bundle_id[:12],
        "" if line.pending is None else str(line.pending),
        str(line.episodes),
        str(line.steps),
        f"{line.fault} ({line.faulted_ago} episodes ago)" if line.fault else "",
    ]


def _cell(text: str) -> str:
    return printable(text).replace("|", "\\|")

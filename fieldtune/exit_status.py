"""What a command's exit status says, the same for `fieldtune` and `fieldtune-robot`.

docs/safety.md has the table.
"""

from __future__ import annotations

from typing import Final

DONE: Final = 0
MISTAKE: Final = 1  # something that a person can mend: a setting, a file, hardware, another process
USAGE: Final = 2  # options and arguments that no command takes
FAULT: Final = 3  # the robot is in fault, until a person re-arms it
NOBODY: Final = 4  # no process drives this robot, or the one that does is silent
INTERRUPTED: Final = 130  # by Ctrl-C

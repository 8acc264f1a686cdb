"""Actions of a program: it reads observations and prints actions, a JSON line each.

Owns that process and a thread. docs/record.md has what is said on both sides. It must not know what
an action means.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from fieldtune.child_process import end_group, start_group
from fieldtune.robot.actions.sources import ActionsError
from fieldtune.robot.episodes.episode import Mode

Array = NDArray[np.float64]

READY_S = 20.0  # to start, and before each episode
SHARE = 0.5  # of a control period, which an answer may take
LONGEST_LINE = 65_536
_LOOK_S = 0.005

_encoder = msgspec.json.Encoder()
_ready = msgspec.json.Decoder(str)
_action = msgspec.json.Decoder(list[float])


class ProgramActions:
    """Implements `fieldtune.robot.actions.sources.ActionSource` with a program in its own group.

    An answer that does not come in time, or is no action, is a fault: the robot would go on with
    the last command.

    Args:
        command: the program and its arguments.
        period_s: a control period.
        time_scale: the robot's pace; a simulation at another than real time waits for the program.
    """

    mode = Mode.SCRIPTED
    in_driver = False

    def __init__(self, command: list[str], period_s: float, time_scale: float) -> None:
        """Raises `ActionsError` for an empty command."""
        if not command:
            raise ActionsError("--program is empty: name the program that prints actions")
        self.by = f"program {command[0]}"
        self._command = command
        self._patience_s = SHARE * period_s if time_scale == 1.0 else READY_S
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._step = 0

    def open(self) -> None:
        try:
            self._process = start_group(self._command, bufsize=0)
        except OSError as error:
            raise ActionsError(f"--program cannot be started: {error}") from error
        assert self._process.stdin is not None
        # Who does not read is no reason to wait.
        os.set_blocking(self._process.stdin.fileno(), False)
        self._thread = threading.Thread(target=self._listen, name="actions", daemon=True)
        self._thread.start()

    def begin(self, seed: int, stop: Callable[[], str]) -> None:
        """Wait until the program says `"ready"`."""
        while not self._lines.empty():
            self._lines.get_nowait()
        self._step = 0
        self._tell({"begins": True, "seed": seed})
        until = time.monotonic() + READY_S
        while self._lines.empty() and time.monotonic() < until:
            if stop():
                return
            time.sleep(_LOOK_S)
        try:
            said = _ready.decode(self._hear(0.0))
        except msgspec.MsgspecError:
            said = ""
        if said != "ready":
            raise ActionsError(
                f'{self.by} is told that an episode begins, and did not answer "ready" '
                "(docs/record.md)"
            )

    def require(self) -> None: ...

    def act(self, observation: Array) -> list[float]:
        self._tell({"step": self._step, "observation": observation.tolist()})
        line = self._hear(self._patience_s)
        self._step += 1
        try:
            return _action.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ActionsError(f"{self.by} printed no action: {line[:80]!r}: {error}") from error

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        end_group(process)
        if self._thread is not None:
            self._thread.join(1.0)

    def _tell(self, told: dict[str, Any]) -> None:
        process = self._process
        assert process is not None, "it was not opened"
        assert process.stdin is not None
        line = _encoder.encode(told) + b"\n"
        try:
            written = process.stdin.write(line)
        except OSError:
            written = None
        if written != len(line):
            raise ActionsError(f"{self.by} does not read what it is told{self._ended()}")

    def _hear(self, patience_s: float) -> bytes:
        try:
            line = self._lines.get(timeout=patience_s)
        except queue.Empty:
            raise ActionsError(
                f"{self.by} printed nothing for {patience_s:g} s: it answers each observation "
                "within half a control period, and flushes"
            ) from None
        if not line:
            raise ActionsError(f"{self.by} printed nothing more{self._ended()}")
        return line

    def _ended(self) -> str:
        process, until = self._process, time.monotonic() + 0.1
        while process is not None and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        ended = process is not None and process.returncode is not None
        return f": it ended with status {process.returncode}" if ended and process else ""

    def _listen(self) -> None:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        with process.stdout as stream, contextlib.suppress(OSError, ValueError):
            pending = b""
            while data := stream.read(LONGEST_LINE):
                *lines, pending = (pending + data).split(b"\n")
                for line in filter(bytes.strip, lines):
                    self._lines.put(line)
                if len(pending) > LONGEST_LINE:
                    break
        self._lines.put(b"")

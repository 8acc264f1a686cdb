"""EnvPool seen from here: a process in its own environment, and why there is none.

`FIELDTUNE_ENVPOOL_PYTHON` names the interpreter; `.venv-envpool` where not given.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PYTHON = "FIELDTUNE_ENVPOOL_PYTHON"
_DEFAULT = ROOT / ".venv-envpool" / "bin" / "python"


class NoEnvPool(Exception):
    """EnvPool is not compared with here. The message says why."""


class EnvPool:
    """One pool of `copies` environments, in its own process. Closed by leaving the block."""

    def __init__(
        self, name: str, copies: int, threads: int, steps: int, amplitude: float, **options: Any
    ) -> None:
        python = Path(os.environ.get(PYTHON, _DEFAULT))
        if not python.exists():
            raise NoEnvPool(
                f"EnvPool is not installed: make an environment with it, and name its interpreter "
                f"in {PYTHON} (looked for {os.path.relpath(python, ROOT)})"
            )
        self._process = subprocess.Popen(
            [str(python), "-P", str(Path(__file__).with_name("envpool_worker.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        made = {"name": name, "copies": copies, "threads": threads}
        try:
            self.version: str = self._ask(
                make=made | {"steps": steps, "amplitude": amplitude, "options": options}
            )["version"]
        except NoEnvPool:
            self.close()
            raise

    def __enter__(self) -> EnvPool:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def trace(self, actions: list[Any]) -> list[Any]:
        """Observations from a reset on, `(step + 1, copy, observation)`."""
        found: list[Any] = self._ask(trace=actions)["observations"]
        return found

    def rate(self, seconds: float) -> float:
        """Steps a second."""
        return float(self._ask(rate=seconds)["rate"])

    def close(self) -> None:
        """Safe to call twice."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _ask(self, **request: Any) -> dict[str, Any]:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            said = process.stderr.read().strip().splitlines()
            raise NoEnvPool(f"EnvPool's process ended: {said[-1] if said else 'no message'}")
        found: dict[str, Any] = json.loads(answer)
        return found

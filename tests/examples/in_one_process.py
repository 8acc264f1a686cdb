"""Runs the commands of several folders, given as JSON on standard input, `[[folder, commands], …]`.

As a shell would, but for one thing: every `fieldtune` command runs in this process, which imports
torch and the simulators once and not twenty times. One that ends with `&` runs beside the next.
Started by the examples' environment, and knows nothing of the checkout.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys

from fieldtune.train.cli.app import app

BEGAN = os.times()[4]


def workstation(words: list[str]) -> None:
    """A `fieldtune` command. Raises `SystemExit` where it does not end well."""
    try:
        app(words)
    except SystemExit as end:
        if end.code:
            raise


def follow(commands: str) -> None:
    beside: list[list[str]] = []
    for line in commands.splitlines():
        words = shlex.split(line, comments=True)
        print("$", *words, flush=True)
        if not words or words == ["wait"]:
            continue
        if words[-1] == "&":
            beside.append(words[:-1])
        elif words[0] == "fieldtune":
            workstation(words[1:])
        else:
            process = subprocess.Popen(words)
            while beside:
                workstation(beside.pop()[1:])
            if process.wait():
                raise SystemExit(f"{words[0]} ended with {process.returncode}")
        print(
            f"after {sum(os.times()[:4]):.1f} s of the processor, {os.times()[4] - BEGAN:.1f} s",
            flush=True,
        )


for folder, commands in json.load(sys.stdin):
    print("in", folder, flush=True)
    os.chdir(folder)
    follow(commands)

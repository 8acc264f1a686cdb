"""Whether a GPU works, tried by a process of its own: who tries holds some of its memory until it
ends.

Knows what `fieldtune.train.device` makes of the key; not who is to compute there.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import dataclass

import torch

from fieldtune.train.device import DeviceError, resolve

TRIAL_S = 120.0
_FOUND, _REFUSED = "found", "refused"


@dataclass(frozen=True)
class Trial:
    """Whether processes of this machine will compute on a GPU, and what to say where they will not
    although there is one."""

    works: bool
    said: str = ""


def tried(asked: str) -> Trial:
    """Try the device that the key `device` asks for, in another process if it may be a GPU.

    Args:
        asked: as `fieldtune.train.device.resolve` takes it.

    Raises:
        DeviceError: a GPU was asked for by name and cannot be had.
    """
    if asked == "cpu" or not torch.cuda.is_available():
        return Trial(resolve(asked).type == "cuda")  # there is none that this would wake
    try:
        done = subprocess.run(
            [sys.executable, "-m", "fieldtune.train.device_trial", asked],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TRIAL_S,
        )
    except subprocess.TimeoutExpired:
        return outcome(asked, "", f"no answer within {TRIAL_S:.0f} s")
    ended = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    return outcome(asked, done.stdout, ended[-1])


def outcome(asked: str, output: str, otherwise: str) -> Trial:
    """What a trial's output says.

    Args:
        asked: the key's value.
        output: lines, of which the last is `found` or `refused`, a tab, and the type of the device
            or what is wrong; the one before says which device it is, and why.
        otherwise: what ended the trial where it did not come to such a line, as a driver that
            crashes.

    Raises:
        DeviceError: as `tried`.
    """
    *before, last = output.strip().splitlines() or [""]
    kind, _, what = last.partition("\t")
    if kind == _FOUND:
        return Trial(True) if what == "cuda" else Trial(False, before[-1] if before else what)
    if kind == _REFUSED:
        raise DeviceError(what)
    if asked != "auto":
        raise DeviceError(
            f"device is {asked!r}, but trying it ended in {otherwise!r}: see to the NVIDIA driver, "
            "or set device=cpu"
        )
    return Trial(False, f"device: cpu (auto: trying the GPU ended in {otherwise!r})")


def main() -> None:
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stdout)
    try:
        print(f"{_FOUND}\t{resolve(sys.argv[1]).type}")
    except DeviceError as error:
        print(f"{_REFUSED}\t{error}")


if __name__ == "__main__":
    main()

"""What one task asks of a cluster, and which machines have room for it. Pure; knows no Ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

EPSILON = 1e-6  # three thirds of a GPU are one


@dataclass(frozen=True)
class Request:
    """`cpus` whole cores, and up to one GPU, of which a fraction may be asked for."""

    cpus: int = 1
    gpus: float = 0.0

    def __str__(self) -> str:
        cores = counted(self.cpus, "core")
        return cores if not self.gpus else f"{cores} and {self.gpus:g} GPU"


@dataclass(frozen=True)
class Machine:
    """One that is alive, with all that it was started with, in use or not. `id` is Ray's."""

    id: str
    name: str
    cpus: float
    gpus: float

    def __str__(self) -> str:
        return f"{self.name} has {counted(self.cpus, 'core')} and {counted(self.gpus, 'GPU')}"

    def room(self, request: Request) -> int:
        """How many such tasks run on it at once; no task is spread over two GPUs."""
        by_cores = int((self.cpus + EPSILON) // request.cpus)
        if not request.gpus:
            return by_cores
        return min(by_cores, int(self.gpus + EPSILON) * int((1 + EPSILON) // request.gpus))


def room(machines: Sequence[Machine], request: Request) -> int:
    """How many such tasks run at once on all of them."""
    return sum(machine.room(request) for machine in machines)


def listed(machines: Sequence[Machine]) -> str:
    """What each machine has, in one line."""
    return "; ".join(str(machine) for machine in machines) or "no machine is left"


def counted(number: float, what: str) -> str:
    """`1 core`, `2 cores`."""
    return f"{number:g} {what}{'' if number == 1 else 's'}"

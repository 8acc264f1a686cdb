"""A policy's graph and nothing around it: what the control cycle is compared with.

Knows the graph and the pace; not limits, drivers or journals.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from fieldtune.export.bundle import Bundle
from fieldtune.robot.timing.clock import Clock
from fieldtune.train.agent.graphs import PolicyGraph

Array = NDArray[np.float64]
HZ = 250
KNOWN = 997  # observations to choose from


def observations(width: int) -> Array:
    """What every side sees, in turn: `(KNOWN, width)`."""
    return 0.1 * np.random.default_rng(0).standard_normal((KNOWN, width))


def session(graph: bytes) -> onnxruntime.InferenceSession:
    """A graph on one thread that does not spin, as on the robot."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


class Alone(ABC):
    """The policy's graph and nothing else, at the same pace.

    `infer` takes float32 `(1, width)` observation and z, and gives the mean.
    """

    def __init__(self, width: int, z: Array) -> None:
        self._inputs = observations(width).astype(np.float32)[:, None]
        self._z = z.astype(np.float32)[None]

    @abstractmethod
    def infer(self, observation: NDArray[np.float32], z: NDArray[np.float32]) -> Array:
        """The mean for one observation and one z."""

    def run(self, cycles: int) -> list[int]:
        """Nanoseconds of every inference."""
        found: list[int] = []
        deadlines = Clock(1.0 / HZ).deadlines()
        for cycle, _ in zip(range(cycles), deadlines, strict=False):
            started = time.monotonic_ns()
            self.infer(self._inputs[cycle % KNOWN], self._z)
            found.append(time.monotonic_ns() - started)
        return found

    def means(self, cycles: int) -> Array:
        """What the first `cycles` inferences give, `(cycle, action)`."""
        return np.array([self.infer(self._inputs[i % KNOWN], self._z)[0] for i in range(cycles)])


class OnnxAlone(Alone):
    """One thread that does not spin, as on the robot."""

    def __init__(self, bundle: Bundle, width: int, z: Array) -> None:
        super().__init__(width, z)
        self._session = session(bundle.graphs["policy.onnx"])

    def infer(self, observation: NDArray[np.float32], z: NDArray[np.float32]) -> Array:
        mean: Array = self._session.run(None, {"observation": observation, "z": z})[0]
        return mean


class TorchAlone(Alone):
    """The module that the graph was made of, eager, from numpy and back."""

    def __init__(self, module: PolicyGraph, width: int, z: Array) -> None:
        super().__init__(width, z)
        self._module = module

    def infer(self, observation: NDArray[np.float32], z: NDArray[np.float32]) -> Array:
        with torch.no_grad():
            mean, _ = self._module(torch.from_numpy(observation), torch.from_numpy(z))
        result: Array = mean.numpy()
        return result

"""A bundle's three graphs, run by ONNX Runtime on one thread.

Knows how to act, to encode one transition and to decode one reward. It must not know where
observations come from, nor how z is chosen.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from fieldtune.export.bundle import Bundle

Array = NDArray[np.float64]


class PolicyError(Exception):
    """A graph cannot be loaded, or gives what no policy may give."""


class Policy:
    """One bundle, ready to run. Arrays are float64, in physical units; the graphs are float32."""

    def __init__(self, bundle: Bundle) -> None:
        """Raises `PolicyError` when ONNX Runtime refuses a graph."""
        manifest = bundle.manifest
        self.bundle_id = bundle.id
        self.manifest = manifest
        self.task_embeddings = np.array(manifest.task_embeddings)
        self.low = np.array([value for field in manifest.action_fields for value in field.low])
        self.high = np.array([value for field in manifest.action_fields for value in field.high])
        self._centre = (self.high + self.low) / 2
        self._half_range = (self.high - self.low) / 2
        self._policy = _Graph(bundle, "policy.onnx")
        self._encoder = _Graph(bundle, "encoder.onnx")
        self._decoder = _Graph(bundle, "decoder.onnx")

    def act(
        self,
        observation: Array,
        z: Array,
        rng: np.random.Generator | None = None,
        noise: float = 1.0,
    ) -> Array:
        """The action `(action,)`: the policy's mean, or drawn with `rng`.

        action = centre + half_range · tanh(mean + noise · exp(log_std) · ε)

        Args:
            observation: `(observation,)`.
            z: `(latent,)`.
            rng: of ε; without it, ε is 0.
            noise: times the policy's own spread.

        Raises:
            PolicyError: an input has another width, or the graph cannot be run.
        """
        mean, log_std = self._policy(observation, z)
        if rng is not None:
            mean = mean + noise * np.exp(log_std) * rng.standard_normal(len(mean))
        action = self._centre + self._half_range * np.tanh(mean)
        # For the last bit; keeps NaN. np.clip takes three times as long for a handful of numbers.
        clipped: Array = np.minimum(np.maximum(action, self.low), self.high)
        return clipped

    def encode(
        self, observation: Array, action: Array, reward: float, next_observation: Array
    ) -> tuple[Array, Array]:
        """One transition's Gaussian factor: mean and variance, each `(latent,)`.

        Args:
            observation, next_observation: `(observation,)`; the latter is left aside where the
                bundle's context has none.
            action: `(action,)`, as applied.
            reward: in the family's units.

        Raises:
            PolicyError: an input has another width, or the graph cannot be run.
        """
        inputs = [observation, action, np.array([reward])]
        if self.manifest.context_has_next_observation:
            inputs.append(next_observation)
        mean, variance = self._encoder(*inputs)
        return mean, variance

    def decode(self, observation: Array, action: Array, z: Array) -> float:
        """The reward that the task `z` would give.

        Args:
            observation: `(observation,)`.
            action: `(action,)`, as applied.
            z: `(latent,)`.

        Raises:
            PolicyError: an input has another width, or the graph cannot be run.
        """
        (reward,) = self._decoder(observation, action, z)
        return float(reward[0])

    def dry_run(self, observation: Array, z: Array | None = None) -> None:
        """Run all three graphs on one observation, moving nothing.

        `z` is the first task's embedding where not given. Raises `PolicyError` when a graph cannot
        be run on it, or anything that comes out is not finite, or not a Gaussian.
        """
        latent: Array = self.task_embeddings[0] if z is None else z
        action = self.act(observation, latent)
        _, log_std = self._policy(observation, latent)
        reward = self.decode(observation, action, latent)
        mean, variance = self.encode(observation, action, reward, observation)
        with np.errstate(over="ignore"):
            spread = np.exp(log_std)
        for what, values in (
            ("policy.onnx gives the action", action),
            ("policy.onnx gives the spread", spread),
            ("decoder.onnx gives the reward", np.array([reward])),
            ("encoder.onnx gives the mean", mean),
            ("encoder.onnx gives the variance", variance),
        ):
            if not np.isfinite(values).all():
                raise PolicyError(f"{what} {values} for {_brief(observation)}: expected numbers")
        if not (variance > 0).all():
            raise PolicyError(f"encoder.onnx gives the variance {variance}: expected above 0")


class _Graph:
    """One ONNX session and the names of its inputs, in order."""

    def __init__(self, bundle: Bundle, name: str) -> None:
        self._name = name
        signature = bundle.manifest.signatures[name]
        self._inputs = signature.inputs
        self._outputs = [output for output, _ in signature.outputs]
        self._shapes = [(1, width) for _, width in signature.outputs]
        try:
            self._session = onnxruntime.InferenceSession(
                bundle.graphs[name], _session_options(), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's exceptions share no public base
            raise PolicyError(f"bundle {bundle.id[:12]}, {name}: {error}") from error

    def __call__(self, *values: Array) -> list[Array]:
        feed = {}
        for (name, width), value in zip(self._inputs, values, strict=True):
            if len(value) != width:
                raise PolicyError(
                    f"{self._name}: input {name!r} is {len(value)} wide, expected {width}"
                )
            feed[name] = np.asarray(value, dtype=np.float32)[np.newaxis]
        try:
            outputs = self._session.run(self._outputs, feed)
        except Exception as error:
            raise PolicyError(f"{self._name} cannot be run: {error}") from error
        if [output.shape for output in outputs] != self._shapes:
            raise PolicyError(
                f"{self._name} gives {', '.join(self._outputs)} of shapes "
                f"{[output.shape for output in outputs]}, expected {self._shapes}"
            )
        return [output[0].astype(np.float64) for output in outputs]


def _brief(observation: Array) -> str:
    """An observation in a message, however wide it is."""
    numbers = np.array2string(observation, precision=4, threshold=8, separator=", ")
    return f"the observation {numbers}"


def _session_options() -> Any:
    """One thread that sleeps when idle: the default pool spins, and burns a core at 250 Hz."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options

"""Layers whose weights a latent code generates, and gradient steps on them task by task.

MACAW's weight transform (Mitchell et al. 2021, sec. 4.3): one gradient changes a plain layer by one
rank a row; through its code, by as many as the code is wide. Knows no loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from fieldtune.train.device import CPU

Weights = list[Tensor]
"""Of every layer, each task's own: `(task, (inputs + 1) · outputs)`."""

GENERATING = 3  # tensors that a layer has learned: code, transform and offset


class WeightTransform(nn.Module):
    """A linear layer whose weights are T·c + b, flattened: code c, transform T and offset b are
    learned.

    It begins as a plain layer does, whatever the width of the code: b is drawn as a plain layer's
    weights, and c ~ N(0, 1/outputs²), as released, adds little.

    Args:
        inputs, outputs: of the layer.
        code: the width of c.
    """

    def __init__(self, inputs: int, outputs: int, code: int) -> None:
        super().__init__()
        self.outputs = outputs
        size = (inputs + 1) * outputs
        self.code = nn.Parameter(torch.randn(code, device=CPU) / outputs)
        self.transform = nn.Parameter(_within(1 / math.sqrt(code), size, code))
        self.offset = nn.Parameter(_within(1 / math.sqrt(inputs), size))

    def generated(self, code: Tensor) -> Tensor:
        """Weights by each task's `code` `(task, code)`: rows of a matrix, then the bias, `(task,
        (inputs + 1) · outputs)`."""
        return code @ self.transform.T + self.offset

    def forward(self, weights: Tensor, x: Tensor) -> Tensor:
        """Each task's rows `(task, row, inputs)` by its own weights: `(task, row, outputs)`."""
        matrix, bias = weights[:, : -self.outputs], weights[:, -self.outputs :]
        return torch.baddbmm(bias.unsqueeze(1), x, matrix.unflatten(1, (-1, self.outputs)))


def layers(sizes: Sequence[int], code: int) -> list[WeightTransform]:
    """One from each of `sizes` to the next, with codes `code` wide."""
    return [WeightTransform(inputs, outputs, code) for inputs, outputs in pairwise(sizes)]


def as_they_are(net: Sequence[WeightTransform], tasks: int) -> Weights:
    """Before any step: the same weights for every task."""
    return [layer.generated(layer.code.expand(tasks, -1)) for layer in net]


def gradient_steps(
    net: Sequence[WeightTransform],
    rates: Tensor,
    loss: Callable[[Weights], Tensor],
    *,
    tasks: int,
    steps: int,
    differentiable: bool,
) -> Weights:
    """Each task's weights after plain gradient descent on its own codes, transforms and offsets.

    Args:
        net: all layers that the loss depends on.
        rates: of code, transform and offset of each, `(layer, 3)`.
        loss: of all tasks' weights, `(task,)`.
        tasks: how many.
        steps: how many.
        differentiable: whether the result is a function of what `net` has learned and of `rates`,
            whose derivative is of second order in the loss. Otherwise it is numbers.
    """
    own = [_TaskLayer(layer, rate, tasks) for layer, rate in zip(net, rates, strict=True)]
    weights = as_they_are(net, tasks)
    for _ in range(steps):
        if not differentiable:
            weights = [each.detach().requires_grad_() for each in weights]
        found = torch.autograd.grad(loss(weights).sum(), weights, create_graph=differentiable)
        for layer, gradient in zip(own, found, strict=True):
            layer.step(gradient)
        weights = [layer.weights() for layer in own]
    return weights if differentiable else [each.detach() for each in weights]


class _TaskLayer:
    """One layer as each task has it after some steps, without a transform a task.

    Where g is the loss's gradient by the weights, it is g·cᵀ by T, g by b and Tᵀ·g by c. So after
    steps j, which began at codes cⱼ, T is less by rate(T)·Σⱼ gⱼ·cⱼᵀ, and b by rate(b)·Σⱼ gⱼ.
    """

    def __init__(self, layer: WeightTransform, rates: Tensor, tasks: int) -> None:
        self._layer, self._rates = layer, rates.unbind()
        self._code = layer.code.expand(tasks, -1)
        self._taken: list[tuple[Tensor, Tensor]] = []

    def step(self, gradient: Tensor) -> None:
        """One step down `gradient` `(task, weight)`, by the weights of now."""
        of_code, of_transform, _ = self._rates
        slope = gradient @ self._layer.transform
        for taken, code in self._taken:
            slope = slope - of_transform * _dot(taken, gradient) * code
        self._taken.append((gradient, self._code))
        self._code = self._code - of_code * slope

    def weights(self) -> Tensor:
        """`(task, weight)`."""
        _, of_transform, of_offset = self._rates
        found = self._layer.generated(self._code)
        for taken, code in self._taken:
            found = found - (of_transform * _dot(code, self._code) + of_offset) * taken
        return found


def _dot(one: Tensor, other: Tensor) -> Tensor:
    """Of each task's rows, `(task, 1)`."""
    return (one * other).sum(dim=1, keepdim=True)


def _within(bound: float, *shape: int) -> Tensor:
    return torch.empty(shape, device=CPU).uniform_(-bound, bound)

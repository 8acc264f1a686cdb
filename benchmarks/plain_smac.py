"""SMAC's offline update as one would write it first: eager PyTorch, default optimisers, no tricks.

The authors' settings (ALGORITHM: Pong et al. 2022, appendix), at their sizes unless others are
given. It shares no code with `train`; only the networks' initial weights are copied from there, so
that both sides can be compared number by number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LATENT = 5
DISCOUNT, TARGET_RATE, REWARD_SCALE, KL_WEIGHT, TEMPERATURE = 0.99, 0.005, 5.0, 0.1, 100.0
LEARNING_RATE = 3e-4


@dataclass(frozen=True)
class Widths:
    """Of hidden layers; the authors'."""

    policy: tuple[int, ...] = (300, 300, 300)
    critic: tuple[int, ...] = (300, 300, 300)
    encoder: tuple[int, ...] = (200, 200, 200)
    decoder: tuple[int, ...] = (64, 64)
    critic_layer_norm: bool = False


AUTHORS = Widths()


def mlp(
    inputs: int, hidden: tuple[int, ...], outputs: int, layer_norm: bool = False
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in hidden:
        layers.append(nn.Linear(inputs, width))
        if layer_norm:
            layers.append(nn.LayerNorm(width))
        layers.append(nn.ReLU())
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


class PlainSmac:
    """All networks and their optimisers; `update` is one gradient step of phase 1.

    `reward_shift` is what the critic's reward has beside the standardised one.
    """

    def __init__(
        self, observation: int, action: int, reward_shift: float, widths: Widths = AUTHORS
    ) -> None:
        row = observation + action + LATENT
        self.policy = mlp(observation + LATENT, widths.policy, 2 * action)
        self.q1, self.q2, self.q1_target, self.q2_target = (
            mlp(row, widths.critic, 1, widths.critic_layer_norm) for _ in range(4)
        )
        self.encoder = mlp(observation + action + 1, widths.encoder, 2 * LATENT)
        self.decoder = mlp(row, widths.decoder, 1)
        self.reward_shift = reward_shift
        self.target_pairs = ((self.q1_target, self.q1), (self.q2_target, self.q2))

    def networks(self) -> dict[str, nn.Module]:
        """By the names that they have in `fieldtune.train.agent.agent.Agent`."""
        names = ("policy", "q1", "q2", "q1_target", "q2_target", "encoder", "decoder")
        return {name: getattr(self, name) for name in names}

    def make_optimisers(self) -> None:
        """Once the networks are where they stay."""
        rate = LEARNING_RATE
        self.policy_optimiser = torch.optim.Adam(self.policy.parameters(), lr=rate)
        critics = [*self.q1.parameters(), *self.q2.parameters()]
        self.critic_optimiser = torch.optim.Adam(critics, lr=rate)
        inference = [*self.encoder.parameters(), *self.decoder.parameters()]
        self.inference_optimiser = torch.optim.Adam(inference, lr=rate)

    def act(self, observation: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and log-std before squashing, and a reparameterised action."""
        mean, log_std = self.policy(torch.cat([observation, z], dim=-1)).chunk(2, dim=-1)
        log_std = log_std.clamp(-20.0, 2.0)
        return mean, log_std, torch.tanh(mean + log_std.exp() * torch.randn_like(mean))

    def update(self, context: tuple[Any, ...], batch: tuple[Any, ...]) -> dict[str, float]:
        """`context` and `batch` are (s, a, r, s', done), each `(task, transition, ...)`."""
        s, a, r, s_next, done = batch[:5]
        mean, raw = self.encoder(
            torch.cat([context[0], context[1], context[2].unsqueeze(-1)], dim=-1)
        ).chunk(2, dim=-1)
        precision = 1.0 / (F.softplus(raw) + 1e-7)
        variance = 1.0 / precision.sum(dim=1)
        mean = variance * (precision * mean).sum(dim=1)
        z = mean + variance.sqrt() * torch.randn_like(mean)
        z = z.unsqueeze(1).expand(-1, s.shape[1], -1)
        predicted = self.decoder(torch.cat([s, a, z], dim=-1)).squeeze(-1)
        kl = 0.5 * (variance + mean.square() - 1.0 - variance.log()).sum(dim=-1).mean()
        inference_loss = F.mse_loss(predicted, r) + KL_WEIGHT * kl
        self.inference_optimiser.zero_grad()
        inference_loss.backward()
        self.inference_optimiser.step()

        z = z.detach().flatten(0, 1)
        s, a, s_next = s.flatten(0, 1), a.flatten(0, 1), s_next.flatten(0, 1)
        reward = REWARD_SCALE * (r.flatten() + self.reward_shift)
        with torch.no_grad():
            _, _, a_next = self.act(s_next, z)
            row = torch.cat([s_next, a_next, z], dim=-1)
            q_next = torch.min(self.q1_target(row), self.q2_target(row)).squeeze(-1)
            target = reward + DISCOUNT * (1.0 - done.flatten()) * q_next
        row = torch.cat([s, a, z], dim=-1)
        q1, q2 = self.q1(row).squeeze(-1), self.q2(row).squeeze(-1)
        critic_loss = F.mse_loss(q1, target) + F.mse_loss(q2, target)

        mean, log_std, a_policy = self.act(s, z)
        with torch.no_grad():
            row = torch.cat([s, a_policy, z], dim=-1)
            q_policy = torch.min(self.q1(row), self.q2(row)).squeeze(-1)
            advantage = torch.min(q1, q2) - q_policy
            weights = torch.softmax(advantage / TEMPERATURE, dim=0) * len(advantage)
        inside = a.clamp(-1 + 1e-6, 1 - 1e-6)
        noise = (torch.atanh(inside) - mean) / log_std.exp()
        log_prob = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
        log_prob = (log_prob - torch.log(1 - inside.square())).sum(dim=-1)
        actor_loss = -(log_prob * weights).mean()
        self.policy_optimiser.zero_grad()
        actor_loss.backward()
        self.policy_optimiser.step()
        self.critic_optimiser.zero_grad()
        critic_loss.backward()
        self.critic_optimiser.step()

        with torch.no_grad():
            for target_net, net in self.target_pairs:
                pairs = zip(target_net.parameters(), net.parameters(), strict=True)
                for target_weight, weight in pairs:
                    target_weight.mul_(1 - TARGET_RATE).add_(TARGET_RATE * weight)
        return {
            "inference": inference_loss.item(),
            "critic": critic_loss.item(),
            "actor": actor_loss.item(),
        }

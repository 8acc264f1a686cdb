"""A decoder for an algorithm that learns none, so that its tasks too are inferred by likelihood.

Fitted to the z of its frozen encoder when it is asked for, and kept nowhere but in a bundle: the
same weights, data and seed give the same decoder. Knows runs and replays; no algorithm by name.
"""

from __future__ import annotations

import copy

import numpy as np
import torch

from fieldtune.train.agent.posterior import sample
from fieldtune.train.algorithms.algorithm import Algorithm, Exportable, learns_decoder
from fieldtune.train.algorithms.decoding import unexplained
from fieldtune.train.algorithms.optimisation import adam, gradient_step
from fieldtune.train.config import Context
from fieldtune.train.data.sampling import draw_offline
from fieldtune.train.device import random_state_kept
from fieldtune.train.runs.capabilities import require_decoder
from fieldtune.train.runs.particles import CONTEXT
from fieldtune.train.runs.replays import offline_replay
from fieldtune.train.runs.run import Run

UPDATES, LEARNING_RATE = 2_000, 1e-3


def decoded(run: Run, algorithm: Algorithm) -> Exportable:
    """`algorithm` itself where it learns a decoder, else a copy of it that was given one.

    That decoder learns as SMAC's does, on z of contexts as long as those that particles are made
    of. The copy infers and acts as the original.

    Args:
        run: whose data and seed decide every draw, and whose settings how much is drawn at once.
        algorithm: trained.

    Raises:
        RunError: it has no place for a decoder.
    """
    exportable = require_decoder(run, algorithm)
    if learns_decoder(exportable):
        return exportable
    given, rng = copy.deepcopy(exportable), np.random.default_rng(run.config.seed)
    agent, offline = given.agent, offline_replay(run, given)
    optimiser = adam(LEARNING_RATE, *filter(None, (agent.decoder, agent.dynamics)))
    contexts = Context(source="transitions", size=(CONTEXT // 4, CONTEXT))
    phase = run.config.offline.model_copy(update={"context": contexts})
    with random_state_kept():
        torch.manual_seed(run.config.seed)
        for _ in range(UPDATES):
            context, batch = draw_offline(offline, rng, run.config.algorithm, phase)
            with torch.no_grad():
                z = sample(*agent.infer(context))
            gradient_step(unexplained(agent, batch, z).both, optimiser)
    return given

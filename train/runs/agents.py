"""Agents as each phase of a run left them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from fieldtune.train.agent.agent import Agent
from fieldtune.train.runs.checkpoint import AVERAGE, load_agent, read_facts
from fieldtune.train.runs.origin import SELF_SUPERVISED, require_own
from fieldtune.train.runs.run import Run


def offline_agent(run: Run) -> Agent:
    """The agent as phase 1 left it. Raises `CheckpointError`."""
    require_own(run, run.offline_checkpoint, run.offline_checkpoint.stem)
    agent = run.agent()
    load_agent(run.offline_checkpoint, agent)
    return agent


def averaged_agent(run: Run, checkpoint: Path, phase: str = SELF_SUPERVISED) -> Agent:
    """The averaged weights of a phase 2, which is `self-supervised` or `oracle`.

    Raises `CheckpointError`.
    """
    require_own(run, checkpoint, phase)
    agent = run.agent()
    load_agent(checkpoint, agent, prefix=AVERAGE)
    return agent


def newest_agent(run: Run) -> tuple[Agent, Literal["offline", "self-supervised"], int]:
    """What a robot should run now, the phase that made it and its number of updates."""
    if run.finetune_checkpoint.exists():
        updates = int(read_facts(run.finetune_checkpoint)["updates"])
        return averaged_agent(run, run.finetune_checkpoint), "self-supervised", updates
    updates = int(read_facts(run.offline_checkpoint)["updates"])
    return offline_agent(run), "offline", updates

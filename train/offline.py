"""Phase 1: meta-training on the fixed, labelled dataset, resumable at any moment."""

from __future__ import annotations

from collections.abc import Callable

from train.checkpoint import Progress, load_checkpoint, save_checkpoint
from train.curves import Curves
from train.draws import draw_offline
from train.run import Run
from train.smac import Smac

OnUpdate = Callable[[int], None]


def train_offline(
    run: Run, *, until: int | None = None, on_update: OnUpdate = lambda _: None
) -> Smac:
    """Train to `offline.updates`, or to `until` if that is less; continue from a checkpoint.

    A run stopped at any checkpoint and resumed equals one never stopped, bit for bit on a CPU.

    Args:
        on_update: told the number of updates done after each one.
    """
    phase = run.config.offline
    learner, rng = run.learner(run.config.algorithm.learning_rate, run.config.seed)
    done = 0
    if run.offline_checkpoint.exists():
        done = int(load_checkpoint(run.offline_checkpoint, learner, rng).facts["updates"])
        on_update(done)
    last = phase.updates if until is None else min(until, phase.updates)
    if done >= last:
        return learner
    replay = run.offline_replay(learner.agent)
    with Curves(run.curves / "offline") as curves:
        while done < last:
            draw = draw_offline(replay, rng, run.config.algorithm, phase)
            metrics = learner.offline_update(*draw)
            done += 1
            curves.add(done, metrics)
            on_update(done)
            if done % phase.checkpoint_every == 0 or done == last:
                facts = {"updates": done, "phase": "offline"}
                save_checkpoint(run.offline_checkpoint, learner, rng, Progress(facts))
    return learner

"""What one update sees, drawn on the device: `sampling`'s draws, from torch's random state there.

Every shape is decided by the settings and by the replays' `shape`, and nothing is read back, so
that a CUDA graph can hold a draw. A context of varying length is drawn at its largest, and
`Batch.counted` says how much of it belongs. Other random numbers than numpy's, the same laws: a
test holds them together.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fieldtune.train.config import AlgorithmSettings, Context, Offline, SelfSupervised
from fieldtune.train.data.replay import Batch, concatenate
from fieldtune.train.data.resident_replay import ResidentReplay


def draw_offline(
    replay: ResidentReplay, settings: AlgorithmSettings, phase: Offline
) -> tuple[Batch, Batch]:
    """As `fieldtune.train.data.sampling.draw_offline`."""
    tasks = meta_batch(replay, settings.meta_batch, repeat=settings.repeat_tasks)
    context = draw_context(replay, tasks, phase.context)
    return context, transitions(replay, tasks, phase.batch or settings.batch)


def draw_union(
    offline: ResidentReplay,
    labelled: ResidentReplay,
    settings: AlgorithmSettings,
    phase: SelfSupervised,
    offline_context: Context | None = None,
    *,
    context_offline: bool,
) -> tuple[Batch, Batch]:
    """As `fieldtune.train.data.sampling.draw_union`, where the context's source is drawn already.

    Args:
        offline, labelled, settings, phase, offline_context: as there.
        context_offline: whether the context is of offline data.
    """
    tasks = meta_batch(labelled, settings.meta_batch, repeat=settings.repeat_tasks)
    source = offline if context_offline else labelled
    context = draw_context(source, tasks, offline_context or phase.context)
    rows = round(settings.batch * phase.drawn_offline)
    parts = [
        transitions(offline, tasks, rows),
        transitions(labelled, tasks, settings.batch - rows),
    ]
    return context, concatenate(parts)


def meta_batch(replay: ResidentReplay, size: int, *, repeat: bool = False) -> Tensor:
    """Different tasks with data, `(task,)`, as many as `size` or as there are; with `repeat`, as
    many as `size`, drawn with replacement."""
    known = replay.counts > 0
    keys = torch.rand(len(known), device=replay.device).masked_fill(~known, -1.0)
    if not repeat:
        return keys.topk(min(size, replay.shape.known)).indices
    among = keys.topk(replay.shape.known).indices
    return among[torch.randint(replay.shape.known, (size,), device=replay.device)]


def transitions(replay: ResidentReplay, tasks: Tensor, n: int) -> Batch:
    """`n` independent transitions of each of `tasks` `(task,)`, with replacement."""
    count = replay.counts[tasks].unsqueeze(1)
    place = _below(count, (len(tasks), n))
    rows = replay.rows[tasks].gather(1, place)
    batch = replay.gather(rows)
    if replay.lookahead is None:
        return batch
    return batch._replace(ahead=replay.look_ahead(rows, replay.lookahead))


def draw_context(replay: ResidentReplay, tasks: Tensor, settings: Context) -> Batch:
    """One context of each of `tasks` `(task,)`, all of one length, and filled up to the largest.

    Args:
        replay: the labelled data.
        tasks: their numbers in `replay`, each of a task with data.
        settings: the range of lengths, and whether whole trajectories are drawn from.
    """
    most = settings.size[1]
    size = torch.randint(settings.size[0], most + 1, (), device=replay.device)
    if settings.source == "trajectories":
        table, known = _of_trajectories(replay, tasks, settings.trajectories)
    else:
        table = replay.rows[tasks]
        known = _counting(replay, table.shape[1]) < replay.counts[tasks].unsqueeze(1)
    rows = table.gather(1, _chosen(known, size, most))
    counted = (_counting(replay, most) < size).float().expand(len(tasks), most)
    return replay.gather(rows)._replace(counted=counted)


def _of_trajectories(replay: ResidentReplay, tasks: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The rows of one to `most` whole trajectories of each task, drawn with replacement; and which
    of them are any. Both `(task, row)`."""
    drawn = torch.randint(1, most + 1, (), device=replay.device)
    which = _below(replay.trajectory_counts[tasks].unsqueeze(1), (len(tasks), most))
    place = which.unsqueeze(-1).expand(-1, -1, 2)
    first, length = replay.trajectories[tasks].gather(1, place).split(1, dim=-1)
    steps = _counting(replay, replay.shape.longest)
    taken = (_counting(replay, most) < drawn).unsqueeze(-1)
    rows = first + torch.minimum(steps, length - 1)
    return rows.flatten(1), ((steps < length) & taken).flatten(1)


def _chosen(known: Tensor, size: Tensor, most: int) -> Tensor:
    """`most` places in each row of `known` `(task, place)`, the first `size` of them drawn: each
    once, or with replacement in a row that knows fewer."""
    keys = torch.rand(known.shape, device=known.device).masked_fill(~known, -1.0)
    once = keys.topk(min(most, known.shape[1])).indices
    count = known.sum(dim=1, keepdim=True)
    once = F.pad(once, (0, most - once.shape[1]))
    again = once.gather(1, _below(count.clamp(max=most), (len(known), most)))
    return torch.where(count < size, again, once)


def _below(count: Tensor, shape: tuple[int, int]) -> Tensor:
    """Whole numbers from 0 and below `count` `(task, 1)`, of that shape."""
    drawn = torch.rand(shape, dtype=torch.float64, device=count.device)
    return torch.minimum((drawn * count).long(), count - 1)


def _counting(replay: ResidentReplay, n: int) -> Tensor:
    return torch.arange(n, device=replay.device)

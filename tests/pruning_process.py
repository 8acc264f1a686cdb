"""A journal that is recorded into, acknowledged and pruned without a pause: for fault tests.

    python pruning_process.py JOURNAL

Every tenth episode is never acknowledged. Prints `keep NUMBER SHA256` once such an episode is
durable, `acknowledged NUMBER` for the others, and `prune` before each piece of making room.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fieldtune.robot.episodes import codec
from fieldtune.robot.episodes.episode import EndReason, EpisodeFooter, EpisodeHeader, Mode, Step
from fieldtune.robot.journal.journal import Journal
from fieldtune.robot.journal.quota import make_room

STEPS = 30


def step(index: int) -> Step:
    return Step(
        index=index,
        sense_ns=index,
        observation=[float(index)] * 100,
        observation_age_ns=0,
        requested=[0.0] * 6,
        applied=[0.0] * 6,
        reason="",
        z=[0.0] * 5,
        infer_ns=0,
        apply_ns=0,
        overrun=False,
    )


def record(journal: Journal) -> tuple[int, str]:
    with journal.transaction():
        header = EpisodeHeader(
            robot="tester",
            family="none",
            boot_session="boot",
            number=journal.next_number(),
            trial=0,
            bundle_id="",
            mode=Mode.PRIOR,
            seed=0,
            started_ns=0,
            period_s=0.01,
        )
        number = journal.begin(header)
        for index in range(STEPS):
            journal.add(number, codec.pack(step(index)))
        footer = EpisodeFooter(end_reason=EndReason.HORIZON, steps=STEPS, final_observation=[])
        return number, journal.finish(number, footer)


with Journal.open(Path(sys.argv[1])) as journal:
    while True:
        for _ in range(5):
            number, sha256 = record(journal)
            if number % 10 == 0:
                print("keep", number, sha256, flush=True)
            else:
                journal.acknowledge(sha256)
                print("acknowledged", number, flush=True)
        print("prune", flush=True)
        make_room(journal, 0)

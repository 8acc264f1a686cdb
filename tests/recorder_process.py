"""A robot that only records, as fast as it can, in one endless episode: for fault tests.

    python recorder_process.py JOURNAL

Prints the episode's number and how many of its steps the recorder calls durable, line by line.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from fieldtune.robot.episodes.episode import EpisodeHeader, Mode, Step
from fieldtune.robot.journal.recorder import Recorder

with Recorder(Path(sys.argv[1])) as recorder:
    number = recorder.next_number()
    recorder.begin(
        EpisodeHeader(
            robot="tester",
            family="none",
            boot_session="boot",
            number=number,
            trial=0,
            bundle_id="",
            mode=Mode.PRIOR,
            seed=0,
            started_ns=0,
            period_s=0.01,
        )
    )
    index = 0
    while recorder.error is None:
        while recorder.queued_steps > 1_000:
            time.sleep(0.001)
        recorder.put(
            Step(
                index=index,
                sense_ns=index,
                observation=[float(index)] * 20,
                observation_age_ns=0,
                requested=[0.0] * 6,
                applied=[0.0] * 6,
                reason="",
                z=[0.0] * 5,
                infer_ns=0,
                apply_ns=0,
                overrun=False,
            )
        )
        index += 1
        if index % 10 == 0:
            print(number, recorder.durable_steps, flush=True)
    sys.exit(recorder.error)

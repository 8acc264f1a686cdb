"""A trainer that only stores and publishes: the real hub in a process of its own, for fault tests.

    python trainer_process.py ADDRESS INBOX BUNDLE

Prints the address it serves. Then reads commands from its input: `stop` asks the robots to end,
the end of the input ends it.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from fieldtune.train.bridge.hub import Hub

logging.basicConfig(level=logging.INFO)
address, inbox, bundle = sys.argv[1:]
with Hub(address, Path(inbox)) as hub:
    hub.publish(Path(bundle))
    print(hub.address, flush=True)
    for line in sys.stdin:
        if line == "stop\n":
            hub.request_stop()

"""A trainer that takes in what its robots send, as `fieldtune finetune` does, and learns nothing.

`python -m benchmarks.fleet_trainer ADDRESS FOLDER BUNDLE [KEYS]` prints its address, then reads
every stored episode once, looking twenty times a second, until its input says `stop`: it asks the
robots to end and stays until its input ends. Its last line is what it took in. FOLDER/fleet.json
tells what `fieldtune fleet` shows.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

from fieldtune.train.bridge.fleet import telling
from fieldtune.train.bridge.hub import Hub
from fieldtune.train.bridge.keys import open_keys

POLL_S = 0.05  # as fieldtune.train.phases.finetune


def main() -> None:
    address, folder, bundle, *keys = sys.argv[1:]
    ending = threading.Event()
    seen: set[str] = set()
    steps = repeats = 0
    opened = open_keys(Path(keys[0])) if keys else None
    hub = Hub(address, Path(folder) / "inbox", opened)

    def listen() -> None:
        for line in sys.stdin:
            if line == "stop\n":
                hub.request_stop()
        ending.set()

    with hub, telling(Path(folder), hub):
        hub.publish(Path(bundle))
        print(json.dumps(hub.address), flush=True)
        threading.Thread(target=listen, name="listener", daemon=True).start()
        last_look = False
        while not last_look:
            last_look = ending.is_set()
            for sha256, episode in hub.episodes(after=seen):
                repeats += sha256 in seen
                seen.add(sha256)
                steps += len(episode.steps)
            time.sleep(POLL_S)
    print(json.dumps({"episodes": len(seen), "steps": steps, "repeats": repeats}), flush=True)


if __name__ == "__main__":
    main()

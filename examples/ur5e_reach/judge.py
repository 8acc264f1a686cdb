"""Rewards for `fieldtune-robot adapt`: the tool's distance from a place on the table.

`python judge.py X Y`, in m; in the place of a camera, a measuring tape or a person. Reads what the
robot did, a line each, and answers with the reward (fieldtune's docs/adapt.md).
"""

import json
import sys

import numpy as np

from ur5e_reach.family import TIP, over

wanted = over(np.array([float(text) for text in sys.argv[1:3]]))
for line in sys.stdin:
    told = json.loads(line)
    if "step" in told:
        reward = -float(np.linalg.norm(np.array(told["next_observation"])[TIP] - wanted))
        said = {"episode": told["episode"], "step": told["step"], "reward": reward}
        print(json.dumps(said), flush=True)

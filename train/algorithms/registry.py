"""Algorithms by name. The only module that knows all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from fieldtune.train.agent.agent import Agent
from fieldtune.train.algorithms.algorithm import Learner
from fieldtune.train.algorithms.meta_bc import MetaBehaviourCloning
from fieldtune.train.algorithms.pearl import Pearl
from fieldtune.train.algorithms.smac import Smac
from fieldtune.train.config import Algorithm

Method = Literal["smac", "meta-bc", "pearl"]
LEARNERS: dict[Method, Callable[[Agent, Algorithm, float], Learner]] = {
    "smac": Smac,
    "meta-bc": MetaBehaviourCloning,
    "pearl": Pearl,
}

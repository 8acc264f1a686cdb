"""What an evaluation's numbers say, in plain words.

Pure functions of an `Evaluation`. Knows nothing of figures or pages.
"""

from __future__ import annotations

import numpy as np

from fieldtune.train.charts import number, percent
from fieldtune.train.evaluation.results import (
    AGAINST_BY_HEART,
    Adapted,
    Evaluation,
    Inference,
)
from fieldtune.train.evaluation.statistics import LEVEL, mean, quoted, recovery

NEGLIGIBLE = 0.05  # of the gain over random actions: a smaller drop is no collapse
POOR_DECODER = 0.5  # explained variance under which labels carry more error than reward


def sentences(evaluation: Evaluation, inference: Inference = "encoder") -> list[str]:
    """The result in plain language, good or bad, computed from the numbers alone.

    Args:
        evaluation: whose numbers they are.
        inference: the run's own, which is told first.
    """
    offline, *collapse = _collapse(evaluation)
    encoder, likelihood = [*collapse, *_recovery(evaluation)], _likelihood(evaluation)
    own, other = (likelihood, encoder) if inference == "likelihood" else (encoder, likelihood)
    return [offline, *own, *other, _labels(evaluation)]


def _collapse(evaluation: Evaluation) -> list[str]:
    before = evaluation.phases["before"]
    offline = float(np.mean(before.offline_returns))
    online = before.encoder.mean_return
    tasks, episodes = len(before.offline_returns), before.encoder.quoted
    gain, drop = offline - evaluation.random, offline - online
    own = f"{episodes} episode{'s' if episodes > 1 else ''} of its own exploration"
    first = (
        f"On {tasks} task{'s' if tasks > 1 else ''} that it never trained on, the policy returns "
        f"{number(offline)} when it infers the task from labelled offline data."
    )
    if gain <= 0:
        return [
            first,
            f"By its encoder, from {own}, it returns {number(online)}. Random actions return "
            f"{number(evaluation.random)}: phase 1 has not learned these tasks, and what follows "
            "says little.",
        ]
    if drop <= NEGLIGIBLE * gain:
        return [
            first,
            f"By its encoder, from {own}, it returns {number(online)}: there is no collapse here "
            "to recover from.",
        ]
    lost = (
        f"less than random actions ({number(evaluation.random)})"
        if online < evaluation.random
        else f"{percent(drop / gain)} of what it had gained over random actions "
        f"({number(evaluation.random)}) is lost"
    )
    return [first, f"By its encoder, from {own}, the return falls to {number(online)}: {lost}."]


def _recovery(evaluation: Evaluation) -> list[str]:
    before, after = evaluation.phases["before"], evaluation.phases.get("after")
    if after is None:
        return ["Phase 2, the learning from exploration without rewards, has not been run."]
    result = number(after.encoder.mean_return)
    said = [
        f"After phase 2, {after.updates:,} updates on {after.steps:,} steps explored without "
        f"rewards, it "
        f"returns {result} by its encoder: {_change(before.encoder, after.encoder)}."
    ]
    oracle = evaluation.returns["oracle"]
    found, goal = recovery(evaluation), nearer_goal(evaluation)
    assert found is not None
    if found.size.value <= 0:
        said.append(f"There was nothing to recover: before phase 2 it was already at {goal}.")
    elif found.closed is None:
        said.append(
            f"How much was recovered cannot be said: the distance was {number(found.size.value)} "
            f"({percent(LEVEL)} interval {_signed(found.size.low)} to {_signed(found.size.high)}) "
            f"to {goal}."
        )
    elif found.closed.value > 0:
        share = found.closed.value
        amount = percent(share) if share < 1 else f"the whole distance ({percent(share)})"
        of = "of the distance to" if share < 1 else "to"
        said.append(f"That is {amount} {of} {goal}.")
    if oracle is not None:
        said.append(f"The same phase with true rewards, the oracle, returns {number(oracle)}.")
    return said


def _change(before: Adapted, after: Adapted) -> str:
    """What phase 2 has done to one inference, as far as its tasks can tell."""
    gained = quoted(after) - quoted(before)
    change = mean(gained)
    if len(gained) == 1:
        verdict = "one task alone does not say whether that is better"
    elif change.low > 0:
        verdict = "better than before it"
    elif change.high < 0:
        verdict = "worse than before it"
    else:
        verdict = "no difference that these tasks can show"
    return (
        f"{verdict} (change {_signed(change.value)}, {percent(LEVEL)} interval over tasks "
        f"{_signed(change.low)} to {_signed(change.high)}; better on {int((gained > 0).sum())} of "
        f"{len(gained)} tasks)"
    )


def nearer_goal(evaluation: Evaluation) -> str:
    """What `recovery` measures against, in words."""
    oracle, offline = evaluation.returns["oracle"], evaluation.returns["offline_context"]
    if oracle is None or (offline is not None and offline <= oracle):
        return "the offline-context return" + (
            "" if oracle is None else ", which is nearer than the oracle"
        )
    return "the oracle, which is nearer than the offline-context return"


def _likelihood(evaluation: Evaluation) -> list[str]:
    """The same weights, inferring by the decoder's likelihood; nothing where that has none."""
    name = "after" if "after" in evaluation.phases else "before"
    found = evaluation.phases[name].likelihood
    if found is None:
        return []
    episodes = f"{found.quoted} episode{'s' if found.quoted > 1 else ''}"
    said = (
        f"Inferring by the decoder's likelihood, the same policy {name} phase 2 returns "
        f"{number(found.mean_return)} from {episodes}"
    )
    before = evaluation.phases["before"].likelihood
    if name == "after" and before is not None:
        said += f", before it {number(before.mean_return)}: {_change(before, found)}"
    if found.first_episode is None:
        return [f"{said}."]
    first = number(float(np.mean(found.first_episode.returns)))
    return [f"{said}.", f"In the very first episode, where it follows every step, it has {first}."]


def _labels(evaluation: Evaluation) -> str:
    decoder = evaluation.decoder
    quality = (
        f"The decoder that makes the labels explains {percent(decoder.explained)} of the variance "
        "of rewards on the held-out tasks"
    )
    if decoder.trained is not None:
        quality += f", and {percent(decoder.trained)} on those it was trained on"
    if decoder.by_heart:
        return f"{quality}: {AGAINST_BY_HEART}."
    if decoder.explained < POOR_DECODER:
        return f"{quality}: too little to learn from, so look there first."
    return f"{quality}."


def _signed(value: float) -> str:
    return ("+" if value >= 0 else "") + number(value)

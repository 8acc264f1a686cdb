"""An episode's mode, as a person reads it."""

from __future__ import annotations

import pytest

from fieldtune.robot.episodes.episode import Mode


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (Mode.PRIOR, "z from the prior"),
        (Mode.POSTERIOR, "z from the posterior"),
        (Mode.ADAPT, "z from rewards"),
        (Mode.GUIDED, "guided"),
    ],
)
def test_a_mode_is_said_in_words(mode, said):
    assert mode.said == said

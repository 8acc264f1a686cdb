"""The page on families names what there is."""

from pathlib import Path

import pytest

from fieldtune.sim.family import width
from fieldtune.sim.registry import family, names

PAGE = (Path(__file__).parents[2] / "docs" / "built-in-families.md").read_text()


@pytest.mark.parametrize("name", names())
def test_the_page_has_every_field_and_size_of_a_family(name) -> None:
    one = family(name)
    rows = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}`")]
    assert f"| {width(one.observation_fields)}: " in rows[0]
    assert f"| {width(one.action_fields)}: " in rows[0]
    assert f"{one.period_s:g} s, {one.horizon} |" in rows[0]
    split = one.split()
    assert f"| {len(split.train)} / {len(split.test)}, " in rows[0]
    fields = one.observation_fields + one.action_fields + one.task_fields + one.signal_fields
    assert all(f"`{field.name}`" in PAGE for field in fields)

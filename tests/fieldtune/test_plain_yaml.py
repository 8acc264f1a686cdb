"""YAML: what a person typed is what is read, or it is refused with what to write instead."""

from __future__ import annotations

import json
import math
import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fieldtune.plain_yaml import DEEPEST, parse, write


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("-7", -7),
        ("1_000", 1000),
        ("0x1F", 31),
        ("0.5", 0.5),
        ("5.", 5.0),
        ("1e3", 1000.0),
        ("1.5e3", 1500.0),
        ("5e-1", 0.5),
        (".inf", math.inf),
        ("true", True),
        ("False", False),
        ("~", None),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("20:30:07.5", "20:30:07.5"),
        ("=", "="),
    ],
)
def test_a_scalar_is_read_as_it_is_written(text, value):
    found = parse(f"a: {text}")["a"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("number", ["010", "0100", "-017", "007", "08", "0_1"])
def test_a_number_that_begins_with_0_is_refused_with_what_to_write(number):
    with pytest.raises(yaml.YAMLError) as refused:
        parse(f"a: {number}")
    assert f"write {int(number.replace('_', ''))}, or quote it" in str(refused.value)
    assert parse(f"a: '{number}'") == {"a": number}


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1e-999", "2.5e-400"])
def test_a_number_too_large_or_too_small_to_hold_is_refused(number):
    with pytest.raises(yaml.YAMLError, match="is not a number that can be held"):
        parse(f"a: {number}")


_LAUGHS = "a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
_MERGES = "a0: &a0 {k: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 10)
)
_CHAIN = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 200))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (_LAUGHS, "aliases repeat more than 100,000 values"),
        (_MERGES, "aliases repeat more than 100,000 values"),
        (_CHAIN, "nested more than 64 deep"),
        ("a: " + "[" * 100_000, "nested more than 64 deep"),
        ("a: " + "{a: " * 100_000, "nested more than 64 deep"),
        ("a: &a [*a]", "an alias stands inside of what it repeats"),
        ("a: &a {<<: *a}", "an alias stands inside of what it repeats"),
    ],
)
def test_a_text_that_would_grow_without_bounds_is_refused_at_once(text, says):
    started = time.process_time()
    with pytest.raises(yaml.YAMLError, match=says):
        parse(text)
    assert time.process_time() - started < 10


def test_ordinary_aliases_and_nesting_are_read():
    depth = DEEPEST - 2
    assert json.dumps(parse("a: " + "[" * depth + "]" * depth)).count("[") == depth
    assert parse("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: [*a, *a]") == {
        "a": {"x": 1},
        "b": {"x": 1, "y": 2},
        "c": [{"x": 1}, {"x": 1}],
    }


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_what_was_written_is_read_back_here_and_by_yaml_1_1(value):
    assert parse(write(value)) == value
    assert yaml.safe_load(write(value)) == value


@pytest.mark.parametrize("text", ["yes", "010", "08", "1:30", "1.5e3", "1e3", "=", "~", "on"])
def test_text_that_looks_like_something_else_is_quoted(text):
    assert write({"a": text}) == f"a: '{text}'\n"

"""Settings: what a person typed is either used as typed, or refused with a line that helps."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import Literal

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from fieldtune.settings import ConfigError, dump, load


class Hold(StrEnum):
    EPISODE = "episode"
    STEP = "step"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Exploration(Strict):
    prior_episodes: int = Field(default=2, ge=1)
    hold: Hold = Hold.EPISODE


class Sim(Strict):
    name: Literal["sim"] = "sim"
    task: tuple[float, ...] | None = None
    time_scale: float = 1.0


class Other(Strict):
    name: Literal["other"] = "other"
    port: int = 1


class Settings(Strict):
    name: str
    seed: int = 0
    state_dir: Path = Path("/state")
    driver: Sim | Other = Field(default=Sim(), discriminator="name")
    exploration: Exploration = Exploration()
    box: dict[str, tuple[float, float]] = {}


@pytest.fixture
def write(tmp_path):
    def _write(text: str) -> Path:
        path = tmp_path / "x.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def refusal(path: Path, *overrides: str, section: str | None = "robot") -> str:
    with pytest.raises(ConfigError) as caught:
        load(Settings, path, section=section, overrides=overrides)
    return str(caught.value)


def test_reads_only_its_own_section(write):
    path = write("train: {anything: [1, 2]}\nrobot: {name: a, seed: 3}\n")
    settings = load(Settings, path, section="robot")
    assert (settings.name, settings.seed) == ("a", 3)


def test_without_a_section_the_whole_file_is_the_model(write):
    assert load(Settings, write("name: a\n")).name == "a"


def test_unknown_key_names_the_nearest_known_one(write):
    path = write("robot: {name: a, explor: 3}\n")
    assert refusal(path) == (
        f"{path}: unknown key 'robot.explor': did you mean 'robot.exploration'?"
    )


def test_unknown_key_that_belongs_elsewhere_is_shown_where_it_belongs(write):
    path = write("robot: {name: a, prior_episodes: 3}\n")
    assert "did you mean 'robot.exploration.prior_episodes'?" in refusal(path)


def test_unknown_key_inside_a_union_member_is_named_without_the_tag(write):
    path = write("robot: {name: a, driver: {name: sim, timescale: 3}}\n")
    assert "'robot.driver.timescale': did you mean 'robot.driver.time_scale'?" in refusal(path)


def test_unknown_key_like_nothing_lists_what_is_known(write):
    path = write("robot: {name: a, exploration: {zzzz: 1}}\n")
    assert "known keys here: hold, prior_episodes" in refusal(path)


def test_wrong_type_names_key_value_and_expectation(write):
    path = write("robot: {name: a, exploration: {prior_episodes: many}}\n")
    text = refusal(path)
    assert str(path) in text
    assert "'robot.exploration.prior_episodes' is 'many'" in text
    assert "expected a valid integer" in text


@pytest.mark.parametrize("value", ["'3'", "true", "3.5", "null", "[3]"])
def test_only_an_integer_is_an_integer(write, value):
    assert "expected a valid integer" in refusal(write(f"robot: {{name: a, seed: {value}}}\n"))


def test_out_of_range_value_names_the_range(write):
    path = write("robot: {name: a, exploration: {prior_episodes: 0}}\n")
    assert "is 0: expected greater than or equal to 1" in refusal(path)


def test_wrong_choice_names_the_choices(write):
    path = write("robot: {name: a, exploration: {hold: never}}\n")
    assert "is 'never': expected 'episode' or 'step'" in refusal(path)


def test_every_mistake_has_its_line(write):
    path = write("robot: {seed: x, explor: 1}\n")
    assert len(refusal(path).splitlines()) == 3


@pytest.mark.parametrize(("text", "says"), [("yes", "true"), ("off", "false")])
def test_a_word_for_true_or_false_says_how_to_write_it(tmp_path, text, says):
    class Switch(Strict):
        on: bool = False

    (tmp_path / "x.yaml").write_text(f"on: {text}\n")
    with pytest.raises(ConfigError, match=f"'on' is '{text}': .* write {says}"):
        load(Switch, tmp_path / "x.yaml")


@pytest.mark.parametrize("override", ["robot.seed=010", "robot.seed=0100"])
def test_an_override_is_no_octal_number(write, override):
    assert "begins with 0" in refusal(write("robot: {name: a}\n"), override)
    assert "expected a valid integer" in refusal(write("robot: {name: a}\n"), "robot.seed=1:30")


def test_a_bomb_of_aliases_is_one_sentence(write):
    lines = "".join(f"  a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
    text = refusal(write(f"robot:\n  a0: &a0 [1]\n{lines}"))
    assert "aliases repeat more than" in text
    assert len(text.splitlines()) == 1


def test_a_file_that_is_too_long_for_settings_is_not_read_to_its_end(write):
    assert "is longer than 1,000,000 bytes" in refusal(write("# " + "x" * 1_000_000))
    assert "cannot be read: is a device, expected a file" in refusal(Path("/dev/zero"))


def test_missing_file_is_named(tmp_path):
    assert "none.yaml: no such file" in refusal(tmp_path / "none.yaml")


def test_missing_section_lists_those_there(write):
    assert "no section 'robot'; the file has 'robto'" in refusal(write("robto: {name: a}\n"))


def test_missing_key_is_named(write):
    assert "missing key 'robot.name'" in refusal(write("robot: {seed: 1}\n"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("robot: {name: a, name: b}\n", "key 'name' is given twice (line 1"),
        ("robot: [1\n", "is not valid YAML"),
        ("robot: {1: a}\n", "key 1 is not text"),
        ("- 1\n", "expected `key: value` lines"),
        ("robot: 3\n", "'robot' is 3"),
        ("robot: {name: 2024-01-01}\n", "is a date"),
        ("robot: !!python/object/apply:os.getcwd []\n", "is not valid YAML"),
    ],
)
def test_file_that_cannot_be_understood_says_why(write, text, says):
    assert says in refusal(write(text))


def test_number_with_an_exponent_is_a_number(write):
    path = write("name: a\ndriver: {name: sim, time_scale: 1e-3}\n")
    assert load(Settings, path).driver.time_scale == 1e-3


def test_override_wins_and_is_parsed_as_yaml(write):
    path = write("robot: {name: a, seed: 1}\n")
    settings = load(
        Settings,
        path,
        section="robot",
        overrides=[
            "robot.seed=7",
            "robot.driver.task=[1, 2.5]",
            "robot.driver.name=sim",
            "robot.driver.time_scale=.inf",
            "robot.box.x=[0, 1]",
        ],
    )
    assert settings.seed == 7
    assert settings.driver == Sim(task=(1.0, 2.5), time_scale=math.inf)
    assert settings.box == {"x": (0.0, 1.0)}


def test_unknown_override_is_refused_like_an_unknown_key(write):
    path = write("robot: {name: a}\n")
    text = refusal(path, "robot.explor.hold=step")
    assert "overrides: unknown key 'robot.explor': did you mean 'robot.exploration'?" in text


def test_override_without_its_section_is_told_the_section(write):
    assert "did you mean 'robot.seed'?" in refusal(write("robot: {name: a}\n"), "seed=1")


@pytest.mark.parametrize(
    "override", ["robot.seed", "=1", "robot..seed=1", "robot.seed=[", "robot=1"]
)
def test_malformed_override_is_refused(write, override):
    assert repr(override) in refusal(write("robot: {name: a}\n"), override)


def test_override_below_a_plain_value_is_refused(write):
    text = refusal(write("robot: {name: a}\n"), "robot.name.first=b")
    assert "'robot.name' is 'a', which has no keys" in text


def test_dump_leaves_no_temporary_file(tmp_path):
    dump(Settings(name="a"), tmp_path / "deep" / "x.yaml")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["x.yaml"]


@example(Settings(name="1e3", box={"\x85": (0.0, 1.0)}))
@given(
    st.builds(
        Settings,
        name=st.text(),
        seed=st.integers(-(2**60), 2**60),
        state_dir=st.just(Path("/a b/ü")),
        driver=st.builds(
            Sim,
            task=st.none() | st.tuples(st.floats(allow_nan=False), st.floats(allow_nan=False)),
            time_scale=st.floats(allow_nan=False),
        )
        | st.builds(Other, port=st.integers(0, 9)),
        exploration=st.builds(Exploration, hold=st.sampled_from(Hold)),
        box=st.dictionaries(st.text(), st.tuples(st.just(0.0), st.floats(allow_nan=False))),
    )
)
def test_what_was_dumped_is_loaded_back_exactly(tmp_path_factory, settings):
    path = tmp_path_factory.mktemp("settings") / "x.yaml"
    dump(settings, path)
    assert load(Settings, path) == settings


_yaml = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(content=_yaml, override=st.text(max_size=20))
def test_anything_is_either_settings_or_a_config_error(tmp_path_factory, content, override):
    path = tmp_path_factory.mktemp("settings") / "x.yaml"
    path.write_text(yaml.safe_dump({"robot": content, "x": 1}), encoding="utf-8")
    for overrides in ([], [override], [f"robot.{override}=1"]):
        try:
            load(Settings, path, section="robot", overrides=overrides)
        except ConfigError:
            continue


@given(st.binary(max_size=40))
def test_random_bytes_are_never_a_crash(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("settings") / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError):
        load(Settings, path)


def test_an_infinite_setting_survives_dump_and_load(tmp_path: Path) -> None:
    class Speeds(BaseModel):
        model_config = ConfigDict(extra="allow")
        time_scale: float = 1.0

    path = tmp_path / "speeds.yaml"
    dump(Speeds.model_validate({"time_scale": math.inf, "other": math.inf}), path)

    assert load(Speeds, path).model_dump() == {"time_scale": math.inf, "other": math.inf}

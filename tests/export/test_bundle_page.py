"""docs/bundle.md says what the code does: tables and numbers; its Python runs as written."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from typer.main import get_command

from fieldtune.export.bundle import (
    MAX_BUNDLE_BYTES,
    MAX_MANIFEST_BYTES,
    WITH_LIKELIHOOD,
    read_bundle,
)
from fieldtune.export.graph import IR_VERSION, OPSET
from fieldtune.export.manifest import (
    MOST_PARTICLES,
    PARITY_LIMIT,
    SCHEMA_VERSIONS,
    Likelihood,
    Manifest,
    Provenance,
)
from fieldtune.export.sessions import PROVIDERS
from fieldtune.robot.bundles import changes, exam, trial
from fieldtune.robot.cli.bundle import app as on_robot
from fieldtune.train.cli.bundle import SAMPLES, To, app

PAGE = (Path(__file__).parents[2] / "docs" / "bundle.md").read_text()
SECTIONS = {part.partition("\n")[0]: part.partition("\n")[2] for part in PAGE.split("\n## ")[1:]}


def rows(section: str) -> list[list[str]]:
    """The cells of a section's first table, without its head."""
    (table,) = re.findall(r"^\|.*?^(?!\|)", SECTIONS[section] + "\n", re.M | re.S)[:1]
    lines = [line.strip("|") for line in table.splitlines()[2:] if line]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)] for line in lines]


def first_words(section: str) -> list[str]:
    """The names in the first column: what stands in backquotes, up to a blank."""
    return [name for cell, *_ in rows(section) for name in re.findall(r"`([\w.-]+)[^`]*`", cell)]


def python(section: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", SECTIONS[section], re.S | re.M)


def test_the_file_holds_the_members_of_the_table():
    assert tuple(first_words("The file")) == WITH_LIKELIHOOD


def test_the_manifests_table_has_every_key_and_no_other():
    assert set(first_words("The manifest")) == set(Manifest.model_fields)
    (provenance,) = [text for name, text in rows("The manifest") if name == "`provenance`"]
    assert set(re.findall(r"`(\w+)`", provenance)) == set(Provenance.model_fields)
    (likelihood,) = [text for name, text in rows("The manifest") if name == "`likelihood`"]
    named = set(re.findall(r"`(\w+)`", likelihood))
    assert set(Likelihood.model_fields) <= named
    assert f"at most {MOST_PARTICLES:,}" in likelihood
    assert SCHEMA_VERSIONS == (1, 2)


def test_the_commands_and_forms_are_those_there_are():
    told = set(first_words("Looking into one"))
    assert told == set(get_command(on_robot).commands) - {"limits"}
    assert told | {"limits", "convert", "evaluate"} == set(get_command(app).commands)
    assert set(first_words("Other forms")) == {form.value for form in To}
    assert SAMPLES == 2048
    for command in ("convert FILE --to FORM --out FILE", "evaluate FILE OTHER --run RUN"):
        assert f"`fieldtune bundle {command}`" in SECTIONS["Other forms"]


def test_its_numbers_are_the_codes():
    assert f"Plain operators of operator set {OPSET} and IR {IR_VERSION}," in PAGE
    assert f"at most {MAX_MANIFEST_BYTES // 2**20} MiB: at 16 numbers a z" in PAGE
    checked = SECTIONS["What is checked"]
    for said in (
        f"More than {PARITY_LIMIT:.0e} relative".replace("e-05", "e-5"),
        f"size (at most {MAX_BUNDLE_BYTES // 2**20} MiB)",
        f"at most {trial.PROCESSOR_S} s of processor time, {trial.PATIENCE_S:g} s of patience, "
        f"{trial.BASE_MEMORY // 2**20} MiB and six times the bundle's size",
        f"both ends (±{exam.UNBOUNDED:g} where there are none)",
        f"up to {exam.MOST_EMBEDDINGS} of the tasks' embeddings, "
        f"up to {exam.MOST_EMBEDDINGS} of the particles",
    ):
        assert said in checked, said
    assert trial.MEMORY_PER_BYTE == 6
    assert f"on {changes.SAMPLES:,} samples within" in SECTIONS["Looking into one"]


def test_its_providers_are_those_there_are():
    section = SECTIONS["On another provider"]
    (listed,) = re.findall(r"computes all graphs on, (.*?)\. One that", section)
    assert set(re.findall(r"`(\w+)`", listed)) == set(PROVIDERS)
    assert "`cuda` and `tensorrt` have not been run" in section


def test_its_python_runs_as_written(bundle_path, tmp_path, monkeypatch):
    """The first block, and that of the least to install."""
    (tmp_path / "policy.bundle").write_bytes(bundle_path.read_bytes())
    monkeypatch.chdir(tmp_path)
    found: dict[str, object] = {}
    exec(re.findall(r"^```python\n(.*?)^```", PAGE, re.S | re.M)[0], found)
    assert found["bundle"] == read_bundle(bundle_path)
    (block,) = python("The least to install")
    found |= {"observation": np.zeros(5), "next_observation": np.zeros(5), "reward": -0.5}
    exec(block, found)
    assert np.shape(found["action"]) == (2,)

"""`fieldtune bundle convert`: mistakes are told before anything is measured, and change nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from typer.testing import CliRunner

from fieldtune.export import convert
from fieldtune.export.bundle import file_entry, pack_bundle, read_bundle
from fieldtune.train.cli.bundle import app


def told(*words: object) -> str:
    result = CliRunner().invoke(app, ["convert", *map(str, words)])
    return f"{result.exit_code} {result.output}"


@pytest.fixture
def too_early(monkeypatch):
    """Nothing may be converted here."""

    def refuse(*_: object) -> None:
        raise AssertionError("it was converted first")

    monkeypatch.setattr(convert, "convert", refuse)


@pytest.fixture
def here(bundle_path, tmp_path) -> Path:
    """A bundle of its own, and a file beside it."""
    (tmp_path / "a.bundle").write_bytes(bundle_path.read_bytes())
    (tmp_path / "notes").write_text("mine")
    return tmp_path


@pytest.mark.usefixtures("too_early")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--to static --out a.bundle", "a.bundle: is read by this command: choose another file"),
        ("--to static --out .", ": Is a directory"),
        ("--to static --out notes/b.bundle", ": Not a directory"),
        ("--to openvino --out notes", ": Not a directory"),
        ("--to ros2-control --out ros2", "--to ros2-control needs --wiring FILE"),
        (
            "--to ros2-control --out ros2 --wiring notes --tolerance 0.1",
            "--to ros2-control does not read --tolerance: leave it out",
        ),
        ("--to int8 --out b.bundle --wiring notes", "--to int8 does not read --wiring"),
    ],
)
def test_mistakes_are_told_at_once_and_change_nothing(here, monkeypatch, words, said):
    monkeypatch.chdir(here)
    before = {path: path.read_bytes() for path in here.iterdir()}
    assert told("a.bundle", *words.split()).startswith("1 error: ")
    assert said in told("a.bundle", *words.split())
    assert {path: path.read_bytes() for path in here.iterdir()} == before


def test_what_is_too_far_off_is_not_written(here):
    out = here / "new" / "b.bundle"
    refused = told(here / "a.bundle", "--to", "int8", "--tolerance", "1e-4", "--out", out)
    assert "at most 0.0001 is allowed: --tolerance widens it" in refused
    assert not out.parent.exists()
    assert told(here / "a.bundle", "--to", "static", "--out", out).startswith(f"0 {out}: ")
    assert read_bundle(out).manifest.conversions[0].to == "static"


def with_weights(path: Path, graph: str, change: Callable[[np.ndarray], np.ndarray]) -> Path:
    """The bundle with the first layer's weights of a graph changed; a reader sees nothing wrong."""
    good = read_bundle(path)
    model = onnx.load_model_from_string(good.graphs[graph])
    weights = next(one for one in model.graph.initializer if len(one.dims) == 2)
    changed = np.ascontiguousarray(change(numpy_helper.to_array(weights)))
    weights.CopyFrom(numpy_helper.from_array(changed, weights.name))
    graphs = {**good.graphs, graph: model.SerializeToString()}
    files = {name: file_entry(content) for name, content in graphs.items()}
    odd = path.with_name("odd.bundle")
    odd.write_bytes(pack_bundle(good.manifest.model_copy(update={"files": files}), graphs))
    return odd


@pytest.mark.parametrize("to", ["static", "int8"])
def test_what_cannot_be_run_or_gives_no_number_is_one_sentence(here, to):
    """The tool that makes integers would end in a traceback of its own."""
    out = here / "b.bundle"
    words = ("--to", to, "--tolerance", "1", "--out", out)
    odd = with_weights(here / "a.bundle", "decoder.onnx", lambda weights: weights[:, :-1])
    assert told(odd, *words).startswith(
        "1 error: ONNX Runtime cannot run the graph that gives reward ("
    )
    nan = with_weights(here / "a.bundle", "policy.onnx", lambda weights: weights * np.nan)
    assert "error: before it is converted, policy.mean is not finite: `bundle" in told(nan, *words)
    assert not out.exists()

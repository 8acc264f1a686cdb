"""Ctrl-C in every command of `fieldtune`, from its imports on."""

from __future__ import annotations

import shutil

import pytest
import yaml

from fieldtune import exit_status
from fieldtune.errors import RESUMABLE
from fieldtune.train.cli.app import app
from tests.interrupts import IMPORT, Case, commands, require_clean_interrupts, warm
from tests.warm_process import Moment

LIBRARIES = (
    "numpy",
    "torch",
    "torch._dynamo",
    "torch.utils.tensorboard",
    "pydantic",
    "yaml",
    "zmq",
)
LIBRARIES += ("gymnasium", "minari", "matplotlib.figure", "h5py", "safetensors.torch", "msgspec")
RUN = (IMPORT, Moment("open", "*data.sha256"))
KEYS = (IMPORT, Moment("open", "*keys/*"))
DONE, GO_ON, STOPPED = exit_status.DONE, (RESUMABLE,), ("stopped",)
KEY = "ab" * 32

CASES = {
    "collect": Case(
        "collect --config run.yaml data.path=new workers=2",
        (IMPORT, Moment("start", "*collecting.spreading*", 2)),
        says=GO_ON,
        out=("new",),
    ),
    "import": Case(
        "import --family point-goal --mapping exported/mapping.yaml --tasks exported/tasks.json "
        "--from exported --out new",
        (IMPORT, Moment("rename", "*new")),
        says=GO_ON,
        out=("new",),
    ),
    "export-dataset": Case(
        "export-dataset data --format minari --out new",
        (IMPORT, Moment("rename", "*new")),
        says=("stopped; nothing was written",),
        out=("new",),
    ),
    "train": Case(
        "train --config run.yaml --run new",
        (IMPORT, Moment("rename", "*offline.safetensors")),
        says=GO_ON,
        again=DONE,
    ),
    "export": Case(
        "export --run run --out b.bundle",
        (*RUN, Moment("import", "torch.onnx*")),
        says=GO_ON,
        out=("b.bundle",),
    ),
    "finetune": Case(
        "finetune --run run --address tcp://127.0.0.1:*",
        (*RUN, Moment("import", "torch.onnx*")),  # robots can connect
        says=GO_ON,
    ),
    "clear-stop": Case("clear-stop --run run", says=GO_ON),
    "fleet": Case(
        "fleet --run run", (IMPORT, Moment("import", "rich.live")), says=("",), ends=DONE
    ),
    "oracle": Case("oracle --run run", (*RUN, Moment("rename", "*oracle.*")), says=GO_ON),
    "evaluate": Case("evaluate --run run", RUN, says=GO_ON, out=("run/report.html",)),
    "beliefs": Case("beliefs --run run --out b.png", RUN, out=("b.png",)),
    "film": Case("film --run run --out b.gif", RUN, out=("b.gif",)),
    "view": Case("view run --save a.rrd", out=("a.rrd",)),
    "study": Case(
        "study point-goal --config run.yaml --seeds 1 --jobs 1 --out s",
        (IMPORT, Moment("open", "*.progress", 2)),
        says=GO_ON,
    ),
    "plugins": Case("plugins", (IMPORT, Moment("exit"))),
    "check-family": Case("check-family point-goal", says=STOPPED),
    "doctor": Case("doctor"),
    "new": Case(
        "new robot my-arm",
        (IMPORT, Moment("rename", "*my-arm"), Moment("open", "*.my-arm.*", 3)),
        says=STOPPED,
        again=DONE,
        out=("my-arm",),
    ),
    "demo": Case(
        "demo --config run.yaml --out demo",
        (IMPORT, Moment("start", "*collecting.*")),
        says=GO_ON,
    ),
    "bundle inspect": Case("bundle inspect a.bundle"),
    "bundle verify": Case("bundle verify a.bundle"),
    "bundle bench": Case("bundle bench a.bundle"),
    "bundle diff": Case("bundle diff a.bundle a.bundle"),
    "bundle limits": Case("bundle limits a.bundle --config run.yaml --out limits.json"),
    "bundle convert": Case(
        "bundle convert a.bundle --to static --out b.bundle",
        (IMPORT, Moment("rename", "*b.bundle")),
        out=("b.bundle",),
    ),
    "bundle evaluate": Case(
        "bundle evaluate a.bundle --run run", (IMPORT, Moment("open", "*a.bundle"))
    ),
    "keys new": Case(
        "keys new --keys k",
        (IMPORT, Moment("rename", "*trainer.key")),
        again=DONE,
        out=("k/trainer.key",),
    ),
    "keys show": Case("keys show"),
    "keys allow": Case(f"keys allow point {KEY}", KEYS, again=DONE),
    "keys revoke": Case("keys revoke point", KEYS, again=exit_status.MISTAKE),
    "keys list": Case("keys list"),
}


@pytest.fixture(scope="module")
def process():
    with warm("train", LIBRARIES) as started:
        yield started


@pytest.fixture(scope="module")
def site(tmp_path_factory, make_bundle, write_config, process):
    """Data, a run whose phase 1 is done, a bundle and keys."""
    folder = tmp_path_factory.mktemp("site") / "site"
    folder.mkdir()
    settings = yaml.safe_load(write_config(folder / "run.yaml").read_text())
    settings |= {"family": "point-goal", "data": {"path": "data", "episodes_per_task": 1}}
    settings["robot"] |= {"family": "point-goal", "state_dir": "state"}
    (folder / "run.yaml").write_text(yaml.safe_dump(settings))
    make_bundle(folder / "a.bundle")
    for command in (
        "collect --config run.yaml workers=1",
        "train --config run.yaml --run run",
        "export-dataset data --format minari --out exported",
        "keys new",
    ):
        done = process.run(command, folder, folder.parent / "beside", None)
        assert done.status == DONE, (folder.parent / "beside" / "err").read_text()
    return folder


def test_every_command_has_its_case():
    assert commands(app) == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_command_that_is_interrupted_says_so_and_leaves_nothing_half_done(
    name, process, site, tmp_path
):
    shutil.copytree(site, tmp_path / "site")
    require_clean_interrupts(process, CASES[name], tmp_path / "site", tmp_path / "beside")

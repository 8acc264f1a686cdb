"""Both sides of a comparison do the same work: what checks it passes, and notices when not."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import episodes, islands, smac, smac_sides
from benchmarks.bare_physics import BarePhysics
from benchmarks.bridge import Line, recorded, same_episodes
from benchmarks.bridge_sides import Child, Pusher, Robot
from benchmarks.journal import Sides, same_rows
from benchmarks.locomotion import ROWS
from benchmarks.locomotion_sides import (
    Bare,
    Gymnasium,
    Ours,
    drawn_actions,
    same_as_bare,
    same_as_gymnasium,
)
from benchmarks.plain_smac import PlainSmac
from benchmarks.pool import PYTHON, EnvPool, NoEnvPool
from benchmarks.products import products_of, run_products, total_gflop
from fieldtune.robot.journal.journal import Journal
from fieldtune.sim.registry import family

COPIES = 2


@pytest.fixture(params=ROWS, ids=lambda row: row.family)
def locomotion(request):
    row = request.param
    one = family(row.family)
    actions = drawn_actions(row, one, COPIES)[:5]
    ours = Ours(one, COPIES, 1, actions)
    yield row, ours, actions
    ours.close()


def test_gymnasium_steps_the_same_physics(locomotion):
    row, ours, actions = locomotion
    theirs = Gymnasium(row, COPIES, "sync", actions)
    assert "to the last bit" in same_as_gymnasium(ours, theirs)
    theirs.close()


def test_the_c_loop_steps_the_same_physics_and_others_are_noticed(locomotion):
    row, ours, actions = locomotion
    assert same_as_bare(ours, Bare(row, ours, 2, actions))
    with pytest.raises(AssertionError, match="not those of bare mj_step"):
        same_as_bare(ours, Bare(row, ours, 2, 0.5 * actions))


def test_the_c_loop_refuses_controls_of_another_shape(locomotion):
    _, ours, _ = locomotion
    physics = BarePhysics(ours.data[0].model, COPIES, 1)
    with pytest.raises(ValueError, match="expected contiguous"):
        physics.run(np.zeros((1, COPIES, 99)), 1)


def test_an_environment_without_envpool_is_a_reason_and_no_failure(monkeypatch, tmp_path):
    monkeypatch.setenv(PYTHON, str(tmp_path / "python"))
    with pytest.raises(NoEnvPool, match=f"name its interpreter in {PYTHON}"):
        EnvPool("Ant-v5", 1, 1, 1, 1.0)
    monkeypatch.setenv(PYTHON, sys.executable)
    with pytest.raises(NoEnvPool, match="No module named 'envpool'"):
        EnvPool("Ant-v5", 1, 1, 1, 1.0)


@pytest.mark.slow
def test_plain_pytorch_makes_the_same_updates_and_others_are_noticed(monkeypatch):
    assert "losses are equal" in smac.same_updates(1)
    assert "losses are equal" in smac.same_updates(1, "arms")
    whole, last = smac.gflop("arms")
    rows, passes = 8 * 128, 2 * (1 + 1 + 1 + 2)  # target, policy's action, data's and back
    assert last == pytest.approx(2 * rows * 512 * passes / 1e9)
    assert last < whole / 100
    monkeypatch.setattr("benchmarks.plain_smac.KL_WEIGHT", 0.2)
    with pytest.raises(AssertionError, match=r"in plain PyTorch|away after"):
        smac.same_updates(1)


def test_an_updates_products_are_all_counted():
    import torch

    plain = PlainSmac(3, 2, 0.0)

    def update() -> None:
        out = plain.decoder(torch.zeros(8, 10, requires_grad=True))
        out.sum().backward()

    # forward, gradients of inputs, gradients of weights: 10 → 64 → 64 → 1
    products = products_of(update)
    assert total_gflop(products) == pytest.approx(3 * 2 * 8 * (10 * 64 + 64 * 64 + 64) / 1e9)
    assert run_products(products, 0.0) > 0


def test_every_journal_holds_the_same_rows(tmp_path):
    sides = Sides(tmp_path, 1)
    for turn in (sides.ours, sides.recorder, sides.sqlite):
        assert turn() > 0
    assert "hold the same 2,000 records" in same_rows(sides)
    short = Sides(tmp_path / "short", 1)
    short.written = {"ours": next(iter(sides.written.values())), "other": tmp_path / "other"}
    with Journal.open(tmp_path / "other") as journal:
        episodes.fill(journal, episodes.REACH, 1)
    with pytest.raises(AssertionError, match="do not hold the same steps"):
        same_rows(short)


@pytest.mark.slow
def test_bridge_and_bare_socket_carry_the_same_episodes(tmp_path: Path):
    (tmp_path / "recorded").mkdir()
    addresses, blobs = recorded(tmp_path / "recorded", episodes.REACH, 2)
    line = Line(episodes.REACH, 2, 1.0, blobs, addresses)
    with Child("hub", str(tmp_path / "inbox")) as hub:
        robot = Robot(hub.said, tmp_path / "robot")
        assert line.over_bridge("bridge", robot) > 0
        robot.close()
    (tmp_path / "pulled").mkdir()
    with Child("pull", str(tmp_path / "pulled")) as puller:
        pusher = Pusher(puller.said)
        assert line.over_socket("socket", pusher, puller, durable=True) > 0
        pusher.close()
    assert "sha256 of all 2 episodes" in same_episodes(line)
    line.arrived["socket"] = line.arrived["socket"][:1]
    with pytest.raises(AssertionError, match="socket: other episodes"):
        same_episodes(line)


@pytest.mark.parametrize("size", smac_sides.SIZES)
@pytest.mark.parametrize("side", ["ours", "bfloat16"])
def test_each_side_can_be_configured_at_each_size(side, size):
    more = ["algorithm.precision=bfloat16"] if side == "bfloat16" else []
    assert smac_sides.reference(*smac_sides.SIZES[size], *more).algorithm.name == "smac"


def test_islands_are_asked_of_families_that_mujoco_steps():
    assert islands.has_mujoco("cheetah-vel")
    assert islands.has_mujoco("reach")
    assert not islands.has_mujoco("point-goal")

"""The proofs of docs/reliability.md, small; and that each of them can fail."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import stopped_loop
from benchmarks.bad_network import Harm
from benchmarks.hung_client import Stop, problems_of
from benchmarks.kills import Kill
from benchmarks.network import Turn, jitter_problems
from benchmarks.pair import FAMILY
from benchmarks.proof import conclude, remember, remembered, table
from benchmarks.small_disk import NotPermitted, SmallDisk

ROOT = Path(__file__).parents[2]


def test_a_broken_invariant_ends_a_proof_with_status_1(capsys):
    with pytest.raises(SystemExit) as ended:
        conclude([], ["episode 3 is not in the inbox"])
    assert ended.value.code == "1 invariants are broken"
    assert "BROKEN: episode 3 is not in the inbox" in capsys.readouterr().err
    conclude([], [])
    assert "every invariant holds" in capsys.readouterr().out


def test_tables_are_markdown():
    assert table(("a", "b"), [(1, "x")]) == "| a | b |\n|---|---|\n| 1 | x |"


def test_a_proof_that_was_stopped_goes_on_after_what_it_noted(tmp_path):
    done = [Kill("robot", "any", "an episode", 1), Kill("storing", "any", "start", 2)]
    for kill in done:
        remember(tmp_path / "kills.jsonl", kill)
    with (tmp_path / "kills.jsonl").open("a") as file:
        file.write('{"victim": "rob')  # it was killed here
    assert remembered(tmp_path / "kills.jsonl", Kill) == done


def turn(condition: str, p99_us: float) -> Turn:
    return Turn(condition, 20, 400, p99_us, vars(Harm()))


def test_jitter_above_the_noise_of_the_direct_line_is_a_problem():
    direct = [turn("direct", 100.0), turn("direct", 180.0), turn("direct", 120.0)]
    within = [turn("cut", value) for value in (90.0, 170.0, 500.0)]
    assert jitter_problems(direct + within, ("direct",)) == []
    above = [turn("doubled", value) for value in (90.0, 181.0, 500.0)]
    (problem,) = jitter_problems(direct + within + above, ("direct",))
    assert "doubled: the loop's p99 jitter is 181 µs, without a proxy it is at most 180" in problem


@pytest.mark.parametrize(
    ("stop", "says"),
    [
        (Stop(201.0, 3.0, 3, False), "at rest after 201.0 ms"),
        (Stop(140.0, 51.0, 3, False), "51.0 ms after the lease's end"),
        (Stop(100.0, -4.0, 3, False), "4.0 ms before the lease's end"),
        (Stop(140.0, 2.0, 0, False), "the daemon went on"),
        (Stop(140.0, 2.0, 3, True), "the daemon went on"),
    ],
)
def test_a_robot_that_rests_late_or_moves_again_is_a_problem(stop, says):
    assert problems_of([Stop(140.0, 2.0, 3, False)], 0.15, 0.05) == []
    (problem,) = problems_of([stop], 0.15, 0.05)
    assert says in problem


@pytest.mark.parametrize(
    "changes", [{"commands": 2}, {"status": 0}, {"held_ms": float("inf")}], ids=str
)
def test_a_loop_that_went_on_is_a_problem(changes):
    stop = stopped_loop.Stop(stood_s=1.0, commands=1, held_ms=0.3, status=3, before=0)
    assert stopped_loop.problems_of([stop]) == []
    (problem,) = stopped_loop.problems_of([replace(stop, **changes)])
    assert "it went on" in problem


def test_a_small_disk_is_full_when_it_is_filled_and_empty_when_it_is_freed(tmp_path):
    try:
        with SmallDisk(tmp_path / "disk", 2) as disk:
            disk.fill()
            assert disk.free_bytes == 0
            with pytest.raises(OSError, match="No space left"):
                (disk.path / "more").write_bytes(bytes(4_096))
            (disk.path / "more").unlink()
            disk.free()
            assert disk.free_bytes > 1_900_000
    except NotPermitted as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def template(tmp_path_factory, make_family_bundle) -> Path:
    """What `benchmarks.pair.prepare` makes, with a bundle that nobody trained."""
    from fieldtune.sim.registry import family as make_family

    folder = tmp_path_factory.mktemp("proof") / "template"
    (folder / "run").mkdir(parents=True)
    make_family_bundle(folder / "published.bundle", make_family(FAMILY))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["kills", "disk_full", "network", "hung_client", "lost_journals", "stopped_loop"]
)
def test_it_holds_in_a_short_run(name, template, tmp_path):
    (tmp_path / "template").symlink_to(template)
    command = [sys.executable, "-m", f"benchmarks.{name}", "--quick", "--folder", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if "CAP_SYS_ADMIN" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "every invariant holds" in done.stdout

"""The journal's commands: a real process, on journals that are sound, damaged or being written."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from mcap.reader import make_reader

from fieldtune.robot.episodes import codec
from fieldtune.robot.journal.journal import Journal

ROOT = Path(__file__).parents[3]
WALL = 1_700_000_000_000_000_000


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "journal.sqlite"


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "run.yaml"
    robot = {"name": "c1", "family": "cheetah-vel", "state_dir": str(tmp_path / "state")}
    file.write_text(yaml.safe_dump({"robot": robot}))
    return file


@pytest.fixture
def record(make_header, make_step, make_footer):
    def write(journal, steps=4, wall_ns=WALL, end=True, **changes):
        header = make_header(journal.next_number(), **changes)
        with journal.transaction():
            journal.begin(header, wall_ns)
            for index in range(steps):
                journal.add(header.number, codec.pack(make_step(index)))
            if end:
                journal.finish(header.number, make_footer(steps))
        return header.number

    return write


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "fieldtune.robot.launch", "journal", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def spoil(path, number):
    connection = sqlite3.connect(path)
    connection.execute(
        "UPDATE steps SET record = ? WHERE episode = ? AND step = 1", (b"\x80", number)
    )
    connection.commit()
    connection.close()


def test_list_shows_each_episode_newest_last_while_a_daemon_records(path, config, record):
    with Journal.open(path) as journal:
        record(journal)
        journal.acknowledge(journal.blob(1)[0])
        record(journal, wall_ns=None)
        record(journal, end=False)
        by_config = command("list", "--config", config)
        by_file = command("list", "--journal", path)
    assert by_config.returncode == 0, by_config.stderr
    assert by_config.stdout == by_file.stdout
    head, *rows = by_config.stdout.splitlines()
    assert head.split() == ["episode", "started", "mode", "steps", "ended", "bundle", "upload"]
    assert [row.split()[0] for row in rows] == ["1", "2", "3"]
    assert rows[0].split()[-5:] == ["prior", "4", "horizon", "b" * 12, "acknowledged"]
    assert rows[0].split()[1].startswith("2023-11-1")
    assert "2.0 s after boot" in rows[1]
    assert rows[2].split()[-1] == "open"


def test_list_as_json_holds_the_same_for_programs(path, record):
    with Journal.open(path) as journal:
        record(journal)
        record(journal, end=False)
    listed = json.loads(command("list", "--journal", path, "--json").stdout)
    assert [entry["episode"] for entry in listed] == [1, 2]
    assert listed[0]["ended"] == "horizon"
    assert listed[0]["upload"] == "pending"
    assert len(listed[0]["sha256"]) == 64
    assert (listed[1]["ended"], listed[1]["upload"]) == (None, "open")


def test_an_empty_journal_is_listed_as_such(path):
    Journal.open(path).close()
    assert json.loads(command("list", "--journal", path, "--json").stdout) == []


def test_show_tells_how_it_went_also_of_an_open_episode(path, record):
    with Journal.open(path) as journal:
        record(journal)
        record(journal, end=False, steps=7)
        closed = command("show", 1, "--journal", path)
        still_open = command("show", 2, "--journal", path)
        as_json = json.loads(command("show", 1, "--journal", path, "--json").stdout)
    assert closed.returncode == 0, closed.stderr
    assert "clamped                4 of 4 steps" in closed.stdout
    assert "4  action rate" in closed.stdout
    assert "overruns               0 of 4 steps" in closed.stdout
    row = next(line for line in closed.stdout.splitlines() if line.startswith("period "))
    assert row.split() == ["period", "50.000", "50.000", "50.000"]
    assert "0 of 7 steps" in still_open.stdout
    assert as_json["summary"]["reasons"] == {"action rate": 4}
    assert as_json["summary"]["spreads"]["apply"]["p50_ms"] == pytest.approx(0.03)


def test_show_of_an_unknown_episode_says_which_there_are(path, record):
    with Journal.open(path) as journal:
        record(journal)
    done = command("show", 5, "--journal", path)
    assert done.returncode == 1
    assert "no episode 5, it has 1 to 1" in done.stderr


def test_verify_says_that_all_is_well(path, record):
    with Journal.open(path) as journal:
        record(journal)
        record(journal, end=False)
        done = command("verify", "--journal", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 episodes, all sound" in done.stdout


def test_verify_names_each_damaged_episode_and_what_to_do(path, record):
    with Journal.open(path) as journal:
        for _ in range(3):
            record(journal)
        journal.acknowledge(journal.blob(1)[0])
    spoil(path, 1)
    spoil(path, 3)
    done = command("verify", "--journal", path)
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert "episode 1 no longer has the bytes" in first
    assert "the trainer has stored it whole, so nothing is lost" in first
    assert "episode 3 no longer has the bytes" in second
    assert "it will not be uploaded" in second


def test_verify_finds_a_gap_in_an_open_episode(path, record):
    with Journal.open(path) as journal:
        record(journal, end=False)
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM steps WHERE step = 2")
    connection.commit()
    connection.close()
    done = command("verify", "--journal", path)
    assert done.returncode == 1
    assert "still open, has the step with index 3 where 2 was expected" in done.stderr


def test_verify_finds_a_header_that_belongs_to_another_episode(path, record):
    with Journal.open(path) as journal:
        record(journal)
        record(journal)
    connection = sqlite3.connect(path)
    connection.execute(
        "UPDATE episodes SET header = (SELECT header FROM episodes WHERE number = 1) "
        "WHERE number = 2"
    )
    connection.commit()
    connection.close()
    assert "episode 2 has the header of episode 1" in command("verify", "--journal", path).stderr


@pytest.mark.parametrize("page", [2, 5, 9])
def test_verify_explains_a_file_with_a_broken_page(path, record, page):
    with Journal.open(path) as journal:
        for _ in range(40):
            record(journal, steps=10)
        journal.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    done = command("verify", "--journal", path)
    assert done.returncode == 1
    assert "problem: " in done.stderr
    assert "Traceback" not in done.stderr


def test_export_writes_what_foxglove_and_rerun_read(path, config, record, tmp_path):
    with Journal.open(path) as journal:
        for _ in range(5):
            record(journal)
        out = tmp_path / "trial.mcap"
        done = command("export", "--config", config, "--episodes", "2-3", "--out", out)
    assert done.returncode == 0, done.stderr
    assert "2 episodes, times on the wall clock" in done.stdout
    with out.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        found = {json.loads(m.data)["episode"] for _, _, m in reader.iter_messages(["/step"])}
    assert found == {2, 3}


def test_export_names_fields_by_the_bundle_beside_the_journal(path, record, tmp_path, make_bundle):
    bundles = path.parent / "bundles"
    bundles.mkdir(parents=True)
    identity = make_bundle(bundles / "x.bundle")
    with Journal.open(path) as journal:
        record(journal, bundle_id=identity)
    out = tmp_path / "named.mcap"
    assert command("export", "--journal", path, "--out", out).returncode == 0
    with out.open("rb") as file:
        topics = {c.topic for c in make_reader(file).get_summary().channels.values()}
    assert {"/observation/hand", "/action/requested/delta"} <= topics


def test_export_of_a_journal_with_a_damaged_episode_says_so(path, record, tmp_path):
    with Journal.open(path) as journal:
        record(journal)
        record(journal)
    spoil(path, 2)
    done = command("export", "--journal", path, "--out", tmp_path / "some.mcap")
    assert done.returncode == 1
    assert "left out: " in done.stderr
    assert (tmp_path / "some.mcap").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["list"], 2, "give one of --config and --journal"),
        (["list", "--journal", "none.sqlite"], 1, "no such journal"),
        (["list", "a=b", "--journal", "none.sqlite"], 2, "needs --config"),
        (["list", "--config", "none.yaml"], 1, "none.yaml: no such file"),
        (["show", "0", "--journal", "none.sqlite"], 2, "should be greater than or equal to 1"),
        (["export", "--journal", "x", "--out", "y", "--episodes", "7-3"], 2, "expected A-B"),
        (["export", "--journal", "x", "--out", "y", "--episodes", "a"], 2, "expected A-B"),
    ],
)
def test_a_mistake_is_explained(arguments, code, says):
    done = command(*arguments)
    assert done.returncode == code
    assert says in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


def test_an_export_to_no_folder_is_explained(path, record, tmp_path):
    with Journal.open(path) as journal:
        record(journal)
    done = command("export", "--journal", path, "--out", tmp_path / "none" / "x.mcap")
    assert done.returncode == 1
    assert "choose another --out" in done.stderr


def test_what_the_trainer_refused_can_be_offered_again(path, record):
    with Journal.open(path) as journal:
        for _ in range(4):
            record(journal)
        for number in (1, 2, 3):
            journal.reject(journal.blob(number)[0], "it is of robot 'sawyer'")
        journal.acknowledge(journal.blob(4)[0])
    result = command("offer", "--journal", path, "--episodes", "2-3")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.endswith("to be offered again: 2, 3\n")
    with Journal.read(path) as journal:
        assert journal.pending() == [2, 3]
        assert [entry.reason for entry in journal.entries()] == [
            "it is of robot 'sawyer'",
            "",
            "",
            "",
        ]
    assert command("offer", "--journal", path).stdout.endswith("to be offered again: 1\n")
    none = command("offer", "--journal", path).stdout
    assert none.endswith("to be offered again: none that the trainer refused\n")


def test_what_the_trainer_has_is_offered_again_only_where_it_is_named(path, record):
    with Journal.open(path) as journal:
        for number in (1, 2, 3):
            record(journal)
            journal.acknowledge(journal.blob(number)[0])
        record(journal)
    assert "none that the trainer refused" in command("offer", "--journal", path).stdout
    result = command("offer", "--journal", path, "--episodes", "2-9")
    assert result.stdout.endswith("to be offered again: 2, 3\n")
    with Journal.read(path) as journal:
        assert journal.pending() == [2, 3, 4]
    again = command("offer", "--journal", path, "--episodes", "2-9")
    assert again.stdout.endswith("to be offered again: none that the trainer refused or has\n")

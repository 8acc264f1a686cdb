"""The export's promises, read back with the MCAP library's own reader."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mcap.reader import make_reader

from fieldtune.export.manifest import FieldSpec
from fieldtune.robot.episodes import codec
from fieldtune.robot.episodes.episode import EndReason
from fieldtune.robot.journal.journal import Journal
from fieldtune.robot.journal.quota import make_room
from fieldtune.robot.mcap.export import ExportError, TimeBase, export_mcap
from fieldtune.robot.mcap.field_names import UNKNOWN, bundle_names
from fieldtune.robot.mcap.schemas import Names

ROOT = Path(__file__).parents[3]
WALL = 1_700_000_000_000_000_000


def spec(name, width, unit="m"):
    return FieldSpec(name=name, unit=unit, low=(-1.0,) * width, high=(1.0,) * width)


NAMES = Names((spec("hand", 2), spec("gripper", 1, "rad")), (spec("delta", 2),), "the test")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.mcap"


@pytest.fixture
def record(make_header, make_step, make_footer):
    """Write one episode of three steps, a second after the last; keywords change its parts."""

    def write(journal, anchored=True, end=True, step=None, footer=None):
        header = make_header(journal.next_number())
        with journal.transaction():
            journal.begin(header, WALL + (header.number - 1) * 10**9 if anchored else None)
            for index in range(3):
                sense_ns = header.started_ns + 50_000_000 * index
                made = make_step(index, sense_ns=sense_ns, **(step or {}))
                journal.add(header.number, codec.pack(made))
            if end:
                journal.finish(header.number, make_footer(3, **(footer or {})))
        return header.number

    return write


@pytest.fixture
def export(path, out):
    def write(names=NAMES, **options):
        with Journal.read(path) as journal:
            return export_mcap(journal, out, lambda _: names, **options)

    return write


def messages(out, topic):
    """`(log time, publish time, sequence, decoded message)`, in the order of their log times."""
    with out.open("rb") as file:
        return [
            (message.log_time, message.publish_time, message.sequence, json.loads(message.data))
            for _, _, message in make_reader(file, validate_crcs=True).iter_messages([topic])
        ]


def topics(out):
    with out.open("rb") as file:
        summary = make_reader(file).get_summary()
    return {channel.topic: channel for channel in summary.channels.values()}


def metadata(out):
    with out.open("rb") as file:
        return {item.name: item.metadata for item in make_reader(file).iter_metadata()}


def test_every_value_of_every_step_is_there_by_its_fields_name(path, out, record, export):
    with Journal.open(path) as journal:
        for _ in range(2):
            record(journal)
        steps = journal.episode(1).steps + journal.episode(2).steps
    assert export().episodes == [1, 2]

    def values(topic):
        return [message["value"] for *_, message in messages(out, topic)]

    assert values("/observation/hand") == [step.observation[:2] for step in steps]
    assert values("/observation/gripper") == [step.observation[2:] for step in steps]
    assert values("/action/requested/delta") == [step.requested for step in steps]
    assert values("/action/applied/delta") == [step.applied for step in steps]
    assert values("/z") == [step.z for step in steps]
    assert [message["reason"] for *_, message in messages(out, "/step")] == ["action rate"] * 6
    assert [message["episode"] for *_, message in messages(out, "/step")] == [1, 1, 1, 2, 2, 2]
    assert topics(out)["/observation/gripper"].metadata == {"unit": "rad"}


def test_every_message_obeys_its_channels_json_schema(path, out, record, export):
    with Journal.open(path) as journal:
        record(journal)
    export()
    kinds = {
        "array": list,
        "number": (int, float),
        "integer": int,
        "boolean": bool,
        "string": str,
        "object": dict,
    }

    def obeys(value, schema):
        assert isinstance(value, kinds[schema["type"]])
        assert set(schema.get("required", [])) <= set(value if isinstance(value, dict) else [])
        for key, inner in schema.get("properties", {}).items():
            obeys(value[key], inner)
        for item in value if schema["type"] == "array" else []:
            obeys(item, schema["items"])

    with out.open("rb") as file:
        for schema, channel, message in make_reader(file).iter_messages():
            assert (schema.encoding, channel.message_encoding) == ("jsonschema", "json")
            definition = json.loads(schema.data)
            assert definition["type"] == "object"
            obeys(json.loads(message.data), definition)


def test_signals_are_there_where_they_were_measured(path, out, record, export):
    with Journal.open(path) as journal:
        record(journal)
        record(journal, step={"signals": [0.5, 2.0]})
    export()
    assert [message["value"] for *_, message in messages(out, "/signals")] == [[0.5, 2.0]] * 3


def test_numbers_without_names_go_by_their_place(path, out, record, export):
    with Journal.open(path) as journal:
        record(journal)
    export(names=UNKNOWN)
    assert len(messages(out, "/observation")[0][3]["value"]) == 3
    assert {"/observation", "/action/requested", "/action/applied", "/z", "/step", "/events"} == (
        set(topics(out))
    )


def test_names_of_another_width_are_not_used(path, out, record, export):
    with Journal.open(path) as journal:
        record(journal)
    export(names=Names((spec("hand", 7),), (spec("delta", 2),), "another robot"))
    assert "/observation" in topics(out)
    assert "/action/applied/delta" in topics(out)


def test_names_come_from_the_bundle_that_the_episode_ran(tmp_path, make_bundle, make_header):
    identity = make_bundle(tmp_path / "renamed by a person.bundle")
    (tmp_path / "broken.bundle").write_bytes(b"no bundle")
    names = bundle_names([tmp_path], lambda: None)
    found = names(make_header(bundle_id=identity))
    assert [field.name for field in found.observation] == ["hand"]
    assert found.source == f"bundle {identity}"
    assert names(make_header(bundle_id="0" * 64)) == UNKNOWN


def test_names_come_from_the_driver_where_the_bundle_is_gone(tmp_path, mass, make_header):
    asked = []
    names = bundle_names([tmp_path], lambda: asked.append(1) or mass)
    for bundle in ("0" * 64, "1" * 64):
        found = names(make_header(bundle_id=bundle))
        assert [field.name for field in found.observation] == ["position", "velocity"]
        assert found.source == "driver of mass"
    assert len(asked) == 1


def test_times_are_wall_time_where_it_was_noted(path, out, record, export):
    with Journal.open(path) as journal:
        record(journal)
    assert export().clock is TimeBase.WALL
    times = [time for time, *_ in messages(out, "/z")]
    assert times == [WALL, WALL + 50_000_000, WALL + 100_000_000]
    assert metadata(out)["fieldtune"]["clock"] == "wall"
    assert "wall clock" in metadata(out)["fieldtune"]["clock_meaning"]


def test_actions_are_published_when_they_were_applied(path, out, record, export):
    with Journal.open(path) as journal:
        record(journal)
    export()
    log_time, publish_time, sequence, _ = messages(out, "/action/applied/delta")[1]
    assert publish_time - log_time == 120_000 + 16_000 + 30_000
    assert sequence == 1


def test_one_episode_without_a_wall_clock_puts_all_on_the_robots(path, out, record, export):
    with Journal.open(path) as journal:
        record(journal)
        record(journal, anchored=False)
    assert export().clock is TimeBase.ROBOT
    assert messages(out, "/z")[0][0] == 1_000_000_000
    with pytest.raises(ExportError, match="episode 2 does not know the wall clock"):
        export(clock=TimeBase.WALL)


def test_the_trainers_clock_is_the_robots_plus_the_offset(path, out, record, export):
    offset = {"clock_offset_ns": 5_000_000_000, "clock_uncertainty_ns": 70_000}
    with Journal.open(path) as journal:
        record(journal, footer=offset)
    export(clock=TimeBase.TRAINER)
    assert messages(out, "/z")[0][0] == 6_000_000_000
    assert metadata(out)["fieldtune.episode.1"]["clock_uncertainty_ns"] == "70000"


def test_a_clock_that_is_not_known_is_refused_and_leaves_the_old_file(path, out, record, export):
    with Journal.open(path) as journal:
        record(journal)
        record(journal, footer={"clock_offset_ns": -(10**12)})
    out.write_bytes(b"old")
    with pytest.raises(ExportError, match="does not know the trainer clock"):
        export(clock=TimeBase.TRAINER)
    with pytest.raises(ExportError, match="before the trainer clock's beginning"):
        export(clock=TimeBase.TRAINER, first=2)
    assert out.read_bytes() == b"old"
    assert list(out.parent.glob(".*.tmp")) == []


def test_events_tell_beginning_reasons_overruns_and_end(path, out, record, export):
    with Journal.open(path) as journal:
        record(
            journal,
            step={"overrun": True},
            footer={"end_reason": EndReason.FAULT, "fault": "the link is dead"},
        )
    export()
    events = [message for *_, message in messages(out, "/events")]
    assert "episode 1 began: z from the prior" in events[0]["message"]
    assert events[-1]["message"] == "episode 1 ended: fault, 3 steps: the link is dead"
    assert events[-1]["level"] == 4
    texts = [event["message"] for event in events]
    assert sum("applied is not what was requested: action rate" in text for text in texts) == 3
    assert sum("ran into the next control period" in text for text in texts) == 3
    assert events[0]["timestamp"] == {"sec": WALL // 10**9, "nsec": WALL % 10**9}


def test_header_and_footer_are_in_the_metadata(path, out, record, export):
    with Journal.open(path) as journal:
        record(journal)
        sha256 = journal.blob(1)[0]
    export()
    facts = metadata(out)["fieldtune.episode.1"]
    assert facts["bundle_id"] == "b" * 64
    assert facts["end_reason"] == "horizon"
    assert json.loads(facts["final_observation"]) == [3.0, 3.0, 3.0]
    assert (facts["sha256"], facts["upload"], facts["names_from"]) == (
        sha256,
        "pending",
        "the test",
    )


def test_a_value_that_is_no_number_is_null(path, out, record, export):
    with Journal.open(path) as journal:
        record(journal, step={"observation": [float("nan"), 1.0, float("inf")]})
    export(names=UNKNOWN)
    assert messages(out, "/observation")[0][3]["value"] == [None, 1.0, None]


def test_only_the_episodes_asked_for_are_there(path, out, record, export):
    with Journal.open(path) as journal:
        for _ in range(5):
            record(journal)
    assert export(first=2, last=4).episodes == [2, 3, 4]
    assert {message["episode"] for *_, message in messages(out, "/step")} == {2, 3, 4}
    with pytest.raises(ExportError, match="no finished episode from 6 to 9: it has 1 to 5"):
        export(first=6, last=9)


def test_an_open_episode_is_left_out_and_said(path, out, record, export):
    with Journal.open(path) as journal:
        record(journal)
        record(journal, end=False)
        exported = export()
    assert exported.episodes == [1]
    assert exported.left_out == ["episode 2 is still open: export it when it has ended"]
    assert not exported.damaged
    assert len(messages(out, "/step")) == 3


def test_a_damaged_episode_is_left_out_and_the_others_are_exported(path, out, record, export):
    with Journal.open(path) as journal:
        for _ in range(3):
            record(journal)
        journal.connection.execute("UPDATE steps SET record = x'80' WHERE episode = 2")
    exported = export()
    assert exported.episodes == [1, 3]
    assert exported.damaged
    assert "episode 2 no longer has the bytes" in exported.left_out[0]
    assert len(messages(out, "/step")) == 6


def test_an_export_goes_on_beside_recording_and_making_room(path, out, record):
    with Journal.open(path) as journal:
        for _ in range(4):
            journal.acknowledge(journal.blob(record(journal))[0])

        def names(header):
            if header.number == 1:
                record(journal)
                while not make_room(journal, 0).settled:
                    pass
            return NAMES

        with Journal.read(path) as reader:
            exported = export_mcap(reader, out, names)
        assert exported.episodes == [1, 2, 3, 4]
        assert [entry.number for entry in journal.entries()] == [5]


def test_without_the_mcap_package_the_extra_is_named(path, record):
    with Journal.open(path) as journal:
        record(journal)
    code = (
        "import sys; sys.modules['mcap'] = sys.modules['mcap.writer'] = None\n"
        "sys.argv = ['fieldtune-robot', 'journal', 'export', '--journal', sys.argv[1], '--out', "
        "sys.argv[1] + '.mcap']\n"
        "from fieldtune.robot.launch import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert 'pip install "fieldtune[mcap]"' in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not path.with_name(path.name + ".mcap").exists()


def test_rewards_are_a_channel_of_their_own(path, out, record, export):
    with Journal.open(path) as journal:
        journal.add_rewards(record(journal), {0: -1.0, 2: 0.5}, "keys")
    export()
    found = [(index, value["value"]) for _, _, index, value in messages(out, "/reward")]
    assert found == [(0, [-1.0]), (2, [0.5])]

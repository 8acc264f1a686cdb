"""The record of bundles: a bad one stays bad, over restarts, and only where there is another."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fieldtune.robot.bundles.trust import BundleRecord, BundleRecordError

OLD, NEW, THIRD = "a" * 64, "b" * 64, "c" * 64


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "bundles.json"


def prove(record, bundle, times=2):
    for _ in range(times):
        record.passed(bundle)


def test_a_new_bundle_that_faults_is_bad_for_good(path):
    record = BundleRecord(path, 2)
    prove(record, OLD)
    record.passed(NEW)
    assert record.faulted(NEW, "too fast")
    for known in (record, BundleRecord(path, 2)):
        assert "too fast" in known.why_bad(NEW)
        assert str(path) in known.why_bad(NEW)
        assert known.why_bad(OLD) is None


def test_a_bundle_that_has_passed_is_not_marked_for_a_later_fault(path):
    record = BundleRecord(path, 2)
    prove(record, OLD)
    prove(record, NEW)
    for known in (record, BundleRecord(path, 2)):
        assert not known.faulted(NEW, "the cable is out")
        assert not known.faulted(OLD, "the cable is out")


def test_without_another_to_go_back_to_none_is_marked(path):
    record = BundleRecord(path, 2)
    record.passed(NEW)
    assert not record.faulted(NEW, "the cable is out")
    assert record.why_bad(NEW) is None


def test_a_verdict_is_remembered_over_restarts_and_for_this_software_alone(path):
    record = BundleRecord(path, 2, "v1")
    record.tried(OLD, "")
    record.tried(NEW, "its output is a scalar")
    for known in (record, BundleRecord(path, 2, "v1")):
        assert (known.is_sound(OLD), known.why_bad(OLD)) == (True, None)
        assert not known.is_sound(NEW)
        assert "its trial on this robot refused it (its output is a scalar)" in known.why_bad(NEW)
        assert f"delete it from `tried` in {path}" in known.why_bad(NEW)
        assert (known.is_sound(THIRD), known.why_bad(THIRD)) == (False, None)
    updated = BundleRecord(path, 2, "v2")
    for bundle in (OLD, NEW):
        assert (updated.is_sound(bundle), updated.why_bad(bundle)) == (False, None)


def test_a_trial_without_an_end_is_held_once_more_after_a_restart_and_then_no_more(path):
    record = BundleRecord(path, 2, "v1")
    record.tried(NEW, "too late", final=False)
    assert "too late" in record.why_bad(NEW), "not again in this life"
    record = BundleRecord(path, 2, "v1")
    assert record.why_bad(NEW) is None
    record.tried(NEW, "too late", final=False)
    assert "too late" in BundleRecord(path, 2, "v1").why_bad(NEW)


def test_a_bundle_that_ends_its_second_trial_well_may_run(path):
    BundleRecord(path, 2, "v1").tried(NEW, "too late", final=False)
    record = BundleRecord(path, 2, "v1")
    record.tried(NEW, "")
    assert (record.is_sound(NEW), record.why_bad(NEW)) == (True, None)


def test_of_many_verdicts_the_newest_are_kept(path):
    record = BundleRecord(path, 2, "v1")
    for number in range(150):
        record.tried(f"{number:064x}", "")
    known = BundleRecord(path, 2, "v1")
    assert [known.is_sound(f"{number:064x}") for number in (49, 50, 149)] == [False, True, True]


def test_a_record_from_before_trials_is_read(path):
    path.parent.mkdir(parents=True)
    path.write_text(f'{{"proven": ["{OLD}"], "bad": {{"{NEW}": "too fast"}}}}')
    record = BundleRecord(path, 2, "v1")
    assert record.newest_proven == OLD
    assert "too fast" in record.why_bad(NEW)
    assert not record.is_sound(OLD)


def test_a_disk_that_refuses_does_not_stop_the_robot(path):
    record = BundleRecord(path, 1)
    path.parent.write_text("a file where the folder should be")
    prove(record, OLD)
    assert record.faulted(NEW, "x")
    assert record.why_bad(NEW)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | st.sampled_from([b'{"bad": {"a": "b"}}', b'{"x": 1}', b"[]"]))
def test_a_damaged_record_is_an_error_with_a_cure(path, data):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    with pytest.raises(BundleRecordError, match="delete it to forget"):
        BundleRecord(path, 2)

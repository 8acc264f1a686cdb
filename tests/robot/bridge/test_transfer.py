"""A transfer's promises: every byte once, few under way, and silence never ends in a gap."""

from __future__ import annotations

import itertools

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from fieldtune.robot.bridge.transfer import WINDOW, Download, Upload
from fieldtune.robot.bridge.wire import CHUNK_BYTES, BundleChunk, UploadStatus

SHA = "a" * 64
LARGE = bytes(range(256)) * (10 * CHUNK_BYTES // 256) + b"end"


def status(offset):
    return UploadStatus(SHA, offset)


def test_nothing_is_sent_before_the_trainer_said_what_it_holds():
    upload = Upload(SHA, LARGE)
    upload.offer()
    assert list(upload.chunks()) == []


def test_an_upload_goes_on_where_the_trainer_is():
    upload = Upload(SHA, LARGE)
    upload.offer()
    upload.take(status(7 * CHUNK_BYTES + 5))
    first = next(upload.chunks())
    assert first.offset == 7 * CHUNK_BYTES + 5
    assert first.data == LARGE[first.offset : first.offset + CHUNK_BYTES]


def test_at_most_a_window_is_under_way():
    upload = Upload(SHA, LARGE)
    upload.offer()
    upload.take(status(0))
    assert len(list(upload.chunks())) == WINDOW
    assert list(upload.chunks()) == []
    upload.take(status(CHUNK_BYTES))
    assert [chunk.offset for chunk in upload.chunks()] == [WINDOW * CHUNK_BYTES]


def test_after_another_offer_it_waits_for_the_trainer_again():
    upload = Upload(SHA, LARGE)
    upload.offer()
    upload.take(status(0))
    list(upload.chunks())
    upload.offer()
    assert list(upload.chunks()) == []
    upload.take(status(2 * CHUNK_BYTES))
    assert next(upload.chunks()).offset == 2 * CHUNK_BYTES


@given(lost=st.sets(st.integers(0, 60)))
@settings(max_examples=50, deadline=None)
def test_an_upload_arrives_whole_whichever_chunks_are_lost(lost):
    upload, received, sent = Upload(SHA, LARGE), bytearray(), itertools.count()
    while len(received) < len(LARGE):
        upload.offer()
        upload.take(status(len(received)))
        while chunks := list(upload.chunks()):
            for chunk in chunks:
                if next(sent) not in lost and chunk.offset == len(received):
                    received += chunk.data
                    upload.take(status(len(received)))
    assert received == LARGE


def answer(request, data=LARGE):
    part = data[request.offset : request.offset + CHUNK_BYTES]
    return BundleChunk(request.bundle_id, len(data), request.offset, part)


@pytest.mark.parametrize("size", [1, CHUNK_BYTES, CHUNK_BYTES + 1, len(LARGE)])
def test_a_download_asks_for_every_byte_once(size):
    data, download, asked, kept = LARGE[:size], Download(SHA), [], bytearray()
    while not download.complete:
        requests = list(download.requests())
        assert requests
        assert len(requests) <= WINDOW
        asked += [request.offset for request in requests]
        for request in requests:
            chunk = answer(request, data)
            assert download.take(chunk)
            kept += chunk.data
    assert kept == data
    assert asked == list(range(0, size, CHUNK_BYTES))


def test_a_download_asks_again_for_what_did_not_come():
    download = Download(SHA)
    (first,) = download.requests()
    download.take(answer(first))
    list(download.requests())
    download.restart()
    assert next(download.requests()).offset == CHUNK_BYTES


def test_a_chunk_that_does_not_fit_is_left_out():
    download = Download(SHA)
    (first,) = download.requests()
    assert download.take(answer(first))
    assert not download.take(answer(first))
    assert not download.take(BundleChunk("b" * 64, len(LARGE), CHUNK_BYTES, b"x"))
    assert not download.take(BundleChunk(SHA, 2 * len(LARGE), CHUNK_BYTES, b"x"))
    assert not download.take(BundleChunk(SHA, len(LARGE), CHUNK_BYTES, bytes(len(LARGE))))
    assert download.received == CHUNK_BYTES

"""Open files: what is allowed is used, and too few is said before anything is opened."""

from __future__ import annotations

import resource

import pytest

from fieldtune.open_files import LEAST, TooFewFiles, require_open_files


@pytest.fixture
def limit():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda soft: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_low_soft_limit_is_raised_to_what_is_allowed(limit):
    limit(LEAST // 2)
    require_open_files()
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= LEAST


def test_a_hard_limit_that_is_too_low_is_refused_with_both_numbers(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (24, 24))  # it could not be raised again
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    with pytest.raises(TooFewFiles, match=f"may have 24 files open, it needs {LEAST}"):
        require_open_files()

"""Rows that this machine has no cores for are left out, and the page says so."""

from __future__ import annotations

from benchmarks import cores
from benchmarks.page import plain


def test_workers_beyond_the_cores_are_left_out_and_said(monkeypatch):
    monkeypatch.setattr(cores, "cores", lambda: 5)
    assert cores.possible() == (1, 2, 4)
    found = {count: [100.0 * count] for count in cores.possible()}
    said = plain(cores.table("Scripted data", "steps/s", "", found))
    assert "8 workers: 5 cores here" in said
    assert "16 workers: 5 cores here" in said
    assert "4.00×" in said

"""Starting a program: it runs apart from this one, and this one's threads go on meanwhile."""

from __future__ import annotations

import json
import os
import signal
import sys

import pytest

from fieldtune.robot.bundles.spawn import spawn

TELL = (
    "import json, os, signal, sys;"
    "blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ());"
    "told = dict(argv=sys.argv[1:], x=os.environ.get('X'), leads=os.getsid(0) == os.getpid(),"
    " open=sorted(os.listdir('/proc/self/fd')), read=sys.stdin.read(), blocked=len(blocked));"
    "print(json.dumps(told))"
)


def told(*arguments: str) -> dict[str, object]:
    ours, theirs = os.pipe()
    try:
        pid = spawn([sys.executable, "-c", TELL, *arguments], os.environ | {"X": "é"}, theirs)
    finally:
        os.close(theirs)
    with os.fdopen(ours) as output:
        said = output.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return json.loads(said)


def test_a_program_gets_its_arguments_and_environment_and_nothing_else():
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGUSR2,))
    try:
        found = told("a b", "ü", "")
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGUSR2,))
    assert (found["argv"], found["x"]) == (["a b", "ü", ""], "é")
    assert found["leads"], "signals of a terminal are not for it"
    assert (found["read"], found["blocked"]) == ("", 0)
    assert found["open"] == ["0", "1", "2", "3"], "the last is the folder that it lists"


def test_what_cannot_be_started_is_an_error_that_names_it():
    ours, theirs = os.pipe()
    try:
        with pytest.raises(OSError, match="nowhere"):
            spawn(["/nowhere"], {}, theirs)
    finally:
        os.close(ours)
        os.close(theirs)

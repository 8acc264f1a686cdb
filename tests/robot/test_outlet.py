"""Output that waits for no reader: nothing is lost that somebody reads, and nothing blocks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fieldtune.robot.outlet import WAITING, Outlet

ROOT = Path(__file__).parents[2]


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, os.fdopen(reading, "rb", buffering=0) as reader:
        yield reader, Outlet(stream)


def test_what_is_read_arrives_whole_and_in_order(pipe):
    reader, outlet = pipe
    lines = [f"line {number} µ\n" for number in range(2000)]
    got = bytearray()

    def read():
        while got.count(b"\n") < len(lines):
            got.extend(reader.read(65536))

    thread = threading.Thread(target=read)
    thread.start()
    for number, line in enumerate(lines):
        print(line, end="", file=outlet)
        if number % 500 == 499:
            assert outlet.close_within(60.0)
    thread.join(60.0)
    assert got.decode() == "".join(lines)


def test_a_reader_that_does_not_read_costs_lines_and_no_time(pipe):
    reader, outlet = pipe
    for number in range(4 * WAITING):
        outlet.write(f"{number:0200}\n")
    assert not outlet.close_within(0.05)
    got = bytearray()
    while b"lines were dropped" not in got:
        outlet.write("again\n")
        got.extend(reader.read(65536))


def test_a_reader_that_is_gone_costs_nothing(pipe):
    reader, outlet = pipe
    reader.close()
    for _ in range(10):
        outlet.write("x\n")
    assert outlet.close_within(60.0)
    outlet.write("still here\n")


def test_a_process_says_its_last_words_and_does_not_wait_for_who_does_not_listen():
    script = (
        "import logging, sys\n"
        "logging.basicConfig(level=20)\n"
        "from fieldtune.robot.outlet import never_wait_for_readers as never\n"
        "never(); never()\n"
        "logging.info('logged'); print('printed'); print('x' * int(sys.argv[1]))\n"
        "raise SystemExit('error: last')\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run([*command, "1"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("printed\nx\n", 1)
    assert done.stderr == "INFO:root:logged\nerror: last\n"
    reading, writing = os.pipe()
    process = subprocess.Popen([*command, "1000000"], cwd=ROOT, stdout=writing, stderr=writing)
    try:
        assert process.wait(240) == 1
    finally:
        process.kill()
        os.close(reading)
        os.close(writing)


def test_libraries_see_a_text_stream(pipe):
    _, outlet = pipe
    assert (outlet.encoding.lower(), outlet.writable(), outlet.isatty()) == ("utf-8", True, False)
    with pytest.raises(TypeError, match="expected str"):
        outlet.write(b"")

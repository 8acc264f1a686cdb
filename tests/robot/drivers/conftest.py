"""Hardware servers as real processes, in both languages, and a client that may break every rule."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import zmq

from fieldtune.robot.drivers.hardware.description import HardwareDescription, write_description
from fieldtune.robot.drivers.hardware.driver import ZmqDriver
from fieldtune.robot.drivers.hardware.frames import (
    Ask,
    Reply,
    Say,
    Sensed,
    State,
    read_description,
    read_observation,
    read_reply,
    write_action,
    write_request,
    write_seed,
)
from fieldtune.robot.drivers.hardware.options import ZmqOptions, served_description

ROOT = Path(__file__).parents[3]
SERVERS = ROOT / "servers"
if str(SERVERS) not in sys.path:  # the files there import each other as scripts do
    sys.path.insert(0, str(SERVERS))

SECOND_NS = 1_000_000_000
PATIENT = {"timeout_s": 20.0, "home_patience_s": 20.0}  # for a busy machine


class Served:
    """One server process. `log` is what it has written to its standard error so far."""

    def __init__(self, command: list[str], log: Path) -> None:
        self._log = log
        with log.open("w") as file:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("serving "), f"{command}: {self.log}"
        self.address = line.removeprefix("serving ").strip()

    @property
    def log(self) -> str:
        return self._log.read_text()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture(scope="session")
def joints_in_cpp() -> Path:
    """The C++ example, built as docs/drivers.md says."""
    compiler = shutil.which("c++")
    found = compiler and subprocess.run(
        [compiler, "-E", "-x", "c++", "-"],
        input="#include <zmq.hpp>",
        capture_output=True,
        text=True,
    )
    if not found or found.returncode != 0 or not shutil.which("make"):
        pytest.skip("no C++ compiler with cppzmq: scripts/setup.sh installs g++ and cppzmq-dev")
    subprocess.run(["make", "-s", "-C", SERVERS / "cpp"], check=True)
    return SERVERS / "cpp" / "build" / "serve_joints"


@pytest.fixture
def serve(tmp_path) -> Iterator[Callable[..., Served]]:
    """`serve(command, *arguments)` starts a server on a free port of the loopback interface."""
    started = []

    def start(*command: str | Path, address: str = "tcp://127.0.0.1:*") -> Served:
        log = tmp_path / f"server-{len(started)}.log"
        words = [*map(str, command), "--address", address]
        started.append(Served(words, log))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture(params=["python", "cpp"])
def joints_command(request) -> tuple[str | Path, ...]:
    """How the two-joint example is started, in each language."""
    if request.param == "python":
        return (sys.executable, SERVERS / "serve_joints.py")
    return (request.getfixturevalue("joints_in_cpp"),)


@pytest.fixture
def joints(joints_command, serve) -> Served:
    return serve(*joints_command)


class Line:
    """A link to a server that loses what `loses` says, in a thread of its own.

    `loses(frame)` is asked about every frame in both directions. `asked` are the kinds of request
    that were sent, heard or not.
    """

    def __init__(self, server: Served) -> None:
        self.loses: Callable[[bytes], bool] = lambda frame: False  # noqa: ARG005
        self.asked: list[Ask] = []
        self._context = zmq.Context()
        self._near = self._context.socket(zmq.ROUTER)
        self._far = self._context.socket(zmq.DEALER)
        for socket in (self._near, self._far):
            socket.setsockopt(zmq.LINGER, 0)
        self._near.bind("tcp://127.0.0.1:*")
        self._far.connect(server.address)
        self.address = self._near.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        self._context.destroy(linger=0)

    def _carry(self) -> None:
        client = b""
        while not self._closing.is_set():
            if self._near.poll(2):
                client, frame = self._near.recv_multipart()
                self.asked.append(Ask(kind_of(frame)))
                if not self.loses(frame):
                    self._far.send(frame)
            while self._far.poll(0):
                frame = self._far.recv()
                if not self.loses(frame):
                    self._near.send_multipart([client, frame])


def kind_of(frame: bytes) -> int:
    """What a frame asks or says."""
    return int.from_bytes(frame[6:8], "little")


def state_of(frame: bytes) -> State | None:
    """The state that an observation tells; None for other frames."""
    if kind_of(frame) != Say.OBSERVATION:
        return None
    return State(int.from_bytes(frame[48:52], "little"))


@pytest.fixture
def line() -> Iterator[Callable[[Served], Line]]:
    made = []

    def make(server: Served) -> Line:
        made.append(Line(server))
        return made[-1]

    yield make
    for one in made:
        one.close()


class Raw:
    """A client that sends what it is told to: no rule is kept on this side."""

    def __init__(self, address: str) -> None:
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(address)
        self.session, self.sequence, self.description = 0, 0, None

    def close(self) -> None:
        self.socket.close()
        self._context.term()

    def frame(self, ask: Ask, body: bytes = b"", **changes: int) -> bytes:
        self.sequence += 1
        values = {
            "session": self.session,
            "sequence": self.sequence,
            "answers": 0,
            "lease_ns": SECOND_NS // 2,
        }
        return write_request(ask, *(values | changes).values(), body)

    def send(self, frame: bytes) -> Reply:
        """The answer to one frame."""
        self.socket.send(frame)
        return self.receive()

    def receive(self) -> Reply:
        assert self.socket.poll(20_000), "the server does not answer"
        return read_reply(self.socket.recv())

    def ask(self, ask: Ask, body: bytes = b"", **changes: int) -> Reply:
        return self.send(self.frame(ask, body, **changes))

    def hello(self, nonce: int = 1) -> Reply:
        reply = self.ask(Ask.HELLO, session=nonce)
        if reply.say is Say.DESCRIPTION:
            self.session, self.description = read_description(reply.body)
        return reply

    def sense(self) -> tuple[int, Sensed]:
        """The sequence that a command has to answer, and what was sensed."""
        reply = self.ask(Ask.SENSE)
        assert reply.say is Say.OBSERVATION, reply
        return reply.sequence, read_observation(reply.body, self.description)

    def home(self, seed: int = 0) -> None:
        answers, _ = self.sense()
        assert self.ask(Ask.HOME, write_seed(seed), answers=answers).say is Say.HOMING
        while (sensed := self.renew(answers))[1].state is State.HOMING:
            answers = sensed[0]
        assert sensed[1].state is State.READY

    def renew(self, answers: int) -> tuple[int, Sensed]:
        reply = self.ask(Ask.SENSE, answers=answers)
        return reply.sequence, read_observation(reply.body, self.description)

    def command(self, *action: float, **changes: int) -> Reply:
        """Senses, and commands in answer to that unless `answers` is given."""
        answers, _ = self.sense()
        return self.ask(
            Ask.COMMAND, write_action(np.array(action)), **({"answers": answers} | changes)
        )

    def rested(self) -> Sensed:
        """What is sensed as soon as the robot is at rest."""
        while (sensed := self.sense()[1]).state is not State.RESTING:
            time.sleep(0.01)
        return sensed


@pytest.fixture
def raw() -> Iterator[Callable[..., Raw]]:
    """`raw(server)` connects to it; `raw(server, hello=False)` does not say hello."""
    made = []

    def make(server: Served, *, hello: bool = True) -> Raw:
        made.append(Raw(server.address))
        if hello:
            assert made[-1].hello().say is Say.DESCRIPTION
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def options(tmp_path) -> Callable[..., ZmqOptions]:
    """Options for a server, with what it offers written down; patient, for a busy machine."""

    def make(server: Served, **changes: object) -> ZmqOptions:
        path = tmp_path / "description.json"
        values = {"address": server.address, "description": path, **PATIENT} | changes
        made = ZmqOptions(**values)
        if not path.exists():
            write_description(path, served_description(made))
        return made

    return make


@pytest.fixture
def driver(options) -> Iterator[Callable[..., ZmqDriver]]:
    """`driver(server, **changes)` connects the `zmq` driver to it."""
    made = []

    def make(server: Served, *, connect: bool = True, **changes: object) -> ZmqDriver:
        made.append(ZmqDriver("joints", options(server, **changes)))
        if connect:
            made[-1].connect()
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def described(tmp_path) -> Callable[..., HardwareDescription]:
    def make(server: Served) -> HardwareDescription:
        return served_description(
            ZmqOptions(address=server.address, description=tmp_path / "none.json")
        )

    return make

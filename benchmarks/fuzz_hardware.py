"""Frames for hardware servers and for the `zmq` driver: random, mutated, and never an answer.

Knows the frames of docs/drivers.md; not who runs it.
"""

from __future__ import annotations

import random
import struct
import time
from pathlib import Path

import numpy as np
import zmq

from benchmarks.fuzzed_processes import BATCH, PATIENCE_S, Process, Result, dealer
from benchmarks.mutations import damaged
from fieldtune.robot.drivers.hardware.frames import (
    Ask,
    FrameError,
    Say,
    State,
    read_description,
    read_observation,
    read_reply,
    write_action,
    write_request,
    write_seed,
)


def fuzz_server(folder: Path, count: int, chance: random.Random, cpp: bool = False) -> Result:
    """A hardware server's ROUTER. Its robot must rest where it is, and serve afterwards."""
    result = Result()
    with Process.server(folder, cpp) as server, dealer(server.address) as socket:
        session = nonce = 0
        while result.sent < count:
            if result.sent % 250 == 0:  # a mutated hello takes the session over, as it may
                nonce += 1
                said = _ask(socket, Ask.HELLO, Say.DESCRIPTION, 2**32 + nonce, 1)
                session, _ = read_description(said)
            never, lease = 2**63 + 1, 10**9
            good = (
                write_request(Ask.SENSE, session, 5, 0, 0),
                write_request(Ask.HOME, session, 5, never, lease, write_seed(255)),
                write_request(Ask.COMMAND, session, 5, never, lease, write_action(np.ones(2))),
            )
            frame = bytearray(damaged(chance.choice(good), chance, good))
            if result.sent % 2 and len(frame) >= 16:
                frame[8:16] = session.to_bytes(8, "little")
            if _may_move(bytes(frame), never):
                continue
            parts = [bytes(frame)] if result.sent % 50 else [bytes(frame), b"another part"]
            socket.send_multipart(parts)
            result.sent += 1
            while result.sent % BATCH == 0 and socket.poll(0):
                socket.recv()
        said = _ask(socket, Ask.HELLO, Say.DESCRIPTION, 1, 1)
        session, description = read_description(said)
        said = _ask(socket, Ask.SENSE, Say.OBSERVATION, session, 9)
        sensed = read_observation(said, description)
        still = sensed.state is State.RESTING and not sensed.values.any()
        result.require(still, f"the robot is {sensed.state.name} at {sensed.values}")
        result.require_alive(server)
    return result


def _may_move(frame: bytes, never: int) -> bool:
    """Whether it asks for motion in answer to an observation that another may have asked for, or
    asks for the one that all other frames answer: together those may move the robot, and should."""
    _, _, kind, _, sequence, answers, _ = struct.unpack_from("<4sHHQQQQ", frame.ljust(40, b"\0"))
    return (kind in (Ask.HOME, Ask.COMMAND) and answers != never) or sequence == never


def _ask(socket: zmq.Socket[bytes], ask: Ask, say: Say, session: int, sequence: int) -> bytes:
    """What a sound request is answered with, however many other answers come before. It is asked
    again: a server drops what a client does not fetch. A hello comes from somebody new each time,
    and anything else with a higher sequence: it may have been heard."""
    until = time.monotonic() + 10 * PATIENCE_S
    while time.monotonic() < until:
        socket.send(write_request(ask, session, sequence, 0, 0))
        while socket.poll(2000):
            reply = read_reply(socket.recv())
            if (reply.session, reply.sequence, reply.say) == (session, sequence, say):
                return reply.body
        if ask is Ask.HELLO:
            session += 2**40
        else:
            sequence += 1
    raise SystemExit(f"the server does not answer {ask.name}")


def fuzz_driver(folder: Path, count: int, chance: random.Random) -> Result:
    """The `zmq` driver's DEALER: a dozen mutated answers before each true one. It must take no
    other than the true ones."""
    result = Result()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    front = context.socket(zmq.ROUTER)
    front.setsockopt(zmq.ROUTER_MANDATORY, 1)
    front.setsockopt(zmq.SNDTIMEO, round(1000 * PATIENCE_S))
    address = f"tcp://127.0.0.1:{front.bind_to_random_port('tcp://127.0.0.1')}"
    with Process.server(folder, cpp=False) as server, dealer(server.address) as back:
        role = ("benchmarks.fuzzed_processes", "driver", address, server.address)
        with Process(folder, *role, str(folder)) as driver:
            past = [b"FTHW"]
            while result.sent < count:
                if not front.poll(round(1000 * PATIENCE_S)):
                    raise SystemExit(f"the driver does not ask any more: {driver.log[-1000:]}")
                who, request = front.recv_multipart()
                back.send(request)
                true = back.recv()
                for _ in range(12):
                    frame = damaged(chance.choice((true, true, chance.choice(past))), chance, past)
                    if not _answers(frame, true):
                        front.send_multipart([who, frame])
                        result.sent += 1
                front.send_multipart([who, true])
                past = [*past[-20:], true]
            driver.tell("enough\n")
            while (told := driver.heard()) is None:
                if front.poll(50):
                    who, request = front.recv_multipart()
                    back.send(request)
                    front.send_multipart([who, back.recv()])
            result.require_alive(driver)
            result.require(told["faults"] == [] and told["moved"] == 0, f"{told}")
    context.destroy(linger=0)
    return result


def _answers(frame: bytes, true: bytes) -> bool:
    """Whether a frame can be taken for the answer: what is in it is the server's word then."""
    try:
        reply, real = read_reply(frame), read_reply(true)
    except FrameError:
        return False
    same = (reply.session, reply.sequence) == (real.session, real.sequence)
    return same and reply.say in Say

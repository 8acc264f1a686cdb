"""The proxy does the harm that it is told to, and no other."""

from __future__ import annotations

import time

import pytest
import zmq

from benchmarks.bad_network import BadNetwork, Manners

COUNT = 200


@pytest.fixture
def line():
    """`line(manners)` gives robot's end, trainer's end and the network between them."""
    context, networks = zmq.Context(), []
    context.setsockopt(zmq.LINGER, 0)  # a socket that is forgotten waits for nobody

    def make(manners):
        trainer = context.socket(zmq.ROUTER)
        port = trainer.bind_to_random_port("tcp://127.0.0.1")
        networks.append(BadNetwork(f"tcp://127.0.0.1:{port}", manners).__enter__())
        robot = context.socket(zmq.DEALER)
        robot.connect(networks[-1].address)
        return robot, trainer, networks[-1]

    yield make
    for network in networks:
        network.__exit__(None, None, None)
    context.destroy(linger=0)


def sent_up(robot, trainer, count=COUNT, wait_ms=2_000):
    """What arrives of `count` numbered messages."""
    for number in range(count):
        robot.send(b"%d" % number)
    arrived = []
    while trainer.poll(wait_ms if not arrived else 500):
        arrived.append(int(trainer.recv_multipart()[1]))
    return arrived


def test_without_harm_all_arrives_once_and_in_order(line):
    robot, trainer, network = line(Manners())
    assert sent_up(robot, trainer) == list(range(COUNT))
    assert (network.harm.doubled, network.harm.overtaken, network.harm.lost) == (0, 0, 0)


def test_answers_find_their_way_back_late(line):
    robot, trainer, _ = line(Manners(delay_s=0.2))
    started = time.monotonic()
    robot.send(b"question")
    sender, _ = trainer.recv_multipart()
    trainer.send_multipart([sender, b"answer"])
    assert robot.recv() == b"answer"
    assert time.monotonic() - started >= 0.4


def test_doubled_messages_arrive_twice_and_none_is_missing(line):
    robot, trainer, network = line(Manners(double=0.5))
    arrived = sent_up(robot, trainer)
    assert set(arrived) == set(range(COUNT))
    assert len(arrived) == COUNT + network.harm.doubled
    assert network.harm.doubled > 0


def test_reordered_messages_overtake_each_other_and_none_is_missing(line):
    robot, trainer, network = line(Manners(reorder=0.5))
    arrived = sent_up(robot, trainer)
    assert sorted(arrived) == list(range(COUNT))
    assert arrived != sorted(arrived)
    assert network.harm.overtaken > 0


def test_a_cut_loses_what_is_under_way_and_heals(line):
    robot, trainer, network = line(Manners(delay_s=0.05, cut_every_s=(0.1, 0.2), cut_s=(0.1, 0.2)))
    deadline, arrived, number = time.monotonic() + 60, 0, 0
    while (network.harm.cuts < 4 or not network.harm.lost) and time.monotonic() < deadline:
        robot.send(b"%d" % number, zmq.NOBLOCK)
        number += 1
        time.sleep(0.01)
    while not arrived and time.monotonic() < deadline:
        robot.send(b"again", zmq.NOBLOCK)
        arrived = trainer.poll(100)
    assert arrived
    assert network.harm.lost > 0

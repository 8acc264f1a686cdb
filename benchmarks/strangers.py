"""What comes back to who has no key: every byte that a CURVE socket sends to a stranger, counted.

ZMTP begins with a greeting of 64 bytes that tells nothing but the protocol. Who knows the server's
public key is told WELCOME (170 bytes, the handshake's second step) before he has to show his own.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import zmq

from benchmarks.fuzzed_processes import Process, joints_in_cpp
from fieldtune.robot.bridge import wire
from fieldtune.robot.curve_keys import BridgeKeys, KeyPair, new_pair, write_secret
from fieldtune.train.bridge.keys import make_keys

GREETING, WELCOME = 64, 170
LISTEN_S = 3.0
_SIGNATURE = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x01"
_READY = b"\x04\x26\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x00"


def strangers(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A line for each socket and stranger, with what is wrong about it."""
    own, allowed = new_pair(), new_pair()
    write_secret(folder / "server.key", own)
    keys = make_keys(folder / "keys")
    keys.allowed.allow("robot", allowed.public)
    yield (
        "\n| socket | stranger | bytes back | of which beyond the handshake |\n|---|---|---|---|",
        [],
    )
    guarded = ("--key", str(folder / "server.key"), "--allow", allowed.public)
    hub = ("benchmarks.bridge_sides", "hub", str(folder / "inbox"), str(folder / "keys"))
    yield from _try("hub", Process(folder, *hub), keys.own)
    yield from _try("hardware server", Process.server(folder, False, *guarded), own)
    if joints_in_cpp() is not None:
        yield from _try("hardware server in C++", Process.server(folder, True, *guarded), own)


def _try(name: str, process: Process, server: KeyPair) -> Iterator[tuple[str, list[str]]]:
    with process:
        port = int(process.address.rpartition(":")[2])
        noise = b"\x04\xc8\x05HELLO" + bytes(194)
        wrong = BridgeKeys(new_pair(), new_pair().public)
        unknown = BridgeKeys(new_pair(), server.public)
        found = (
            ("plain noise", _raw(port, bytes(200)), GREETING),
            ("no mechanism (NULL)", _raw(port, _greeting(b"NULL"), _READY), GREETING),
            ("CURVE, a HELLO of noise", _raw(port, _greeting(b"CURVE"), noise), GREETING),
            ("another server's key", _proxied(port, wrong), GREETING),
            ("a key that is not allowed", _proxied(port, unknown), GREETING + WELCOME),
        )
        for who, count, most in found:
            problem = [f"{name} sends {count} bytes to {who}"] if count > most else []
            yield f"| {name} | {who} | {count} | {max(0, count - most)} |", problem
        if not process.alive:
            yield "", [f"{name} has died"]


def _greeting(mechanism: bytes) -> bytes:
    return _SIGNATURE[:10] + b"\x03\x01" + mechanism.ljust(20, b"\0") + bytes(32)


def _raw(port: int, *sent: bytes) -> int:
    """Bytes that came back to a bare TCP connection which says this."""
    received = 0
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for part in sent:
            connection.sendall(part)
            received += _drain(connection, 0.5)
        return received + _drain(connection, LISTEN_S)


def _drain(connection: socket.socket, seconds: float) -> int:
    received, until = 0, time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if select.select([connection], [], [], left)[0]:
            try:
                data = connection.recv(65536)
            except ConnectionError:
                break
            if not data:
                break
            received += len(data)
    return received


def _proxied(port: int, keys: BridgeKeys) -> int:
    """Bytes that came back to a real client, which must not hear a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        counts: list[int] = []
        serving = threading.Thread(target=_forward, args=(listener, port, counts), daemon=True)
        serving.start()
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        client = context.socket(zmq.DEALER)
        keys.secure(client)
        client.setsockopt(zmq.RECONNECT_IVL, 60_000)
        client.connect(f"tcp://127.0.0.1:{listener.getsockname()[1]}")
        client.send(wire.encode("stranger", 0, wire.Hello("robot", "any", "boot")))
        heard = client.poll(round(1000 * LISTEN_S))
        context.destroy(linger=0)
        serving.join(LISTEN_S)
    return max(counts, default=0) + (10**6 if heard else 0)


def _forward(listener: socket.socket, port: int, counts: list[int]) -> None:
    """One connection, both ways, until one side ends it."""
    client, _ = listener.accept()
    with client, socket.create_connection(("127.0.0.1", port)) as server:
        counts.append(0)
        other = {client: server, server: client}
        while True:
            for one in select.select([*other], [], [])[0]:
                try:
                    data = one.recv(65536)
                except ConnectionError:
                    return
                if not data:
                    return
                if one is server:
                    counts[0] += len(data)
                other[one].sendall(data)

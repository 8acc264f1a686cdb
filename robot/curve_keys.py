"""Curve25519 keys for the bridge: their files, and what makes a socket use them.

Holds what robot and trainer share. It knows no allow-list (train/bridge/keys.py) and no messages. A
public key is written as 64 hexadecimal digits everywhere: safe in a shell, in YAML and over the
telephone.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from zmq.utils import z85

from fieldtune.errors import UserError
from fieldtune.files import write_atomically
from fieldtune.regular_file import open_regular
from fieldtune.robot.config import RobotConfig

_HEX = re.compile(r"[0-9a-f]{64}")
_SECRET = re.compile(r"fieldtune secret key (\d+)\npublic: (\S+)\nsecret: (\S+)\n")
_VERSION = "1"
_LARGEST_FILE = 4096


class KeysError(UserError):
    """A key that cannot be used. The message names it and the cure, and never a secret."""


@dataclass(frozen=True)
class KeyPair:
    """One machine's key; both halves are 64 hexadecimal digits."""

    public: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class BridgeKeys:
    """What a robot needs to reach its trainer, and no other."""

    own: KeyPair
    trainer: str

    def secure(self, socket: zmq.Socket[bytes]) -> None:
        """Make a socket speak to the holder of the trainer's secret key only."""
        socket.setsockopt(zmq.CURVE_SERVERKEY, bytes.fromhex(self.trainer))
        socket.setsockopt(zmq.CURVE_PUBLICKEY, bytes.fromhex(self.own.public))
        socket.setsockopt(zmq.CURVE_SECRETKEY, bytes.fromhex(self.own.secret))


def new_pair() -> KeyPair:
    """Draw a key from the system's randomness."""
    public, secret = zmq.curve_keypair()
    return KeyPair(z85.decode(public).hex(), z85.decode(secret).hex())


def check_public(text: str, what: str) -> str:
    """The public key in `text`. Raises `KeysError`, which calls it `what`."""
    if not _HEX.fullmatch(text):
        raise KeysError(
            f"{what} is {text[:80]!r}, expected 64 hexadecimal digits 0-9a-f, as `fieldtune keys "
            "show` and `fieldtune-robot keys show` print them"
        )
    if not int(text, 16):
        raise KeysError(f"{what} is all zeros, which is no key: give the one that was made")
    return text


def write_secret(path: Path, pair: KeyPair) -> None:
    """Write a key file that only its owner can read.

    Raises:
        KeysError: there is one already, or the folder cannot be written.
    """
    if path.exists() or path.is_symlink():
        raise KeysError(
            f"{path}: there is a key already, and whoever trusts it would not know a new one: "
            "delete the file first to replace it"
        )
    text = f"fieldtune secret key {_VERSION}\npublic: {pair.public}\nsecret: {pair.secret}\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode(), mode=0o600)
    except OSError as error:
        raise KeysError(f"{path}: cannot be written: {error.strerror}") from None


def read_secret(path: Path, cure: str) -> KeyPair:
    """Read a key file.

    Args:
        cure: the command that makes such a file, for the message where there is none.

    Raises:
        KeysError: it is missing, others may read it, or it is not a key file.
    """
    try:
        with open_regular(path) as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(_LARGEST_FILE + 1)
    except FileNotFoundError:
        raise KeysError(f"{path}: no key there: make one with `{cure}`") from None
    except OSError as error:
        raise KeysError(f"{path}: cannot be read: {error.strerror}") from None
    if mode & 0o077:
        raise KeysError(
            f"{path}: mode is {mode:04o}, so others than its owner can use this secret key: "
            f"`chmod 600 {path}`, and make a new one if somebody may have read it"
        )
    found = _SECRET.fullmatch(content.decode("ascii", "replace"))
    if found is None:
        raise KeysError(f"{path}: is not a secret key file: restore it, or make a new one")
    version, public, secret = found.groups()
    if version != _VERSION:
        raise KeysError(
            f"{path}: key file version {version} is unknown, expected {_VERSION}: install the "
            "fieldtune that wrote it"
        )
    if not _HEX.fullmatch(secret) or _public_of(secret) != public:
        raise KeysError(f"{path}: its two halves do not belong together: make a new key")
    return KeyPair(public, secret)


def bridge_keys(config: RobotConfig) -> BridgeKeys | None:
    """The keys that a robot's settings name; None where `robot.keys.trainer` is not set.

    Raises:
        KeysError: one of them cannot be used.
    """
    trainer = config.keys.trainer
    if trainer is None and config.keys.secret is not None:
        raise KeysError(
            "robot.keys.secret is set and robot.keys.trainer is not: set it to what `fieldtune "
            "keys show` prints on the trainer"
        )
    if trainer is None:
        return None
    own = read_secret(config.secret_key, "fieldtune-robot keys new --config FILE")
    return BridgeKeys(own, check_public(trainer, "robot.keys.trainer"))


def _public_of(secret: str) -> str:
    return z85.decode(zmq.curve_public(z85.encode(bytes.fromhex(secret)))).hex()

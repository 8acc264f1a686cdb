"""The keys of the `zmq` driver, and the connection that they mean.

It must not know what is asked over it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from fieldtune.config_paths import PathText
from fieldtune.robot.curve_keys import BridgeKeys, KeysError, check_public, read_secret
from fieldtune.robot.drivers.driver import DriverFault
from fieldtune.robot.drivers.hardware.description import HardwareDescription
from fieldtune.robot.drivers.hardware.link import HardwareLink

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ZmqOptions(BaseModel):
    """The keys of `robot.driver` for hardware behind a server, which listens at `address`.

    `description` is the file that `fieldtune-robot describe` writes. `lease_s` is for how long one
    command may act, counted from the observation that it answers: three control periods where not
    given. `timeout_s`, the lease where not given, is how long an answer is waited for. The server's
    first answer is waited for `connect_timeout_s`. Homing may take `home_timeout_s`, and is given
    up when nothing was answered for `home_patience_s`; for no longer the server homes on unheard.
    `server_key` is the server's public key and `secret` this robot's key file; both are required
    where the address is not on this machine.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    address: Annotated[str, PathText("ipc://")]
    description: Path
    lease_s: Positive | None = None
    timeout_s: Positive | None = None
    connect_timeout_s: Positive = 5.0
    home_timeout_s: Positive = 60.0
    home_patience_s: Positive = 1.0
    server_key: str | None = None
    secret: Path | None = None


def served_description(options: ZmqOptions) -> HardwareDescription:
    """What the server offers now. Raises `DriverFault`."""
    link = link_for(options)
    try:
        return link.open(options.connect_timeout_s)
    finally:
        link.close()


def link_for(options: ZmqOptions) -> HardwareLink:
    """A connection, closed, as the options say. Raises `DriverFault`."""
    if (options.server_key is None) != (options.secret is None):
        raise DriverFault(
            "robot.driver.server_key and robot.driver.secret belong together: the first is what "
            "the server printed when its key was made, the second this robot's key file"
        )
    keys = None
    if options.server_key is not None and options.secret is not None:
        try:
            own = read_secret(options.secret, "fieldtune-robot keys new --config FILE")
            server = check_public(options.server_key, "robot.driver.server_key")
        except KeysError as error:
            raise DriverFault(str(error)) from error
        keys = BridgeKeys(own, server)
    return HardwareLink(options.address, keys)

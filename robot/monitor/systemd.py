"""What systemd asks of a service with Type=notify: to say when it is ready, and that it goes on.

Pure standard library; sd_notify(3) describes the datagrams. It must not know what the process does:
it is told a number that grows with real work, and feeds the watchdog only while that grows.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

LOOK_S = 0.5


class Service:
    """This process as systemd's service; does nothing where NOTIFY_SOCKET is not set.

    READY=1 is sent with the first progress, WATCHDOG=1 with each further one, and the status line
    with both. `environment` is the process's own where not given.
    """

    def __init__(
        self,
        progress: Callable[[], int],
        line: Callable[[], str],
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._progress = progress
        self._line = line
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._every_s = _every_s(environment)
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._seen = progress()
        self._ready = False

    def start(self) -> None:
        if self._address and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="systemd", daemon=True)
            self._thread.start()

    def stopping(self) -> None:
        """Say that this process is about to end, and that it was ready, if it had begun."""
        if self._thread is not None:
            begun = not self._ready and self._progress() != self._seen
            self._send("READY=1\nSTOPPING=1" if begun else "STOPPING=1")

    def close(self) -> None:
        """Safe to call twice."""
        if self._thread is not None:
            self._closing.set()
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while not self._closing.wait(self._every_s):
            now = self._progress()
            if now == self._seen:
                continue
            self._seen = now
            first = "" if self._ready else "READY=1\n"
            line = self._line().replace("\n", " ")
            self._ready = self._send(f"{first}WATCHDOG=1\nSTATUS={line}") or self._ready

    def _send(self, text: str) -> bool:
        address = self._address
        if address.startswith("@"):  # Linux's abstract names
            address = "\0" + address[1:]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(LOOK_S)
                sender.sendto(text.encode(), address)
        except OSError as error:
            log.warning("systemd cannot be told %s: %s", text.split("=")[0], error)
            return False
        return True


def _every_s(environment: Mapping[str, str]) -> float:
    """How often to look: at least four times within the watchdog's patience, where there is one."""
    with contextlib.suppress(KeyError, ValueError):
        if int(environment.get("WATCHDOG_PID", os.getpid())) == os.getpid():
            return max(0.01, min(LOOK_S, int(environment["WATCHDOG_USEC"]) / 4e6))
    return LOOK_S

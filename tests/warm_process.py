"""Starts commands quickly, each in a process of its own that is interrupted at a moment one names.

    python warm_process.py LIBRARY...

Libraries are imported once, and a command's process is forked from there; Fieldtune's own modules
it imports itself. Reads an `Order` a line as JSON, and answers with an `Ended`. The process sends
SIGINT to its own group, as a terminal does, so a moment comes neither early nor late.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fnmatch
import gc
import os
import signal
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import msgspec

PATIENCE_S = 30.0  # a process that is not gone by then hangs
CHILDREN_S = 20.0  # likewise one that it left behind, which is told that its parent is gone
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class Moment(msgspec.Struct, frozen=True):
    """The time number `count` that what `name` matches, a pattern, is about to happen.

    `what` is `import` (of a module), `open` (a file or an SQLite database), `rename` (to a file),
    `start` (of a process, by its command line) or `exit`, when the command is done.
    """

    what: str
    name: str = "*"
    count: int = 1

    def __str__(self) -> str:
        return f"{self.what} {self.name} {self.count}"


class Order(msgspec.Struct):
    """A command of `fieldtune.HALF`, to be run in `folder`; `moment` None: it is let be.

    In the folder `beside` are then its output (`out`, `err`), its temporary files (`tmp`, which has
    to be there), and, where the moment has come, `reached`.
    """

    half: str
    arguments: list[str]
    folder: str
    beside: str
    moment: Moment | None = None


class Ended(msgspec.Struct):
    """`status` as `subprocess` tells it; None where the process had to be killed. `left` is what
    processes it left behind."""

    status: int | None
    left: list[str]


def main() -> None:
    """Serve until standard input closes."""
    for library in sys.argv[1:]:
        import_module(library)
    gc.collect()
    gc.freeze()  # else each process copies all of it as it ends
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # orphans become ours
    for line in sys.stdin:
        order = msgspec.json.decode(line, type=Order)
        process = os.fork()
        if process == 0:
            run(order)
            return
        print(msgspec.json.encode(ended(process)).decode(), flush=True)


def run(order: Order) -> None:
    """The command, in this process."""
    os.setsid()
    os.chdir(order.folder)
    beside = Path(order.beside)
    for number, path in enumerate((Path(os.devnull), beside / "out", beside / "err")):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(descriptor, number)
    os.environ["TMPDIR"] = str(beside / "tmp")
    os.environ["_FIELDTUNE_STARTED"] = str(os.getpid())  # as after its launcher's own exec
    sys.argv = ["fieldtune", *order.arguments]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    launcher = import_module(f"fieldtune.{order.half}.launch")
    import_module(f"fieldtune.{order.half}.cli.app")
    if order.moment is not None:
        interrupt_at(order.moment, beside / "reached")
    launcher.main()


def interrupt_at(moment: Moment, reached: Path) -> None:
    """Have this process and its group interrupted once, at that moment."""
    left = moment.count

    def happens(name: str) -> None:
        nonlocal left
        if left and fnmatch.fnmatchcase(name, moment.name):
            left -= 1
            if not left:
                descriptor = os.open(reached, os.O_CREAT | os.O_WRONLY)
                os.close(descriptor)
                os.killpg(0, signal.SIGINT)

    class Finder:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:  # noqa: ARG002
            happens(name)

    events = {
        "open": ("open", "sqlite3.connect"),
        "rename": ("os.rename",),
        "start": ("subprocess.Popen",),
    }.get(moment.what, ())

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event in events:
            named = arguments[1 if event in ("os.rename", "subprocess.Popen") else 0]
            happens(
                " ".join(map(str, named)) if isinstance(named, list) else os.fsdecode(str(named))
            )

    if moment.what == "import":
        sys.meta_path.insert(0, Finder())  # type: ignore[arg-type]
    elif moment.what == "exit":
        atexit.register(happens, "")
    else:
        sys.addaudithook(watch)


def ended(process: int) -> Ended:
    """Wait for it, then for what it may have left behind; end that."""
    status = None
    deadline = time.monotonic() + PATIENCE_S
    while status is None and time.monotonic() < deadline:
        done, code = os.waitpid(process, os.WNOHANG)
        status = os.waitstatus_to_exitcode(code) if done else None
        time.sleep(0.002)
    deadline = time.monotonic() + CHILDREN_S
    while (left := dict(children())) and time.monotonic() < deadline and status is not None:
        time.sleep(0.01)
    for number in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    return Ended(status, [name for number, name in left.items() if number != process])


def children() -> Iterator[tuple[int, str]]:
    """This process's, by number and command line; those that have ended are taken leave of."""
    for text in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(int(text), os.WNOHANG)[0]:
                continue
        with contextlib.suppress(OSError):
            yield int(text), Path(f"/proc/{text}/cmdline").read_text().replace("\0", " ")


if __name__ == "__main__":
    main()

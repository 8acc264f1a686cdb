"""The whole path under fire: a real daemon and a real hub, in processes of their own, killed and
lied to.

The robot is the `sim` driver with the cheetah-vel family. A step of the daemon counts as
acknowledged once another process can read it from the journal: it was committed then.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
import yaml
import zmq

from fieldtune.robot.bridge import wire
from fieldtune.robot.episodes import codec
from fieldtune.robot.episodes.episode import EndReason
from fieldtune.robot.journal.check import find_problems
from fieldtune.robot.journal.journal import EntryState, Journal, JournalError
from fieldtune.robot.journal.recovery import close_interrupted
from fieldtune.train.bridge.inbox import Inbox

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
KILLS = 10
WAIT_S = 120
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


def wait_for(condition, *processes):
    deadline = time.monotonic() + WAIT_S
    while not (result := condition()):
        for process in processes:
            assert process.poll() is None, f"process {process.args} has ended: {process.returncode}"
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.001)
    return result


@dataclass
class Site:
    """One robot's folder, one trainer's inbox, and whatever processes run on them now."""

    folder: Path
    address: str = "tcp://127.0.0.1:*"
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def journal(self) -> Path:
        return self.folder / "robot" / "journal.sqlite"

    @property
    def inbox(self) -> Path:
        return self.folder / "inbox"

    @property
    def bundle(self) -> Path:
        return self.folder / "published.bundle"

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def daemon(self, *arguments: str) -> subprocess.Popen[str]:
        config = self.folder / "run.yaml"
        config.write_text(
            yaml.safe_dump(
                {
                    "robot": {
                        "name": "cheetah-1",
                        "family": "cheetah-vel",
                        "driver": {"name": "sim", "time_scale": 20.0},
                        "state_dir": str(self.folder / "robot"),
                        "bridge": self.address,
                    }
                }
            )
        )
        return self._start(
            "daemon", "-m", "fieldtune.robot.launch", "run", "--config", config, *arguments
        )

    def trainer(self) -> subprocess.Popen[str]:
        script = ROOT / "tests" / "trainer_process.py"
        process = self._start("trainer", script, self.address, self.inbox, self.bundle)
        self.address = process.stdout.readline().strip()
        assert self.address, self.log("trainer")
        return process

    def _start(self, name: str, *arguments: object) -> subprocess.Popen[str]:
        with (self.folder / f"{name}.log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, *map(str, arguments)],
                cwd=ROOT,
                env=ENVIRONMENT,
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self.running.append(process)
        return process

    def kill(self, process: subprocess.Popen[str]) -> None:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL

    def recorded(self) -> dict[int, int]:
        """Acknowledged steps of each episode, as any other process sees them."""
        try:
            with Journal.read(self.journal) as journal:
                return {entry.number: entry.steps for entry in journal.entries()}
        except JournalError:
            return {}

    def recorded_bytes(self) -> dict[tuple[int, int], bytes]:
        with Journal.read(self.journal) as journal:
            rows = journal.connection.execute("SELECT episode, step, record FROM steps")
            return {(number, index): record for number, index, record in rows}

    def end(self, daemon: subprocess.Popen[str], trainer: subprocess.Popen[str]) -> None:
        """Ask the robot to stop, as the trainer does it, and wait until both have left."""
        trainer.stdin.write("stop\n")
        trainer.stdin.flush()
        assert daemon.wait(WAIT_S) == 0, self.log("daemon")
        trainer.communicate()
        assert trainer.returncode == 0

    def require_all_there_once(self) -> None:
        """The journal is sound, and the inbox holds exactly its episodes, bit for bit."""
        with Journal.read(self.journal) as journal:
            assert find_problems(journal) == []
            entries = journal.entries()
            assert {entry.state for entry in entries} == {EntryState.ACKNOWLEDGED}
            blobs = dict(journal.blob(entry.number) for entry in entries)
        stored = {file.stem: file.read_bytes() for file in self.inbox.glob("*.episode")}
        assert stored == blobs
        numbers = Counter(episode.header.number for _, episode in Inbox(self.inbox).episodes(set()))
        assert numbers == Counter(entry.number for entry in entries)
        assert not any((self.inbox / "partial").glob("*/*"))
        assert not any((self.inbox / "refused").rglob("*"))


@pytest.fixture
def site(tmp_path, make_family_bundle):
    from fieldtune.sim import registry

    site = Site(tmp_path)
    make_family_bundle(site.bundle, registry.family("cheetah-vel"))
    yield site
    for process in site.running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_a_recorder_killed_while_it_writes_has_every_step_that_it_called_durable(site):
    rng = random.Random(0)
    for kill in range(1, KILLS + 1):
        process = site._start("recorder", ROOT / "tests" / "recorder_process.py", site.journal)
        wanted, durable = rng.randint(1, 4_000), 0
        while durable < wanted:
            number, durable = map(int, process.stdout.readline().split())
        process.send_signal(signal.SIGKILL)
        # Not `communicate`: it passes over what is buffered here and begins within a line.
        for line in process.stdout.read().splitlines(keepends=True):
            if line.endswith("\n"):
                durable = int(line.split()[1])
        process.wait()
        assert number == kill
        with Journal.open(site.journal) as journal:
            close_interrupted(journal)
            assert find_problems(journal) == []
            assert len(journal.episode(kill).steps) >= durable
            assert journal.pending() == list(range(1, kill + 1))


def test_a_daemon_killed_mid_episode_keeps_every_acknowledged_step_once(site):
    rng = random.Random(0)
    trainer = site.trainer()
    acknowledged: dict[tuple[int, int], bytes] = {}
    for kill in range(KILLS):
        before = max(site.recorded(), default=0)
        daemon = site.daemon()
        wanted, depth = before + rng.randint(1, 3), rng.randint(5, 150)
        wait_for(lambda w=wanted, d=depth: site.recorded().get(w, 0) >= d, daemon)
        seen = site.recorded_bytes()
        site.kill(daemon)
        assert acknowledged.items() <= seen.items(), f"lost or changed before kill {kill}"
        acknowledged |= seen
    daemon = site.daemon()
    last = max(number for number, _ in acknowledged)
    wait_for(lambda: site.recorded().get(last + 2, 0) > 0, daemon, trainer)
    site.end(daemon, trainer)

    site.require_all_there_once()
    final = site.recorded_bytes()
    assert acknowledged.items() <= final.items()
    episodes = [episode for _, episode in Inbox(site.inbox).episodes(set())]
    received = [(e.header.number, s.index, codec.pack(s)) for e in episodes for s in e.steps]
    assert len(received) == len(final)
    assert {(number, index): record for number, index, record in received} == final
    ends = Counter(episode.footer.end_reason for episode in episodes)
    assert ends[EndReason.INTERRUPTED] == KILLS
    boots = {episode.header.boot_session for episode in episodes}
    assert len(boots) == KILLS + 1


def test_a_trainer_killed_mid_upload_goes_on_where_it_was_and_the_robot_never_stops(
    site, make_header, make_step, make_footer
):
    rng = random.Random(0)
    with Journal.open(site.journal) as journal:
        for number in range(1, 17):
            with journal.transaction():
                journal.begin(make_header(number, family="cheetah-vel"))
                for index in range(400):
                    journal.add(number, codec.pack(make_step(index, width=2_500)))
                journal.finish(number, make_footer(400))
    sizes = {}
    with Journal.read(site.journal) as journal:
        for number in journal.pending():
            sha256, blob = journal.blob(number)
            sizes[sha256] = len(blob)
    partial = site.inbox / "partial"

    def held():
        """What is half received now, and how much of it."""
        files = {file.name: file.stat().st_size for file in partial.glob("*/*")}
        return {name: size for name, size in files.items() if 0 < size < sizes.get(name, 0)}

    trainer = site.trainer()
    daemon = site.daemon()
    for _ in range(KILLS):
        fraction = rng.uniform(0.05, 0.8)

        def midway(fraction=fraction):
            try:
                return any(size > fraction * sizes[name] for name, size in held().items())
            except FileNotFoundError:  # it was finished while we looked
                return False

        wait_for(midway, daemon, trainer)
        site.kill(trainer)
        left = held()
        assert left, "killed too late to be mid-upload"
        steps = sum(site.recorded().values())
        wait_for(lambda steps=steps: sum(site.recorded().values()) > steps + 20, daemon)
        trainer = site.trainer()
        ((name, size),) = left.items()
        try:
            assert (partial / "cheetah-1" / name).stat().st_size >= size
        except FileNotFoundError:
            assert (site.inbox / f"{name}.episode").exists()
    last = max(site.recorded())
    wait_for(lambda: site.recorded().get(last + 2, 0) > 0, daemon, trainer)
    site.end(daemon, trainer)

    site.require_all_there_once()
    assert set(sizes) <= {file.stem for file in site.inbox.glob("*.episode")}
    boots = {e.header.boot_session for _, e in Inbox(site.inbox).episodes(set())}
    assert len(boots) == 2  # that of the prepared episodes, and one single life of the daemon


def unknown_version(session):
    fields = {"version": 99, "session": session, "sequence": 10**9, "body": {"type": "stop"}}
    return msgspec.msgpack.encode(fields)


def test_a_stranger_who_talks_nonsense_to_the_hub_changes_nothing(site):
    trainer = site.trainer()
    daemon = site.daemon()
    wait_for(lambda: len(site.recorded()) >= 2, daemon, trainer)
    context = zmq.Context()
    context.setsockopt(zmq.LINGER, 0)
    stranger = context.socket(zmq.DEALER)
    stranger.connect(site.address)
    rng = random.Random(0)
    for size in range(1, 400):
        stranger.send(rng.randbytes(size))
    stranger.send_multipart([b"several", b"frames"])
    stranger.send(unknown_version("stranger"))
    assert stranger.poll(WAIT_S * 1_000)
    refusal = wire.decode(stranger.recv()).body
    context.destroy(linger=0)
    assert refusal.kind is wire.RefusalKind.MALFORMED
    assert "wire version 99 is unknown, expected 1" in refusal.reason
    last = max(site.recorded())
    wait_for(lambda: site.recorded().get(last + 2, 0) > 0, daemon, trainer)
    site.end(daemon, trainer)
    site.require_all_there_once()
    log = site.log("trainer")
    assert "are not a message" in log
    assert "2 frames, expected 1" in log
    assert refusal.reason in log


def test_a_trainer_that_talks_nonsense_does_not_disturb_the_robot(site):
    context = zmq.Context()
    context.setsockopt(zmq.LINGER, 0)
    trainer = context.socket(zmq.ROUTER)
    port = trainer.bind_to_random_port("tcp://127.0.0.1")
    site.address = f"tcp://127.0.0.1:{port}"
    daemon = site.daemon("--bundle", str(site.bundle))
    rng, sequence, beats, told = random.Random(0), iter(range(10**6)), 0, False

    def say(identity, body):
        trainer.send_multipart([identity, wire.encode("liar", next(sequence), body)])

    while daemon.poll() is None:
        if not trainer.poll(100):
            continue
        identity, payload = trainer.recv_multipart()
        for size in (1, 20, 300, 5_000):
            trainer.send_multipart([identity, rng.randbytes(size)])
        trainer.send_multipart([identity, unknown_version("liar")])
        body = wire.decode(payload).body
        if isinstance(body, wire.Hello):
            say(identity, wire.Welcome())
        elif isinstance(body, wire.Heartbeat):
            beats += 1
            now = time.monotonic_ns()
            say(identity, wire.HeartbeatReply(body.sent_ns, now, now, None))
            say(identity, wire.UploadDone("0" * 64))
        elif isinstance(body, wire.UploadOffer):
            say(identity, wire.Refusal(wire.RefusalKind.LATER, "not now", body.sha256))
        if not told and len(site.recorded()) >= 3:
            daemon.send_signal(signal.SIGTERM)
            told = True
    context.destroy(linger=0)
    assert daemon.returncode == 0, site.log("daemon")
    assert told
    assert beats > 1
    with Journal.read(site.journal) as journal:
        assert find_problems(journal) == []
        entries = journal.entries()
        assert {entry.state for entry in entries} == {EntryState.PENDING}
        assert {entry.footer.end_reason for entry in entries[:-1]} == {EndReason.HORIZON}
    assert not any((site.folder / "robot").rglob("*.bundle"))
    log = site.log("daemon")
    assert "are not a message" in log
    assert "wire version 99 is unknown, expected 1" in log

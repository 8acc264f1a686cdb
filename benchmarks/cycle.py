"""One control cycle, from an observation to a recorded action, against inference alone.

`python -m benchmarks.cycle [--quick]`. The loop is the robot's own, with its limits and its journal
on disk; the driver answers from memory. Every side works at 250 Hz, as robots do: back to back,
caches stay warm and the recorder's thread would compete for the interpreter.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.alone import main
from benchmarks.figures import Goal, Role, Series, Table
from benchmarks.inference_alone import HZ, KNOWN, Alone, OnnxAlone, TorchAlone, observations
from benchmarks.smac_sides import make_ours, reference
from benchmarks.turns import Effort
from fieldtune.export.bundle import Bundle
from fieldtune.export.manifest import Description, FieldSpec, Provenance
from fieldtune.export.writer import write_bundle
from fieldtune.robot.config import LimitsConfig, ZHold
from fieldtune.robot.drivers.checked import checked
from fieldtune.robot.drivers.driver import Observation
from fieldtune.robot.episodes.episode import EpisodeHeader, Mode
from fieldtune.robot.journal.recorder import Recorder
from fieldtune.robot.loop.control_loop import run_episode
from fieldtune.robot.loop.parts import EpisodeSpec, LoopParts
from fieldtune.robot.loop.states import State, States
from fieldtune.robot.policy.exploration import NextZ, ZSource
from fieldtune.robot.policy.policy import Policy
from fieldtune.robot.safety.build import build_limits
from fieldtune.robot.timing.clock import Clock, Deadline
from fieldtune.robot.timing.cycle_report import CycleReport, Marks
from fieldtune.sim.registry import family
from fieldtune.train.agent.graphs import DecoderGraph, EncoderGraph, LikelihoodGraph, PolicyGraph
from fieldtune.train.runs.bundles import field_specs

Array = NDArray[np.float64]
OURS, ONNX, TORCH = "Fieldtune's cycle", "onnxruntime alone", "plain torch"
INFERENCE = "of which inference"
ROLES: dict[str, Role] = {OURS: "ours", INFERENCE: "ours", ONNX: "floor", TORCH: "theirs"}
_MICROSECOND = 1000


class Memory:
    """A driver that answers at once, from a list of observations."""

    robot = "half-cheetah"
    time_scale = 1.0
    period_s = 1.0 / HZ

    def __init__(self, fields: tuple[FieldSpec, ...], actions: tuple[FieldSpec, ...]) -> None:
        self.observation_fields, self.action_fields = fields, actions
        width = sum(len(field.low) for field in fields)
        self.values = observations(width)
        self.applied: list[Array] = []

    def connect(self) -> None: ...

    def home(self, seed: int) -> None: ...

    def read(self) -> Observation:
        return Observation(self.values[len(self.applied) % KNOWN].copy(), time.monotonic_ns())

    def apply(self, action: Array) -> Array:
        self.applied.append(action)
        return action

    def hold(self) -> None: ...

    def close(self) -> None: ...


class Durations(CycleReport):
    """The loop's own report, which also keeps every cycle's nanoseconds."""

    def __init__(self) -> None:
        super().__init__()
        self.whole: list[int] = []
        self.inference: list[int] = []

    def add(self, marks: Marks, deadline: Deadline, overrun: bool) -> None:
        super().add(marks, deadline, overrun)
        self.whole.append(marks.recorded - marks.began)
        self.inference.append(marks.inferred - marks.ready)


class Cycle:
    """The robot's loop over a driver in memory, with a journal in `folder`."""

    def __init__(self, bundle: Bundle, folder: Path) -> None:
        manifest = bundle.manifest
        self._driver = Memory(manifest.observation_fields, manifest.action_fields)
        self._boundary = checked(self._driver, "memory")  # as a robot's loop has it
        self._boundary.connect()
        self.policy = Policy(bundle)
        self._limits = build_limits(
            LimitsConfig(),
            observation_fields=self._driver.observation_fields,
            robot_action_fields=self._driver.action_fields,
            policy_action_fields=manifest.action_fields,
            period_s=self._driver.period_s,
        )
        self._recorder = Recorder(folder / "journal.sqlite").start()

    def run(
        self,
        cycles: int,
        source: NextZ | None = None,
        follow: Callable[[Array, Array, Array], None] = lambda *_: None,
    ) -> tuple[list[int], list[int]]:
        """One episode: nanoseconds of every cycle, and of inference in it.

        `source` gives z, which one draw of the prior's is where not given; `follow` is told the
        transitions.
        """
        driver, report, states = self._driver, Durations(), States()
        driver.applied.clear()
        states.to(State.ARMED)
        parts = LoopParts(
            self._boundary,
            self.policy,
            self._limits,
            self._recorder,
            Clock(driver.period_s),
            states,
            report=report,
        )
        header = EpisodeHeader(
            robot="memory",
            family="cheetah-vel",
            boot_session="benchmark",
            number=self._recorder.next_number(),
            trial=1,
            bundle_id=self.policy.bundle_id,
            mode=Mode.PRIOR,
            seed=0,
            started_ns=time.monotonic_ns(),
            period_s=driver.period_s,
        )
        z = source
        if z is None:
            z = ZSource(self.policy.prior(), ZHold.EPISODE, np.random.default_rng(0))
            self.z = z.next()
        outcome = run_episode(parts, EpisodeSpec(header, cycles, z, None, follow, lambda: ""))
        if outcome.fault or self._recorder.error:
            raise RuntimeError(f"the cycle stopped: {outcome.fault or self._recorder.error}")
        self._recorder.flush(60.0)
        return report.whole, report.inference

    @property
    def acted(self) -> tuple[Array, Array]:
        """Observations and applied actions of the last run, `(cycle, ...)`."""
        count = len(self._driver.applied)
        return self._driver.values[np.arange(count) % KNOWN], np.array(self._driver.applied)

    def close(self) -> None:
        self._recorder.close()


def make_bundle(path: Path, *sizes: str, **changes: object) -> tuple[Bundle, PolicyGraph]:
    """cheetah-vel's bundle at the reference's sizes, untrained, and the policy it was made of.

    `sizes` are settings with other ones; `changes` to its description are for another robot with as
    many numbers in and out, or give it particles.
    """
    one, agent = family("cheetah-vel"), make_ours(reference(*sizes)).agent
    constants, rng = agent.normalisation, np.random.default_rng(0)
    policy = PolicyGraph(agent.policy, constants).eval()
    latent = agent.latent_size
    described: dict[str, object] = {
        "family": one.name,
        "robot": one.robot,
        "observation_fields": field_specs(one.observation_fields),
        "action_fields": field_specs(one.action_fields),
        "period_s": one.period_s,
        "horizon": one.horizon,
        "latent_size": latent,
        "task_embeddings": ((0.0,) * latent,),
        "provenance": Provenance(
            fieldtune_version="benchmark",
            dataset="none",
            config_sha256="0" * 64,
            seed=0,
            phase="offline",
            updates=0,
        ),
    }
    description = Description.model_validate(described | changes)
    weighs = LikelihoodGraph(agent.decoder, agent.dynamics, constants).eval()
    widths = {"observation": agent.shape.observation, "action": agent.shape.action}
    samples = {
        name: rng.standard_normal((64, width)).astype(np.float32)
        for name, width in (widths | {"reward": 1, "z": latent}).items()
    }
    bundle = write_bundle(
        path,
        description,
        policy=policy,
        encoder=EncoderGraph(agent.encoder, constants).eval(),
        decoder=DecoderGraph(agent.decoder, constants).eval(),
        samples=samples,
        likelihood=None if description.likelihood is None else weighs,
    )
    return bundle, policy


def same_actions(cycle: Cycle, sides: dict[str, Alone]) -> str:
    """Raises `AssertionError` unless everybody's mean is the action that the loop applied."""
    _, applied = cycle.acted
    for label, side in sides.items():
        apart = np.abs(np.tanh(side.means(len(applied))) - applied).max()
        if apart > 1e-5:
            raise AssertionError(f"{label} acts {apart:g} away from the loop")
    return "applied actions are those of inference alone, within 1e-5"


def measure(effort: Effort) -> Iterator[Table]:
    """Medians by round, and the slowest in a thousand over all rounds."""
    torch.set_num_threads(1)
    cycles, rounds = effort.choose(1000, 20), effort.rounds
    found: dict[str, list[list[int]]] = {label: [] for label in ROLES}
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        bundle, module = make_bundle(folder / "policy.bundle")
        cycle = Cycle(bundle, folder)
        cycle.run(20)
        width = sum(len(field.low) for field in bundle.manifest.observation_fields)
        sides: dict[str, Alone] = {
            ONNX: OnnxAlone(bundle, width, cycle.z),
            TORCH: TorchAlone(module, width, cycle.z),
        }
        check = same_actions(cycle, sides)
        for _ in range(rounds):
            whole, inference = cycle.run(cycles)
            found[OURS].append(whole)
            found[INFERENCE].append(inference)
            for label, side in sides.items():
                found[label].append(side.run(cycles))
        cycle.close()
    conditions = (
        f"cheetah-vel's fields, policy of 300×3, paced at {HZ} Hz; one thread; {cycles} cycles a "
        "round and side; journal with full sync on a disk of this machine"
    )
    goal = Goal("≤ 2× onnxruntime alone", OURS, ONNX, at_most=2.0)
    for title, by_round in (("median", True), ("slowest in a thousand", False)):
        yield Table(
            title=f"One control cycle, {title}",
            unit="µs",
            conditions=conditions if by_round else f"{conditions}, all rounds together",
            series=[
                Series(label, ROLES[label], _microseconds(durations, by_round))
                for label, durations in found.items()
            ],
            higher_is_better=False,
            goals=[goal],
            checks=[check] if by_round else [],
        )


def _microseconds(rounds: list[list[int]], by_round: bool) -> list[float]:
    if by_round:
        return [float(np.median(durations)) / _MICROSECOND for durations in rounds]
    return [float(np.quantile(np.concatenate(rounds), 0.999)) / _MICROSECOND]


if __name__ == "__main__":
    main(measure, __doc__.splitlines()[0])

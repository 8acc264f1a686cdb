"""A Franka to try things on: franky-sim, and what of the real controller franky-sim leaves out.

`.venv-franka/bin/python benchmarks/franka_arm.py [--hostname 127.0.0.1] [--log FILE]`, in the
environment that `make franka` makes. Physics, kinematics and the network protocol are franky-sim's.
Added here, as Franka's documentation tells them, since franky-sim never fails: a reflex stops the
arm, ends the motion with its reason, and refuses every other until automatic error recovery; it
comes of commands that stay away, of joints at their ends, and of a collision, which SIGUSR1 stands
for. SIGUSR2 presses the user stop, and releases it; SIGHUP pulls the cable, and puts it back, while
physics goes on. The log has what the *physics* did, in records of `RECORD`. It must not know
Fieldtune.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

RECORD = np.dtype(
    [("at_s", "<f8"), ("mode", "<f4"), ("q", "<f4", 7), ("dq", "<f4", 7), ("dq_c", "<f4", 7)]
)  # time.monotonic(), franka::RobotMode, rad, rad/s, and the velocity commanded
TICK_S = 0.001
LOST_TICKS = 20  # libfranka: so many packets in a row, and the robot stops
ENDS = np.array(  # of an FR3, rad
    [
        (-2.7437, 2.7437),
        (-1.7837, 1.7837),
        (-2.9007, 2.9007),
        (-3.0421, -0.1518),
        (-2.8065, 2.8065),
        (0.5445, 4.5169),
        (-3.0159, 3.0159),
    ]
)
COLLISION, ENDS_LEFT, SILENCE = 7, 0, 25  # places in franka::Errors
TABLE_Z = -0.112  # m: the family's table, where franky-sim has its floor
# franky-sim's gains, and half of them for joint 7: with all, it shakes by 0.08 rad/s at rest.
KP = (4500.0, 4500.0, 3500.0, 3500.0, 2000.0, 2000.0, 1000.0)
KV = (450.0, 450.0, 350.0, 350.0, 200.0, 200.0, 100.0)
_BEHIND_S = 0.05  # a machine that stood still is not caught up with


def controller(robot: Any, hostname: str, lost_ticks: int) -> Any:
    """A controller of that arm, listening at `hostname`, that can be in reflex."""
    from franky_sim import franka_robot_protocol as protocol
    from franky_sim.franka_robot_server import FrankaRobotServer

    class Controller(FrankaRobotServer):
        def __init__(self) -> None:
            self.silent_ticks = 0
            self.errors: set[int] = set()
            self.user_stop = self.cut = False
            self.commanded = (0.0,) * 7
            super().__init__(robot, [hostname])

        def start_motion(self, controller_mode: Any, generator_mode: Any, motion_id: int) -> None:
            if self.errors or self.user_stop:
                raise RuntimeError("the arm is in reflex, or stopped by its user")
            self.silent_ticks = 0
            super().start_motion(controller_mode, generator_mode, motion_id)

        def stop_motion(self, send_preemption_signal: bool = True) -> None:
            self.commanded = (0.0,) * 7
            super().stop_motion(send_preemption_signal)

        def hear(self) -> None:
            """Once a tick, before the physics."""
            if self.cut:
                self._post_process_commands()
            else:
                self.process_commands()

        def watch(self) -> None:
            """Once a tick, after the physics."""
            self.silent_ticks += 1
            moving = self.current_motion_id > 0
            if moving and self.silent_ticks > lost_ticks:
                self.reflex(SILENCE)
            q = np.array(robot.inner_state.q)
            if moving and (np.any(q < ENDS[:, 0]) or np.any(q > ENDS[:, 1])):
                self.reflex(ENDS_LEFT)

        def reflex(self, error: int) -> None:
            """Stop, and say why; a motion that ran is answered as aborted."""
            self.errors.add(error)
            self._abort(protocol.MoveStatus.kReflexAborted)

        def press_user_stop(self) -> None:
            self.user_stop = not self.user_stop
            if self.user_stop:
                self._abort(protocol.MoveStatus.kPreemptedDueToActivatedSafetyFunctions)

        def pull_cable(self) -> None:
            self.cut = not self.cut

        def _abort(self, status: Any) -> None:
            motion = self.current_motion_id
            self.stop_motion(send_preemption_signal=False)
            if motion and self._tcp_socket is not None and not self.cut:
                self.send_state()  # the reason comes before the end, as from the real one
                protocol.BaseCommand.send_response(
                    self._tcp_socket, protocol.RobotCommand.kMove, motion, status
                )
            self.reset_current_motion_id()

        def _handle_udp_command(self, command_data: bytes) -> None:
            self.silent_ticks = 0
            self.commanded = protocol.UDPCommand.from_bytes(command_data).dq_c
            super()._handle_udp_command(command_data)

        def _reset_state(self) -> None:
            self.commanded = (0.0,) * 7
            super()._reset_state()

        @property
        def robot_state(self) -> Any:
            state = super().robot_state
            if self.user_stop:
                state = state.replace(robot_mode=protocol.RobotMode.kUserStopped)
            if not self.errors:
                return state
            flags = tuple(place in self.errors for place in range(len(state.errors)))
            return state.replace(
                robot_mode=protocol.RobotMode.kReflex, errors=flags, reflex_reason=flags
            )

    def recover(command: Any, server: Controller) -> None:
        server.errors.clear()
        command.reply(protocol.AutomaticErrorRecoveryStatus.kSuccess)

    protocol.AutomaticErrorRecoveryCommand.handle = recover
    return Controller()


def deadlines() -> Iterator[None]:
    """Every millisecond, on absolute times: franky-sim's own loop runs at 750 to 860 Hz."""
    due = time.monotonic()
    while True:
        due = max(due + TICK_S, time.monotonic() - _BEHIND_S)
        time.sleep(max(0.0, due - time.monotonic()))
        yield


def run(hostname: str, log: Path | None, every: int, lost_ticks: int) -> None:
    from franky_sim.mujoco_simulator import MujocoSimulator

    asked: list[int] = []
    ends = (signal.SIGTERM, signal.SIGINT)
    for each in (*ends, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
        signal.signal(each, lambda number, _: asked.append(number))
    with contextlib.ExitStack() as stack:
        simulator = stack.enter_context(MujocoSimulator())
        ground = simulator.worldbody.find("geom[@name='ground']")
        ground.set("pos", f"0 0 {TABLE_Z}")
        robot = simulator.add_robot(kp=KP, kv=KV)
        arm = controller(robot, hostname, lost_ticks)
        arm.init()
        stack.callback(arm.cleanup)
        simulator.start()
        file = None if log is None else stack.enter_context(log.open("wb"))
        happens: dict[int, Callable[[], None]] = {
            signal.SIGUSR1: lambda: arm.reflex(COLLISION),
            signal.SIGUSR2: arm.press_user_stop,
            signal.SIGHUP: arm.pull_cable,
        }
        print(f"a Franka at {hostname}", flush=True)
        for tick, _ in enumerate(deadlines()):
            while asked:
                number = asked.pop(0)
                if number in ends:
                    return
                happens[number]()
            arm.hear()
            simulator.step()
            arm.watch()
            if not arm.cut:
                arm.send_state()
            if file is not None and tick % every == 0:
                seen = robot.inner_state
                row = (time.monotonic(), arm.robot_state.robot_mode, seen.q, seen.dq, arm.commanded)
                file.write(np.array(row, RECORD).tobytes())
                file.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hostname", default="127.0.0.1", help="%(default)s")
    parser.add_argument("--log", type=Path, help="what the physics did, in records")
    parser.add_argument("--every", type=int, default=1, metavar="MS", help="a record, %(default)s")
    parser.add_argument(
        "--lost-ticks", type=int, default=LOST_TICKS, help="without a command: reflex; %(default)s"
    )
    given = parser.parse_args()
    run(given.hostname, given.log, given.every, given.lost_ticks)


if __name__ == "__main__":
    main()

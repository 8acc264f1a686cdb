"""A graph that never returns, in ONNX Runtime itself: the robot is held, and the process ends."""

from __future__ import annotations

import json
import signal

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fieldtune.export.bundle import bundle_id

FAR = 0.02  # metres from the start


def unending(inputs: dict[str, int], outputs: dict[str, int]) -> bytes:
    """A graph whose `outputs` are 0.5, at once near the start and in years beyond `FAR`."""
    constants = {
        "first": np.array([0], dtype=np.int64),
        "second": np.array([1], dtype=np.int64),
        "far": np.array(FAR, dtype=np.float32),
        "years": np.array(10**15, dtype=np.int64),
        "one": np.array(1.0, dtype=np.float32),
        "none": np.array(0.0, dtype=np.float32),
        "half": np.array([[0.5]], dtype=np.float32),
    }
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Sin", ["before"], ["turned"]),
            helper.make_node("Add", ["turned", "one"], ["after"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, []),
        ],
    )
    nodes = [
        helper.make_node("Slice", ["observation", "first", "second", "second"], ["position"]),
        helper.make_node("Abs", ["position"], ["distance"]),
        helper.make_node("ReduceMax", ["distance"], ["away"], keepdims=0),
        helper.make_node("Greater", ["away", "far"], ["is_far"]),
        helper.make_node("Cast", ["is_far"], ["times"], to=TensorProto.INT64),
        helper.make_node("Mul", ["times", "years"], ["turns"]),
        helper.make_node("Loop", ["turns", "", "none"], ["end"], body=body),
        helper.make_node("Mul", ["end", "none"], ["nothing"]),
        helper.make_node("Add", ["half", "nothing"], ["value"]),
    ]
    # Every input must be used.
    nodes += [helper.make_node("ReduceSum", [name], [f"{name}_sum"], keepdims=0) for name in inputs]
    nodes += [helper.make_node("Identity", ["value"], [name]) for name in outputs]

    def values(widths: dict[str, int]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, width])
            for name, width in widths.items()
        ]

    graph = helper.make_graph(
        nodes,
        "unending",
        values(inputs),
        values(outputs),
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


POLICY = unending({"observation": 2, "z": 2}, {"mean": 1, "log_std": 1})
DECODER = unending({"observation": 2, "action": 1, "z": 2}, {"reward": 1})


@pytest.fixture
def in_place_of(tmp_path):
    """A prelude that has a robot's process run a graph which no bundle could bring in."""

    def make(name: str, graph: bytes) -> str:
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(graph)
        return f"""
import onnxruntime
import fieldtune.robot.policy.policy as policy
import fieldtune.robot.safety.watchdog as watchdog

watchdog.AT_REST_S = 1.0
made = policy.Policy.__init__

def make(self, *given, **named):
    made(self, *given, **named)
    self.{name}._session = onnxruntime.InferenceSession(
        {str(path)!r}, providers=["CPUExecutionProvider"]
    )

policy.Policy.__init__ = make
"""

    return make


def proven(live) -> None:
    """Another bundle has passed on this robot, so that one that faults is bad."""
    (live.folder / "state").mkdir(parents=True)
    record = {"proven": ["a" * 64], "bad": {}}
    (live.folder / "state" / "bundles.json").write_text(json.dumps(record))


@pytest.mark.slow
@pytest.mark.parametrize("number", [None, signal.SIGTERM])
def test_inference_that_never_returns_is_held_for_and_the_process_ends_in_a_fault(
    live, in_place_of, number
):
    proven(live)
    process = live.start(prelude=in_place_of("_policy", POLICY), patience_s=1.0)
    if number is not None:
        live.wait_for("held")
        process.send_signal(number)
    status, text = live.end()
    assert status == 3, text
    events = [what for what, _ in live.events()]
    assert "apply" in events
    assert events[-2:] == ["holds", "held"]
    assert events.count("held") == 1
    assert "inference has not returned for" in live.fault
    assert f"held by process {process.pid}" in live.fault
    assert "this process ends: inference has not returned" in text
    record = json.loads((live.folder / "state" / "bundles.json").read_text())
    assert list(record["bad"]) == [bundle_id(live.bundle)]
    assert live.start().wait(240) == 3  # latched; and what was recorded is whole
    assert len(live.events()) == len(events)


@pytest.mark.slow
def test_labelling_that_never_returns_ends_the_process_too(live, in_place_of):
    live.bundle = live.bundle_with(period_s=0.02, horizon=40)
    live.start(prelude=in_place_of("_decoder", DECODER))
    status, text = live.end()
    assert status == 3, text
    assert [what for what, _ in live.events()][-1] == "held"
    assert "inference has not returned for 1 s" in live.fault
    (episode,) = live.episodes()
    assert episode.footer.steps == 40

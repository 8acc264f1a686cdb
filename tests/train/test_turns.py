"""Jobs that share a process: each draws what it draws alone, and one that waits keeps none up."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable

import pytest
import torch

from fieldtune.train import turns
from fieldtune.train.captured import WARM_UP, Captured
from fieldtune.train.device import in_precision

DRAWS = 20
SEEDS = (0, 1, 2)


def run_all(works: list[Callable[[], None]]) -> None:
    """Each in a thread of its own, taking turns; raises what any of them raised."""
    shared, raised = turns.Turns(len(works)), []

    def run(work: Callable[[], None]) -> None:
        try:
            with shared.taking_part():
                work()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a job waits for its turn for ever"
    if raised:
        raise raised[0]


def waiting():
    place = turns._own.place
    assert place is not None
    return place.turns._waiting


def drawn(seed: int, order: list[int] | None = None) -> list[float]:
    """What a job draws that lets others after each draw, and waits aside after every fifth."""
    torch.manual_seed(seed)
    found = []
    for index in range(DRAWS):
        found.append(torch.randn(()).item())
        if order is not None:
            order.append(seed)
        turns.let_others()
        if index % 5 == 4:
            with turns.aside(), turns.computing():
                found.append(torch.rand(()).item())
    return found


def test_each_job_draws_what_it_draws_alone_and_they_take_turns():
    found: dict[int, list[float]] = {}
    order: list[int] = []

    def job(seed: int) -> None:
        while not order and len(waiting()) < len(SEEDS) - 1:
            time.sleep(0.001)
        assert turns.jobs_here() == len(SEEDS)
        found[seed] = drawn(seed, order)

    run_all([lambda seed=seed: job(seed) for seed in SEEDS])
    assert found == {seed: drawn(seed) for seed in SEEDS}
    assert all(set(order[at : at + 3]) == set(SEEDS) for at in range(0, 9, 3))
    assert turns.jobs_here() == 1


def test_a_job_that_waits_or_fails_keeps_none_up():
    """The first one's wait ends when the second has computed, the third fails meanwhile."""
    computed = threading.Event()

    def waits() -> None:
        with turns.aside():
            assert computed.wait(60), "nothing was computed while a job stood aside"

    def fails() -> None:
        with turns.aside(), turns.computing():
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_all([waits, fails, computed.set])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here: graphs draw on one alone")
def test_graphs_on_streams_of_their_own_draw_what_each_draws_alone():
    device = torch.device("cuda", torch.cuda.current_device())
    found: dict[tuple[int, str], list[float]] = {}

    def job(seed: int, how: str) -> None:
        turns.compute_on(device)
        torch.manual_seed(seed)
        wide = torch.zeros(64, 64, device=device)

        def step() -> dict[str, torch.Tensor]:
            for _ in range(50):
                wide.mul_(0.5).add_(torch.randn(64, 64, device=device))
            return {"sum": wide.sum()}

        captured, said = Captured(device, step), []
        for _ in range(WARM_UP + DRAWS):
            said.append(captured()["sum"])
            turns.let_others()
        found[seed, how] = torch.stack(said).tolist()

    for seed in SEEDS:
        run_all([lambda seed=seed: job(seed, "alone")])
    run_all([lambda seed=seed: job(seed, "together") for seed in SEEDS])
    for seed in SEEDS:
        assert found[seed, "together"] == found[seed, "alone"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here: graphs learn on one alone")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_graphs_side_by_side_learn_what_each_learns_alone(precision):
    """Weights' gradients are products over all rows, which cuBLAS splits: each graph needs scratch
    memory of its own for that."""
    device = torch.device("cuda", torch.cuda.current_device())
    found: dict[tuple[int, str], torch.Tensor] = {}

    def job(seed: int, how: str) -> None:
        turns.compute_on(device)
        torch.manual_seed(seed)
        sizes = [30, 256, 256, 256, 5]
        layers = [torch.nn.Linear(*pair) for pair in itertools.pairwise(sizes)]
        network = torch.nn.Sequential(*layers).to(device)
        adam = torch.optim.Adam(network.parameters(), 1e-3, capturable=True)
        rows, wanted = (torch.randn(8192, width, device=device) for width in (30, 5))

        def step() -> dict[str, torch.Tensor]:
            with in_precision(precision, device):
                loss = (network(rows).float() - wanted).square().mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
            return {"loss": loss.detach()}

        captured = Captured(device, step)
        for _ in range(WARM_UP + 200):
            captured()
            turns.let_others()
        found[seed, how] = torch.cat([one.detach().flatten() for one in network.parameters()])

    for seed in SEEDS:
        run_all([lambda seed=seed: job(seed, "alone")])
    run_all([lambda seed=seed: job(seed, "together") for seed in SEEDS])
    torch.cuda.synchronize()
    for seed in SEEDS:
        assert torch.equal(found[seed, "together"], found[seed, "alone"])

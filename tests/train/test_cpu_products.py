"""What multiplies on the CPU is float32, whichever library it is, and depends on it alone."""

from __future__ import annotations

import pytest
import torch

from fieldtune.train import cpu_products
from fieldtune.train.cpu_products import choose_products
from fieldtune.train.device import resolve


@pytest.fixture(autouse=True)
def left_as_it_was():
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


@pytest.fixture
def of(monkeypatch, tmp_path):
    """A processor of a vendor, whose units for bfloat16 are taken at "medium" or not there."""

    def make(vendor: str, exact: bool) -> None:
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nvendor_id\t: {vendor}\ncpu family: 1\n")
        monkeypatch.setattr(cpu_products, "PROCESSOR", tmp_path / "cpuinfo")
        monkeypatch.setattr(cpu_products, "_medium_is_float32", lambda: exact)

    return make


@pytest.mark.parametrize(
    ("vendor", "exact", "chosen"),
    [
        ("AuthenticAMD", True, "medium"),
        ("AuthenticAMD", False, "highest"),
        ("GenuineIntel", True, "highest"),
    ],
)
def test_onednn_multiplies_where_mkl_is_slow_and_numbers_stay_float32(of, vendor, exact, chosen):
    of(vendor, exact)
    torch.set_float32_matmul_precision("highest")
    choose_products()
    assert torch.get_float32_matmul_precision() == chosen


def test_without_a_file_on_the_processor_nothing_is_changed(monkeypatch, tmp_path):
    monkeypatch.setattr(cpu_products, "PROCESSOR", tmp_path / "none")
    torch.set_float32_matmul_precision("highest")
    choose_products()
    assert torch.get_float32_matmul_precision() == "highest"


def test_products_of_a_chosen_library_are_float32_on_this_processor():
    choose_products()
    torch.manual_seed(0)
    left, right = torch.randn(512, 300), torch.randn(300, 128)
    exact = left.double() @ right.double()
    assert ((left @ right - exact).abs().max() / exact.abs().max()).item() < cpu_products.FLOAT32


def test_asking_how_exact_it_is_changes_nothing():
    torch.set_float32_matmul_precision("highest")
    cpu_products._medium_is_float32.__wrapped__()
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_choice_that_something_else_undid_is_made_again(of):
    """By every job that asks for its device: two in one process multiply alike."""
    of("AuthenticAMD", exact=True)
    resolve("cpu")
    torch.set_float32_matmul_precision("highest")
    resolve("cpu")
    assert torch.get_float32_matmul_precision() == "medium"

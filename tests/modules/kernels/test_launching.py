"""How kernels are started: sizes of blocks, and where they stand in for torch's own."""

import pytest
import torch

from vqw2v_plugin.modules.kernels import devices, launching


@pytest.mark.parametrize(
    ("size", "block"), [(0, 1), (1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (1024, 1024), (1025, 2048)]
)
def test_a_block_is_the_least_power_of_two_that_holds_it(size: int, block: int) -> None:
    assert launching.power_of_two(size) == block


@pytest.mark.parametrize("gpu", [True, False])
@pytest.mark.parametrize("triton", [True, False])
def test_they_need_a_gpu_and_triton(gpu: bool, triton: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "is_gpu", lambda x: gpu)
    monkeypatch.setattr(launching, "have_triton", lambda: triton)
    assert launching.pays(torch.zeros(1)) == (gpu and triton)

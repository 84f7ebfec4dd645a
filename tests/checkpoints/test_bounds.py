"""What may be built: no more than the machine can train, counted as training needs it."""

import pytest
import torch

from vqw2v_plugin.checkpoints import bounds
from vqw2v_plugin.checkpoints.bounds import TooLargeError, fits_memory, no_larger_than


def holding(numbers: int) -> torch.nn.Module:
    """A module of so many, without their memory."""
    return torch.nn.ParameterList([torch.empty(numbers, device="meta")])


@pytest.mark.parametrize(("numbers", "fits"), [(1 / 8, False), (1 / 17, True), (1 / 15, False)])
def test_sixteen_bytes_of_memory_are_wanted_for_each_number(
    monkeypatch: pytest.MonkeyPatch, numbers: float, fits: bool
) -> None:
    memory = 1 << 20
    monkeypatch.setattr(bounds, "machine_memory", lambda: memory)

    def build() -> None:
        with fits_memory():
            holding(int(memory * numbers))

    if fits:
        return build()
    with pytest.raises(TooLargeError, match=r"more than 65,536 numbers: this machine has 0 GiB"):
        build()


def test_a_file_bounds_numbers_by_its_bytes_and_modules_by_its_weights() -> None:
    weights = [torch.zeros(1 << 18), torch.zeros(3)]  # a megabyte, and beside it a million numbers
    with no_larger_than(weights):
        holding(1 << 21)
    with pytest.raises(TooLargeError, match=r"more than 2,097,164 numbers: the file has 2 weights"):
        with no_larger_than(weights):
            holding((1 << 21) + 13)
    with no_larger_than(weights):
        torch.nn.Sequential(*(torch.nn.ReLU() for _ in range(1_040)))
    with pytest.raises(TooLargeError, match="more than 1,040 modules"), no_larger_than(weights):
        torch.nn.Sequential(*(torch.nn.ReLU() for _ in range(1_041)))

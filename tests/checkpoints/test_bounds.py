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


def test_buffers_count_as_parameters_do_and_nothing_is_bounded_afterwards() -> None:
    weights, some = [torch.zeros(3)], torch.empty(1 << 20, device="meta")
    with no_larger_than(weights):
        torch.nn.Module().register_buffer("whole", torch.empty((1 << 20) + 12, device="meta"))
    made = torch.nn.Module()
    with pytest.raises(TooLargeError, match=r"more than 1,048,588 numbers"), no_larger_than(weights):
        made.register_parameter("learnt", torch.nn.Parameter(some))
        made.register_buffer("none", None)
        made.register_buffer("kept", torch.empty(13, device="meta"))
    made.register_buffer("after", some)
    made.add_module("inner", holding(1 << 22))


def test_memory_is_told_in_gibibytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "machine_memory", lambda: 3 << 30)
    says = r"more than 201,326,592 numbers: this machine has 3 GiB, and training takes 16 bytes a number"
    with pytest.raises(TooLargeError, match=says), fits_memory():
        holding((3 << 26) + 1)
    with fits_memory():
        holding(3 << 26)


def test_a_model_has_fifty_thousand_modules_at_most() -> None:
    parent, child = torch.nn.Module(), torch.nn.Identity()
    with pytest.raises(TooLargeError, match="more than 50,000 modules: this machine has"), fits_memory():
        for number in range(50_001):
            parent.add_module(str(number), child)
    assert len(parent._modules) == 50_000


@pytest.mark.parametrize(
    ("error", "is_size"),
    [
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), True),
        (RuntimeError("Storage size calculation overflowed with sizes=[9]"), True),
        (RuntimeError("CUDA out of memory."), True),
        (OverflowError("Python int too large to convert to C long"), True),
        (MemoryError(), True),
        (TypeError("Overflow when unpacking long long"), True),
        (RuntimeError("shapes do not match"), False),
        (ValueError("`dim` is too large"), False),
        (TypeError("can't allocate memory"), False),
    ],
)
def test_what_has_no_room_is_a_sentence_and_what_is_wrong_stays_as_it_is(
    error: Exception, is_size: bool
) -> None:
    with pytest.raises(TooLargeError if is_size else type(error)) as caught, fits_memory():
        raise error
    assert (caught.value is not error) == is_size
    if is_size:
        assert str(caught.value).startswith("the model's settings ask for more than can be counted or held: ")

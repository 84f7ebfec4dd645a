"""Whether products round is torch's own switch: turned for some work alone, and back after it."""

import threading
from collections.abc import Iterator

import pytest
import torch

from vqw2v_plugin.modules.kernels.rounding import exact, tf32

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


def flags() -> tuple[bool, bool]:
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.fixture(autouse=True, params=["highest", "high", "medium"])
def before(request: pytest.FixtureRequest) -> Iterator[None]:
    """However torch was set by its user, so it is again."""
    torch.set_float32_matmul_precision(request.param)
    held = flags()
    yield
    assert flags() == held and torch.get_float32_matmul_precision() == request.param
    torch.set_float32_matmul_precision("highest")


def test_they_are_turned_for_the_work_alone_also_where_it_fails() -> None:
    for asked, wanted in ((tf32, (True, True)), (exact, (False, False))):
        held = flags()
        with pytest.raises(MemoryError), asked(CUDA):
            assert flags() == wanted
            assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
            raise MemoryError
        assert flags() == held
        with asked(CPU):
            assert flags() == held


def test_within_what_rounds_a_part_may_be_exact_and_nothing_rounds_within_what_is_exact() -> None:
    with tf32(CUDA), tf32(CUDA):
        with exact(CUDA):
            assert flags() == (False, False)
            with tf32(CUDA):
                assert flags() == (False, False)
        assert flags() == (True, True)


@pytest.mark.parametrize("other", [exact, tf32])
def test_a_thread_that_ends_changes_nothing_for_another_and_exactness_goes_first(other: object) -> None:
    first_is_in, second_is_in = threading.Event(), threading.Event()

    def first() -> None:
        with other(CUDA):  # type: ignore[operator]
            first_is_in.set()
            assert second_is_in.wait(10)

    thread = threading.Thread(target=first)
    thread.start()
    assert first_is_in.wait(10)
    with exact(CUDA):
        assert flags() == (False, False)
        second_is_in.set()
        thread.join()
        assert flags() == (False, False)


@pytest.mark.parametrize("before", ["highest"], indirect=True)
def test_torch_s_newer_way_to_say_it_is_kept() -> None:
    matmul = torch.backends.cuda.matmul
    if not hasattr(matmul, "fp32_precision"):
        pytest.skip("this torch has it not")
    for said in ("tf32", "ieee", "none"):
        matmul.fp32_precision = said
        for asked in (exact, tf32):
            with asked(CUDA):
                assert matmul.fp32_precision == {exact: "ieee", tf32: "tf32"}[asked]
            assert matmul.fp32_precision == said

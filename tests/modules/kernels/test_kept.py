"""Constant tensors that are made once serve a training, whoever asked for them first."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vqw2v_plugin.modules.kernels import attention, long_conv
from vqw2v_plugin.modules.kernels.kept import kept
from vqw2v_plugin.modules.quantizers import health, signs
from vqw2v_plugin.modules.wav2vec import contrastive
from vqw2v_plugin.modules.wav2vec2 import contrastive as masked

CPU = torch.device("cpu")
MADE: dict[str, Callable[[], Tensor]] = {
    "ends": lambda: attention._ends((3, 4, 5), CPU),
    "signs": lambda: signs._kept(0.123, CPU),
    "health": lambda: health._factors(3, 77, CPU),
    "names": lambda: masked._factors(77, CPU),
    "negatives": lambda: contrastive.kept_on_gpus(lambda device: torch.ones(3))(torch.device("meta")),
    "waves": lambda: long_conv._waves(8, 6, torch.float64, CPU),
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_what_was_first_made_in_inference_mode_is_of_use_to_a_gradient(make: Callable[[], Tensor]) -> None:
    with torch.inference_mode():
        make()
    assert not make().is_inference() and not make().requires_grad


def test_it_is_made_once_for_each_setting() -> None:
    made: list[int] = []
    ones = kept(4)(lambda n: made.append(n) or torch.ones(n))
    assert ones(2) is ones(2) and len(ones(3)) == 3 and made == [2, 3]

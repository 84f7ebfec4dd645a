"""Two ranks under DDP get a head's gradients of one, and count the classes that one counts."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from ranks import on_two_ranks
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vqw2v_plugin.modules.utterance.network import UtteranceConfig, UtteranceNetwork

pytest.importorskip("fairseq")
from vqw2v_plugin.training.class_metrics import class_logs

LENGTHS, CLASSES = torch.tensor([9, 6, 4, 7]), torch.tensor([0, 2, 2, 1])
WEIGHTS = torch.tensor([1.0, 2.0, 0.5])


def network() -> UtteranceNetwork:
    torch.manual_seed(0)
    return UtteranceNetwork(UtteranceConfig(4, 3, 2, 5, "attention", dropout=0))


def learnt(model: nn.Module, rows: slice) -> dict[str, Tensor]:
    """Gradients of the mean loss of these rows, and what is logged of them."""
    x = torch.randn(4, 9, 8, generator=torch.Generator().manual_seed(3))
    for _ in range(2):  # DDP tells of parameters that were not used at the next forward pass
        model.zero_grad()
        logits = model(x[rows], LENGTHS[rows]).logits
        loss = F.cross_entropy(logits, CLASSES[rows], WEIGHTS, reduction="sum")
        (loss / len(logits)).backward()
    grads = {name.removeprefix("module."): p.grad for name, p in model.named_parameters()}
    return {**grads, **class_logs(logits, CLASSES[rows], table=True)}  # type: ignore[dict-item]


def test_two_ranks_get_the_gradients_and_counts_of_one(tmp_path: Path) -> None:
    def work(number: int) -> dict[str, Any]:
        return learnt(DistributedDataParallel(network()), slice(2 * number, 2 * number + 2))

    first, second = on_two_ranks(work, tmp_path)
    expected = learnt(network(), slice(0, 4))
    assert {"mix", "pooling.worth.weight", "confusion"} < expected.keys() == first.keys()
    for name, value in expected.items():
        if name in ("confusion", "class_of", "class_correct"):
            assert torch.equal(first[name] + second[name], value)
        else:
            torch.testing.assert_close(first[name], value, atol=1e-6, rtol=1e-5)
            assert torch.equal(first[name], second[name])

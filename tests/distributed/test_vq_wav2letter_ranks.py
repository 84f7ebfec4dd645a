"""Two ranks under DDP get the gradients of one: of ASG's transitions too, and with a front still frozen."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import on_two_ranks
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vqw2v_plugin.checkpoints.wav2vec import Loaded
from vqw2v_plugin.features.front import AudioFront
from vqw2v_plugin.features.network import ContextFeatures
from vqw2v_plugin.modules.acoustic.asg import ASG
from vqw2v_plugin.modules.acoustic.network import AcousticConfig, AcousticModel, AcousticOutput
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec

LENGTHS = torch.tensor([3000, 2400])
TARGETS, TARGET_LENGTHS = torch.tensor([[1, 2, 1], [3, 2, 0]]), torch.tensor([3, 2])


class Model(nn.Module):
    """What `vq_wav2letter` does with audio, without fairseq."""

    def __init__(self, network: VqWav2Vec) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.front = AudioFront(ContextFeatures(Loaded(network.eval(), 16_000, False)), freeze_updates=5)
        self.network = AcousticModel(AcousticConfig(16, 5, "[(8, 5, 2)]"), ASG(5))

    def forward(self, wav: Tensor, lengths: Tensor) -> AcousticOutput:
        features, frames = self.front(wav, lengths)
        return self.network(features, frames)  # type: ignore[no-any-return]


def gradients(model: nn.Module, network: AcousticModel, rows: slice) -> dict[str, Tensor]:
    """Of the mean loss of `rows`; the loss is outside of the model's forward, as in the criterions."""
    wav = torch.randn(2, 3000, generator=torch.Generator().manual_seed(3))
    for _ in range(2):  # DDP tells of parameters that were not used at the next forward pass
        model.zero_grad()
        out = model(wav[rows], LENGTHS[rows])
        loss = network.sequence_loss(out.emissions, out.lengths, TARGETS[rows], TARGET_LENGTHS[rows])
        loss.mean().backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}


def on_a_rank(number: int, model: Model, find: bool) -> dict[str, Tensor]:
    wrapped: Any = DistributedDataParallel(model.train(), find_unused_parameters=find)
    found = gradients(wrapped, model.network, slice(number, number + 1))
    return {name.removeprefix("module."): grad for name, grad in found.items()}


@pytest.mark.parametrize("find_unused", [False, True])
def test_two_ranks_get_the_gradients_of_one(
    tiny: Callable[..., VqWav2Vec], tmp_path: Path, find_unused: bool
) -> None:
    def make() -> Model:
        return Model(tiny(quantizer="none"))

    found, _ = on_two_ranks(lambda number: on_a_rank(number, make(), find_unused), tmp_path)
    model = make().train()
    expected = gradients(model, model.network, slice(0, 2))
    assert found.keys() == expected.keys() and "network.sequence_loss.transitions" in found
    assert not any(name.startswith("front.") for name in found)
    for name, grad in expected.items():
        torch.testing.assert_close(found[name], grad, atol=1e-5, rtol=1e-4)

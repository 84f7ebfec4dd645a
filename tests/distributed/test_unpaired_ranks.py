"""Two ranks under DDP get the gradients that one gets, whichever of the two learns."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_languages import arguments, write_language
from program_runs import on_ranks
from ranks import on_two_ranks
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vqw2v_plugin.modules.unpaired.config import UnpairedConfig
from vqw2v_plugin.modules.unpaired.network import UnpairedNetwork

# what is a mean over the batch is one of each rank's own
CONFIG = UnpairedConfig(
    4, 5, generator_dropout=0.0, discriminator_dim=6, discriminator_kernel=3, mean_pool_join=True,
    code_penalty=0.0, smoothness_weight=0.0, gradient_penalty=0.0,
)  # fmt: skip
LENGTHS = torch.tensor([9, 6, 4, 7])


class Turns(nn.Module):
    """As fairseq's model: one forward for both."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = UnpairedNetwork(CONFIG)

    def forward(self, turn: int, x: Tensor, lengths: Tensor, text: Tensor) -> Tensor:
        if turn % 2:
            return self.network.discriminator_step(x, lengths, text, lengths).loss
        return self.network.generator_step(x, lengths).loss


def learnt(model: nn.Module, rows: slice) -> list[dict[str, Any]]:
    """Gradients of the mean loss of these rows in four updates, of either in turn."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(4, 9, 4, generator=generator)
    text = torch.randint(5, (4, 9), generator=generator)
    found = []
    for turn in range(4):
        model.zero_grad()
        loss = model(turn, x[rows], LENGTHS[rows], text[rows])
        (loss / len(x[rows])).backward()
        named = {name.removeprefix("module."): p.grad for name, p in model.named_parameters()}
        found.append({name: torch.zeros(()) if grad is None else grad for name, grad in named.items()})
    return found


def test_two_ranks_get_the_gradients_of_one(tmp_path: Path) -> None:
    def work(number: int) -> list[dict[str, Any]]:
        return learnt(DistributedDataParallel(Turns()), slice(2 * number, 2 * number + 2))

    first, second = on_two_ranks(work, tmp_path)
    for turn, expected in enumerate(learnt(Turns(), slice(0, 4))):
        learns = "network.discriminator" if turn % 2 else "network.generator"
        for name, value in expected.items():
            assert bool(value.any()) == name.startswith(learns)
            torch.testing.assert_close(
                first[turn][name], value.expand_as(first[turn][name]), atol=1e-6, rtol=1e-5
            )
            assert torch.equal(first[turn][name], second[turn][name])


@pytest.mark.slow
def test_two_ranks_of_fairseq_learn_what_one_learns_from_both_batches(tmp_path: Path) -> None:
    """Two optimizers in turn, a line of text for each utterance, wherever that utterance is."""
    data, text, _ = write_language(tmp_path / "language", {"train": 8, "valid": 2})
    program = str(Path(sys.executable).parent / "fairseq-train")
    more = (
        "--generator-dropout 0 --mean-pool-join --code-penalty 0 --smoothness-weight 0 --gradient-penalty 0"
    )
    more += " --max-update 6 --ddp-backend legacy_ddp --disable-validation"

    def trained(ranks: int, *changed: str) -> dict[str, Tensor]:
        out = tmp_path / f"{ranks}{''.join(changed)}"
        options = [*more.split(), "--batch-size", str(8 // ranks), *changed]
        return dict(on_ranks([program, *arguments(data, text, out, *options)], ranks, out)["model"])

    one, two, still = trained(1), trained(2), trained(1, "--lr", "1e-9", "--discriminator-lr", "1e-9")
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
    for part in ("generator", "discriminator"):
        moved = [(one[name] - still[name]).abs().max() for name in one if f".{part}" in f".{name}"]
        assert max(moved) > 1e-3, f"the {part} learnt nothing, so that they are equal says nothing"

"""Two ranks see what one process sees of the joined batch: codebooks, their counts, and signs of learning."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import on_two_ranks
from torch import Tensor

from vqw2v_plugin.modules.layers.ranks import num_ranks, rank, sum_over_ranks
from vqw2v_plugin.modules.quantizers.gumbel import GumbelConfig, GumbelQuantizer
from vqw2v_plugin.modules.quantizers.kmeans import KmeansConfig, KmeansQuantizer
from vqw2v_plugin.modules.quantizers.seeding import gather_frames
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec

Z = torch.randn(2, 200, 12, generator=torch.Generator().manual_seed(1))
WAV = torch.randn(2, 3000, generator=torch.Generator().manual_seed(2)) * 0.1


def test_a_sum_is_over_all_ranks_and_so_is_its_gradient(tmp_path: Path) -> None:
    def work(number: int) -> tuple[Any, ...]:
        x = torch.tensor([1.0 + number], requires_grad=True)
        total = sum_over_ranks(x)
        (total * (3 + number)).sum().backward()
        return total.detach(), x.grad, num_ranks(), rank(), x.detach()

    for number, (total, grad, size, own, x) in enumerate(on_two_ranks(work, tmp_path)):
        assert (total.item(), grad.item(), size, own, x.item()) == (3.0, 7.0, 2, number, 1.0 + number)
    assert (num_ranks(), rank()) == (1, 0)


def test_frames_are_gathered_in_the_order_of_the_ranks_and_no_more_than_one_would_gather(
    tmp_path: Path,
) -> None:
    frames = torch.arange(2000.0).view(2, 1000, 1)
    both = on_two_ranks(lambda number: gather_frames(frames[number], 4), tmp_path)
    assert torch.equal(both[0], both[1]) and len(both[0]) == len(gather_frames(frames.flatten(0, 1), 4))
    assert torch.equal(both[0].flatten().sort().values, both[0].flatten())
    assert both[0][[0, 63, 64, -1]].flatten().tolist() == [0, 999, 1000, 1999]


@pytest.mark.parametrize("options", [{"ema_decay": 0.9}, {"ema_decay": 0.9, "revive_after": 1}])
def test_a_codebook_begins_and_moves_as_with_the_joined_batch(
    options: dict[str, Any], tmp_path: Path
) -> None:
    def train(z: Tensor) -> dict[str, Tensor]:
        torch.manual_seed(0)
        quantizer = KmeansQuantizer(12, KmeansConfig(vq_vars=16, start="frames", **options)).train()
        for number in (1, 2):
            quantizer(z * number)
            quantizer.end_update(number)
        return quantizer.state_dict()

    expected = train(Z)
    for found in on_two_ranks(lambda number: train(Z[number : number + 1]), tmp_path):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-4, msg=name)


def test_diversity_and_its_gradient_are_those_of_the_joined_batch(tmp_path: Path) -> None:
    def step(z: Tensor, train: bool) -> tuple[Tensor, Tensor]:
        torch.manual_seed(0)
        quantizer = GumbelQuantizer(12, GumbelConfig(vq_vars=8, max_update=9)).train(train)
        out = quantizer(z)
        out.loss.backward()
        return out.loss.detach(), quantizer.head[0].weight.grad  # type: ignore[return-value]

    def work(number: int) -> tuple[Any, ...]:
        z = Z[:, :50] if number else Z[:, 50:]  # ranks of unlike sizes
        return step(z, True), step(z, False)

    (first, alone), (second, _) = on_two_ranks(work, tmp_path)
    loss, grad = step(Z, True)
    torch.testing.assert_close(first[0], loss)
    torch.testing.assert_close(second[0], loss)
    torch.testing.assert_close((first[1] + second[1]) / 2, grad)  # as DDP averages them
    torch.testing.assert_close(alone[0], step(Z[:, 50:], False)[0])  # evaluation waits for nobody


def test_counts_and_signs_are_those_of_the_joined_batch(
    tiny: Callable[..., VqWav2Vec], tmp_path: Path
) -> None:
    def train(wav: Tensor) -> tuple[Any, ...]:
        network = tiny(quantizer="kmeans").train()
        torch.manual_seed(3)
        made = network.objective(wav)
        network.set_num_updates(1)
        return network.health.window, network.health.idle, network.signs.shares(), int(made.num_correct)

    found = on_two_ranks(lambda number: train(WAV[number : number + 1]), tmp_path)
    window, idle, shares, _ = train(WAV)
    made = 2 * tiny(quantizer="kmeans").objective(WAV[:1]).num_predictions
    for mine in found:
        assert torch.equal(mine[0], window) and torch.equal(mine[1], idle)
        assert mine[2][1:] == pytest.approx(shares[1:], rel=1e-4)
        assert mine[2][0] == pytest.approx((found[0][3] + found[1][3]) / made)

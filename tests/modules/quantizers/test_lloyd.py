"""How centres are found: starts as good as others', sums that do not round, groups that go their own way."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.cluster import kmeans_plusplus

from vqw2v_plugin.modules.quantizers import lloyd
from vqw2v_plugin.modules.quantizers.clusters import Clusters, ClustersConfig
from vqw2v_plugin.modules.quantizers.lloyd import cells_of, first_centres, plus_plus, total


def frames(num_frames: int, dim: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(num_frames, dim, generator=torch.Generator().manual_seed(seed))


def distance(x: torch.Tensor, entries: torch.Tensor) -> float:
    return float(cells_of(x, entries[None]).distance)


def test_a_start_is_as_good_as_scikit_learn_s() -> None:
    """The mean over many: theirs looks at as many draws for each centre, and takes the best of them."""
    x = frames(600, 2) + 8 * frames(600, 1, 1).round()
    ours = [distance(x, plus_plus(x, 20, torch.Generator().manual_seed(i))) for i in range(30)]
    theirs = [
        distance(x, torch.from_numpy(kmeans_plusplus(x.numpy(), 20, random_state=i)[0])) for i in range(30)
    ]
    assert np.mean(ours) < 1.05 * np.mean(theirs)


def test_the_best_of_three_starts_goes_on_after_ten_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    x = frames(400, 3)
    starts: list[torch.Tensor] = []
    original = lloyd.plus_plus

    def noted(*arguments: object) -> torch.Tensor:
        starts.append(original(*arguments))  # type: ignore[arg-type]
        return starts[-1]

    monkeypatch.setattr(lloyd, "plus_plus", noted)
    for seed in range(3):
        starts.clear()
        found = first_centres(x, 1, 12, seed)[0]
        ends = []
        for entries in starts:
            for _ in range(10):
                entries = cells_of(x, entries[None]).centres[0]
            ends.append(entries)
        assert len({entries.numpy().tobytes() for entries in starts}) == 3
        assert torch.equal(found, min(ends, key=lambda entries: distance(x, entries)))


def test_groups_of_the_same_frames_begin_apart() -> None:
    x = frames(300, 2)
    one, other = first_centres(torch.cat([x, x], 1), 2, 9, seed=1)
    assert not torch.equal(one, other)


def test_distances_and_counts_do_not_round_where_32_bit_would() -> None:
    """2²⁴ + 5 is no number of 32 bit."""
    x = torch.cat([torch.tensor([[4096.0]]), torch.ones(5, 1)])
    found = cells_of(x, torch.zeros(1, 1, 1))
    assert found.distance.tolist() == [2**24 + 5]
    many = dataclasses.replace(found, counts=found.counts + 2**24, sums=found.sums + 2**24)
    both = total([many, cells_of(torch.ones(1, 1), torch.zeros(1, 1, 1))])
    assert both.counts.item() == 2**24 + 7 and both.sums.item() == 2**24 + 4096 + 6


def test_the_first_of_many_parts_counts_as_the_last_does() -> None:
    x, entries = frames(60, 2), frames(4, 2, 1)[None]
    parts = [cells_of(part, entries) for part in x.split(7)]
    for turned in (parts, parts[::-1]):
        torch.testing.assert_close(total(turned).centres, cells_of(x, entries).centres)


def test_frames_of_16_bit_are_prepared_in_32() -> None:
    x = (100 + frames(500, 3)).bfloat16()
    found = Clusters(3, ClustersConfig(5, deltas=1, standardize="utterance")).prepare(x)
    exact = x.double().numpy()
    expected = (exact - exact.mean(0)) / exact.std(0)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found[:, :3], expected, atol=1e-4)

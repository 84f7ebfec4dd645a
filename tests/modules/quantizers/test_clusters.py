"""Clusters: frames prepared as the settings say, the nearest centre of each, centres as good as others'."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans

from vqw2v_plugin.modules.layers.slopes import Moments, moments_of_all, slopes, standardized
from vqw2v_plugin.modules.quantizers.clusters import Clusters, ClustersConfig
from vqw2v_plugin.modules.quantizers.lloyd import cells_of, first_centres, plus_plus, total


def frames(num_frames: int, dim: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(num_frames, dim, generator=torch.Generator().manual_seed(seed))


def blobs(num_blobs: int, each: int, dim: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Heaps that lie far apart, in any order, and which heap each frame is of."""
    middles = 20 * frames(num_blobs, dim, seed)
    of = torch.arange(num_blobs).repeat(each)
    return middles[of] + 0.1 * frames(num_blobs * each, dim, seed + 1), of


def drawn(groups: int = 1, codes: int = 7, dim: int = 6, **settings: object) -> Clusters:
    clusters = Clusters(dim, ClustersConfig(codes, groups, **settings))  # type: ignore[arg-type]
    clusters.entries.data.normal_(generator=torch.Generator().manual_seed(5))
    return clusters


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_each_group_s_code_is_its_nearest_centre(groups: int) -> None:
    clusters, x = drawn(groups, standardize="none"), frames(50, 6)
    expected = [
        cdist(part.numpy(), centres.numpy()).argmin(1)
        for part, centres in zip(x.chunk(groups, 1), clusters.entries, strict=True)
    ]
    assert clusters.encode(x).numpy().tolist() == np.stack(expected, 1).tolist()


def test_codes_stand_for_their_centres_side_by_side() -> None:
    clusters = drawn(2)
    codes = torch.tensor([[3, 0], [6, 6]])
    expected = [torch.cat([clusters.entries[0, a], clusters.entries[1, b]]) for a, b in codes.tolist()]
    assert torch.equal(clusters.decode(codes), torch.stack(expected))
    assert torch.equal(clusters.decode(codes[None])[0], torch.stack(expected))


def test_of_two_centres_as_near_the_first_is_taken() -> None:
    clusters = drawn(codes=4, standardize="none")
    clusters.entries.data[:, 2] = clusters.entries.data[:, 1]
    assert clusters.encode(clusters.entries[0, 2:3]).item() == 1


def test_a_corpus_s_mean_and_scale_are_taken_away() -> None:
    clusters, x = drawn(), frames(30, 6)
    clusters.mean, clusters.scale = torch.arange(6.0), torch.arange(1.0, 7.0)
    plain = drawn(standardize="none")
    same = (x - torch.arange(6.0)) / torch.arange(1.0, 7.0)
    assert torch.equal(clusters.encode(x), plain.encode(same))


def test_an_utterance_s_own_mean_and_scale_change_no_code() -> None:
    clusters, x = drawn(standardize="utterance"), frames(200, 6).double()
    moved = (x * torch.tensor([1, 2, 3, 4, 5, 100]) + torch.arange(6) * 10).float()
    assert torch.equal(clusters.encode(x.float()), clusters.encode(moved))
    prepared = clusters.prepare(moved)
    torch.testing.assert_close(prepared.mean(0), torch.zeros(6), atol=1e-4, rtol=0)
    torch.testing.assert_close(prepared.std(0, correction=0), torch.ones(6), atol=1e-4, rtol=0)


def test_a_feature_that_does_not_vary_in_an_utterance_is_nothing() -> None:
    x = frames(20, 6)
    x[:, 2] = 3.0
    assert not drawn(standardize="utterance").prepare(x)[:, 2].any()
    assert drawn(standardize="utterance").prepare(x[:1]).isfinite().all()


def test_slopes_are_those_of_a_line_through_five_frames() -> None:
    x = frames(12, 3)
    padded = np.pad(x.numpy(), ((2, 2), (0, 0)), mode="edge")
    expected = [np.polyfit(np.arange(5), padded[t : t + 5], 1)[0] for t in range(12)]
    np.testing.assert_allclose(slopes(x), np.stack(expected), atol=1e-5)


def test_deltas_stand_behind_the_features_each_of_the_one_before() -> None:
    clusters, x = drawn(dim=2, codes=3, deltas=2, standardize="none"), frames(9, 2)
    once = slopes(x)
    assert torch.equal(clusters.prepare(x), torch.cat([x, once, slopes(once)], 1))
    assert clusters.out_dim == 6 and clusters.encode(x).shape == (9, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"codes": 0}, "`codes` is 0; expected 1 to"),
        ({"groups": 0}, "`groups` is 0; expected 1 to"),
        ({"deltas": 3}, "`deltas` is 3; expected 0 to 2"),
        ({"groups": 4}, r"6 features must be divisible by `groups` \(4\)"),
        (
            {"groups": 4, "deltas": 2},
            r"18 features \(6 and their deltas\) must be divisible by `groups` \(4\)",
        ),
    ],
)
def test_what_cannot_be_is_said(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Clusters(6, ClustersConfig(**settings))  # type: ignore[arg-type]


def test_heaps_are_found() -> None:
    x, of = blobs(12, 40, 5)
    centres = first_centres(x, 1, 12, seed=1)
    codes = cdist(x.numpy(), centres[0].numpy()).argmin(1)
    assert len({(int(code), int(heap)) for code, heap in zip(codes, of, strict=True)}) == 12


def test_centres_are_as_good_as_scikit_learn_s() -> None:
    """Of frames without heaps, where starts differ."""
    x = frames(3000, 8, seed=3) * torch.arange(1.0, 9.0)
    entries = first_centres(x, 1, 30, seed=1)
    for _ in range(50):
        entries = cells_of(x, entries).centres
    theirs = KMeans(30, n_init=10, random_state=0).fit(x.numpy()).inertia_
    assert float(cells_of(x, entries).distance) < 1.02 * theirs


def test_batches_say_what_the_whole_says() -> None:
    x, entries = frames(101, 6), drawn(2).entries.data
    whole = cells_of(x, entries)
    parts = total(cells_of(part, entries) for part in x.split(17))
    for name in ("counts", "sums", "distance", "far", "far_distance"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name), msg=name)
    nearest = cdist(x[:, :3].numpy(), entries[0].numpy()).argmin(1)
    assert whole.counts[0].tolist() == np.bincount(nearest, minlength=7).tolist()


def test_the_mean_of_many_frames_is_exact() -> None:
    """Summed one by one in 32 bit it would be off in the fourth digit."""
    x = torch.full((200_000, 1), 0.1)
    assert cells_of(x, torch.zeros(1, 1, 1)).centres.item() == x[0].item()


def test_a_centre_without_frames_goes_to_the_frame_that_lies_farthest() -> None:
    x = torch.tensor([[-0.5], [1.0], [2.0], [50.0]])
    entries = torch.tensor([[[1.0], [900.0], [901.0]]])
    assert cells_of(x, entries).centres[0].flatten().tolist() == pytest.approx([13.125, 50.0, -0.5])


def test_frames_that_are_all_alike_need_no_second_centre() -> None:
    x = torch.ones(5, 2)
    entries = plus_plus(x, 3, torch.Generator().manual_seed(0))
    assert torch.equal(entries, torch.ones(3, 2))
    assert cells_of(x, entries[None]).centres.isfinite().all()


def test_a_seed_draws_the_same_and_another_something_else() -> None:
    x = frames(500, 4)
    first, again, other = (first_centres(x, 2, 9, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_a_feature_that_varies_little_is_standardized_like_any_other() -> None:
    """Only below a deviation of 1e-5 is it held for constant."""
    x = frames(400, 2).double() * torch.tensor([1e-4, 1e-7])
    prepared = drawn(dim=2, codes=3, standardize="utterance").prepare(x.float())
    torch.testing.assert_close(prepared.std(0, correction=0), torch.tensor([1.0, 0.01]), atol=2e-3, rtol=0)


def test_the_most_codes_and_groups_are_taken_and_more_refused() -> None:
    ClustersConfig(codes=1 << 20, groups=1 << 10)
    for name, most in (("codes", 1 << 20), ("groups", 1 << 10)):
        with pytest.raises(ValueError, match=f"`{name}` is {most + 1}; expected 1 to {most:,}"):
            ClustersConfig(**{name: most + 1})  # type: ignore[arg-type]


def test_moments_of_several_clips_are_those_of_all_their_frames() -> None:
    x = frames(50, 3) * torch.tensor([1.0, 2.0, 0.0]) + 5
    found = moments_of_all(x.split([1, 30, 19]))
    torch.testing.assert_close(found.mean, x.mean(0))
    torch.testing.assert_close(found.deviation, x.std(0, correction=0).clamp_min(1e-5))
    with pytest.raises(ValueError, match="there are no frames to take a mean of; expected at least one"):
        moments_of_all([x[:0]])


def test_frames_are_standardized_by_moments_of_others_where_these_are_given() -> None:
    moments = Moments(torch.tensor([1.0, -2.0]), torch.tensor([2.0, 0.5]))
    found = standardized(torch.tensor([[3.0, -2.0], [1.0, -1.0]]), moments)
    assert found.tolist() == [[1.0, 0.0], [0.0, 2.0]]


def test_who_says_nothing_gets_a_hundred_centres_of_features_as_a_corpus_has_them() -> None:
    assert ClustersConfig() == ClustersConfig(codes=100, groups=1, deltas=0, standardize="corpus")

"""Dynamic time warping: the plain loop's result, symmetric; frame distances with exact zeros."""

import numpy as np
import pytest
import torch

from vqw2v_plugin.analysis import dtw_on_gpu
from vqw2v_plugin.analysis.abx_choices import DISTANCES
from vqw2v_plugin.analysis.dtw import RESOLUTION, dtw, frame_distances, pair_distances, prepare_frames


def plain_dtw(costs: np.ndarray) -> float:
    """(cost, length) of the best path to every cell, one by one; mean cost of the last."""
    best: dict[tuple[int, int], tuple[int, int]] = {}
    for i in range(costs.shape[0]):
        for j in range(costs.shape[1]):
            steps = [best[p] for p in ((i - 1, j), (i, j - 1), (i - 1, j - 1)) if p in best]
            cost, length = min(steps, default=(0, 0))
            best[i, j] = (cost + round(costs[i, j] / RESOLUTION), length + 1)
    cost, length = best[costs.shape[0] - 1, costs.shape[1] - 1]
    return cost * RESOLUTION / length


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (7, 1), (3, 3), (4, 9), (9, 4)])
def test_dtw_equals_a_plain_loop(shape: tuple[int, int]) -> None:
    costs = np.random.default_rng(0).random((20, *shape))
    costs[10:] = costs[10:].round(1)  # so that paths are equally cheap
    assert dtw(costs) == pytest.approx([plain_dtw(each) for each in costs], abs=1e-12)
    assert np.array_equal(dtw(costs), dtw(costs.transpose(0, 2, 1)))


def test_dtw_of_one_stretch_with_itself_slowed_down_is_zero() -> None:
    x = np.random.default_rng(0).standard_normal((1, 5, 8))
    slow = x.repeat(3, axis=1)
    frames = [prepare_frames(each[0], "angular")[None] for each in (x, slow)]
    assert dtw(frame_distances(*frames, "angular")) == 0


def test_of_two_paths_as_cheap_the_shorter_counts() -> None:
    costs = np.full((1, 2, 2), 0.5)
    assert dtw(costs) == 0.5
    costs = np.array([[[0.5, 0.0], [0.0, 0.5]]])  # 1.0 in two steps, or 1.0 in three by the corner
    assert dtw(costs) == 0.5


def test_stretches_beyond_the_counters_range_are_refused() -> None:
    with pytest.raises(ValueError, match="65,536"):
        dtw(np.zeros((1, 1, 1 << 16)))


@pytest.mark.parametrize("distance", ["angular", "cosine", "euclidean"])
def test_frame_distances_are_those_of_the_formula(distance: str) -> None:
    rng = np.random.default_rng(0)
    frames = rng.standard_normal((12, 6))
    frames[7] = frames[0]
    ready = prepare_frames(frames, distance)
    found = frame_distances(ready[None, :5], ready[None, 5:], distance)[0]
    for i in range(5):
        for j in range(7):
            x, y = frames[i], frames[5 + j]
            cosine = x @ y / np.linalg.norm(x) / np.linalg.norm(y)
            longest = np.linalg.norm(frames, axis=1).max()
            wanted = {
                "angular": np.arccos(min(cosine, 1)) / np.pi,
                "cosine": (1 - cosine) / 2,
                "euclidean": np.linalg.norm(x - y) / longest / 2,
            }
            assert found[i, j] == pytest.approx(wanted[distance], abs=1e-5)
    assert found[0, 2] == 0  # the same frame, in spite of fp32's rounding
    assert found.min() >= 0 and found.max() <= 1


@pytest.mark.parametrize("distance", ["angular", "cosine", "euclidean"])
def test_a_frame_is_no_way_from_itself_however_many_numbers_it_has(distance: str) -> None:
    frames = np.random.default_rng(1).standard_normal((40, 769))
    ready = prepare_frames(frames, distance)
    found = frame_distances(ready[None], ready[None], distance)[0]
    assert (np.diag(found) == 0).all() and (found + np.eye(40) > 0.1).all()


def test_codes_differ_by_the_share_of_groups_and_unknown_ones_from_all() -> None:
    x = np.array([[[1, 2], [3, 4], [-1, -1]]])
    found = frame_distances(x, np.array([[[1, 2], [1, 4], [-1, -1]]]), "codes")
    assert found[0].tolist() == [[0, 0.5, 1], [1, 0.5, 1], [1, 1, 1]]


@pytest.mark.parametrize("distance", DISTANCES)
def test_pairs_do_not_depend_on_their_order_or_the_chunks(distance: str) -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 7, 15)
    starts = np.cumsum(sizes) - sizes
    frames = prepare_frames(rng.integers(0, 3, (sizes.sum(), 4)) + 1, distance)
    pairs = np.stack([rng.integers(0, 15, 200), rng.integers(0, 15, 200)], 1)
    found = pair_distances(frames, starts, sizes, pairs, distance)
    shuffled = rng.permutation(200)
    again = pair_distances(frames, starts, sizes, pairs[shuffled][:, ::-1], distance, chunk_bytes=500)
    assert again == pytest.approx(found[shuffled], abs=2 * RESOLUTION)
    for (i, j), each in zip(pairs[:20], found, strict=False):
        x, y = (frames[None, starts[k] : starts[k] + sizes[k]] for k in (i, j))
        assert each == pytest.approx(plain_dtw(frame_distances(x, y, distance)[0]), abs=2 * RESOLUTION)


@pytest.mark.parametrize("distance", DISTANCES)
def test_a_gpu_s_way_is_the_same(distance: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 7, 15)
    starts = np.cumsum(sizes) - sizes
    frames = prepare_frames(rng.integers(-1, 3, (sizes.sum(), 4)) + (distance != "codes"), distance)
    pairs = np.stack([rng.integers(0, 15, 300), rng.integers(0, 15, 300)], 1)
    plain = pair_distances(frames, starts, sizes, pairs, distance)
    for size in (1 << 28, 500):
        monkeypatch.setattr(dtw_on_gpu, "_BYTES", size)
        found = dtw_on_gpu.pair_distances(frames, starts, sizes, pairs, distance, torch.device("cpu"))
        assert found == pytest.approx(plain, abs=2 * RESOLUTION)
    assert (
        dtw_on_gpu.pair_distances(frames, starts, sizes, pairs[:0], distance, torch.device("cpu")).size == 0
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (3, 3), (4, 9)])
def test_a_gpu_s_paths_are_a_plain_loop_s(shape: tuple[int, int]) -> None:
    costs = np.random.default_rng(0).random((20, *shape))
    costs[10:] = costs[10:].round(1)
    assert np.array_equal(dtw_on_gpu.dtw(torch.from_numpy(costs)).numpy(), dtw(costs))


def test_another_distance_is_refused() -> None:
    with pytest.raises(ValueError, match="`distance` is 'manhattan'"):
        prepare_frames(np.zeros((1, 1)), "manhattan")


def test_frames_of_nothing_but_zeros_are_as_far_from_all_as_what_is_not_alike() -> None:
    frames = np.array([[0.0, 0.0], [3.0, 0.0]])
    for distance, own in (("angular", 0.5), ("cosine", 0.5), ("euclidean", 0.0)):
        with np.errstate(all="raise"):
            ready = prepare_frames(frames, distance)
            silent = prepare_frames(frames * 0, distance)
        found = frame_distances(ready[None], ready[None], distance)[0]
        assert found == pytest.approx(np.array([[own, 0.5], [0.5, 0.0]])) and not silent.any()

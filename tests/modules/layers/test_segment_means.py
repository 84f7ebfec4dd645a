"""Segments of frames and their principal components, against plain loops and numpy's SVD."""

import numpy as np
import pytest
import torch

from vqw2v_plugin.modules.layers.principal import Principal, principal_of
from vqw2v_plugin.modules.layers.segments import means_of, pair_means, run_places, span_means


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("frames", [0, 1, 2, 57])
def test_runs_become_their_means_as_by_a_loop(frames: int, groups: int) -> None:
    rng = torch.Generator().manual_seed(frames)
    x, codes = torch.randn(frames, 3, generator=rng), torch.randint(2, (frames, groups), generator=rng)
    runs: list[list[torch.Tensor]] = []
    for t in range(frames):
        if not t or codes[t].tolist() != codes[t - 1].tolist():
            runs.append([])
        runs[-1].append(x[t])
    found = means_of(x, run_places(codes))
    assert len(found) == len(runs)
    for row, run in zip(found, runs, strict=True):
        torch.testing.assert_close(row, torch.stack(run).mean(0))


def test_pairs_become_their_means_and_an_odd_last_one_stays() -> None:
    x = torch.tensor([[1.0], [3.0], [10.0], [20.0], [7.0]])
    assert pair_means(x).tolist() == [[2.0], [15.0], [7.0]]
    assert pair_means(x[:4]).tolist() == [[2.0], [15.0]] and pair_means(x[:0]).shape == (0, 1)


def test_spans_become_their_means_and_those_without_a_frame_the_nearest() -> None:
    x = torch.arange(6.0)[:, None]
    firsts, ends = torch.tensor([0, 2, 3, 6, -1]), torch.tensor([2, 2, 9, 8, 0])
    assert span_means(x, firsts, ends).flatten().tolist() == [0.5, 2.0, 4.0, 5.0, 0.0]


def test_components_are_those_of_numpy_s_svd() -> None:
    rng = np.random.default_rng(0)
    frames = (rng.normal(size=(400, 7)) * [9, 5, 3, 2, 1.5, 1, 0.2] @ rng.normal(size=(7, 7)) + 50).astype(
        "f"
    )
    parts = [torch.from_numpy(part) for part in np.split(frames, [100, 101, 333])]
    found = principal_of(lambda: parts, 4)
    exact = frames.astype(np.float64)
    _, _, axes = np.linalg.svd(exact - exact.mean(0), full_matrices=False)
    axes = axes[:4] * np.sign(np.take_along_axis(axes[:4], np.abs(axes[:4]).argmax(1)[:, None], 1))
    np.testing.assert_allclose(found.mean, exact.mean(0), rtol=1e-6)
    np.testing.assert_allclose(found.axes, axes, atol=1e-5)
    expected = (exact - exact.mean(0)) @ axes.T
    np.testing.assert_allclose(found(torch.from_numpy(frames)), expected, atol=1e-3)
    assert (np.diff(expected.var(0)) < 0).all()


def test_components_are_those_of_scikit_learn() -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    frames = np.random.default_rng(1).normal(size=(200, 5)) @ np.random.default_rng(2).normal(size=(5, 5))
    theirs = decomposition.PCA(3).fit(frames).transform(frames)
    part = torch.from_numpy(frames.astype("f"))
    ours = principal_of(lambda: [part], 3)(part).numpy()
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-4)


def test_what_has_no_components_is_refused() -> None:
    with pytest.raises(ValueError, match="there are no frames"):
        principal_of(list, 1)
    with pytest.raises(ValueError, match=r"`dim` is 4; expected 1 to 3"):
        principal_of(lambda: [torch.ones(9, 3)], 4)
    with pytest.raises(ValueError, match=r"`axes` are \[2, 3\] and the mean is \[2\]"):
        Principal(torch.zeros(2), torch.zeros(2, 3))
    for axes in (torch.zeros(3, 2), torch.zeros(0, 2), torch.zeros(2)):
        with pytest.raises(ValueError, match=r"expected \[D, F\] and \[F\], D up to F"):
            Principal(torch.zeros(2), axes)

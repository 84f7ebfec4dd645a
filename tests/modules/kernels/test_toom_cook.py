import pytest
import torch

from vqw2v_plugin.modules.kernels.toom_cook import best_roots, num_products, toom_cook

CASES = [(taps, roots) for roots in (2, 4, 8, 16, 32) for taps in (1, 2, 3, 5, 13) if roots + 3 > taps]


@pytest.mark.parametrize(("taps", "roots"), CASES)
def test_fewer_products_give_the_same_sums(taps: int, roots: int) -> None:
    form = toom_cook(taps, roots, torch.zeros(1, dtype=torch.float64))
    assert form.inputs.size(0) == num_products(roots) and form.seen == form.hop + taps - 1
    x, w = torch.randn(form.seen, dtype=torch.float64), torch.randn(taps, dtype=torch.float64)
    found = form.outputs @ ((form.taps @ w) * (form.inputs @ x))
    torch.testing.assert_close(found, x.unfold(0, taps, 1) @ w)


@pytest.mark.parametrize(("taps", "roots"), CASES)
def test_rounding_in_fp32_stays_that_of_a_plain_sum(taps: int, roots: int) -> None:
    torch.manual_seed(0)
    form = toom_cook(taps, roots, torch.zeros(1))
    x, w = torch.randn(form.seen, 256), torch.randn(taps, 256, 8)
    points = (form.taps @ w.flatten(1)).unflatten(1, w.shape[1:])  # [P, C, O]
    found = form.outputs @ torch.einsum("pc,pco->po", form.inputs @ x, points)
    exact = torch.einsum("mck,kco->mo", x.double().unfold(0, taps, 1), w.double())
    assert (found - exact).abs().max() <= 3e-6 * exact.abs().max()


@pytest.mark.parametrize("roots", [2, 8, 32])
def test_a_bias_at_point_one_reaches_every_output(roots: int) -> None:
    form = (
        toom_cook(3, roots, torch.zeros(1, dtype=torch.float64))
        if roots > 2
        else toom_cook(2, 2, torch.zeros(1))
    )
    torch.testing.assert_close(form.outputs[:, form.POINT_ONE], torch.ones_like(form.outputs[:, 0]))


def test_few_frames_are_not_worth_transforming_filters() -> None:
    assert best_roots(4, 50) == 0 and best_roots(1, 10**6) == 0
    for taps in range(2, 14):
        roots = best_roots(taps, 4000)
        assert roots and num_products(roots) / (roots + 3 - taps) < 0.75 * taps


def test_transforms_can_be_asked_for_under_any_default_device() -> None:
    with torch.device("meta"):
        assert toom_cook(2, 2, torch.zeros(1)).inputs.device.type == "meta"
    assert toom_cook(2, 2, torch.zeros(1)).inputs.device.type == "cpu"


@pytest.mark.parametrize(
    ("taps", "rows", "roots"), [(2, 100, 0), (2, 1_000, 2), (13, 100, 0), (13, 1_000, 16), (13, 10_000, 32)]
)
def test_the_points_are_those_that_cost_least(taps: int, rows: int, roots: int) -> None:
    """P products of a tile for its rows and its weights, which cost as 100 rows: 4 for 3 outputs of 2 taps,
    25 for 6 and 49 for 22 of 13 taps."""
    assert best_roots(taps, rows) == roots

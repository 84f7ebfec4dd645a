"""Norm and activation of clips in a row: Triton's kernels against torch's form, by the interpreter."""

import os

import pytest
import torch
from torch import Tensor, nn

os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton")

from vqw2v_plugin.modules.kernels import clip_rows, devices
from vqw2v_plugin.modules.kernels.clip_rows import Places, finish

DIM, ROWS = 24, 32  # of a layer whose parts are twice the last one's


@pytest.fixture
def places() -> Places:
    """Two clips in a row of six parts, of which the last is nobody's."""
    cpu = torch.device("cpu")
    return Places.of([[70, 40], [36, 21]], [ROWS, ROWS // 2], [3, 2], 6, cpu)


@pytest.fixture
def y() -> Tensor:
    return 3 + torch.randn(6 * ROWS, DIM, generator=torch.Generator().manual_seed(0))


def test_a_part_s_moments_are_those_of_its_frames(y: Tensor, places: Places) -> None:
    parts, valid = y.view(6, ROWS, DIM), places.valid[0]
    assert valid.tolist() == [32, 32, 6, 32, 8, 0]
    for groups in (1, 2):
        mean, spread = clip_rows._moments(parts, valid, groups)
        for p, n in enumerate(valid.tolist()[:-1]):
            exact = parts[p, :n].double().view(n, groups, -1)
            torch.testing.assert_close(mean[p], exact.mean((0, 2)), rtol=1e-8, atol=0)
            torch.testing.assert_close(spread[p] / exact[:, 0].numel(), exact.var((0, 2), correction=0))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("affine", [True, False])
def test_a_norm_of_kernels_is_torch_s(
    y: Tensor, places: Places, affine: bool, groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    norm = nn.GroupNorm(groups, DIM, affine=affine)
    if affine:
        nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
    y[3 * ROWS :] = torch.inf  # another clip's, and nobody's: no sum of the first one's
    plain = places.norm(y, norm, 0)
    monkeypatch.setattr(devices, "is_gpu", lambda x: True)
    for found, expected in zip(places.norm(y, norm, 0), plain, strict=True):
        assert found[:3].isfinite().all()
        torch.testing.assert_close(found[:3], expected[:3], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.GELU(), nn.Identity()], ids=["relu", "gelu", "none"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_kernel_s_norm_and_activation_are_torch_s(
    y: Tensor, places: Places, activation: nn.Module, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    y = y.to(dtype)
    norm = nn.GroupNorm(1, DIM)
    nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
    scale, shift = places.norm(y, norm, 0)
    plain = finish(y, scale, shift, activation, dtype, 4)
    monkeypatch.setattr(devices, "is_gpu", lambda x: True)
    found = finish(y, scale, shift, activation, dtype, 4)
    assert found.shape == (6 * ROWS + 4, DIM) and found.dtype == dtype and not found[-4:].any()
    torch.testing.assert_close(found, plain, rtol=1e-5 if dtype == torch.float32 else 8e-3, atol=1e-5)


def test_each_clip_has_its_own_norm(y: Tensor, places: Places) -> None:
    norm = nn.GroupNorm(2, DIM)
    nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
    scale, shift = places.norm(y, norm, 0)
    found = finish(y, scale, shift, nn.Identity(), torch.float32, 0)
    for first, n in ((0, 70), (3 * ROWS, 40)):
        alone = norm(y[first : first + n].T[None])[0].T
        torch.testing.assert_close(found[first : first + n], alone, rtol=1e-5, atol=1e-5)

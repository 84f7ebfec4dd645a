"""Entries that begin as real frames: spread, finite, the same every time, and not drawn again on a resume."""

import pytest
import torch

from vqw2v_plugin.modules.quantizers.kmeans import KmeansConfig, KmeansQuantizer
from vqw2v_plugin.modules.quantizers.seeding import gather_frames, spread


def clusters(num: int, each: int, dim: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    centres = 20 * torch.randn(num, dim, generator=generator)
    return (centres[:, None] + 0.1 * torch.randn(num, each, dim, generator=generator)).flatten(0, 1)


def test_every_far_cluster_gets_an_entry() -> None:
    frames = clusters(10, 50)
    for seed in range(5):
        entries = spread(frames, 10, seed)
        owners = torch.cdist(entries, frames).argmin(1) // 50
        assert len(set(owners.tolist())) == 10


def test_entries_are_frames_and_a_seed_fixes_them() -> None:
    frames = torch.randn(100, 3)
    entries = spread(frames, 7, 1)
    assert (entries[:, None] == frames).all(-1).any(1).all()
    assert torch.equal(entries, spread(frames, 7, 1)) and not torch.equal(entries, spread(frames, 7, 2))


def test_more_codes_than_frames_gives_different_entries() -> None:
    entries = spread(torch.randn(3, 4), 8, 1)
    assert entries.isfinite().all() and len({tuple(row) for row in entries.tolist()}) == 8


def test_frames_that_are_not_finite_are_not_gathered() -> None:
    frames = torch.randn(20, 3)
    frames[4, 1], frames[9] = float("nan"), float("inf")
    gathered = gather_frames(frames, 4)
    assert len(gathered) == 18 and gathered.isfinite().all()


@pytest.mark.parametrize("combine", [False, True])
@pytest.mark.parametrize("options", [{}, {"ema_decay": 0.9}, {"revive_after": 3}])
class TestKmeansFromFrames:
    def make(self, options: dict[str, float], combine: bool) -> KmeansQuantizer:
        torch.manual_seed(0)
        config = KmeansConfig(vq_vars=16, vq_groups=2, start="frames", combine_groups=combine, **options)
        return KmeansQuantizer(12, config)

    def test_the_first_batch_finds_a_codebook_of_its_frames(self, options: dict, combine: bool) -> None:
        quantizer = self.make(options, combine).train()
        z = 5 + torch.randn(2, 200, 12)
        out = quantizer(z)
        frames = quantizer.project(z).reshape(-1, 2, 6).transpose(0, 1)  # [G, B·T, D]
        frames = frames.reshape(1, -1, 6) if combine else frames
        apart = torch.cdist(quantizer.codebook.table, frames).min(-1).values
        assert apart.max() < 1e-2  # what two roundings leave
        assert out.stats.counts.sum(0).count_nonzero() > 12

    def test_later_batches_and_a_resume_leave_the_entries(self, options: dict, combine: bool) -> None:
        quantizer = self.make(options, combine).train()
        quantizer(torch.randn(2, 50, 12))
        before = quantizer.codebook.table.clone()
        quantizer(torch.randn(2, 50, 12))
        assert torch.equal(quantizer.codebook.table, before)
        resumed = self.make(options, combine).train()
        resumed.load_state_dict(quantizer.state_dict())
        resumed(3 + torch.randn(2, 50, 12))
        assert torch.equal(resumed.codebook.table, before)

    def test_a_batch_without_a_finite_frame_is_not_taken(self, options: dict, combine: bool) -> None:
        quantizer = self.make(options, combine).train()
        quantizer(torch.full((1, 10, 12), float("nan")))
        quantizer.discard_update()
        quantizer(torch.randn(2, 50, 12))
        table = quantizer.codebook.table
        assert table.isfinite().all() and table.std() > 0.3

    def test_evaluation_draws_nothing(self, options: dict, combine: bool) -> None:
        quantizer = self.make(options, combine).eval()
        before = quantizer.codebook.table.clone()
        quantizer(torch.randn(2, 50, 12))
        assert torch.equal(quantizer.codebook.table, before)


def test_an_unknown_start_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`start` is 'zeros'; expected noise or frames"):
        KmeansConfig(start="zeros")

"""Entries that begin as real frames: finite, the same every time, and not drawn again on a resume."""

import pytest
import torch

from vqw2v_plugin.modules.quantizers.fsq import FsqConfig, FsqQuantizer
from vqw2v_plugin.modules.quantizers.gumbel import GumbelConfig, GumbelQuantizer
from vqw2v_plugin.modules.quantizers.kmeans import KmeansConfig, KmeansQuantizer
from vqw2v_plugin.modules.quantizers.seeding import draw_entries, gather_frames, scale_outputs


def test_every_frame_is_drawn_as_often_as_any_other() -> None:
    """By distance the few that lie far would be preferred, and most codes would serve them alone."""
    frames = torch.tensor([[0.0], [0.1], [0.2], [0.3], [1000.0]])
    drawn = torch.cat([draw_entries(frames, 2, seed) for seed in range(2000)]).flatten()
    for frame in frames.flatten():
        assert (drawn == frame).double().mean().item() == pytest.approx(1 / 5, abs=0.03)


def test_no_frame_is_drawn_twice_while_there_are_others() -> None:
    for seed in range(20):
        assert len(draw_entries(torch.randn(30, 2), 30, seed).unique(dim=0)) == 30


def test_entries_are_frames_and_a_seed_fixes_them() -> None:
    frames = torch.randn(100, 3)
    entries = draw_entries(frames, 7, 1)
    assert (entries[:, None] == frames).all(-1).any(1).all()
    assert torch.equal(entries, draw_entries(frames, 7, 1)) and not torch.equal(
        entries, draw_entries(frames, 7, 2)
    )


def test_more_codes_than_frames_gives_different_entries() -> None:
    entries = draw_entries(torch.randn(3, 4), 8, 1)
    assert entries.isfinite().all() and len({tuple(row) for row in entries.tolist()}) == 8


def test_draws_are_those_of_the_seed_whatever_else_has_been_drawn() -> None:
    """Ranks that draw on their own, and have drawn other things before, begin alike."""
    frames, found = torch.randn(3, 4), []
    for other in (1, 2):
        torch.manual_seed(other)
        found.append(draw_entries(frames, 40, 1))
    assert torch.equal(*found)


def test_a_frame_that_is_drawn_again_lies_a_little_beside_itself() -> None:
    frames = 10 * torch.randn(3, 4)
    apart = torch.cdist(draw_entries(frames, 9, 1), frames).min(1).values
    assert (apart < 1e-4).sum() == 3 and apart.max() < 0.05 * frames.std()


def test_frames_are_gathered_from_the_whole_batch() -> None:
    gathered = gather_frames(torch.arange(1000.0)[:, None], 4).flatten()
    assert len(gathered) == 128 and gathered[0] == 0 and gathered[-1] == 999 and gathered.diff().max() <= 8


def test_groups_begin_with_draws_of_their_own() -> None:
    quantizer = KmeansQuantizer(4, KmeansConfig(vq_vars=6, start="frames"))
    assert quantizer.upkeep is not None
    quantizer.upkeep.begin(torch.randn(50, 1, 2).expand(-1, 2, -1), quantizer.codebook)
    first, second = quantizer.codebook.table
    assert not torch.equal(first.sort(0).values, second.sort(0).values)


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


def test_what_all_inputs_have_in_common_is_not_heard_at_the_start() -> None:
    quantizer = GumbelQuantizer(16, GumbelConfig(vq_vars=6, max_update=9, start_dim=3))
    assert quantizer.head[-1].weight.sum(1).abs().max() < 1e-3 * quantizer.head[-1].weight.abs().max()
    z = torch.rand(1, 4, 16)
    torch.testing.assert_close(quantizer.head[0](z), quantizer.head[0](z + 5), atol=1e-4, rtol=1e-4)
    assert not quantizer.head[0].bias.any() and not quantizer.head[-1].bias.any()


def test_the_scale_is_of_what_varies_and_draws_no_random_numbers() -> None:
    torch.manual_seed(1)
    last = torch.nn.Linear(64, 32)
    layers = torch.nn.Sequential(torch.nn.Linear(16, 64), torch.nn.ReLU(), last)
    before = torch.random.get_rng_state()
    scale_outputs(layers, last, 16, 7.0)
    assert torch.equal(torch.random.get_rng_state(), before)
    z = torch.randn(4000, 16).relu().log1p()
    outputs = layers(z)
    assert (outputs - outputs.mean(0)).std().item() == pytest.approx(7, rel=0.05)


def test_entries_of_a_space_are_images_of_points_on_a_sphere_half_as_wide_as_one() -> None:
    torch.manual_seed(1)
    config = GumbelConfig(vq_vars=40, vq_groups=2, max_update=9, start_dim=1)
    entries = GumbelQuantizer(16, config).codebook.entries
    assert entries.std().item() == pytest.approx(0.5, rel=1e-3)
    for book in entries:  # on a line the sphere is two points
        assert len({tuple(row) for row in (book * 1e4).round().tolist()}) == 2


def test_the_logits_begin_with_the_spread_that_is_asked_for() -> None:
    torch.manual_seed(1)
    config = GumbelConfig(vq_vars=40, max_update=9, start_dim=8, start_logits=3.0)
    logits = GumbelQuantizer(64, config).logits(real_z())
    assert (logits - logits.mean((0, 1))).std().item() == pytest.approx(3, rel=0.15)
    numbers = FsqQuantizer(64, FsqConfig(vq_vars=8, start_spread=0.2)).squeeze(real_z())
    assert (numbers - numbers.mean((0, 1))).std().item() == pytest.approx(0.2, rel=0.2)


def real_z() -> torch.Tensor:
    return torch.randn(4, 300, 64).relu().log1p()


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_gumbel_begins_with_logits_above_the_noise(depth: int) -> None:
    torch.manual_seed(1)
    quantizer = GumbelQuantizer(64, GumbelConfig(vq_vars=40, vq_depth=depth, max_update=9, start_dim=8))
    logits = quantizer.logits(real_z())
    assert (logits - logits.mean((0, 1))).std().item() == pytest.approx(20, rel=0.15)
    assert quantizer(real_z()).stats.code_perplexity.min() > 20


@pytest.mark.parametrize("combine", [False, True])
def test_gumbel_codes_with_like_logits_begin_with_like_entries(combine: bool) -> None:
    torch.manual_seed(1)
    config = GumbelConfig(vq_vars=40, max_update=9, start_dim=4, combine_groups=combine)
    quantizer = GumbelQuantizer(64, config)
    logits = quantizer.logits(real_z()).flatten(0, 1)  # [N, G, V]
    for group in range(2):
        alike = torch.corrcoef((logits - logits.mean(0))[:, group].T)
        entries = torch.nn.functional.normalize(quantizer.codebook.entries[0 if combine else group], dim=-1)
        other = ~torch.eye(40, dtype=torch.bool)
        both = torch.stack([alike[other], (entries @ entries.T)[other]])
        assert torch.corrcoef(both)[0, 1] > 0.6


def test_fsq_begins_with_the_spread_that_is_asked_for() -> None:
    torch.manual_seed(1)
    config = FsqConfig(vq_vars=320, levels=[8, 8, 5], start_spread=1.0)
    quantizer, plain = FsqQuantizer(64, config), FsqQuantizer(64, FsqConfig(vq_vars=320, levels=[8, 8, 5]))
    numbers = quantizer.squeeze(real_z())
    assert (numbers - numbers.mean((0, 1))).std().item() == pytest.approx(1, rel=0.2)
    used, before = quantizer(real_z()).stats.code_perplexity, plain(real_z()).stats.code_perplexity
    assert used.min() > 3 * before.max()


@pytest.mark.parametrize(
    ("config", "options"),
    [
        (GumbelConfig, {"start_dim": -1}),
        (GumbelConfig, {"start_logits": 0.0}),
        (FsqConfig, {"start_spread": -1.0}),
        (FsqConfig, {"start_spread": float("nan")}),
    ],
)
def test_a_start_that_cannot_be_is_refused(config: type, options: dict[str, float]) -> None:
    name = next(iter(options))
    with pytest.raises(ValueError, match=f"`{name}` is .*; expected"):
        config(max_update=9, **options) if config is GumbelConfig else config(**options)

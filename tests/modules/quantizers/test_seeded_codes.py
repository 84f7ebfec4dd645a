"""Codes that begin anew with frames: each frame drawn has its own, and what read the old ones reads them."""

import pytest
import torch

from vqw2v_plugin.modules.quantizers.kmeans import _drawn
from vqw2v_plugin.quantizers import Quantizer, build_quantizer, count_perplexity

CARE = ["{}", '{"start": "frames"}', '{"ema_decay": 0.9, "revive_after": 3}', '{"revive_after": 2}']
CLIPS = [torch.randn(1, frames, 12, generator=torch.Generator().manual_seed(frames)) for frames in (40, 60)]


def off(rows: torch.Tensor, others: torch.Tensor) -> float:
    """How far from all of the others some row is."""
    return float((rows[:, None] - others[None]).detach().abs().amax(-1).amin(1).max())


def make(name: str, args: str = "{}", **options: object) -> Quantizer:
    torch.manual_seed(0)
    sizes = {"vq_vars": 8, "vq_groups": 2, "vq_dim": 0, "combine_groups": False, "vq_depth": 2}
    return build_quantizer(name, 12, {**sizes, "max_update": 100, **options}, args).eval()


@pytest.mark.parametrize("args", CARE)
@pytest.mark.parametrize("combine", [False, True])
def test_entries_of_k_means_are_frames(args: str, combine: bool) -> None:
    quantizer = make("kmeans", args, combine_groups=combine)
    quantizer.seed_codes(CLIPS, 1, True)
    frames = torch.cat([quantizer.project(z)[0] for z in CLIPS]).view(100, 2, 6)  # [N, G, D]
    table = quantizer.codebook.table
    for book, entries in enumerate(table):
        of_book = frames.flatten(0, 1) if combine else frames[:, book]
        assert off(entries, of_book) < 1e-6
        assert len(torch.unique(entries, dim=0)) == 8
    codes = torch.cat([quantizer.encode(z)[0] for z in CLIPS])
    assert len(torch.unique(codes)) == 8


@pytest.mark.parametrize("args", CARE)
def test_the_first_batch_of_a_training_leaves_them(args: str) -> None:
    quantizer = make("kmeans", args)
    quantizer.seed_codes(CLIPS, 1, True)
    seeded = quantizer.codebook.table.clone()
    quantizer.train()(CLIPS[0])
    assert torch.equal(seeded, quantizer.codebook.table)
    again = make("kmeans", args)
    again.load_state_dict(quantizer.state_dict())
    again.train()(CLIPS[0])
    assert torch.equal(seeded, again.codebook.table)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_codes_of_gumbel_are_the_nearest_frame_s(depth: int) -> None:
    quantizer = make("gumbel", vq_depth=depth)
    old = torch.cat([quantizer(z).x[0] for z in CLIPS]).view(100, 2, 6)
    quantizer.seed_codes(CLIPS, 1, True)
    codes = torch.cat([quantizer.encode(z)[0] for z in CLIPS])
    counts = torch.stack([torch.bincount(codes[:, g], minlength=8) for g in range(2)])
    assert (counts > 0).all() and (count_perplexity(counts) > 3).all()
    logits = torch.cat([quantizer.logits(z)[0] for z in CLIPS])
    assert (logits - logits.mean(0)).std().item() == pytest.approx(20, rel=0.01)
    for group in range(2):  # an entry is what the old codes made of some frame
        assert off(quantizer.codebook.entries[group], old[:, group]) < 1e-6
    last = quantizer.head[-1]
    assert last.weight.mean(1).abs().max() < 1e-4 * last.weight.abs().max()


def test_each_group_draws_frames_of_its_own() -> None:
    """Else a frame would be told by one group as by all."""
    numbers = torch.arange(300.0).view(300, 1, 1).expand(300, 2, 6)  # [N, G, D]
    kmeans, gumbel = make("kmeans"), make("gumbel")
    one, other = (entries[:, 0].round().tolist() for entries in _drawn(numbers, kmeans.codebook, 1))
    assert one != other and len(set(one + other)) > 8
    assert _drawn(numbers, kmeans.codebook, 2)[0, :, 0].tolist() != one
    gumbel.seed_codes(CLIPS, 1, True)
    one, other = gumbel.head[-1].weight.view(2, 8, -1)
    assert min(off(one, other), off(other, one)) > 1e-3


def test_codes_that_begin_anew_have_not_been_idle() -> None:
    quantizer = make("kmeans", '{"start": "frames", "revive_after": 3}')
    quantizer.upkeep.idle.fill_(2)
    quantizer.seed_codes(CLIPS, 1, True)
    assert not quantizer.upkeep.idle.any() and bool(quantizer.upkeep.begun)


def test_entries_stay_where_z_is_another_encoder_s() -> None:
    quantizer = make("gumbel")
    before = quantizer.codebook.entries.clone()
    quantizer.seed_codes(CLIPS, 1, False)
    assert torch.equal(before, quantizer.codebook.entries)


@pytest.mark.parametrize("name", ["kmeans", "gumbel"])
def test_a_seed_s_codes_are_its_own(name: str) -> None:
    found = []
    for seed in (1, 1, 2):
        quantizer = make(name)
        quantizer.seed_codes(CLIPS, seed, True)
        found.append(torch.cat([quantizer.encode(z)[0] for z in CLIPS]))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


@pytest.mark.parametrize("name", ["fsq", "none"])
def test_where_no_code_is_a_frame_nothing_is_promised(name: str) -> None:
    with pytest.raises(NotImplementedError):
        make(name).seed_codes(CLIPS, 1, True)


def test_entries_that_groups_share_stay_as_they_are() -> None:
    quantizer = make("gumbel", combine_groups=True)
    before = quantizer.codebook.entries.clone()
    quantizer.seed_codes(CLIPS, 1, True)
    assert torch.equal(before, quantizer.codebook.entries)
    assert len(torch.unique(torch.cat([quantizer.encode(z)[0] for z in CLIPS]))) == 8

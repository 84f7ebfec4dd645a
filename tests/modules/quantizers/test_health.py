"""Codebook health: counts over the last updates, the joint code, and the upkeep of a k-means codebook."""

import pytest
import torch

from vqw2v_plugin.modules.quantizers.base import code_counts
from vqw2v_plugin.modules.quantizers.health import CodebookHealth, joint_counts, num_joint_cells
from vqw2v_plugin.modules.quantizers.kmeans import KmeansConfig, KmeansQuantizer, _signs


def updates(health: CodebookHealth, *rows: list[float]) -> CodebookHealth:
    for row in rows:
        health.add(torch.tensor([row]))
        health.end_update()
    return health


def test_shares_run_from_a_collapse_to_uniform_use() -> None:
    assert updates(CodebookHealth(1, 4), [9, 0, 0, 0]).share().item() == pytest.approx(0, abs=1e-5)
    assert updates(CodebookHealth(1, 4), [5, 5, 5, 5]).share().item() == pytest.approx(1, abs=1e-5)
    assert updates(CodebookHealth(1, 1), [5]).share().item() == pytest.approx(0, abs=1e-5)


def test_idle_counts_updates_since_a_code_was_chosen() -> None:
    health = updates(CodebookHealth(1, 3), [1, 1, 0], [1, 0, 0], [1, 0, 0])
    assert health.idle.tolist() == [[0, 2, 3]]
    assert health.dead(2).tolist() == [2] and health.dead(3).tolist() == [1]


def test_batches_of_one_update_count_together() -> None:
    health = CodebookHealth(1, 2)
    health.add(torch.tensor([[1.0, 0.0]]))
    health.add(torch.tensor([[0.0, 3.0]]))
    health.end_update()
    assert health.window.tolist() == [[1.0, 3.0]] and health.idle.tolist() == [[0, 0]]


def test_a_discarded_update_leaves_no_trace() -> None:
    health = updates(CodebookHealth(1, 2), [1, 1])
    before = {name: buffer.clone() for name, buffer in health.named_buffers()}
    health.add(torch.tensor([[5.0, 0.0]]))
    health.discard()
    health.end_update()
    assert all(torch.equal(buffer, before[name]) for name, buffer in health.named_buffers())


def test_what_is_counted_is_kept_with_the_weights_of_a_model_that_has_codes() -> None:
    health, resumed = updates(CodebookHealth(1, 3), [1, 1, 0], [1, 0, 0]), CodebookHealth(1, 3)
    resumed.load_state_dict(health.state_dict())
    assert resumed.idle.tolist() == [[0, 1, 2]] and torch.equal(resumed.window, health.window)
    assert not CodebookHealth(0, 0).state_dict()


def test_the_window_forgets() -> None:
    health = updates(CodebookHealth(1, 2), *[[10.0, 0.0]] * 50, *[[0.0, 10.0]] * 300)
    assert health.share().item() < 0.05


def test_the_window_keeps_98_of_100_from_update_to_update() -> None:
    health = updates(CodebookHealth(1, 2), [100, 0], [0, 10], [0, 0])
    assert health.window[0].tolist() == pytest.approx([100 * 0.98**2, 10 * 0.98])


def test_counts_keep_their_precision_in_a_model_of_16_bit() -> None:
    health = updates(CodebookHealth(1, 2), [257, 1]).to(torch.bfloat16)
    assert health.window.dtype == torch.float32 and health.window.tolist() == [[257.0, 1.0]]


def test_counts_go_where_the_model_goes() -> None:
    for dtype in (None, torch.bfloat16):
        whole = torch.nn.ModuleList([CodebookHealth(1, 2), kmeans(ema_decay=0.9, revive_after=2)])
        moved = {name: buffer.device.type for name, buffer in whole.to("meta", dtype).named_buffers()}
        assert {"0.window", "0.idle", "1.upkeep.ema_sums"} <= moved.keys() and set(moved.values()) == {"meta"}


def test_joint_counts_tell_every_combination_apart() -> None:
    codes = torch.cartesian_prod(torch.arange(3), torch.arange(3)).view(1, 9, 2)
    assert joint_counts(codes, 3).tolist() == [1.0] * 9
    twice = joint_counts(torch.tensor([[[0, 1], [1, 0], [0, 1]]]), 3)
    assert sorted(twice.tolist())[-2:] == [1.0, 2.0] and twice.sum() == 3


@pytest.mark.parametrize(("groups", "codes"), [(32, 320), (512, 2)])
def test_joint_counts_of_many_groups_share_cells_and_lose_few(groups: int, codes: int) -> None:
    torch.manual_seed(0)
    drawn = torch.randint(codes, (1, 2000, groups))
    counts = joint_counts(drawn, codes)
    assert len(counts) == num_joint_cells(groups, codes) == 2**17
    assert counts.sum() == 2000 and (counts > 0).sum() > 1950
    assert (joint_counts(drawn[:, :1].expand(1, 7, groups), codes) > 0).sum() == 1


@pytest.mark.parametrize(("groups", "codes"), [(2, 320), (2, 1024), (3, 64), (32, 320)])
def test_each_group_alone_tells_combinations_apart(groups: int, codes: int) -> None:
    """Beyond 2^17 of them as well, where cells are shared by chance."""
    for group in range(groups):
        told = torch.full((1, codes, groups), 3)
        told[0, :, group] = torch.arange(codes)
        assert (joint_counts(told, codes) > 0).sum() >= 0.97 * codes


def test_code_counts_are_those_of_each_group() -> None:
    counts = code_counts(torch.tensor([[[0, 2], [0, 1], [1, 1]]]), 3)
    assert counts.tolist() == [[2, 1, 0], [0, 2, 1]]


def kmeans(groups: int = 1, **options: object) -> KmeansQuantizer:
    torch.manual_seed(0)
    return KmeansQuantizer(4, KmeansConfig(vq_vars=4, vq_groups=groups, **options)).train()  # type: ignore[arg-type]


def step(quantizer: KmeansQuantizer, frames: torch.Tensor, number: int = 1) -> torch.Tensor:
    """One update on frames [N, G, D] as if they were projections; their codes [N, G]."""
    assert quantizer.upkeep is not None
    codes = quantizer.nearest(frames.flatten(1)[None])[0]
    quantizer.upkeep.add(frames, codes, quantizer.codebook)
    quantizer.end_update(number)
    return codes


def test_moving_averages_lead_each_entry_to_its_frames_mean() -> None:
    quantizer = kmeans(ema_decay=0.5)
    centres = torch.eye(4) * 5
    with torch.no_grad():
        quantizer.codebook.entries.copy_((centres * 0.5)[None])
    assert not quantizer.codebook.entries.requires_grad
    torch.manual_seed(1)
    frames = (centres.repeat(50, 1) + torch.randn(200, 4) * 0.1).unsqueeze(1)  # [N, 1, D]
    for number in range(30):
        codes = step(quantizer, frames, number)
    means = torch.stack([frames[codes[:, 0] == v, 0].mean(0) for v in range(4)])
    torch.testing.assert_close(quantizer.codebook.entries[0], means, atol=1e-4, rtol=1e-4)


def test_a_moving_average_forgets_by_its_decay_once_an_update() -> None:
    quantizer = kmeans(ema_decay=0.9)
    with torch.no_grad():
        quantizer.codebook.entries.copy_(torch.eye(4)[None] * 10)
    quantizer.upkeep.ema_sums.copy_(quantizer.codebook.entries)
    step(quantizer, torch.tensor([[[20.0, 0, 0, 0]]] * 4))
    # a frame as old as the entry counts 0.9, each of the four new ones 0.1
    expected = torch.tensor([(0.9 * 10 + 0.1 * 80) / (0.9 + 0.1 * 4), 0, 0, 0])
    torch.testing.assert_close(quantizer.codebook.entries[0, 0], expected)
    assert torch.equal(quantizer.codebook.entries[0, 1:], torch.eye(4)[1:] * 10)


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_a_code_is_revived_by_the_update_that_makes_it_idle_so_long(ema_decay: float) -> None:
    quantizer = kmeans(ema_decay=ema_decay, revive_after=3)
    with torch.no_grad():
        quantizer.codebook.entries.copy_(torch.tensor([[0.0], [50.0], [60.0], [70.0]]).expand(1, 4, 4))
        if ema_decay:
            quantizer.upkeep.ema_sums.copy_(quantizer.codebook.entries)
    torch.manual_seed(1)
    frames = torch.randn(100, 1, 4)
    for number in (1, 2):
        step(quantizer, frames, number)
        assert quantizer.codebook.table[0, 1:, 0].tolist() == [50.0, 60.0, 70.0]
    step(quantizer, frames, 3)
    moved = quantizer.codebook.table[0, 1]
    # half a standard deviation beside the mean, in each direction, of the only cell that has frames
    torch.testing.assert_close((moved - frames.mean((0, 1))).abs(), frames.std((0, 1), correction=0) / 2)
    assert quantizer.codebook.table[0, 2:, 0].tolist() == [60.0, 70.0]  # one code a cell
    assert quantizer.upkeep.idle[0].tolist() == [0, 0, 3, 3]  # the others wait for a cell


def test_a_code_that_moves_once_more_moves_to_the_place_itself() -> None:
    """What revival adds is counted from the entries, not from where it has put the code before."""
    quantizer = kmeans(revive_after=1)
    with torch.no_grad():
        quantizer.codebook.entries.copy_(torch.tensor([[99.0], [0.0], [60.0], [70.0]]).expand(1, 4, 4))
    torch.manual_seed(1)
    for number, centre in enumerate((0.0, 60.0)):
        frames = centre + torch.randn(100, 1, 4)
        step(quantizer, frames, number)
        apart = (quantizer.codebook.table[0, 0] - frames.mean((0, 1))).abs()
        torch.testing.assert_close(apart, frames.std((0, 1), correction=0) / 2, atol=1e-2, rtol=0)


def test_the_cell_of_most_scatter_is_split_first() -> None:
    quantizer = kmeans(revive_after=1)
    with torch.no_grad():
        quantizer.codebook.entries.copy_(torch.tensor([[0.0], [10.0], [20.0], [99.0]]).expand(1, 4, 4))
    many, wide, lone = torch.full((40, 1, 4), 0.5), torch.full((4, 1, 4), 11.0), torch.full((1, 1, 4), 27.0)
    many[::2] *= -1  # a scatter of 40 · 0.25 each way; of the next 4 · 1; one frame alone has none
    wide[::2] -= 2
    step(quantizer, torch.cat([wide, lone, many]))
    assert quantizer.codebook.table[0, 3].abs().tolist() == [0.25] * 4


def test_a_code_that_was_moved_begins_its_average_anew() -> None:
    quantizer = kmeans(ema_decay=0.5, revive_after=1)
    with torch.no_grad():
        quantizer.codebook.entries.copy_(torch.tensor([[0.0], [50.0], [60.0], [70.0]]).expand(1, 4, 4))
    quantizer.upkeep.ema_sums.copy_(quantizer.codebook.entries)
    quantizer.upkeep.ema_counts.fill_(8.0)
    step(quantizer, torch.randn(100, 1, 4))
    torch.testing.assert_close(quantizer.upkeep.ema_sums[0, 1], quantizer.codebook.entries[0, 1])
    assert quantizer.upkeep.ema_counts[0, 1:].tolist() == [1.0, 8.0, 8.0]


def test_where_a_code_is_moved_to_differs_from_update_to_update() -> None:
    signs = [tuple(_signs(number, torch.zeros(8)).tolist()) for number in range(20)]
    assert len(set(signs)) > 15 and set(sum(signs, ())) == {-1.0, 1.0}


def test_a_discarded_update_s_frames_move_no_entry() -> None:
    quantizer = kmeans(ema_decay=0.9, revive_after=1)
    before = quantizer.codebook.table.clone()
    quantizer(torch.randn(2, 9, 4))
    quantizer.discard_update()
    quantizer.end_update(1)
    assert torch.equal(quantizer.codebook.table, before) and (quantizer.upkeep.idle == 0).all()


def test_a_code_without_frames_keeps_its_place_for_any_time() -> None:
    quantizer = kmeans(ema_decay=0.9)
    far = torch.tensor([100.0, 0, 0, 0])
    with torch.no_grad():
        quantizer.codebook.entries[0, 3] = far
    quantizer.upkeep.ema_sums.copy_(quantizer.codebook.entries)
    for number in range(2000):
        step(quantizer, torch.randn(8, 1, 4), number)
    torch.testing.assert_close(quantizer.codebook.entries[0, 3], far)


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
@pytest.mark.parametrize("combine", [False, True])
def test_a_collapsed_codebook_fills_up_again(ema_decay: float, combine: bool) -> None:
    quantizer = kmeans(2, ema_decay=ema_decay, revive_after=3, combine_groups=combine)
    with torch.no_grad():
        quantizer.codebook.entries.fill_(50.0)
        quantizer.codebook.entries[:, 0] = 0.0
        if ema_decay:
            quantizer.upkeep.ema_sums.copy_(quantizer.codebook.entries)
    torch.manual_seed(1)
    frames = torch.randn(400, 2, 2)
    first = step(quantizer, frames)
    assert first.unique().tolist() == [0]
    for number in range(2, 12):
        codes = step(quantizer, frames, number)
    assert all(len(codes[:, g].unique()) == 4 for g in range(2))
    assert (quantizer.upkeep.idle == 0).all()


def test_revival_survives_an_optimizer_that_writes_its_own_copy_of_the_entries() -> None:
    quantizer = kmeans(revive_after=1)
    master = quantizer.codebook.entries.detach().clone()
    with torch.no_grad():
        master[0, 1:] = 50.0
        quantizer.codebook.entries.copy_(master)
    for number in range(1, 6):
        step(quantizer, torch.randn(100, 1, 4), number)
        with torch.no_grad():
            quantizer.codebook.entries.copy_(master)
    assert len(quantizer.nearest(torch.randn(1, 100, 4)).unique()) == 4
    torch.testing.assert_close(quantizer.decode(torch.tensor([[[2]]]))[0, 0], quantizer.codebook.table[0, 2])


def test_upkeep_depends_on_sums_alone_so_the_order_of_batches_does_not_count() -> None:
    torch.manual_seed(2)
    frames = torch.randn(64, 1, 4)
    tables = []
    for pieces in ([frames], [frames[40:], frames[:40]]):
        quantizer = kmeans(ema_decay=0.9, revive_after=1)
        for piece in pieces:
            codes = quantizer.nearest(piece.flatten(1)[None])[0]
            quantizer.upkeep.add(piece, codes, quantizer.codebook)
        quantizer.end_update(7)
        tables.append(quantizer.codebook.table.detach())
    torch.testing.assert_close(tables[0], tables[1])


def test_evaluation_leaves_the_codebook_alone() -> None:
    quantizer = kmeans(ema_decay=0.9, revive_after=1).eval()
    before = quantizer.codebook.table.clone()
    quantizer(torch.randn(1, 9, 4))
    quantizer.end_update(1)
    assert torch.equal(quantizer.codebook.table, before)


@pytest.mark.parametrize(("field", "value"), [("ema_decay", 1.0), ("ema_decay", -0.1), ("revive_after", -1)])
def test_settings_without_a_meaning_are_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"`{field}`"):
        KmeansConfig(**{field: value})  # type: ignore[arg-type]

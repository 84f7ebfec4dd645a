"""Spans as the paper draws them: their share in closed form, nothing masked twice over or out of bounds."""

import pytest
import torch

from vqw2v_plugin.modules.layers.masks import check_spans, corrupt, expected_share, span_mask


def draw(size: int, p: float, length: int, stdev: float, times: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.stack([span_mask(size, p, length, stdev, generator) for _ in range(times)])


@pytest.mark.parametrize(
    ("size", "p", "length", "stdev"),
    [(400, 0.05, 10, 0.0), (57, 0.05, 10, 0.0), (30, 0.2, 3, 0.0), (6, 0.05, 10, 0.0), (90, 0.05, 10, 4.0)],
)
def test_the_share_of_masked_tokens_is_the_closed_form(
    size: int, p: float, length: int, stdev: float
) -> None:
    drawn = draw(size, p, length, stdev, 4000).float().mean(1)
    error = float(drawn.std()) / 4000**0.5
    assert abs(float(drawn.mean()) - expected_share(size, p, length, stdev)) < 4 * error


def test_the_share_of_long_utterances_is_the_textbook_s() -> None:
    assert expected_share(10**5, 0.05, 10) == pytest.approx(1 - 0.95**10, abs=2e-4)
    assert expected_share(100, 1.0, 10) == 1.0 and expected_share(100, 0.3, 1) == pytest.approx(0.3)


@pytest.mark.parametrize("size", [3, 200, 1001])
def test_the_number_of_starts_is_p_times_the_length(size: int) -> None:
    counts = draw(size, 0.05, 1, 0.0, 2000).sum(1)  # spans of one token do not overlap
    assert set(counts.tolist()) <= {int(0.05 * size), int(0.05 * size) + 1}
    assert float(counts.float().mean()) == pytest.approx(0.05 * size, abs=0.05)


def test_a_span_is_cut_at_the_end_and_is_never_shorter_elsewhere() -> None:
    for mask in draw(100, 0.03, 10, 0.0, 200):
        edges = torch.diff(torch.nn.functional.pad(mask.int(), (1, 1)))
        begins, ends = edges.eq(1).nonzero().flatten(), edges.eq(-1).nonzero().flatten()
        assert all(end - begin >= 10 or end == 100 for begin, end in zip(begins, ends, strict=True))


def test_varied_spans_have_at_least_one_token() -> None:
    lengths = draw(200, 1 / 200, 5, 4.0, 3000)[:, :150].sum(1)  # one start, away from the end
    found = lengths[lengths > 0]
    assert found.min() == 1 and found.max() > 12
    everywhere = draw(50, 1.0, 1, 5.0, 20)  # each token begins a span, however short that is drawn
    assert bool(everywhere.all())


def test_the_generator_alone_decides() -> None:
    one, two = (span_mask(300, 0.05, 10, 2.0, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, span_mask(300, 0.05, 10, 2.0, torch.Generator().manual_seed(4)))


def test_masked_tokens_stay_change_or_become_mask_in_the_given_shares() -> None:
    tokens, codes = torch.full((40_000,), 7), torch.arange(4, 1004)
    mask = torch.arange(40_000) % 2 == 0
    seen = corrupt(tokens, mask, 1004, codes, 0.1, 0.2, torch.Generator().manual_seed(1))
    assert torch.equal(seen[~mask], tokens[~mask])
    kept, masked = (seen[mask] == 7).float().mean(), (seen[mask] == 1004).float().mean()
    assert float(kept) == pytest.approx(0.1, abs=0.01) and float(masked) == pytest.approx(0.7, abs=0.01)
    other = seen[mask & (seen != 7) & (seen != 1004)]
    assert other.min() >= 4 and other.max() < 1004 and len(other.unique()) > 900
    assert corrupt(tokens, mask, 1004, codes, 0.0, 0.0)[mask].eq(1004).all()


def test_what_is_hidden_is_hidden_in_a_copy_and_every_code_may_be_drawn() -> None:
    tokens, codes = torch.full((400,), 9), torch.tensor([4, 5])
    seen = corrupt(tokens, torch.ones(400, dtype=torch.bool), 6, codes, 0.0, 1.0)
    assert tokens.eq(9).all() and seen.unique().tolist() == [4, 5]


def test_what_has_a_share_of_nothing_never_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda *size, generator: torch.zeros(*size))  # the least draw there is
    tokens, everything = torch.full((9,), 7), torch.ones(9, dtype=torch.bool)
    assert corrupt(tokens, everything, 6, torch.tensor([4]), 0.0, 0.0).eq(6).all()
    assert corrupt(tokens, everything, 6, torch.tensor([4]), 0.0, 0.5).eq(4).all()


def test_the_widest_masks_are_taken() -> None:
    check_spans(1.0, 1, 0.0)


@pytest.mark.parametrize(
    ("p", "length", "stdev"),
    [(0, 10, 0), (1.5, 10, 0), (0.05, 0, 0), (0.05, 10, -1), (0.05, 10, float("inf"))],
)
def test_what_cannot_be_drawn_is_refused(p: float, length: int, stdev: float) -> None:
    with pytest.raises(ValueError, match="`mask_"):
        check_spans(p, length, stdev)


def test_spans_longer_than_any_utterance_hide_what_follows_their_start() -> None:
    for length, stdev in ((10**11, 0.0), (10**11, 3.0), (5, 1e300)):
        check_spans(0.1, length, stdev)
        assert 0.9 < expected_share(40, 1.0, length, stdev) <= 1
    assert span_mask(40, 1.0, 10**11, 2.0).all()
    with pytest.raises(ValueError, match=r"`mask_length` is 10{30}; expected M, .*, at most 1,09"):
        check_spans(0.1, 10**30, 0.0)

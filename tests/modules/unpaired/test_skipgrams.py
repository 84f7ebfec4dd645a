"""How text and output differ in pairs of phones: counted as by a loop, and enough to learn a language by."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqw2v_plugin.modules.unpaired import skipgrams
from vqw2v_plugin.modules.unpaired.config import UnpairedConfig
from vqw2v_plugin.modules.unpaired.network import UnpairedNetwork, one_hot

V, REACH = 4, 3
LINES = st.lists(st.lists(st.integers(0, V - 1), max_size=7), min_size=1, max_size=5)


def tensors(lines: list[list[int]]) -> list[torch.Tensor]:
    return [torch.tensor(line, dtype=torch.long) for line in lines]


def by_a_loop(lines: list[list[int]]) -> tuple[list[Counter[tuple[int, int]]], list[Counter[int]]]:
    pairs = [
        Counter((a, b) for line in lines for a, b in zip(line, line[far:], strict=False)) for far in (1, 2, 3)
    ]
    return pairs, [Counter(line[place] for line in lines if len(line) > place) for place in range(REACH)]


@settings(max_examples=40, deadline=None)
@given(lines=LINES)
def test_text_is_counted_as_by_a_loop(lines: list[list[int]]) -> None:
    found = skipgrams.of_text(tensors(lines), V, REACH)
    pairs, starts = by_a_loop(lines)
    for table, counted in zip(found.pairs, pairs, strict=True):
        for a in range(V):
            for b in range(V):
                assert float(table[a, b]) == pytest.approx(counted[a, b] / max(1, counted.total()))
    for row, begun in zip(found.starts, starts, strict=True):
        assert row.tolist() == pytest.approx([begun[a] / max(1, begun.total()) for a in range(V)])


@settings(max_examples=20, deadline=None)
@given(lines=LINES)
def test_output_that_is_sure_counts_as_text_does(lines: list[list[int]]) -> None:
    lengths = torch.tensor([len(line) for line in lines])
    text = torch.full((len(lines), max(1, int(lengths.max()))), -1)
    for row, line in zip(text, lines, strict=True):
        row[: len(line)] = torch.tensor(line)
    hot = one_hot(text.clamp_min(0), lengths, V, torch.float64)
    hot[text < 0] = torch.nan  # behind an end anything may stand
    heard = skipgrams.of_output(hot, lengths, REACH)
    read = skipgrams.of_text(tensors(lines), V, REACH)
    torch.testing.assert_close(heard.pairs.float(), read.pairs)
    torch.testing.assert_close(heard.starts.float(), read.starts)
    assert float(skipgrams.lost(read.pairs, heard.pairs)) == pytest.approx(0, abs=1e-5)


def test_what_is_lost_is_the_divergence() -> None:
    text, output = torch.tensor([[0.5, 0.5], [1.0, 0.0]]), torch.tensor([[0.9, 0.1], [0.5, 0.5]])
    expected = (0.5 * np.log(0.5 / 0.9) + 0.5 * np.log(0.5 / 0.1) + np.log(2)) / 2
    assert float(skipgrams.lost(text.double(), output.double())) == pytest.approx(expected, abs=1e-4)
    wide = torch.nn.functional.pad(torch.stack([text, output]), (0, 3)).double()  # columns that nobody says
    assert float(skipgrams.lost(*wide)) == pytest.approx(expected, abs=1e-4)
    tables = text.view(1, 2, 2).double() / 2, output.view(1, 2, 2).double() / 2  # one distance
    assert float(skipgrams.lost(*tables)) == pytest.approx(expected, abs=1e-4)


def test_repeats_stretch_text_and_keep_its_order() -> None:
    line = torch.tensor([0, 1] * 3000)
    found = skipgrams.of_text([line], 2, 1, repeats=2.0).pairs[0]
    assert float(found.trace()) == pytest.approx(0.5, abs=0.03)  # half of the frames go on with their phone
    assert torch.equal(found, skipgrams.of_text([line], 2, 1, repeats=2.0).pairs[0])


def test_a_generator_begins_near_the_frequencies_of_text() -> None:
    torch.manual_seed(0)
    made = UnpairedNetwork(UnpairedConfig(3, V, generator_bias=True, generator_kernel=1)).eval()
    text = skipgrams.of_text(tensors([[0, 0, 1, 0, 2, 0, 0, 1]]), V, REACH)
    before = made.generator.conv.weight.clone()
    made.begin_near(text)
    tenth = made.generator.conv.weight.clone()
    said = made(torch.randn(2, 5, 3), torch.tensor([5, 5]), joined=False).emissions.softmax(-1)
    torch.testing.assert_close(said, text.frequencies.expand_as(said), atol=0.05, rtol=0)
    torch.testing.assert_close(tenth, 0.1 * before)


def test_pairs_alone_tell_which_phone_is_which() -> None:
    """A permutation is found that no label shows, of utterances that say other lines than the text does."""
    follows = {0: (1, 2), 1: (0, 3), 2: (0, 4), 3: (1, 4), 4: (2, 1)}
    rng = np.random.default_rng(0)

    def lines(count: int) -> np.ndarray:
        found = np.empty((count, 8), int)
        for row in found:
            row[0] = rng.choice(5, p=[0.5, 0.2, 0.15, 0.1, 0.05])
            for i in range(1, 8):
                row[i] = follows[row[i - 1]][int(rng.random() < 0.3)]
        return found

    said, text = lines(200), skipgrams.of_text(tensors(lines(200).tolist()), 5, 4)
    hidden = torch.tensor([3, 0, 4, 1, 2])
    x = torch.eye(5)[hidden[torch.from_numpy(said)]]
    torch.manual_seed(1)
    generator = {"generator_kernel": 1, "generator_bias": True, "generator_dropout": 0.0}
    config = UnpairedConfig(5, 5, **generator, discriminator_dim=4, skipgram_weight=1.0, skipgram_reach=4)  # type: ignore[arg-type]
    made = UnpairedNetwork(config).train()
    made.compare_with(text)
    made.begin_near(text)
    adam = torch.optim.Adam(made.generator.parameters(), 0.1)
    lengths = torch.full((200,), 8)
    for _ in range(60):
        terms = made.generator_step(x, lengths).terms
        adam.zero_grad()
        (terms["pairs"] + terms["starts"]).div(200).backward()  # type: ignore[no-untyped-call]
        adam.step()
    heard = made(x, lengths, joined=False).emissions.argmax(-1)
    assert (heard != torch.from_numpy(said)).float().mean() < 0.01


def test_without_a_text_it_is_told_what_is_missing() -> None:
    made = UnpairedNetwork(UnpairedConfig(3, V, skipgram_weight=1.0))
    with pytest.raises(ValueError, match="compares with a text; give one to `compare_with`"):
        made.generator_step(torch.randn(1, 5, 3), torch.tensor([5]))


def test_a_phone_is_as_frequent_as_it_is_on_either_side_of_a_pair() -> None:
    found = skipgrams.of_text(tensors([[0, 0, 1]]), 3, 1).frequencies
    assert found.tolist() == pytest.approx([0.75, 0.25, 0.0])


def test_what_is_too_short_for_a_pair_has_none() -> None:
    heard = skipgrams.of_output(torch.ones(2, 1, V) / V, torch.tensor([1, 0]), REACH)
    assert not heard.pairs.any() and heard.starts[0].tolist() == [1 / V] * V and not heard.starts[1:].any()

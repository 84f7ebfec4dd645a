"""Batches of masked tokens: reproducible, packed, nothing lost, no special token masked."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("fairseq")
from fairseq.data import Dictionary
from torch.utils.data import DataLoader

from vqw2v_plugin.modules.bert import vocabulary
from vqw2v_plugin.modules.bert.vocabulary import Symbols
from vqw2v_plugin.modules.layers.masks import expected_share
from vqw2v_plugin.stores import symbols
from vqw2v_plugin.stores.symbols import TOKENS, TokenError
from vqw2v_plugin.stores.tokens import TokenStore, TokenWriter
from vqw2v_plugin.training.datasets.tokens import MaskedTokenDataset, Masking

SYMBOLS = Symbols(tuple(f"{i}-{i}" for i in range(50)))
SIZES = [30, 200, 7, 0, 90, 200, 1, 333]


@pytest.fixture
def store(tmp_path: Path) -> TokenStore:
    rng = np.random.default_rng(0)
    with TokenWriter(tmp_path, "train", 100) as writer:
        for i, size in enumerate(SIZES):
            writer.add(f"u{i}", size, rng.integers(4, 54, size))
    return TokenStore(tmp_path, "train")


def dataset_of(store: TokenStore, limit: int = 1000, **options: object) -> MaskedTokenDataset:
    return MaskedTokenDataset(store, SYMBOLS, limit, **{"masking": Masking(), **options})


def test_stores_bert_and_fairseq_number_special_symbols_alike() -> None:
    """Stores do without torch and the mathematics without stores, so each has these numbers."""
    theirs = Dictionary()
    assert (symbols.EOS, symbols.UNK, symbols.NUM_SPECIAL) == (theirs.eos(), theirs.unk(), len(theirs))
    ours = (vocabulary.BOS, vocabulary.PAD, vocabulary.EOS, vocabulary.UNK)
    assert ours == (theirs.bos(), theirs.pad(), theirs.eos(), theirs.unk())
    assert list(vocabulary.SPECIAL) == theirs.symbols


def test_masks_depend_only_on_seed_epoch_and_index(store: TokenStore) -> None:
    one, two = dataset_of(store), dataset_of(store)
    torch.manual_seed(1)
    forwards = [one[i].seen for i in range(len(one))]
    torch.manual_seed(2)
    backwards = [two[i].seen for i in reversed(range(len(two)))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(forwards, backwards, strict=True))
    one.set_epoch(2)
    assert not torch.equal(one[1].seen, forwards[1]) and torch.equal(one[1].tokens, two[1].tokens)
    one.set_epoch(1)
    assert torch.equal(one[1].seen, forwards[1])
    assert not torch.equal(dataset_of(store, seed=2)[1].seen, forwards[1])
    assert not torch.equal(forwards[1][1:-1], forwards[4][1:-1])


def test_each_of_many_utterances_has_a_mask_of_its_own(tmp_path: Path) -> None:
    with TokenWriter(tmp_path, "train", 100) as writer:
        for i in range(100):
            writer.add(f"u{i}", 200, np.full(200, 9))
    dataset = dataset_of(TokenStore(tmp_path, "train"))
    assert len({tuple(dataset[i].mask.tolist()) for i in range(100)}) == 100


def test_workers_change_nothing(store: TokenStore) -> None:
    dataset = dataset_of(store)
    options = {"collate_fn": dataset.collater, "batch_sampler": [[0, 1], [2, 3], [6]]}
    dataset.set_epoch(3)
    loader = DataLoader(dataset, num_workers=2, **options)
    for apart, here in zip(loader, DataLoader(dataset, **options), strict=True):
        assert torch.equal(apart["net_input"]["tokens"], here["net_input"]["tokens"])
        assert apart["net_input"]["counts"] == here["net_input"]["counts"]


def test_a_pickled_dataset_is_small_and_draws_the_same(store: TokenStore) -> None:
    dataset = dataset_of(store)
    dataset.set_epoch(3)
    assert torch.equal(pickle.loads(pickle.dumps(dataset))[5].seen, dataset[5].seen)


def test_a_batch_is_packed_and_scores_what_was_masked(store: TokenStore) -> None:
    dataset = dataset_of(store)
    pieces = [dataset[i] for i in (1, 0, 6)]
    batch = dataset.collater(pieces)
    given = batch["net_input"]
    assert given["lengths"] == [202, 32, 335] and batch["ntokens"] == 569 == len(given["tokens"])
    seen = torch.cat([piece.seen for piece in pieces])
    assert (
        torch.equal(given["tokens"], seen) and batch["nsentences"] == 3 and batch["id"].tolist() == [1, 0, 6]
    )
    assert torch.equal(batch["target"], torch.cat([piece.tokens for piece in pieces])[given["masked"]])
    assert sum(given["counts"]) == len(batch["target"]) > 100
    edges = [0, 201, 202, 233, 234, 568]
    assert seen[edges].tolist() == [0, 2, 0, 2, 0, 2] and not set(edges) & set(given["masked"].tolist())
    untouched = torch.ones(569, dtype=torch.bool)
    untouched[given["masked"]] = False
    assert torch.equal(seen[untouched], torch.cat([piece.tokens for piece in pieces])[untouched])
    share = (seen[given["masked"]] == SYMBOLS.mask).float().mean()
    assert 0.65 < share < 0.92 and seen.max() <= SYMBOLS.mask


def test_the_share_of_masked_tokens_is_the_expected_one(store: TokenStore) -> None:
    dataset = dataset_of(store)
    shares = []
    for epoch in range(1, 301):
        dataset.set_epoch(epoch)
        shares.append(float(dataset[1].mask[1:-1].float().mean()))
    assert np.mean(shares) == pytest.approx(expected_share(200, 0.05, 10), abs=0.01)


@pytest.mark.parametrize("limit", [3, 10, 102, 103, 1000])
def test_long_utterances_are_split_and_nothing_is_lost(store: TokenStore, limit: int) -> None:
    dataset = dataset_of(store, limit)
    assert dataset.sizes.max() <= limit
    parts = [dataset[i].tokens[1:-1] for i in range(len(dataset))]
    assert [len(part) + 2 for part in parts] == dataset.sizes.tolist()
    assert torch.equal(torch.cat(parts), torch.cat([torch.from_numpy(store[i]) for i in range(len(store))]))
    of_last = [len(part) for part in parts[-int(np.ceil(333 / (limit - 2))) :]]
    assert sum(of_last) == 333 and max(of_last) - min(of_last) <= 1


def test_batches_are_filled_with_neighbours_in_length(store: TokenStore) -> None:
    dataset = dataset_of(store, 102)
    batches = dataset.batch_by_size(dataset.ordered_indices(), max_tokens=250, required_batch_size_multiple=8)
    assert sorted(int(i) for batch in batches for i in batch) == list(range(len(dataset)))
    totals = [int(dataset.sizes[batch].sum()) for batch in batches]
    following = [int(dataset.sizes[batch[0]]) for batch in batches[1:]]
    assert max(totals) <= 250 and all(a + b > 250 for a, b in zip(totals, following, strict=False))
    sizes = np.concatenate([dataset.sizes[batch] for batch in batches])
    assert sizes.tolist() == sorted(sizes, reverse=True)
    few = dataset.batch_by_size(dataset.ordered_indices(), max_tokens=250, max_sentences=1)
    assert [len(batch) for batch in few] == [1] * len(dataset)
    assert len(dataset.batch_by_size(dataset.ordered_indices())) == 1


def test_equally_long_pieces_are_shuffled(store: TokenStore) -> None:
    dataset = dataset_of(store, 12)
    orders = set()
    for seed in range(3):
        np.random.seed(seed)  # noqa: NPY002 (as fairseq does)
        orders.add(tuple(dataset.ordered_indices().tolist()))
    assert len(orders) == 3
    assert dataset_of(store, 12, shuffle=False).ordered_indices().tolist() == list(range(len(dataset)))


def test_what_does_not_fit_is_named(store: TokenStore, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"max_tokens \(100\) must be at least the longest piece's 335"):
        dataset_of(store).batch_by_size(np.arange(7), max_tokens=100)
    with pytest.raises(ValueError, match="`tokens_per_sample` is 2"):
        dataset_of(store, 2)
    with pytest.raises(ValueError, match="`tokens_per_sample` is a number of more than 20 digits"):
        dataset_of(store, 10**23)
    with pytest.raises(ValueError, match="together at most 1"):
        Masking(leave_prob=0.6, random_prob=0.5)
    with pytest.raises(ValueError, match=r"`leave_unmasked_prob` \(nan\)"):
        Masking(leave_prob=float("nan"))
    with pytest.raises(ValueError, match="`mask_stdev` is nan"):
        Masking(stdev=float("nan"))
    with pytest.raises(TokenError, match=r"has ids \d+ to \d+, but dict.txt names 0 to 6"):
        MaskedTokenDataset(store, Symbols(("1", "2")), 1000, Masking())[0]
    names = Symbols(SYMBOLS.lines[:-2])  # 48 codes and <mask>
    highest = next(i for i, utt in enumerate(store) if 53 in utt)
    with pytest.raises(TokenError, match=rf"utterance {highest} has ids 4 to 53, but dict.txt names 0 to 52"):
        [dataset[i] for dataset in [MaskedTokenDataset(store, names, 1000, Masking())] for i in range(7)]
    with TokenWriter(tmp_path, "none", 100) as writer:
        writer.add("u", 1, [])
    with pytest.raises(TokenError, match="holds no tokens"):
        dataset_of(TokenStore(tmp_path, "none"))


def test_a_digest_is_of_what_is_in_the_store_wherever_it_lies(store: TokenStore, tmp_path: Path) -> None:
    def written(name: str, seed: int, last: int) -> TokenStore:
        rng = np.random.default_rng(seed)
        with TokenWriter(tmp_path / name, "train", 100) as writer:
            for i, size in enumerate([*SIZES[:-1], last]):
                writer.add(f"u{i}", size, rng.integers(4, 54, size))
        return TokenStore(tmp_path / name, "train")

    moved, other, longer = written("a", 0, 333), written("b", 1, 333), written("c", 0, 334)
    assert dataset_of(store).digest() == dataset_of(moved).digest()
    assert len({dataset_of(s).digest() for s in (store, other, longer)}) == 3


def test_a_digest_is_of_every_size_and_of_ids_spread_over_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def digest(name: str, *rows: list[int]) -> str:
        with TokenWriter(tmp_path / name, "train", 100) as writer:
            for i, row in enumerate(rows):
                writer.add(f"u{i}", len(row), row)
        return dataset_of(TokenStore(tmp_path / name, "train")).digest()

    assert digest("a", [4], [5], [6], [7]) != digest("b", [4], [5], [6], [8])
    monkeypatch.setattr("vqw2v_plugin.training.datasets.tokens._DIGESTED", 2)
    assert digest("c", [4], [5], [6], [7]) == digest("d", [4], [8], [6], [8])  # the first and the third
    assert digest("e", [4], [5], [6], [7]) != digest("f", [4], [5, 5], [6], [7])


def test_what_stands_in_for_masked_tokens_is_what_was_asked_for(store: TokenStore) -> None:
    left = dataset_of(store, masking=Masking(leave_prob=1.0, random_prob=0.0))[1]
    assert left.mask.any() and torch.equal(left.seen, left.tokens)
    drawn = dataset_of(store, masking=Masking(leave_prob=0.0, random_prob=1.0))[1]
    codes = drawn.seen[drawn.mask]
    assert 4 <= codes.min() and codes.max() < SYMBOLS.mask
    assert (codes != drawn.tokens[drawn.mask]).float().mean() > 0.8
    spread = dataset_of(store, masking=Masking(stdev=4.0))[1]
    assert not torch.equal(spread.mask, dataset_of(store)[1].mask)


def test_a_batch_may_be_as_large_as_its_limit(tmp_path: Path) -> None:
    with TokenWriter(tmp_path, "train", 100) as writer:
        for i in range(7):
            writer.add(f"u{i}", 8, range(4, 12))
    dataset = dataset_of(TokenStore(tmp_path, "train"))
    batches = dataset.batch_by_size(dataset.ordered_indices(), max_tokens=30)
    assert [len(batch) for batch in batches] == [3, 3, 1]


def test_hours_are_told_by_the_frames_that_tokens_are_of_or_a_hundred_a_second(store: TokenStore) -> None:
    tokens = sum(SIZES)
    for about, rate in (({}, 100), ({"stride": 160, "sample_rate": 8_000}, 50), ({"stride": 160}, 100)):
        TOKENS.write_about(store.folder, {"num_groups": 1, "num_codes": 50, **about})
        dataset = dataset_of(store, 202)
        assert [3600 * hours for hours in dataset.hours(np.arange(len(dataset)))] == pytest.approx(
            [tokens / rate] * 2
        )
        assert 3600 * dataset.hours(np.array([1, 5]))[0] == pytest.approx((200 + 1) / rate)


def test_hours_of_merged_tokens_are_those_of_their_frames(tmp_path: Path) -> None:
    with TokenWriter(tmp_path, "train", 100) as writer:
        writer.add("u", 300, [4, 5, 4])
    TOKENS.write_about(tmp_path, {"stride": 160, "sample_rate": 16_000})
    assert 3600 * dataset_of(TokenStore(tmp_path, "train")).hours(np.arange(1))[0] == pytest.approx(3)

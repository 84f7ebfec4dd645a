import math

import numpy as np
import pytest

from vqw2v_plugin.analysis.phone_codes import (
    Bitrate,
    FrameTimes,
    code_usage,
    frame_phones,
    phone_code_table,
    phone_information,
)
from vqw2v_plugin.corpora.ctm import Segments

TIMES = FrameTimes(stride=160, receptive_field=480, sample_rate=16_000)


def random_case(seed: int = 0, frames: int = 400) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    phones = [f"p{i}" for i in rng.integers(0, 7, frames)]
    codes = np.stack(
        [[int(p[1:]) // 2 for p in phones] + rng.integers(0, 2, frames), rng.integers(0, 3, frames)], 1
    )
    return codes, phones


def test_a_table_worked_out_by_hand() -> None:
    codes = np.array([[0, 1], [0, 1], [0, 1], [2, 2], [2, 2], [1, 0]])
    table = phone_code_table(codes, ["a", "a", "s", "s", "s", "t"])
    assert table.phones == ("s", "a", "t")  # the most frequent first
    assert table.tokens == ("2-2", "0-1", "1-0")  # those of s, then of a, then of t
    assert table.counts.tolist() == [[2, 1, 0], [0, 2, 0], [0, 0, 1]]
    assert table.phone_purity == pytest.approx(5 / 6)  # 2-2 is s, 0-1 is a but once, 1-0 is t
    assert table.code_purity == pytest.approx((2 + 2 + 1) / 6)
    assert table.chance == pytest.approx(3 / 6)
    assert table.given_code()[:, 1].tolist() == pytest.approx([1 / 3, 2 / 3, 0])


def test_phone_purity_asks_the_token_and_code_purity_the_phone() -> None:
    table = phone_code_table(np.array([[0]] * 4 + [[1]] * 2), ["a", "a", "b", "c", "a", "a"])
    assert table.phone_purity == pytest.approx((2 + 2) / 6)  # 0 is a, 1 is a
    assert table.code_purity == pytest.approx((2 + 1 + 1) / 6)  # a is 0 or 1, b and c are 0
    table = phone_code_table(np.array([[0], [1], [2], [0]]), ["a", "a", "a", "b"])
    assert (table.phone_purity, table.code_purity) == pytest.approx((3 / 4, 2 / 4))


@pytest.mark.parametrize("seed", range(3))
def test_table_and_purities_equal_counting_one_by_one(seed: int) -> None:
    codes, phones = random_case(seed)
    table = phone_code_table(codes, phones)
    tokens = ["-".join(map(str, row)) for row in codes.tolist()]
    for i, phone in enumerate(table.phones):
        for k, token in enumerate(table.tokens):
            pairs = zip(phones, tokens, strict=True)
            assert table.counts[i, k] == sum(pair == (phone, token) for pair in pairs)
    best = {
        t: max(
            set(phones),
            key=lambda p, t=t: sum(a == p and b == t for a, b in zip(phones, tokens, strict=True)),
        )
        for t in set(tokens)
    }
    guessed = sum(best[token] == phone for phone, token in zip(phones, tokens, strict=True))
    assert table.phone_purity == pytest.approx(guessed / len(phones))
    assert table.given_code().sum(axis=0) == pytest.approx(np.ones(len(table.tokens)))
    assert table.information == phone_information(
        np.unique(codes, axis=0, return_inverse=True)[1].reshape(-1), phones
    )


def test_columns_stand_in_the_order_of_their_phones_and_the_surest_first() -> None:
    table = phone_code_table(*random_case())
    best = table.counts.argmax(axis=0)
    assert (np.diff(best) >= 0).all()
    share = table.given_code().max(axis=0)
    assert all(share[k] >= share[k + 1] for k in range(len(share) - 1) if best[k] == best[k + 1])


def test_codes_that_name_the_phone_are_pure_and_one_code_is_chance() -> None:
    phones = ["a", "b", "b", "c"] * 50
    named = phone_code_table(np.array([[ord(p)] for p in phones]), phones)
    assert named.phone_purity == named.code_purity == 1 and named.information.share > 0.97
    one = phone_code_table(np.zeros((200, 1), dtype=int), phones)
    assert one.phone_purity == one.chance == 0.5 and one.information.share == 0


def test_the_most_used_tokens_keep_their_counts_and_order() -> None:
    table = phone_code_table(*random_case())
    few = table.most_used(5)
    kept = [table.tokens.index(token) for token in few.tokens]
    assert kept == sorted(kept) and few.information is table.information
    assert (few.counts == table.counts[:, kept]).all()
    left = set(range(len(table.tokens))) - set(kept)
    sums = table.counts.sum(axis=0)
    assert min(sums[kept]) >= max(sums[sorted(left)])


def test_frames_get_the_phone_that_their_centre_lies_in() -> None:
    segments = {"u": Segments(np.array([0.0, 0.025, 0.06]), np.array([0.025, 0.05, 0.09]), ("a", "b", "c"))}
    codes = {"u": np.arange(8)[:, None], "not labelled": np.zeros((3, 1), dtype=int)}
    assert TIMES.centres(4) == pytest.approx([0.015, 0.025, 0.035, 0.045])
    kept, phones = frame_phones(codes, segments, TIMES)
    assert phones == ["a", "b", "b", "b", "c", "c", "c"]  # 0.055 lies between b and c
    assert kept[:, 0].tolist() == [0, 1, 2, 3, 5, 6, 7]


def test_frames_whose_token_nobody_knows_are_left_out() -> None:
    segments = {"u": Segments(np.array([0.0]), np.array([1.0]), ("a",))}
    codes = np.array([[3, 1], [-1, -1], [2, 0], [-1, 4], [4, -1]])
    kept, phones = frame_phones({"u": codes}, segments, TIMES)
    assert kept.tolist() == [[3, 1], [2, 0]] and phones == ["a", "a"]


def test_no_labelled_frame_gives_an_empty_answer() -> None:
    kept, phones = frame_phones({"u": np.zeros((4, 2), dtype=int)}, {}, TIMES)
    assert kept.shape == (0, 2) and phones == []


def test_bitrate_is_frames_times_groups_times_bits() -> None:
    codes = {"u": np.stack([np.arange(64) % 4, np.arange(64) // 4 % 4], 1)}
    usage = code_usage(codes["u"], 320)
    bits = Bitrate.of(codes.values(), usage, TIMES.rate)
    assert bits.nominal == pytest.approx(100 * 2 * math.log2(320))  # the papers' 1.66 kbit/s
    assert round(bits.nominal / 1000, 2) == 1.66
    assert bits.entropy == pytest.approx(100 * 4)  # 16 tokens, all as frequent
    assert bits.tokens_per_second == pytest.approx(100)


def test_runs_of_equal_tokens_count_once_and_end_with_the_utterance() -> None:
    codes = [np.array([[1], [1], [2]]), np.array([[2], [2]]), np.zeros((0, 1), dtype=int)]
    usage = code_usage(np.concatenate(codes), 4)
    assert Bitrate.of(codes, usage, 100.0).tokens_per_second == pytest.approx(100 * 3 / 5)


@pytest.mark.parametrize(
    "codes", [np.zeros((3, 1), dtype=int), np.zeros(2, dtype=int), np.zeros((0, 1), dtype=int)]
)
def test_codes_and_phones_of_different_numbers_are_refused(codes: np.ndarray) -> None:
    with pytest.raises(ValueError, match="one phone a frame"):
        phone_code_table(codes, ["a", "b"][: len(codes)])

"""What is said of codes: how sure, of whose voice, how steady, in how many dimensions."""

import numpy as np
import pytest

from vqw2v_plugin.analysis.code_quality import (
    effective_rank,
    probe_voices,
    share_over_speakers,
    unit_edits,
)
from vqw2v_plugin.analysis.phone_codes import phone_information


def column(*codes: int) -> np.ndarray:
    return np.array(codes)[:, None]


def test_speakers_that_say_the_same_leave_no_doubt_and_others_much() -> None:
    """Two phones; of six speakers each code is the phone, or of three of them it never is."""
    ids, phones = np.tile([0, 1], 300), ["a", "b"] * 300
    speakers = [str(i) for i in range(6) for _ in range(100)]
    sure = share_over_speakers(ids, phones, speakers)
    assert sure is not None and sure.speakers == 6 and sure.low > 0.99 and sure.high == 1.0
    ids[300:] = np.random.default_rng(0).integers(2, size=300)
    unsure, share = (
        share_over_speakers(ids, phones, speakers, "utterances"),
        phone_information(ids, phones).share,
    )
    assert unsure is not None and unsure.of == "utterances"
    assert unsure.low < share - 0.1 and unsure.high > share + 0.1


def test_the_interval_is_the_standard_error_of_a_mean_where_the_share_is_one() -> None:
    """Of speakers of whom each tells all or nothing the jackknife is what a textbook has for a mean."""
    rng = np.random.default_rng(1)
    phones = rng.integers(2, size=(8, 4_000))
    ids = np.where(np.arange(8)[:, None] < 4, phones, 2)  # four speakers have one code for all
    speakers = np.repeat(np.arange(8), 4_000).astype(str).tolist()
    found = share_over_speakers(ids.reshape(-1), phones.reshape(-1).astype(str).tolist(), speakers)
    error = np.std([1, 1, 1, 1, 0, 0, 0, 0], ddof=1) / np.sqrt(8)
    assert found is not None
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.01)
    assert (found.high + found.low) / 2 == pytest.approx(0.5, abs=0.01)


def test_an_interval_lies_within_0_and_1() -> None:
    """Of three speakers one has a single code for all it says, or is the only one that has two."""
    phones = np.tile([0, 1], 600)
    speakers = np.repeat(["a", "b", "c"], 400).tolist()
    for ids, most in ((np.where(np.arange(1200) < 400, 2, phones), 1.0), (phones * 0, None)):
        if most is None:
            ids[:400] = phones[:400] + 1
        found = share_over_speakers(ids, phones.astype(str).tolist(), speakers)
        assert found is not None and 0 <= found.low < found.high <= 1
        assert (found.high == 1.0) if most else (found.low == 0.0)


def test_of_two_speakers_nothing_can_be_drawn() -> None:
    assert share_over_speakers(np.array([0, 1]), ["a", "b"], ["x", "y"]) is None


def test_a_voice_is_known_by_the_codes_that_it_uses() -> None:
    codes, speakers = {}, {}
    for speaker in range(4):
        for clip in range(6):
            utt = f"{speaker}-{clip}"
            codes[utt] = np.random.default_rng([speaker, clip]).integers(5, size=(80, 2)) + 5 * speaker
            speakers[utt] = str(speaker)
    probe = probe_voices(codes, speakers)
    assert probe is not None
    assert (probe.accuracy, probe.chance, probe.clips, probe.speakers) == (1.0, 0.25, 12, 4)
    same = {utt: np.random.default_rng(i).integers(5, size=(80, 2)) for i, utt in enumerate(codes)}
    nothing = probe_voices(same, speakers)
    assert nothing is not None and nothing.accuracy < 0.7


def test_the_probe_is_asked_about_clips_that_it_has_not_heard() -> None:
    """Each clip has a code of its own: who remembers the clips would be right each time."""
    codes = {f"{s}{c}": column(*[10 * s + c] * 9) for s in range(3) for c in range(4)}
    probe = probe_voices(codes, {utt: utt[0] for utt in codes})
    assert probe is not None and probe.accuracy == pytest.approx(probe.chance)


def test_chance_is_that_of_the_clips_that_are_asked_about() -> None:
    """Of five and two clips every second one is asked about: two of the one speaker, one of the other."""
    codes = {f"a{i}": column(1, 1) for i in range(5)} | {f"b{i}": column(2) for i in range(2)}
    probe = probe_voices(codes, {utt: utt[0] for utt in codes})
    assert probe is not None
    assert (probe.clips, probe.chance, probe.accuracy) == (3, pytest.approx(2 / 3), 1.0)


def test_speakers_of_a_single_clip_cannot_be_asked_about() -> None:
    assert probe_voices({"a": column(1), "b": column(2)}, {"a": "x", "b": "y"}) is None
    assert probe_voices({"a": column(1), "b": column(2)}, {}) is None


def test_edits_are_counted_over_runs() -> None:
    assert unit_edits(column(1, 1, 2, 3, 3), column(1, 2, 2, 2, 3)) == 0
    assert unit_edits(column(1, 2, 3, 4), column(1, 9, 3)) == pytest.approx(2 / 4)
    assert unit_edits(column(1), column(2, 3)) == 2
    assert unit_edits(column(1)[:0], column(2, 3)) == 2 and unit_edits(column(1, 2), column(1)[:0]) == 1
    pairs = np.array([[1, 1], [1, 2]]), np.array([[1, 1], [1, 1]])
    assert unit_edits(*pairs) == pytest.approx(1 / 2)


def test_rank_is_the_number_of_directions_that_vary_alike() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20_000, 3)) @ np.linalg.qr(rng.standard_normal((8, 3)))[0].T + 7.0
    assert effective_rank(x.astype(np.float32)) == pytest.approx(3, abs=0.02)
    assert effective_rank(np.ones((5, 4), np.float32)) == 0
    lopsided = rng.standard_normal((20_000, 2)) * [1.0, 0.1]
    shares = np.array([1, 0.1]) / 1.1
    expected = np.exp(-(shares * np.log(shares)).sum())
    assert effective_rank(lopsided.astype(np.float32)) == pytest.approx(expected, rel=0.01)


def test_what_hardly_varies_far_from_zero_fills_no_direction() -> None:
    """Sums in 32 bit would put a constant 0.1 beside its mean, and find a third direction in two."""
    a, b = np.random.default_rng(1).standard_normal((2, 30_000))
    x = np.stack([a, b, a + b, np.full(30_000, 3_000.3)], 1).astype(np.float32)
    exact = x.astype(np.float64)
    values = np.linalg.svd(exact - exact.mean(0), compute_uv=False)
    shares = values[values > 1e-9] / values.sum()
    assert effective_rank(x) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=2e-8)

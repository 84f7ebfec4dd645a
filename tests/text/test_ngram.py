"""The n-gram model: lmplz's numbers, probabilities that sum to one, and KenLM reading what we write."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from vqw2v_plugin.text.ngram import (
    FALLBACK,
    Discounts,
    NGramModel,
    _counts_for_discounts,
    _log10,
    arpa_blocks,
    estimate_discounts,
    pruning,
    train_ngram,
    write_arpa,
)
from vqw2v_plugin.text.ngram_counts import count_ngrams, number_words, read_text

Arpa = list[dict[str, tuple[float, float]]]
TOLERANCE = 2e-6


@pytest.fixture(scope="module")
def golden() -> Path:
    """A text and what lmplz makes of it."""
    folder = Path(os.environ.get("VQW2V_DATA", "nowhere")).parent / "golden" / "ngram"
    if not folder.is_dir():
        pytest.skip("no golden n-gram models beside VQW2V_DATA")
    return folder


def parse(arpa: str) -> Arpa:
    """[{n-gram: (log10 probability, log10 back-off)}] in the file's order."""
    orders: Arpa = []
    for line in arpa.split("\n"):
        if line.endswith("-grams:"):
            orders.append({})
        elif "\t" in line:
            prob, gram, *backoff = line.split("\t")
            orders[-1][gram] = (float(prob), float(backoff[0]) if backoff else 0.0)
    return orders


def arpa_of(model: NGramModel) -> str:
    return "".join(arpa_blocks(model))


def log10_prob(arpa: Arpa, context: tuple[str, ...], word: str) -> float:
    """Backing off by the book."""
    gram = " ".join((*context, word))
    if gram in arpa[len(context)]:
        return arpa[len(context)][gram][0]
    if not context:
        return arpa[0]["<unk>"][0]
    charge = arpa[len(context) - 1].get(" ".join(context), (0.0, 0.0))[1]
    return charge + log10_prob(arpa, context[1:], word)


def log10_sentence(arpa: Arpa, sentence: str) -> float:
    words = [w if w in arpa[0] else "<unk>" for w in sentence.split()]
    total, history = 0.0, ("<s>",)
    for word in (*words, "</s>"):
        total += log10_prob(arpa, history[-(len(arpa) - 1) :], word)
        history = (*history, word)
    return total


def random_text(seed: int, num_words: int = 5, sentences: int = 40) -> list[bytes]:
    rng = random.Random(seed)
    words, weights = [f"w{i}" for i in range(num_words)], [1 / (i + 1) for i in range(num_words)]
    return [" ".join(rng.choices(words, weights, k=rng.randint(0, 7))).encode() for _ in range(sentences)]


@pytest.mark.parametrize("order", [2, 3, 4])
def test_every_number_is_lmplz_s(golden: Path, order: int) -> None:
    ours = parse(arpa_of(train_ngram(read_text(str(golden / "corpus.txt")), order)))
    theirs = parse((golden / f"kneser_ney.{order}.arpa").read_text(encoding="utf-8"))
    assert [list(grams) for grams in ours] == [list(grams) for grams in theirs]  # the lines' order too
    for grams, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(list(grams.values()), list(expected.values()), rtol=0, atol=TOLERANCE)


def test_pruned_numbers_are_lmplz_s(golden: Path) -> None:
    """`lmplz -o 4 --discount_fallback --prune 0 0 1 2` on the same text."""
    model = train_ngram(read_text(str(golden / "corpus.txt")), 4, [0, 0, 1, 2])
    assert [len(order) for order in model.orders] == [51, 253, 430, 254]
    assert [order.num_pruned for order in model.orders] == [0, 0, 272, 949]
    ours = parse(arpa_of(model))
    for gram, expected in {
        "<s>": (0.0, -1.5808707),
        "the bird": (-1.5870652, -0.22858594),
        "<s> the bird": (-0.62005043, -0.49669898),
        "he follows the": (-0.5913806, 0.0),
        "the old man": (-0.14297262, -0.6854454),
        "sees the red door": (-0.0023617225, 0.0),
    }.items():
        assert ours[gram.count(" ")][gram] == pytest.approx(expected, abs=TOLERANCE)


def test_sentence_scores_are_lmplz_s(golden: Path) -> None:
    arpa = parse(arpa_of(train_ngram(read_text(str(golden / "corpus.txt")), 4)))
    sentences = (golden / "sentences.txt").read_text(encoding="utf-8").splitlines()
    expected = [float(line.split()[1]) for line in (golden / "scores.4.txt").read_text().splitlines()]
    assert [log10_sentence(arpa, s) for s in sentences] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("prune", [[0], [0, 1], [0, 0, 2], [1]], ids=str)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_probabilities_after_any_context_sum_to_one(order: int, prune: list[int]) -> None:
    model = train_ngram(number_words(random_text(order)), order, prune[:order])
    arpa = parse(arpa_of(model))
    words = [word for word in arpa[0] if word != "<s>"]
    for context in itertools.product(arpa[0], repeat=order - 1):
        total = sum(10 ** log10_prob(arpa, context, word) for word in words)
        assert total == pytest.approx(1, abs=1e-5), context


@pytest.mark.parametrize("order", [2, 3, 4, 5, 6])
def test_kenlm_reads_the_file_and_scores_alike(tmp_path: Path, order: int) -> None:
    kenlm = pytest.importorskip("kenlm")
    path = tmp_path / "a.arpa"
    model = train_ngram(
        number_words([*random_text(order, 9), "größe 日本".encode()]), order, [0, 0, 1][:order]
    )
    write_arpa(model, path)
    theirs, ours = kenlm.Model(str(path)), parse(path.read_text(encoding="utf-8"))
    assert theirs.order == order
    for sentence in ("w0 w1 w0 w3", "w8 größe", "never heard w1 w0", "日本", ""):
        assert theirs.score(sentence) == pytest.approx(log10_sentence(ours, sentence), abs=1e-4)


def test_pruning_keeps_contexts_and_suffixes() -> None:
    model = train_ngram(number_words(random_text(3, 8, 80)), 4, [0, 1, 1, 2])
    arpa = parse(arpa_of(model))
    for n in range(1, 4):
        for gram in arpa[n]:
            assert gram.split(" ", 1)[1] in arpa[n - 1] and gram.rsplit(" ", 1)[0] in arpa[n - 1]


def test_the_last_n_gram_of_an_order_counts_by_its_occurrences_for_discounts() -> None:
    """As lmplz does it. z comes three times behind y alone, y behind two, x and </s> behind one."""
    model = train_ngram(number_words([b"x y z", b"y z", b"y z"]), 2)
    # n1 = 2, n2 = 1, n3 = 1 (z), n4 = 0; Y = 2 / (2 + 2 · 1)
    assert model.orders[0].discounts == Discounts((1 - 2 * 0.5 * 1 / 2, 2 - 3 * 0.5 * 1 / 1, 3.0))
    # behind <s> nothing is lost: from the order on whose last n-gram begins with it, all are as they are
    counts = count_ngrams(number_words([b"a b c d", b"a b c d", b"z"]), 4)
    used = _counts_for_discounts(counts)
    assert [bool((a == grams.adjusted).all()) for a, grams in zip(used, counts, strict=True)] == [True] * 4
    assert (counts[1].first[-1], counts[2].raw[-1], counts[2].adjusted[-1]) == (1, 2, 1)


def test_no_probability_at_all_is_minus_99() -> None:
    assert _log10(np.array([0.0, 1e-50, 0.1, 1.0, 1.5])).tolist() == pytest.approx([-99, -50, -1, 0, 0])


def test_discounts_are_the_closed_form() -> None:
    adjusted = np.repeat([0, 1, 2, 3, 4, 7], [2, 10, 5, 3, 2, 4])
    y = 10 / (10 + 2 * 5)
    expected = (1 - 2 * y * 5 / 10, 2 - 3 * y * 3 / 5, 3 - 4 * y * 2 / 3)
    found = estimate_discounts(adjusted)
    assert found.values == pytest.approx(expected) and not found.problem


@pytest.mark.parametrize(
    ("times", "problem"),
    [([3, 2, 0, 1], "none has the adjusted count 3"), ([9, 1, 9, 1], "count 2 is -20.1, not within 0 to 2")],
)
def test_discounts_that_cannot_be_estimated_fall_back(times: list[int], problem: str) -> None:
    found = estimate_discounts(np.repeat([1, 2, 3, 4], times))
    assert found.values == FALLBACK and problem in found.problem


@pytest.mark.parametrize(
    ("order", "prune", "message"),
    [
        (0, [], "`order` is 0; expected 1 to 6"),
        (7, [], "`order` is 7; expected 1 to 6"),
        (2, [1, 0], "`prune` is 1 0"),
        (2, [-1], "`prune` is -1"),
        (2, [0, 0, 1], "at most 2 counts"),
        (2, [0, 99], "`prune` 99 leaves no 2-gram"),
    ],
)
def test_wrong_settings_are_named(order: int, prune: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train_ngram(number_words(random_text(1)), order, prune)


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(model: NGramModel) -> Iterator[str]:
        yield "\\data\\\n"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vqw2v_plugin.text.ngram.arpa_blocks", fails)
    with pytest.raises(OSError, match="No space"):
        write_arpa(train_ngram(number_words(random_text(1)), 2), tmp_path / "a.arpa")
    assert not list(tmp_path.iterdir())


def test_the_end_of_a_sentence_is_never_pruned() -> None:
    text = number_words([b"a b a b a b a b c", b"c a b"])
    (unigrams,) = parse("".join(arpa_blocks(train_ngram(text, 1, [3]))))
    assert set(unigrams) == {"<unk>", "<s>", "</s>", "a", "b"}
    assert sum(10**p for word, (p, _) in unigrams.items() if word != "<s>") == pytest.approx(1, abs=1e-5)


def test_a_long_file_is_written_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    model = train_ngram(number_words(random_text(1)), 3)
    whole = "".join(arpa_blocks(model))
    monkeypatch.setattr("vqw2v_plugin.text.ngram.LINES_AT_ONCE", 3)
    assert "".join(arpa_blocks(model)) == whole


def test_a_threshold_holds_for_all_orders_above_and_discounts_fall_back_to_lmplz_s() -> None:
    assert pruning([0, 1], 4) == [0, 1, 1, 1] and pruning([], 3) == [0, 0, 0] and pruning([2], 2) == [2, 2]
    assert FALLBACK == (0.5, 1.0, 1.5)  # of `--discount_fallback`
    assert Discounts(FALLBACK).of(np.array([0, 1, 2, 3, 9])).tolist() == [0, 0.5, 1.0, 1.5, 1.5]

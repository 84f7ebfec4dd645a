"""Error rates: the fewest errors there can be, counted as sclite and jiwer count them."""

import itertools
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peers import peer_folder, peer_vectors

from vqw2v_plugin.decoding.hypothesis import Hypothesis, TimedText
from vqw2v_plugin.decoding.scoring import (
    Errors,
    Judge,
    align,
    characters,
    count,
    count_errors,
    show_alignment,
)

words = st.lists(st.sampled_from("abc"), max_size=7)


def fewest_errors(a: Sequence[str], b: Sequence[str]) -> tuple[int, int]:
    """(errors, −correct) by recursion over all alignments."""

    @lru_cache(None)
    def best(i: int, j: int) -> tuple[int, int]:
        if i == len(a) or j == len(b):
            return (len(a) - i) + (len(b) - j), 0
        step = (0, -1) if a[i] == b[j] else (1, 0)
        ways = [(best(i + 1, j + 1), step), (best(i + 1, j), (1, 0)), (best(i, j + 1), (1, 0))]
        return min((errors + e, correct + c) for (errors, correct), (e, c) in ways)

    return best(0, 0)


@given(words, words)
@settings(max_examples=200, deadline=None)
def test_no_alignment_has_fewer_errors_or_more_correct(a: list[str], b: list[str]) -> None:
    errors = count_errors(a, b)
    assert (errors.total, -errors.correct) == fewest_errors(a, b)


@given(words, words)
@settings(max_examples=100, deadline=None)
def test_an_alignment_holds_both_sides_in_order_and_agrees_with_its_counts(
    a: list[str], b: list[str]
) -> None:
    pairs = align(a, b)
    assert [p.reference for p in pairs if p.reference is not None] == a
    assert [p.hypothesis for p in pairs if p.hypothesis is not None] == b
    errors = count(pairs)
    assert errors.length == len(a)
    assert errors.correct + errors.substitutions + errors.insertions == len(b)
    assert errors.wrong_utterances == int(a != b)


def test_counts_add_up_and_are_described() -> None:
    total = count_errors("the cat sat".split(), "a cat".split()) + count_errors(["x"], ["x", "y"])
    assert total == Errors(2, 1, 1, 1, 2, 2)
    assert total.describe("words") == (
        "WER 75.00 % (3 errors in 4 words: 1 substituted, 1 deleted, 1 inserted; 2 of 2 utterances wrong)"
    )
    assert total.describe("phones").startswith("PER")
    assert Errors(4000, 1000, 200, 30, 50, 40).describe("characters") == (
        "CER 23.65 % (1,230 errors in 5,200 characters: 1,000 substituted, 200 deleted, 30 inserted; "
        "40 of 50 utterances wrong)"
    )


def test_nothing_against_nothing_is_no_error() -> None:
    assert count_errors([], []).rate == 0 and count_errors([], ["a"]).rate == 100


def test_the_shown_alignment_marks_each_error() -> None:
    lines = show_alignment(align("the cat sat on".split(), "the bat sat upon it on".split())).splitlines()
    assert lines[0] == "REF: the cat sat **** ** on"
    assert lines[1] == "HYP: the bat sat upon it on"
    assert lines[2].split() == ["S", "I", "I"]


def test_jiwer_s_cases() -> None:
    for reference, hypothesis, wer, *_ in peer_vectors("wer")["cases"]:
        assert count_errors(reference.split(), hypothesis.split()).rate == pytest.approx(100 * wer)


def test_s3prl_s_case() -> None:
    case = peer_vectors("wer")["s3prl"]
    assert count_errors(case["ref"].split(), case["hyp"].split()).rate == 100 * case["wer"]
    assert count_errors(characters(case["ref"]), characters(case["hyp"])).rate == 100 * case["cer"]


def read_transcripts(path: Path) -> dict[str, str]:
    found = re.findall(r"^(.*)\((\S+)\)\s*$", path.read_text(), re.MULTILINE)
    return {utt.lower(): text.lower() for text, utt in found}


def alternatives(text: str) -> list[list[str]]:
    """Each reading of `{ a / b }`; `@` is no word."""
    parts = [part.split("/") if i % 2 else [part] for i, part in enumerate(re.split(r"\{(.*?)\}", text))]
    return [[word for word in " ".join(way).split() if word != "@"] for way in itertools.product(*parts)]


def test_sclite_s_counts_of_1406_words() -> None:
    folder, expected = peer_folder() / "sctk", peer_vectors("sclite_csrnab")
    references, hypotheses = (read_transcripts(folder / f"csrnab.{side}") for side in ("ref", "hyp"))
    total, by_speaker = Errors(), dict.fromkeys(expected["errors_by_speaker"], 0)
    for utt, text in references.items():
        ways = itertools.product(alternatives(text), alternatives(hypotheses[utt]))
        best = min((count_errors(*way) for way in ways), key=lambda errors: (errors.total, -errors.correct))
        total += best
        by_speaker[utt[:3]] += best.total
    assert by_speaker == expected["errors_by_speaker"]
    counts = {"correct": total.correct, "sub": total.substitutions, "del": total.deletions}
    counts |= {"ins": total.insertions, "errors": total.total, "ref_words": total.length}
    counts |= {"sentences": total.utterances, "sentence_errors": total.wrong_utterances}
    assert counts == {name: expected[name] for name in counts}


@pytest.mark.parametrize("unit", ["words", "characters", "phones"])
def test_a_judge_counts_what_the_hypothesis_lacks_as_deleted(unit: str) -> None:
    """And in words letters besides, told in the reference's length."""
    said, more = ["a", "b"], ["a", "b", "c", "d"]
    for reference, heard, errors in (
        (more, said, Errors(correct=2, deletions=2, utterances=1, wrong_utterances=1)),
        (said, more, Errors(correct=2, insertions=2, utterances=1, wrong_utterances=1)),
    ):
        labels = tuple(TimedText(text, i, i + 1, 1.0) for i, text in enumerate(heard))
        spaced = labels if unit == "words" else (TimedText("".join(heard), 0, 9, 1.0),)
        text = ("" if unit == "characters" else " ").join(reference)
        score = Judge(unit)(text, Hypothesis(labels, spaced, 0.0, 0.0))
        assert score.errors == errors
        assert score.errors.length == len(reference)
        letters = (score.finer.deletions, score.finer.insertions, score.finer.length)
        expected = (
            errors.deletions * 2,
            errors.insertions * 2,
            2 * len(reference) - 1,
        )  # a space before each
        assert letters == (expected if unit == "words" else (0, 0, 0))


def test_marks_stand_below_the_words_that_are_wrong() -> None:
    shown = show_alignment(align("one two three".split(), "one a three more".split()))
    assert shown == "REF: one two three ****\nHYP: one a   three more\n         S         I"
    assert show_alignment(align(["one", "two"], ["two"])) == "REF: one two\nHYP: *** two\n     D"

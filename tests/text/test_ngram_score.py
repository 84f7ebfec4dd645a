"""Our reader of ARPA scores sentences as KenLM does."""

import gzip
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from vqw2v_plugin.stack import StackError
from vqw2v_plugin.text import ngram_score
from vqw2v_plugin.text.ngram import train_ngram, write_arpa
from vqw2v_plugin.text.ngram_counts import number_words
from vqw2v_plugin.text.ngram_score import (
    NGramTable,
    TextModel,
    model_of_text,
    perplexity,
    score_by_text,
    score_of,
)


def lines(seed: int, count: int = 60) -> list[list[str]]:
    rng = np.random.default_rng(seed)
    return [[str(s) for s in rng.choice(list("abcde"), rng.integers(1, 8))] for _ in range(count)]


@pytest.fixture(scope="module")
def arpa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lm") / "phones.arpa"
    write_arpa(train_ngram(number_words(" ".join(line).encode() for line in lines(0)), 3), path)
    return path


def test_sentences_score_as_kenlm_scores_them(arpa: Path, tmp_path: Path) -> None:
    kenlm = pytest.importorskip("kenlm")
    ours, theirs = score_of(arpa), kenlm.Model(str(arpa))
    packed = tmp_path / "phones.arpa.gz"
    packed.write_bytes(gzip.compress(arpa.read_bytes()))
    again = score_of(packed)
    for line in [*lines(1, 20), [], ["a", "z", "a"]]:
        assert ours(line) == pytest.approx(theirs.score(" ".join(line)), abs=1e-4)
        assert again(line) == ours(line)


def test_a_model_of_a_text_is_the_one_that_its_file_holds(arpa: Path) -> None:
    made = score_by_text(lines(0), 3)
    assert [made(line) for line in lines(1, 5)] == pytest.approx(
        [score_of(arpa)(line) for line in lines(1, 5)]
    )
    assert isinstance(made, NGramTable) and "a" in made and "z" not in made and made.order == 3


def test_probabilities_of_what_may_follow_sum_to_one(arpa: Path) -> None:
    table = score_by_text(lines(0), 3)
    assert isinstance(table, NGramTable)
    for context in (("<s>",), ("a", "b"), ("e", "e")):
        total = sum(10 ** table._step(context, word) for word in (*"abcde", "</s>", "<unk>"))
        assert total == pytest.approx(1, abs=1e-4)


def test_perplexity_of_an_even_coin_is_its_sides() -> None:
    half = float(np.log10(0.5))
    assert perplexity(lambda words: half * (len(words) + 1), [["a", "b"], []]) == pytest.approx(2)


def test_what_is_no_model_is_said(tmp_path: Path, arpa: Path) -> None:
    with pytest.raises(ValueError, match="no such file, expected an n-gram model"):
        score_of(tmp_path / "none.arpa")
    broken = tmp_path / "broken.arpa"
    broken.write_text(arpa.read_text().replace("\\2-grams:\n", "\\2-grams:\nmuch a b\n"))
    with pytest.raises(ValueError, match=r"broken\.arpa:\d+: 'much a b' is no row of ARPA"):
        score_of(broken)
    broken.write_bytes(arpa.read_bytes().replace(b"\ta\t", b"\t\xff\t"))
    with pytest.raises(ValueError, match="is not UTF-8"):
        score_of(broken)


def test_a_text_is_told_from_phones_in_any_order_by_the_middle_between_the_two() -> None:
    """In logarithms; and where phones have hardly an order, by nothing."""
    text = TextModel(lambda words: 0.0, 4.0, 16.0)
    assert text.tells and text.is_text(7.9) and not text.is_text(8.1)
    assert "4.00 on lines" in text.describe() and "come near the first" in text.describe()
    for of_text, tells in ((16**0.89, True), (16**0.91, False)):
        model = TextModel(lambda words: 0.0, of_text, 16.0)
        assert model.tells == tells and model.is_text(1.1) == tells
        assert ("take more text, or another model" in model.describe()) != tells


def test_a_model_of_text_is_asked_about_lines_that_it_has_not_learnt(arpa: Path) -> None:
    learnt, unseen = [list("abababab")] * 30 + [list("ba")], [list("ababab")] * 3
    model = model_of_text(learnt, unseen)
    assert model.of_text == pytest.approx(perplexity(score_by_text(learnt, 4), unseen))
    assert model.of_phones == pytest.approx(perplexity(score_by_text(learnt, 1), unseen)) and model.tells
    named = model_of_text(learnt, unseen, str(arpa))
    assert named.of_text == pytest.approx(perplexity(score_of(arpa), unseen))
    assert named.of_text > 1.5 * model.of_text
    assert named.of_phones == model.of_phones and named.score(unseen[0]) == score_of(arpa)(unseen[0])


def test_words_that_a_model_without_unknown_ones_lacks_have_no_probability() -> None:
    table = NGramTable(["\\data\\", "ngram 1=2", "\\1-grams:", "-0.5\ta", "-0.25\t</s>", "\\end\\"])
    assert (table(["a"]), table(["a", "z"]), table.order) == (-0.75, -0.75 - 99, 1)


def test_where_a_context_says_no_cost_backing_off_is_free() -> None:
    rows = ["\\1-grams:", "-0.5\ta", "-0.25\t</s>", "-1\t<s>\t-0.125", "\\2-grams:", "-0.0625\t<s> a"]
    table = NGramTable(rows)
    assert table(["a"]) == -0.0625 - 0.25 and table([]) == -0.125 - 0.25
    assert table(["a", "a"]) == -0.0625 - 0.5 - 0.25


def test_a_packed_model_that_breaks_off_is_no_whole_one(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0).random(30_000)
    head = f"\\data\\\nngram 1={len(drawn)}\nngram 2=1\n\n\\1-grams:\n"
    text = head + "".join(f"-{p:.9f}\tw{i}\n" for i, p in enumerate(drawn))
    (tmp_path / "x.gz").write_bytes(gzip.compress(text.encode())[:-20_000])
    with pytest.raises(ValueError, match=r"x\.gz: is no whole model .*; make it anew"):
        score_of(tmp_path / "x.gz")


def test_a_binary_is_asked_by_kenlm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path := tmp_path / "x.bin").write_bytes(b"mmap")
    monkeypatch.setattr(ngram_score, "check_model", lambda path: None)

    class Model:
        def __init__(self, opened: str) -> None:
            if opened != str(path):
                raise OSError("none of mine")

        def score(self, sentence: str) -> float:
            return -float(len(sentence))

    monkeypatch.setitem(sys.modules, "kenlm", SimpleNamespace(Model=Model))
    assert score_of(path)(["ab", "c"]) == -4
    (tmp_path / "y.bin").write_bytes(b"mmap")
    with pytest.raises(ValueError, match=r"y\.bin: KenLM cannot read it \(none of mine\); make it anew"):
        score_of(tmp_path / "y.bin")
    monkeypatch.setitem(sys.modules, "kenlm", None)
    with pytest.raises(
        StackError, match=r"x\.bin is KenLM's binary, and kenlm cannot be imported .*\[decode\]"
    ):
        score_of(path)

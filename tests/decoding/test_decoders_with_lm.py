"""What a language model does to a beam, and which ones are refused."""

import sys
from pathlib import Path

import numpy as np
import pytest
from emissions import CTC, WORDS, noise, sure

from vqw2v_plugin.decoding.beam import FreeDecoder, LexiconDecoder
from vqw2v_plugin.decoding.greedy import GreedyDecoder
from vqw2v_plugin.decoding.language_model import check_knows_labels, load_language_model, make_trie
from vqw2v_plugin.decoding.scoring import Errors, count_errors
from vqw2v_plugin.decoding.settings import BeamSettings
from vqw2v_plugin.stack import StackError
from vqw2v_plugin.text.ngram import train_ngram, write_arpa
from vqw2v_plugin.text.ngram_counts import read_text
from vqw2v_plugin.text.units import Units, asg_units, ctc_units

LM = """\\data\\
ngram 1=6
ngram 2=2

\\1-grams:
-3	<unk>	0
-99	<s>	0
-1	</s>	0
-1	a	-0.3
-1	ab	0
-1	cab	0

\\2-grams:
-0.1	a cab
-0.1	cab </s>

\\end\\
"""


def test_the_language_model_decides_between_equals(tmp_path: Path) -> None:
    pytest.importorskip("flashlight.lib.text.decoder.kenlm")
    (tmp_path / "lm.arpa").write_text(LM)
    emissions = sure(CTC, "a|_|_") + sure(CTC, "a|cab")  # after `a |`: cab, or nothing, as likely
    without = LexiconDecoder(CTC, WORDS, settings=BeamSettings(beam=50, word_score=-1))
    with_lm = LexiconDecoder(
        CTC, WORDS, str(tmp_path / "lm.arpa"), settings=BeamSettings(beam=50, word_score=1, lm_weight=1)
    )
    assert without.decode(emissions)[0].text == "a"
    best = with_lm.decode(emissions)[0]
    assert best.text == "a cab"
    assert best.lm_score == pytest.approx(-1 - 0.1 - 0.1, abs=1e-4)
    assert best.score == pytest.approx(best.emission_score + 1 * best.lm_score + 2 * 1, abs=1e-4)


def test_a_language_model_of_other_words_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("flashlight.lib.text.decoder.kenlm")
    (tmp_path / "lm.arpa").write_text(LM)
    with pytest.raises(ValueError, match="knows none of the lexicon's 1 words"):
        LexiconDecoder(CTC, {"BAB": [("b", "a", "b")]}, str(tmp_path / "lm.arpa"))
    one_of_two = {"BAB": [("b", "a", "b")], "cab": [("c", "a", "b")]}
    decoder = LexiconDecoder(CTC, one_of_two, str(tmp_path / "lm.arpa"))
    said = "knows not 1 of the lexicon's 2 words (BAB): they count as <unk>"
    assert said in caplog.text and decoder.decode(sure(CTC, "cab"))[0].text == "cab"
    with pytest.raises(ValueError, match=r"knows no \|, b, c; expected a model of labels"):
        FreeDecoder(CTC, str(tmp_path / "lm.arpa"))
    with pytest.raises(ValueError, match="no such file"):
        FreeDecoder(CTC, str(tmp_path / "none.arpa"))
    (tmp_path / "bad.arpa").write_text("nothing")
    with pytest.raises(ValueError, match="KenLM cannot read it"):
        FreeDecoder(CTC, str(tmp_path / "bad.arpa"))


@pytest.mark.parametrize("units", [ctc_units(list("abc"), "phones"), asg_units(list("abc"), "phones", 0)])
def test_a_language_model_of_labels_decides_between_equals(units: Units, tmp_path: Path) -> None:
    """a or b, then c, then a or b once more."""
    pytest.importorskip("flashlight.lib.text.decoder.kenlm")
    ones = [f"{-99 if word == '<s>' else -1}\t{word}\t0" for word in ("<unk>", "<s>", "</s>", *"abc")]
    twos = ["-2\t<s> a", "-0.5\t<s> b", "-0.25\tc a", "-2\tc b"]
    head = ["\\data\\", "ngram 1=6", "ngram 2=4", ""]
    lines = [*head, "\\1-grams:", *ones, "", "\\2-grams:", *twos, "", "\\end\\", ""]
    (tmp_path / "lm.arpa").write_text("\n".join(lines))
    steps = None if units.loss.has_blank else np.zeros((3, 3), np.float32)
    emissions = np.full((3, len(units)), -20.0, np.float32)
    emissions[np.ix_([0, 2], [units.symbols.index(label) for label in "ab"])] = 0.0
    emissions[1, units.symbols.index("c")] = 0.0
    decoder = FreeDecoder(units, str(tmp_path / "lm.arpa"), steps, BeamSettings(beam=100, lm_weight=2.0))
    best = decoder.decode(emissions)[0]
    assert best.labels == ["b", "c", "a"]
    assert best.lm_score == pytest.approx(-0.5 - 1 - 0.25 - 1, abs=1e-4)  # with the end
    assert best.score - best.emission_score == pytest.approx(2 * best.lm_score, abs=1e-3)
    assert decoder.with_settings(lm_weight=0.0).decode(emissions)[0].score > best.score


def test_a_language_model_of_ours_mends_what_is_unclear(tmp_path: Path) -> None:
    pytest.importorskip("flashlight.lib.text.decoder.kenlm")
    sentences = [
        "the cat sat on the mat",
        "the dog sat on the cat",
        "a cat and a dog",
        "the mat and the hat",
    ] * 3
    (tmp_path / "text").write_text("\n".join(sentences) + "\n")
    write_arpa(train_ngram(read_text(str(tmp_path / "text")), 3), tmp_path / "lm.arpa")
    units = ctc_units(["|", *"acdeghmnost"])
    spellings = {word: [tuple(word)] for word in " ".join(sentences).split()}
    lexicon = LexiconDecoder(units, spellings, settings=BeamSettings(beam=100))
    with_lm = LexiconDecoder(units, spellings, str(tmp_path / "lm.arpa"), None, BeamSettings(beam=100))
    rates = []
    for decoder in (GreedyDecoder(units), lexicon, with_lm):
        errors = Errors()
        for seed, text in enumerate(sentences[:4] * 3):
            path = "".join(f"{letter}_" for letter in text.replace(" ", "|"))
            emissions = sure(units, path) / 8 + noise(len(path), len(units), seed) / 2
            errors += count_errors(text.split(), decoder.decode(emissions)[0].text.split())
        rates.append(errors.rate)
    assert rates[0] > rates[1] > rates[2]


BEGINNING = """\\data\\
ngram 1=6
ngram 2=2

\\1-grams:
-3	<unk>	0
-99	<s>	-0.2
-1	</s>	0
-1.5	a	0
-1	ab	0
-2	cab	0

\\2-grams:
-0.5	<s> ab
-0.9	<s> cab

\\end\\
"""


def test_a_branch_of_a_lexicon_has_its_best_word_s_score_at_a_sentence_s_beginning(tmp_path: Path) -> None:
    pytest.importorskip("flashlight.lib.text.decoder.kenlm")
    (tmp_path / "lm.arpa").write_text(BEGINNING)
    words = ["a", "ab", "cab", "new"]  # the last one is none of the model's
    spelled = [("a", [1, 9]), ("ab", [1, 2]), ("cab", [3, 1, 2]), ("new", [3, 9])]
    trie = make_trie(spelled, words, load_language_model(str(tmp_path / "lm.arpa"), words), 10)
    scores = [trie.search(columns).scores for _, columns in spelled]
    assert scores == [[pytest.approx(score, abs=1e-5)] for score in (-1.5 - 0.2, -0.5, -0.9, -3 - 0.2)]
    best = [trie.search(columns).max_score for columns in ([1], [3], [3, 1])]
    assert best == pytest.approx([-0.5, -0.9, -0.9], abs=1e-5)


def test_words_that_a_search_cannot_tell_apart_are_told_from_the_seventh_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pytest.importorskip("flashlight.lib.text.decoder")
    for number, said in ((6, ""), (8, "2 spellings are never found: flashlight takes 6 words of one")):
        words = [f"w{i}" for i in range(number)]
        trie = make_trie([(word, [1, 2]) for word in words], words, load_language_model(None, words), 4)
        assert len(trie.search([1, 2]).labels) == 6
        assert said in caplog.text and bool(caplog.text) == bool(said)


def test_what_kenlm_says_is_told_without_the_places_in_its_own_files(tmp_path: Path) -> None:
    pytest.importorskip("flashlight.lib.text.decoder.kenlm")
    (tmp_path / "odd.arpa").write_text(LM.replace("-1\ta\t-0.3", "-1\ta\tmuch"))  # its header is right
    with pytest.raises(ValueError, match=r"odd\.arpa: KenLM cannot read it \(.+\); expected ARPA") as error:
        FreeDecoder(CTC, str(tmp_path / "odd.arpa"))
    assert ".cc" not in str(error.value) and "threw" not in str(error.value)


@pytest.mark.parametrize("module", ["flashlight.lib.text.decoder.kenlm", "kenlm"])
def test_without_kenlm_a_language_model_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    pytest.importorskip("flashlight.lib.text.decoder.kenlm")
    (tmp_path / "lm.arpa").write_text(LM)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        StackError, match=r"needs kenlm, which cannot be imported .*`pip install .*\[decode\]'`"
    ):
        load_language_model(tmp_path / "lm.arpa", ["a"])
        check_knows_labels(tmp_path / "lm.arpa", ["a"])

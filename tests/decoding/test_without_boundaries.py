"""Words whose spellings end without a boundary: pieces, phones alone, words as labels."""

import numpy as np
import pytest

from vqw2v_plugin.decoding.beam import LexiconDecoder
from vqw2v_plugin.decoding.settings import BeamSettings
from vqw2v_plugin.text.units import ctc_units


def test_pieces_and_phones_decode_through_a_lexicon_without_boundaries() -> None:
    pytest.importorskip("flashlight.lib.text.decoder")
    units = ctc_units(["▁c", "▁", "a", "b"], "pieces")
    lexicon = {"cab": [("▁c", "a", "b")], "ab": [("▁", "a", "b")]}
    columns = [units.symbols.index(s) for s in ["▁c", "a", "b", "▁", "a", "b", "b"]]
    best = LexiconDecoder(units, lexicon).decode(np.eye(5, dtype=np.float32)[columns] * 20)[0]
    assert [(w.text, w.begin, w.end) for w in best.words] == [("cab", 0, 2), ("ab", 2, 5)]


def test_words_that_are_labels_decode_through_a_lexicon_of_them_alone() -> None:
    pytest.importorskip("flashlight.lib.text.decoder")
    units = ctc_units(["a", "b", "sil"], "words")
    emissions = np.eye(4, dtype=np.float32)[[0, 1, 1, 0, 1, 3, 2]] * 20
    emissions[6, 1] = 19  # `b`, which the lexicon lacks, is a little likelier than `a`
    best = LexiconDecoder(units, {"a": [()], "sil": [("sil",)]}).decode(emissions)[0]
    assert best.text == "a a sil a"


@pytest.mark.parametrize("beam", [1, 50])
@pytest.mark.parametrize("score", [-5.0, 0.0, 5.0])
@pytest.mark.parametrize("log_add", [False, True])
def test_without_boundaries_a_label_is_said_again_behind_a_blank_and_there_alone(
    beam: int, score: float, log_add: bool
) -> None:
    """As CTC has it, whatever a word costs: of x held and x said anew the search knows no difference."""
    pytest.importorskip("flashlight.lib.text.decoder")
    units = ctc_units(["a", "b"], "words")
    settings = BeamSettings(beam=beam, word_score=score, log_add=log_add)
    decoder = LexiconDecoder(units, {"a": [()], "b": [()]}, settings=settings)
    for path, text in (([1, 1, 1], "a"), ([1, 0, 1], "a a"), ([2, 2, 0, 2, 1, 1], "b b a")):
        best = decoder.decode(np.eye(3, dtype=np.float32)[path] * 20)[0]
        assert beam == 1 or best.text == text
        assert best.tokens  # who looks at one path alone has one, right or wrong


def test_a_word_spelled_by_two_equal_labels_is_not_one_held() -> None:
    pytest.importorskip("flashlight.lib.text.decoder")
    units = ctc_units(["t", "u"], "phones")
    decoder = LexiconDecoder(units, {"tut": [("t", "u", "t")], "tutt": [("t", "u", "t", "t")]})
    said = {(1, 2, 1, 1): "tut", (1, 2, 1, 0, 1): "tutt", (1, 2, 1, 0, 1, 2, 1): "tut tut"}
    for path, text in said.items():
        assert decoder.decode(np.eye(3, dtype=np.float32)[list(path)] * 20)[0].text == text

"""What fairseq-generate prints of a hypothesis: words, or labels."""

import pytest

pytest.importorskip("fairseq")
from fairseq.data import Dictionary

from vqw2v_plugin.decoding.hypothesis import Hypothesis, Segment
from vqw2v_plugin.stores.labels import LabelError, Labels
from vqw2v_plugin.training.generator import Printer


def test_words_or_labels_are_printed() -> None:
    dictionary = Dictionary()
    for symbol in ("HH", "AY", "|"):
        dictionary.add_symbol(symbol)
    tokens = (Segment("HH", 0, 2, 0.5), Segment("AY", 2, 5, 1.0), Segment("|", 5, 6, 1.0))
    found = Hypothesis(tokens, (Segment("hi", 0, 5, 0.5),), -3.0, -3.0)
    labels, words = Printer(dictionary, "auto", "greedy"), Printer(dictionary, "auto", "lexicon")
    assert dictionary.string(labels.answer_of(found)["tokens"]) == "HH AY |"
    assert dictionary.string(words.answer_of(found)["tokens"]) == "hi"
    assert dictionary.string(words.target("hi there")) == "hi there"  # the dictionary grows
    assert dictionary.string(labels.target(("HH", "ZZ"))) == "HH <unk>"
    assert labels.answer_of(found)["positional_scores"].exp().tolist() == [0.5, 1.0, 1.0, 1.0]
    phones_alone = Labels(("u",), (("HH",),))
    words.choose(phones_alone)
    assert not words.words  # nothing to compare words with
    with pytest.raises(LabelError, match=r"no SPLIT\.wrd.*`--answer labels`"):
        Printer(dictionary, "words", "lexicon").choose(phones_alone)

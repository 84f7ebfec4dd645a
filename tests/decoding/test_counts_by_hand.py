"""Scores that decoders and `tune` add up, against sums done by hand."""

import math
from pathlib import Path

import pytest
from emissions import CTC, sure
from fake_emissions import SENTENCES, UNITS, fake_emissions

from vqw2v_plugin.decoding.beam import FreeDecoder, LexiconDecoder
from vqw2v_plugin.decoding.hypothesis import Hypothesis, TimedText
from vqw2v_plugin.decoding.paths import join, spell_path
from vqw2v_plugin.decoding.scoring import Judge
from vqw2v_plugin.decoding.settings import BeamSettings, Effort, Space, Weights
from vqw2v_plugin.decoding.trials import DevSet, Trials
from vqw2v_plugin.decoding.tuning import tune

LM = """\\data\\
ngram 1=5
ngram 2=1

\\1-grams:
-3.5	<unk>	0
-99	<s>	-0.25
-1.5	</s>	0
-0.5	a	-0.125
-1	cab	0

\\2-grams:
-0.1	a cab

\\end\\
"""


def test_a_word_that_the_language_model_lacks_costs_what_unknown_words_do(tmp_path: Path) -> None:
    pytest.importorskip("flashlight.lib.text.decoder.kenlm")
    (tmp_path / "lm.arpa").write_text(LM)
    words = {word: [tuple(word)] for word in ("a", "cab", "baa")}
    decoder = LexiconDecoder(
        CTC, words, str(tmp_path / "lm.arpa"), settings=BeamSettings(beam=50, lm_weight=1)
    )
    start, end, a, unknown = -0.25, -1.5, -0.5, -3.5
    for path, text, score in (
        ("baa|".replace("aa", "a_a"), "baa", start + unknown + end),
        ("a|ba_a|", "a baa", start + a + -0.125 + unknown + end),
        ("ba_a|a|", "baa a", start + unknown + a + -0.125 + end),
        ("a|cab|", "a cab", start + a + -0.1 + end),
    ):
        best = decoder.decode(sure(CTC, path))[0]
        assert best.text == text and best.lm_score == pytest.approx(score, abs=1e-4)


def test_a_word_s_confidence_is_the_geometric_mean_of_its_labels() -> None:
    labels = [TimedText("a", 3, 4, 0.5), TimedText("b", 4, 9, 0.125)]
    word = join("ab", labels)
    assert (word.begin, word.end) == (3, 9) and word.confidence == pytest.approx(0.25)
    assert join("ab", [labels[0], TimedText("b", 4, 5, 0.0)]).confidence == pytest.approx(math.sqrt(0.5e-12))


def test_a_label_s_confidence_is_the_mean_of_its_frames() -> None:
    import numpy as np

    a = CTC.symbols.index("a")
    probabilities = np.full((3, len(CTC)), 0.01, np.float32)
    probabilities[:, a] = 0.2, 0.4, 0.9
    assert spell_path([a, a, a], CTC, probabilities)[0].confidence == pytest.approx(0.5)


def hypothesis(text: str, share: float) -> Hypothesis:
    return Hypothesis((), (TimedText(text, 0, 1, 1.0),), math.log(share), math.log(share))


@pytest.mark.parametrize(
    ("log_add", "found"), [(True, [("b", 0.5), ("a", 0.4)]), (False, [("a", 0.4), ("b", 0.3)])]
)
def test_endings_of_one_text_are_added_or_the_best_is_taken(
    log_add: bool, found: list[tuple[str, float]]
) -> None:
    pytest.importorskip("flashlight.lib.text.decoder")
    decoder = FreeDecoder(CTC, settings=BeamSettings(log_add=log_add, nbest=2))
    said = decoder._distinct(hypothesis(*each) for each in (("a", 0.4), ("b", 0.3), ("b", 0.2)))
    assert [(each.text, pytest.approx(math.exp(each.score))) for each in said[:2]] == found


class Alike:
    """A decoder of which all weights find the same."""

    def with_settings(self, **changes: float) -> "Alike":
        return self

    def decode(self, emissions: object) -> list[Hypothesis]:
        return [hypothesis("the", 0.5)]


class Sharp(Alike):
    """A decoder that finds something under one point's weights alone."""

    def __init__(self, best: Weights, now: Weights | None = None) -> None:
        self.best, self.now = best, now

    def with_settings(self, **changes: float) -> "Sharp":
        return Sharp(self.best, Weights(*(changes[name] for name in Weights._fields)))

    def decode(self, emissions: object) -> list[Hypothesis]:
        return [hypothesis("the" if self.now == self.best else "no word of theirs at all", 0.5)]


def trials(keep: int = 3, decoder: Alike | None = None) -> Trials:
    dev = DevSet(lambda i: fake_emissions(SENTENCES[i], UNITS), SENTENCES)
    return Trials(decoder or Alike(), dev, Judge(), keep=keep)  # type: ignore[arg-type]


def test_of_equal_points_the_first_that_was_asked_for_is_the_best() -> None:
    points = [Weights(float(n), 0.0, 0.0) for n in (4, 2, 9, 1)]
    with trials() as made:
        made.run(points[:2], "some")
        made.run(points[1:], "more")
        assert [weights for weights, _ in made.best()] == points[:3]
    with trials(keep=1) as made:
        made.run(points, "all")  # as many errors as the best is not more
        assert not made.given_up and set(made.scores) == set(points) and made.best()[0][0] == points[0]


def test_a_step_that_is_no_better_is_not_taken_but_halved() -> None:
    said: list[tuple[str, Weights]] = []
    start = Weights(3.21, 0.5, -0.5)
    with trials(decoder=Sharp(start)) as made:
        best = tune(made, Space(), start, Effort(4, 50), lambda what, point, _: said.append((what, point)))
    assert best[0][0] == start and {point for _, point in said} == {start}
    assert len(said) == 2 + 7  # 10/6 halved seven times is below 0.02


def test_it_stops_where_the_weights_change_nothing() -> None:
    said: list[str] = []
    with trials() as made:
        tune(made, Space(), Weights(3.21, 0.5, -0.5), Effort(4, 50), lambda what, *_: said.append(what))
        assert len(made.scores) == 5  # no round was begun
    assert said == ["the start", "4 points", "nothing changes with the weights"]
    said.clear()
    with trials() as made:
        tune(made, Space(), Weights(3.21, 0.5, -0.5), Effort(0, 50), lambda what, *_: said.append(what))
    assert said == ["the start", "0 points", "round 1: nothing changes any more"]

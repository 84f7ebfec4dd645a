"""Greedy and beam: the same text where they must agree, times inside the utterance."""

import builtins
import itertools
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emissions import CTC, WORDS, noise, sure

from vqw2v_plugin.decoding.beam import FreeDecoder, LexiconDecoder
from vqw2v_plugin.decoding.decoder import make_decoder
from vqw2v_plugin.decoding.greedy import GreedyDecoder
from vqw2v_plugin.decoding.hypothesis import Decoder, DecoderPool, Hypothesis
from vqw2v_plugin.decoding.settings import PART_SECONDS, BeamSettings, DecoderSettings, Effort, Space
from vqw2v_plugin.stack import StackError
from vqw2v_plugin.text.units import Units, asg_units, ctc_units

ASG = asg_units(["|", *"ab"], num_repeats=1)
ASG_WORDS = {word: [tuple(word)] for word in ("a", "ab", "baa")}


@pytest.fixture(params=["greedy-ctc", "greedy-asg", "free-ctc", "free-asg", "lexicon-ctc", "lexicon-asg"])
def decoder(request: pytest.FixtureRequest) -> Decoder:
    kind, criterion = request.param.split("-")
    units = CTC if criterion == "ctc" else ASG
    transitions = None if criterion == "ctc" else noise(len(units), len(units), seed=9)
    if kind == "greedy":
        return GreedyDecoder(units, transitions)
    pytest.importorskip("flashlight.lib.text.decoder")
    words = WORDS if criterion == "ctc" else ASG_WORDS
    return searching(kind, units, words, transitions, BeamSettings(beam=20, nbest=3))


def searching(
    kind: str, units: Units, spelled: Any, transitions: np.ndarray | None, settings: BeamSettings
) -> Decoder:
    """The free search, or the one that spells words."""
    if kind == "free":
        return FreeDecoder(units, None, transitions, settings)
    return LexiconDecoder(units, spelled, None, transitions, settings)


def emissions_for(decoder: Decoder, frames: int, seed: int = 0) -> np.ndarray:
    return noise(frames, len(decoder.units), seed)


def test_a_column_that_cannot_be_at_a_frame_is_no_fault_and_a_frame_of_none_is(decoder: Decoder) -> None:
    emissions = emissions_for(decoder, 30)
    emissions[7, 1] = -np.inf
    assert decoder.decode(emissions)
    emissions[8] = -np.inf
    with pytest.raises(ValueError, match="`emissions` of frame 8 are no numbers"):
        decoder.decode(emissions)


@pytest.mark.parametrize("seed", range(8))
def test_times_are_in_order_and_inside_and_confidences_are_shares(decoder: Decoder, seed: int) -> None:
    found = decoder.decode(emissions_for(decoder, 30, seed))
    assert found
    for hypothesis in found:
        for row in (hypothesis.tokens, hypothesis.words):
            times = [time for s in row for time in (s.begin, s.end)]
            assert all(0 <= s.begin < s.end <= 30 and 0 < s.confidence <= 1 for s in row)
            assert times == sorted(times)
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
    assert len({h.text for h in found}) == len(found)


def test_an_utterance_without_frames_says_nothing(decoder: Decoder) -> None:
    assert decoder.decode(emissions_for(decoder, 0)) == [Hypothesis((), (), 0.0, 0.0)]


def test_other_utterances_and_other_processes_change_nothing(decoder: Decoder) -> None:
    utterances = [emissions_for(decoder, frames, frames) for frames in (12, 1, 30)]
    padded = np.pad(utterances[0], ((0, 9), (0, 0)), constant_values=7.0)
    alone = [decoder.decode(e) for e in utterances]
    assert DecoderPool(decoder).decode(utterances) == alone
    with DecoderPool(decoder, workers=2) as pool:
        assert pool.decode(utterances[::-1]) == alone[::-1]
        assert pool.decode(utterances[:1]) == alone[:1]
    assert decoder.decode(padded[:12]) == alone[0]


def test_wrong_shapes_and_broken_numbers_are_refused(decoder: Decoder) -> None:
    with pytest.raises(ValueError, match=r"expected \[frames, \d+\]"):
        decoder.decode(np.zeros((3, 99), np.float32))
    broken = emissions_for(decoder, 5)
    for value in (np.nan, np.inf):
        broken[3, 0] = value
        with pytest.raises(ValueError, match="frame 3"):
            decoder.decode(broken)
    with pytest.raises(ValueError, match=r"`emissions` are \[2, \d+, 3\]; expected \[frames, \d+\]"):
        decoder.decode(np.zeros((2, len(emissions_for(decoder, 1)[0]), 3), np.float32))


@pytest.mark.parametrize("seed", range(10))
def test_a_beam_of_one_without_lm_is_greedy_for_ctc(seed: int) -> None:
    pytest.importorskip("flashlight.lib.text.decoder")
    emissions = noise(25, len(CTC), seed)
    greedy = GreedyDecoder(CTC).decode(emissions)[0]
    beam = FreeDecoder(CTC, settings=BeamSettings(beam=1, beam_threshold=1e9)).decode(emissions)[0]
    assert beam.tokens == greedy.tokens and beam.words == greedy.words
    assert beam.score == pytest.approx(greedy.score, abs=1e-3)


@pytest.mark.parametrize("seed", range(10))
def test_a_full_beam_without_lm_is_greedy_for_asg(seed: int) -> None:
    pytest.importorskip("flashlight.lib.text.decoder")
    emissions, transitions = noise(5, len(ASG), seed), noise(len(ASG), len(ASG), 50 + seed)
    greedy = GreedyDecoder(ASG, transitions).decode(emissions)[0]
    settings = BeamSettings(beam=len(ASG) ** 5, beam_threshold=1e9)
    beam = FreeDecoder(ASG, None, transitions, settings).decode(emissions)[0]
    assert beam.text == greedy.text
    assert beam.score == pytest.approx(greedy.score, abs=1e-3)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", ["with-boundary", "without"])
def test_a_full_beam_over_a_lexicon_finds_the_best_of_all_asg_s_paths(kind: str, seed: int) -> None:
    pytest.importorskip("flashlight.lib.text.decoder")
    end = "|" if kind == "with-boundary" else ""
    units = asg_units([*end, *"ab"], "letters", num_repeats=1)
    frames, size = 6, len(units)
    emissions, steps = noise(frames, size, seed), noise(size, size, 70 + seed)
    spelled = {word: [tuple(word)] for word in ("ab", "baa", "b")}
    packed = ["ab" + end, "ba1" + end, "b" + end]
    best = -math.inf
    for path in itertools.product(range(size), repeat=frames):
        said = "".join(units.symbols[c] for c, _ in itertools.groupby(path))
        if can_be_split(said.removeprefix("|") if end else said, packed):
            score = emissions[range(frames), path].sum() + steps[path[1:], path[:-1]].sum()
            best = max(best, float(score))
    settings = BeamSettings(beam=10000, beam_threshold=1e9)
    found = LexiconDecoder(units, spelled, None, steps, settings).decode(emissions)[0]
    assert found.score == pytest.approx(best, abs=1e-3)
    assert found.text and set(found.text.split()) <= set(spelled)


def can_be_split(text: str, words: list[str]) -> bool:
    return not text or any(text.startswith(w) and can_be_split(text[len(w) :], words) for w in words)


def test_the_silence_score_counts_frames_of_silence() -> None:
    pytest.importorskip("flashlight.lib.text.decoder")
    emissions = sure(ASG, "|a||b|")
    scores = []
    for sil_score in (0.0, 0.5):
        settings = BeamSettings(beam=200, beam_threshold=1e9, sil_score=sil_score)
        scores.append(FreeDecoder(ASG, None, np.zeros((4, 4)), settings).decode(emissions)[0].score)
    assert scores[1] - scores[0] == pytest.approx(4 * 0.5)


def test_adding_paths_gives_the_probability_of_the_text() -> None:
    pytest.importorskip("flashlight.lib.text.decoder")
    units = ctc_units(["a", "b"], "phones")
    emissions = noise(5, 3, 3)
    shares = np.exp(emissions) / np.exp(emissions).sum(1, keepdims=True)
    totals: dict[str, float] = defaultdict(float)
    for path in itertools.product(range(3), repeat=5):
        said = " ".join(units.symbols[c] for c, _ in itertools.groupby(path) if c)
        totals[said] += float(np.prod(shares[range(5), path]))
    settings = BeamSettings(beam=1000, beam_threshold=1e9, log_add=True, nbest=5)
    for hypothesis in FreeDecoder(units, settings=settings).decode(emissions):
        assert math.exp(hypothesis.score) == pytest.approx(totals[hypothesis.text], rel=1e-4)


def test_a_path_becomes_words_with_times_and_confidences() -> None:
    best = GreedyDecoder(CTC).decode(sure(CTC, "__a_b|_ccaab__"))[0]
    assert [(w.text, w.begin, w.end) for w in best.words] == [("ab", 0, 4), ("cab", 4, 11)]
    assert "".join(best.labels) == "ab|cab"
    assert all(word.confidence > 0.99 for word in best.words)
    again = GreedyDecoder(ASG, np.zeros((4, 4))).decode(sure(ASG, "||bbaa11|a|"))[0]
    assert [(w.text, w.begin, w.end) for w in again.words] == [("baa", 2, 8), ("a", 9, 10)]


def test_asg_s_confidences_hear_the_transitions() -> None:
    flat = np.zeros((3, len(ASG)), np.float32)
    steps = np.full((len(ASG), len(ASG)), -20.0, np.float32)
    steps[1, 1] = 0.0  # only a after a
    assert GreedyDecoder(ASG, steps).decode(flat)[0].words[0].confidence > 0.99
    undecided = GreedyDecoder(ASG, np.zeros_like(steps)).decode(flat)[0].tokens[0]
    assert undecided.confidence == pytest.approx(1 / len(ASG), abs=1e-5)


def test_a_lexicon_keeps_to_its_words_and_the_last_needs_no_boundary() -> None:
    pytest.importorskip("flashlight.lib.text.decoder")
    decoder = LexiconDecoder(CTC, WORDS, settings=BeamSettings(beam=50))
    best = decoder.decode(sure(CTC, "cb_b|_cab"))[0]  # `cbb` is no word
    assert best.text.split()[-1] == "cab" and set(best.text.split()) <= set(WORDS)
    assert (best.words[-1].begin, best.words[-1].end) == (4, 8)


def test_repeated_letters_are_found_through_repetition_symbols() -> None:
    pytest.importorskip("flashlight.lib.text.decoder")
    decoder = LexiconDecoder(ASG, ASG_WORDS, None, np.zeros((4, 4)), BeamSettings(beam=50))
    assert decoder.decode(sure(ASG, "|bba1|a|"))[0].text == "baa a"


def test_weights_change_without_building_anew() -> None:
    pytest.importorskip("flashlight.lib.text.decoder")
    emissions = noise(40, len(CTC), 4)
    one = LexiconDecoder(CTC, WORDS, settings=BeamSettings(beam=50))
    few = one.decode(emissions)[0]
    many = one.with_settings(word_score=8.0)
    fresh = LexiconDecoder(CTC, WORDS, settings=BeamSettings(beam=50, word_score=8.0))
    assert many.decode(emissions) == fresh.decode(emissions)
    assert len(many.decode(emissions)[0].words) > len(few.words)
    assert one.decode(emissions)[0] == few


def test_without_the_extra_greedy_works_and_the_beam_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import_module = builtins.__import__

    def refuse(name: str, *rest: object) -> object:
        if name.startswith(("flashlight", "kenlm")):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return import_module(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert make_decoder(DecoderSettings(), CTC).decode(sure(CTC, "a_b"))[0].text == "ab"
    with pytest.raises(StackError, match=r"pip install 'vqw2v_plugin\[decode\]'"):
        make_decoder(DecoderSettings("free"), CTC)


def test_settings_are_checked_together() -> None:
    for settings, message in (
        ({"decoder": "best"}, "expected one of greedy, lexicon, free"),
        ({"decoder": "lexicon"}, "names no file"),
        ({"decoder": "free", "lexicon": "x"}, "no use to the decoder 'free'"),
        ({"lm": "x"}, "no use to the decoder 'greedy'"),
    ):
        with pytest.raises(ValueError, match=message):
            DecoderSettings(**settings)
    for broken in ({"beam": 0}, {"nbest": 0}, {"beam_threshold": 0.0}, {"lm_weight": math.nan}):
        with pytest.raises(ValueError, match=next(iter(broken))):
            BeamSettings(**broken)
    with pytest.raises(ValueError, match="transitions"):
        GreedyDecoder(ASG)
    with pytest.raises(ValueError, match="CTC model, which has none"):
        GreedyDecoder(CTC, np.zeros((5, 5)))
    for shape in ((4, 5), (5, 4)):
        with pytest.raises(ValueError, match=r"expected \[4, 4\]"):
            GreedyDecoder(ASG, np.zeros(shape))


@pytest.mark.parametrize("nbest", [1, 4])
@pytest.mark.parametrize("seed", range(4))
def test_added_paths_are_all_of_a_text_and_the_likeliest_text_is_first(nbest: int, seed: int) -> None:
    """`a` and `a|` are one text, so flashlight adds their paths up apart."""
    pytest.importorskip("flashlight.lib.text.decoder")
    units = ctc_units(["|", "a"])
    emissions = noise(5, 3, seed) / 4
    shares = np.exp(emissions) / np.exp(emissions).sum(1, keepdims=True)
    totals: dict[str, float] = defaultdict(float)
    for path in itertools.product(range(3), repeat=5):
        text = " ".join(units.words(units.decode(column for column, _ in itertools.groupby(path))))
        totals[text] += float(np.prod(shares[range(5), path]))
    best = sorted(totals.items(), key=lambda item: -item[1])[:nbest]
    settings = BeamSettings(beam=1000, beam_threshold=1e9, log_add=True, nbest=nbest)
    found = FreeDecoder(units, settings=settings).decode(emissions)
    assert [h.text for h in found] == [text for text, _ in best]
    assert [math.exp(h.score) for h in found] == pytest.approx([total for _, total in best], rel=1e-4)


@pytest.mark.parametrize("narrow", [{"beam": 1}, {"beam_threshold": 0.5}, {"beam_tokens": 1}])
def test_a_narrow_search_loses_what_begins_as_the_second_best(narrow: dict[str, float]) -> None:
    pytest.importorskip("flashlight.lib.text.decoder")
    units = ctc_units(list("abcd"), "phones")
    emissions = np.full((2, 5), -20.0, np.float32)
    emissions[0, [1, 3]] = 1.0, 0.0  # a, a little before c
    emissions[1, [2, 4]] = 0.0, 9.0  # d, far before b
    words = {"AB": [("a", "b")], "CD": [("c", "d")]}
    assert LexiconDecoder(units, words).decode(emissions)[0].text == "CD"
    assert LexiconDecoder(units, words, settings=BeamSettings(**narrow)).decode(emissions)[0].text != "CD"


def test_one_label_tried_a_frame_is_the_best_one_held_on_too() -> None:
    pytest.importorskip("flashlight.lib.text.decoder")
    steps = np.zeros((4, 4), np.float32)
    settings = BeamSettings(beam=50, beam_tokens=1)
    free = FreeDecoder(ASG, None, steps, settings).decode(sure(ASG, "||baab|aa"))[0]
    assert free.labels == list("|bab|a")
    phones = asg_units(["a", "b"], "phones", num_repeats=1)
    words = LexiconDecoder(phones, {"ab": [("a", "b")]}, None, np.zeros((3, 3), np.float32), settings)
    assert words.decode(sure(phones, "aabbab"))[0].text == "ab ab"


def test_decoding_leaves_the_emissions_as_they_are(decoder: Decoder) -> None:
    emissions = emissions_for(decoder, 20)
    before = emissions.copy()
    if not isinstance(decoder, GreedyDecoder):
        decoder = decoder.with_settings(sil_score=1.5, word_score=0.5)
    assert decoder.decode(emissions) == decoder.decode(emissions)
    assert (emissions == before).all()


def test_labels_without_a_lexicon_have_no_word_score() -> None:
    pytest.importorskip("flashlight.lib.text.decoder")
    for units, steps in ((CTC, None), (ASG, noise(4, 4, 1))):
        emissions = noise(20, len(units), 2)
        found = [FreeDecoder(units, None, steps, BeamSettings(word_score=s)) for s in (0.0, 5.0)]
        assert found[0].decode(emissions) == found[1].decode(emissions)


def test_a_piece_that_looks_like_a_boundary_is_not_put_between_a_lexicon_s_words() -> None:
    pytest.importorskip("flashlight.lib.text.decoder")
    units = ctc_units(["|", "▁a", "b"], "pieces")
    decoder = LexiconDecoder(units, {"ab": [("▁a", "b")]})
    columns = [units.symbols.index(s) for s in ["▁a", "b", "|", "|", "▁a", "b"]]
    emissions = np.eye(4, dtype=np.float32)[columns] * 20
    emissions[2:4, 0] = 10  # the blank, behind `|`
    best = decoder.decode(emissions)[0]
    assert best.text == "ab ab" and best.labels == ["▁a", "b", "▁a", "b"]


def test_silence_between_a_lexicon_s_words_is_of_neither() -> None:
    pytest.importorskip("flashlight.lib.text.decoder")
    units = ctc_units(["a", "b", "sil"], "phones")
    columns = [units.symbols.index(s) for s in ["sil", "a", "b", "sil", "sil", "a", "b", "sil"]]
    best = LexiconDecoder(units, {"ab": [("a", "b")]}).decode(np.eye(4, dtype=np.float32)[columns] * 20)[0]
    assert [(w.text, w.begin, w.end) for w in best.words] == [("ab", 1, 2), ("ab", 5, 6)]


def test_what_a_decoder_was_told_is_told_without_what_it_has_no_use_for() -> None:
    assert DecoderSettings().told() == "decoder greedy"
    free = DecoderSettings("free", lm="/a b.arpa", beam=BeamSettings(beam=50, word_score=-1.5))
    assert free.told().startswith("decoder free, lm /a b.arpa, beam 50, ")
    assert "word_score -1.5" in free.told() and "lexicon" not in free.told()


def test_what_settings_and_model_say_reaches_each_decoder(tmp_path: Path) -> None:
    pytest.importorskip("flashlight.lib.text.decoder")
    (tmp_path / "words").write_text("ab a b\n")
    steps, beam = noise(len(ASG), len(ASG), 3), BeamSettings(beam=7, sil_score=0.5)
    for name, lexicon in (("greedy", None), ("free", None), ("lexicon", str(tmp_path / "words"))):
        settings = DecoderSettings(name, lexicon, beam=beam)
        made = make_decoder(settings, ASG, steps, 0.02)
        assert made.frame_seconds == 0.02 and np.array_equal(made.transitions, steps)  # type: ignore[attr-defined]
        assert name == "greedy" or made.settings is beam  # type: ignore[attr-defined]
        if name != "greedy":
            with pytest.raises(ValueError, match=r"none\.arpa: no such file"):
                make_decoder(DecoderSettings(name, lexicon, str(tmp_path / "none.arpa")), ASG, steps)


@pytest.mark.parametrize(("kind", "units"), [("free", CTC), ("lexicon", CTC), ("lexicon", ASG)])
def test_the_silence_score_is_heard_by_every_search(kind: str, units: Units) -> None:
    pytest.importorskip("flashlight.lib.text.decoder")
    steps = None if units is CTC else np.zeros((4, 4), np.float32)
    scores = []
    for sil_score in (0.0, 0.25):
        settings = BeamSettings(beam=50, sil_score=sil_score)
        decoder = searching(kind, units, {"a": [("a",)]}, steps, settings)
        best = decoder.decode(sure(units, "a|||a|"))[0]
        assert best.text == "a a"
        scores.append(best.score)
    assert scores[1] - scores[0] >= 4 * 0.25 - 1e-4


@pytest.mark.parametrize("kind", ["free", "lexicon"])
def test_where_nothing_is_silence_no_label_gets_its_score(kind: str) -> None:
    pytest.importorskip("flashlight.lib.text.decoder")
    units = asg_units(["a", "b"], "letters", num_repeats=1)
    assert units.silence < 0
    emissions, steps = noise(12, 3, 4), noise(3, 3, 5)
    found = []
    for sil_score in (0.0, 3.0):
        settings = BeamSettings(beam=100, sil_score=sil_score)
        decoder = searching(kind, units, {"ab": [("a", "b")], "b": [("b",)]}, steps, settings)
        found.append(decoder.decode(emissions))
    assert found[0] == found[1]


@pytest.mark.parametrize("kind", ["free", "lexicon"])
def test_with_a_blank_as_many_labels_are_tried_a_frame_as_were_asked_for(kind: str) -> None:
    """Of two the third best is none, though the lexicon's only word, or the other frames, want it."""
    pytest.importorskip("flashlight.lib.text.decoder")
    emissions = np.full((2, len(CTC)), -20.0, np.float32)
    emissions[0, [2, 3, 4]] = 1.0, 0.5, 0.4
    emissions[1, CTC.symbols.index("|")] = 1.0
    for tokens, found in ((2, False), (3, True)):
        settings = BeamSettings(beam=50, beam_tokens=tokens, nbest=20)
        decoder = searching(kind, CTC, {name: [(name,)] for name in "abc"}, None, settings)
        third = CTC.symbols[4]
        assert any(third in answer.text for answer in decoder.decode(emissions)) == found


def test_who_says_nothing_gets_the_settings_that_the_pages_name() -> None:
    assert BeamSettings() == BeamSettings(500, 50.0, None, 2.0, 0.0, 0.0, False, 1)
    assert (Effort(), Effort().points) == (Effort(32, 10, 5, 1), 32)
    assert [(each.low, each.high) for each in Space().ranges] == [(0, 5), (-4, 6), (-2, 2)]
    assert DecoderSettings().decoder == "greedy" and PART_SECONDS == 60
    for beyond in ({"beam": 1_000_001}, {"nbest": 1_000_001}, {"beam_tokens": 0}):
        with pytest.raises(ValueError, match="expected 1 to 1,000,000"):
            BeamSettings(**beyond)  # type: ignore[arg-type]
    BeamSettings(beam=1_000_000)
    with pytest.raises(ValueError, match="`workers` is 0; expected 1 or more"):
        DecoderPool(GreedyDecoder(CTC), workers=0)

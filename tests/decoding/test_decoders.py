"""Greedy and beam: the same text where they must agree, times inside the utterance, peers' answers."""

import builtins
import itertools
import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from peers import peer_folder, peer_vectors, read_matrix

from vqw2v_plugin.decoding.arpa import write_arpa
from vqw2v_plugin.decoding.beam import BeamSettings, FreeDecoder, LexiconDecoder
from vqw2v_plugin.decoding.decoder import DecoderSettings, make_decoder
from vqw2v_plugin.decoding.errors import Errors, count_errors
from vqw2v_plugin.decoding.greedy import GreedyDecoder
from vqw2v_plugin.decoding.hypothesis import Decoder, DecoderPool, Hypothesis
from vqw2v_plugin.decoding.lexicon import read_lexicon
from vqw2v_plugin.decoding.ngram import train_ngram
from vqw2v_plugin.decoding.ngram_counts import read_text
from vqw2v_plugin.decoding.units import BLANK, Units, asg_units, ctc_units
from vqw2v_plugin.stack import StackError

CTC = ctc_units(["|", *"abc"])
ASG = asg_units(["|", *"ab"], num_repeats=1)
WORDS = {word: [tuple(word)] for word in ("a", "ab", "cab", "baa")}
ASG_WORDS = {word: [tuple(word)] for word in ("a", "ab", "baa")}


@pytest.fixture(params=["greedy-ctc", "greedy-asg", "free-ctc", "free-asg", "lexicon-ctc", "lexicon-asg"])
def decoder(request: pytest.FixtureRequest) -> Decoder:
    kind, criterion = request.param.split("-")
    units = CTC if criterion == "ctc" else ASG
    transitions = None if criterion == "ctc" else noise(len(units), len(units), seed=9)
    if kind == "greedy":
        return GreedyDecoder(units, transitions)
    pytest.importorskip("flashlight.lib.text.decoder")
    settings = BeamSettings(beam=20, nbest=3)
    if kind == "free":
        return FreeDecoder(units, None, transitions, settings)
    return LexiconDecoder(units, WORDS if criterion == "ctc" else ASG_WORDS, None, transitions, settings)


def noise(frames: int, columns: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(frames, columns)).astype(np.float32) * 2


def emissions_for(decoder: Decoder, frames: int, seed: int = 0) -> np.ndarray:
    return noise(frames, len(decoder.units), seed)


def sure(units: Units, path: str) -> np.ndarray:
    """[T, V] that says this path, `_` for the blank."""
    columns = [units.symbols.index(BLANK if symbol == "_" else symbol) for symbol in path]
    return np.eye(len(units), dtype=np.float32)[columns] * 20


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
    assert [(w.text, w.begin, w.end) for w in best.words] == [("ab", 2, 5), ("cab", 7, 12)]
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
    assert (best.words[-1].begin, best.words[-1].end) == (6, 9)


def test_repeated_letters_are_found_through_repetition_symbols() -> None:
    pytest.importorskip("flashlight.lib.text.decoder")
    decoder = LexiconDecoder(ASG, ASG_WORDS, None, np.zeros((4, 4)), BeamSettings(beam=50))
    assert decoder.decode(sure(ASG, "|bba1|a|"))[0].text == "baa a"


def test_pieces_and_phones_decode_through_a_lexicon_without_boundaries() -> None:
    pytest.importorskip("flashlight.lib.text.decoder")
    units = ctc_units(["▁c", "▁", "a", "b"], "pieces")
    lexicon = {"cab": [("▁c", "a", "b")], "ab": [("▁", "a", "b")]}
    columns = [units.symbols.index(s) for s in ["▁c", "a", "b", "▁", "a", "b", "b"]]
    best = LexiconDecoder(units, lexicon).decode(np.eye(5, dtype=np.float32)[columns] * 20)[0]
    assert [(w.text, w.begin, w.end) for w in best.words] == [("cab", 0, 3), ("ab", 3, 7)]


def test_weights_change_without_building_anew() -> None:
    pytest.importorskip("flashlight.lib.text.decoder")
    emissions = noise(40, len(CTC), 4)
    one = LexiconDecoder(CTC, WORDS, settings=BeamSettings(beam=50))
    many = one.with_settings(word_score=8.0)
    fresh = LexiconDecoder(CTC, WORDS, settings=BeamSettings(beam=50, word_score=8.0))
    assert many.decode(emissions) == fresh.decode(emissions)
    assert len(many.decode(emissions)[0].words) > len(one.decode(emissions)[0].words)


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


def test_a_language_model_of_other_words_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("flashlight.lib.text.decoder.kenlm")
    (tmp_path / "lm.arpa").write_text(LM)
    with pytest.raises(ValueError, match="knows none of the lexicon's 1 words"):
        LexiconDecoder(CTC, {"BAB": [("b", "a", "b")]}, str(tmp_path / "lm.arpa"))
    with pytest.raises(ValueError, match=r"knows no \|, b, c; expected a model of labels"):
        FreeDecoder(CTC, str(tmp_path / "lm.arpa"))
    with pytest.raises(ValueError, match="no such file"):
        FreeDecoder(CTC, str(tmp_path / "none.arpa"))
    (tmp_path / "bad.arpa").write_text("nothing")
    with pytest.raises(ValueError, match="KenLM cannot read it"):
        FreeDecoder(CTC, str(tmp_path / "bad.arpa"))


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


def test_flashlight_s_own_asg_case() -> None:
    pytest.importorskip("flashlight.lib.text.decoder.kenlm")
    folder, case = peer_folder() / "flashlight_text", peer_vectors("flashlight_asg_lexicon")
    frames, columns = (int(n) for n in np.fromfile(folder / "TN.bin", np.int32))
    letters = (folder / "letters.lst").read_text().split()
    settings = BeamSettings(2500, 100, lm_weight=2, word_score=2, sil_score=-1, nbest=case["n_hyps"])
    decoder = LexiconDecoder(
        asg_units(letters, num_repeats=1),
        read_lexicon(folder / "words.lst"),
        str(folder / "lm.arpa"),
        np.fromfile(folder / "transition.bin", np.float32).reshape(columns, columns),
        settings,
    )
    found = decoder.decode(np.fromfile(folder / "emission.bin", np.float32).reshape(frames, columns))
    assert len(found) == case["n_hyps"]
    assert [h.score for h in found[:5]] == pytest.approx(case["hyp_scores"], abs=1e-3)


def test_ctc_of_real_lines_and_words() -> None:
    case = peer_vectors("ctc_real_matrices")
    units = Units((*case["chars"].replace(" ", "|"), BLANK), blank=len(case["chars"]))
    line, word = read_matrix("ctcdecoder_line"), read_matrix("ctcdecoder_word")
    greedy = GreedyDecoder(units)
    assert greedy.decode(line)[0].text == case["line_best_path"]
    assert greedy.decode(word)[0].text == case["word_best_path"]
    pytest.importorskip("flashlight.lib.text.decoder")
    beam = FreeDecoder(units, settings=BeamSettings(beam=25, log_add=True))
    assert beam.decode(line)[0].text == case["line_beam"]
    corpus = (peer_folder() / "ctcdecoder_word" / "corpus.txt").read_text().split()
    words = {word: [tuple(word)] for word in corpus if set(word) <= set(case["chars"])}
    assert LexiconDecoder(units, words).decode(word)[0].text == case["word_lexicon_search"]


def test_ctc_of_small_tables() -> None:
    case, small = peer_vectors("ctc_beam_parlance"), peer_vectors("ctc_small")["cases"][1]
    symbols = [BLANK if s == "_" else "|" if s == " " else s for s in case["vocab"]]
    greedy = GreedyDecoder(Units(tuple(symbols), blank=case["blank"]))
    tables = [np.log(np.array(case[name], np.float32)) for name in ("probs_seq1", "probs_seq2")]
    assert ["".join(greedy.decode(table)[0].labels) for table in tables] == case["greedy"]
    units = Units((*small["chars"], BLANK), blank=small["blank"])
    table = np.log(np.maximum(np.array(small["probs"], np.float32), 1e-30))
    assert GreedyDecoder(units).decode(table)[0].text == small["best_path"]
    pytest.importorskip("flashlight.lib.text.decoder")
    # The other table's most probable text is not what its peer finds (by summing all paths: `acb`).
    beam = FreeDecoder(greedy.units, settings=BeamSettings(beam=20, log_add=True))
    assert "".join(beam.decode(tables[1])[0].labels) == case["beam_no_lm"][1]
    best = FreeDecoder(units, settings=BeamSettings(log_add=True)).decode(table)[0]
    assert best.text == small["beam"] and math.exp(best.score) == pytest.approx(small["prob"])

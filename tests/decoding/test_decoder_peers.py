"""Our decoders on the cases that peers publish with their tests."""

import math

import numpy as np
import pytest
from peers import peer_folder, peer_vectors, read_matrix

from vqw2v_plugin.decoding.beam import FreeDecoder, LexiconDecoder
from vqw2v_plugin.decoding.greedy import GreedyDecoder
from vqw2v_plugin.decoding.settings import BeamSettings
from vqw2v_plugin.text.lexicon import read_lexicon
from vqw2v_plugin.text.loss_kinds import LOSS_KINDS
from vqw2v_plugin.text.units import BLANK, Units, asg_units


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
    units = Units((*case["chars"].replace(" ", "|"), BLANK), blank=len(case["chars"]), loss=LOSS_KINDS["ctc"])
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
    greedy = GreedyDecoder(Units(tuple(symbols), blank=case["blank"], loss=LOSS_KINDS["ctc"]))
    tables = [np.log(np.array(case[name], np.float32)) for name in ("probs_seq1", "probs_seq2")]
    assert ["".join(greedy.decode(table)[0].labels) for table in tables] == case["greedy"]
    units = Units((*small["chars"], BLANK), blank=small["blank"], loss=LOSS_KINDS["ctc"])
    table = np.log(np.maximum(np.array(small["probs"], np.float32), 1e-30))
    assert GreedyDecoder(units).decode(table)[0].text == small["best_path"]
    pytest.importorskip("flashlight.lib.text.decoder")
    # The other table's most probable text is not what its peer finds (by summing all paths: `acb`).
    beam = FreeDecoder(greedy.units, settings=BeamSettings(beam=20, log_add=True))
    assert "".join(beam.decode(tables[1])[0].labels) == case["beam_no_lm"][1]
    best = FreeDecoder(units, settings=BeamSettings(log_add=True)).decode(table)[0]
    assert best.text == small["beam"] and math.exp(best.score) == pytest.approx(small["prob"])

"""What fairseq-generate prints of a hypothesis, words or labels, and what its files are when it fails."""

import json
import os
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("fairseq")
from fairseq.data import Dictionary

from vqw2v_plugin.decoding.hypothesis import Hypothesis, TimedText
from vqw2v_plugin.decoding.settings import BeamSettings, DecoderSettings
from vqw2v_plugin.stores.emissions import read_emissions
from vqw2v_plugin.stores.labels import LabelError, Labels
from vqw2v_plugin.text.units import asg_units, ctc_units
from vqw2v_plugin.training.generator import AcousticGenerator, AnswerDictionary, _drop, decoder_settings

UNITS = ctc_units(["|", "a", "b"])


class Model(torch.nn.Module):
    """Emissions without a network; it fails at the batch `fails_at`."""

    units, frame_seconds, network = UNITS, 0.01, SimpleNamespace(transitions=None)

    def __init__(self, fails_at: int | None = None) -> None:
        super().__init__()
        self.fails_at, self.calls = fails_at, 0

    def forward(self, source: torch.Tensor) -> SimpleNamespace:
        if self.calls == self.fails_at:
            raise RuntimeError("out of memory")
        self.calls += 1
        lengths = torch.full((len(source),), source.size(1))
        return SimpleNamespace(emissions=torch.randn(len(source), source.size(1), 4), lengths=lengths)


def generator(folder: Path, model: Model, num_utterances: int, decode_workers: int = 1) -> AcousticGenerator:
    names = ("lexicon", "lm", "beam_tokens", "weights")
    cfg = SimpleNamespace(decoder="greedy", decode_workers=decode_workers, gen_subset="test")
    vars(cfg).update(dict.fromkeys(names))
    cfg.results_path, cfg.emissions = str(folder / "results"), str(folder / "emissions")
    cfg.beam_threshold, cfg.word_score, cfg.sil_score, cfg.log_add = 50.0, 0.0, 0.0, False
    generation = SimpleNamespace(beam=5, nbest=1, lm_weight=2.0)
    answers = AnswerDictionary(Dictionary(), "auto", "greedy")
    return AcousticGenerator([model], cfg, generation, num_utterances, answers)


def batch(first: int, number: int = 2) -> dict[str, Any]:
    ids = list(range(first, first + number))
    source = {"source": torch.zeros(number, 7)}
    return {"id": torch.tensor(ids), "utts": [f"u{i}" for i in ids], "net_input": source}


def left_in(folder: Path) -> list[str]:
    return sorted(
        path.name for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".lock")
    )


def test_files_are_whole_once_all_is_answered(tmp_path: Path) -> None:
    made = generator(tmp_path, Model(), 4)
    made.generate(None, batch(0))
    assert not list(tmp_path.rglob("*.jsonl"))
    made.generate(None, batch(2))
    assert read_emissions(tmp_path / "emissions", "test").utts == ("u0", "u1", "u2", "u3")
    assert len((tmp_path / "results/hypotheses-test.jsonl").read_text().splitlines()) == 4


def test_a_generation_that_fails_leaves_no_pieces(tmp_path: Path) -> None:
    made = generator(tmp_path, Model(fails_at=1), 4)
    made.generate(None, batch(0))
    with pytest.raises(RuntimeError, match="out of memory"):
        made.generate(None, batch(2))
    assert left_in(tmp_path) == []
    again = generator(tmp_path, Model(), 2)  # nothing is locked
    again.generate(None, batch(0))
    assert read_emissions(tmp_path / "emissions", "test").utts == ("u0", "u1")


def test_a_generation_that_is_given_up_leaves_no_pieces(tmp_path: Path) -> None:
    """fairseq's loop may fail between two batches: a file that cannot be read, Ctrl-C."""
    made = generator(tmp_path, Model(), 4)
    made.generate(None, batch(0))
    del made
    assert left_in(tmp_path) == []


def test_words_or_labels_are_printed() -> None:
    dictionary = Dictionary()
    for symbol in ("HH", "AY", "|"):
        dictionary.add_symbol(symbol)
    tokens = (TimedText("HH", 0, 2, 0.5), TimedText("AY", 2, 5, 1.0), TimedText("|", 5, 6, 1.0))
    found = Hypothesis(tokens, (TimedText("hi", 0, 5, 0.5),), -3.0, -3.0)
    labels, words = (AnswerDictionary(dictionary, "auto", name) for name in ("greedy", "lexicon"))
    assert dictionary.string(labels.answer_of(found)["tokens"]) == "HH AY |"
    assert dictionary.string(words.answer_of(found)["tokens"]) == "hi"
    assert not AnswerDictionary(dictionary, "auto", "free").words
    assert AnswerDictionary(dictionary, "words", "free").words
    assert not AnswerDictionary(dictionary, "labels", "lexicon").words
    assert dictionary.string(words.target("hi there")) == "hi there"  # the dictionary grows
    assert dictionary.string(labels.target(("HH", "ZZ"))) == "HH <unk>"
    assert labels.answer_of(found)["positional_scores"].exp().tolist() == [0.5, 1.0, 1.0, 1.0]
    phones_alone = Labels(("u",), (("HH",),))
    words.choose(phones_alone)
    assert not words.words  # nothing to compare words with
    with pytest.raises(LabelError, match=r"no SPLIT\.wrd.*`--answer labels`"):
        AnswerDictionary(dictionary, "words", "lexicon").choose(phones_alone)


def test_phones_are_never_scored_against_words(tmp_path: Path) -> None:
    """A lexicon of phones decodes phones, whatever words lie beside the labels."""
    both = Labels(("u",), (("HH", "AY"),), ("hi",))
    phones, words = tmp_path / "phones.txt", tmp_path / "words.txt"
    phones.write_text("HH\tHH\nAY\tAY\n")
    words.write_text("hi\tHH AY\n")

    def choice(answer: str, lexicon: Path, counted: str = "words") -> bool:
        made = AnswerDictionary(Dictionary(), answer, "lexicon", str(lexicon))
        made.choose(both, "phones", counted)
        return made.words

    assert choice("auto", words) and not choice("auto", phones)
    assert not choice("auto", words, "phones") and not choice("labels", words)
    with pytest.raises(LabelError, match=r"`answer` is words, but those of .*phones\.txt are phones; say"):
        choice("words", phones)
    with pytest.raises(LabelError, match="but phones are counted"):
        choice("words", words, "phones")


def test_words_that_are_labels_are_scored_as_words(tmp_path: Path) -> None:
    lexicon = tmp_path / "lexicon.word.txt"
    lexicon.write_text("hi\thi\nall\tall\n")
    made = AnswerDictionary(Dictionary(), "words", "lexicon", str(lexicon))
    made.choose(Labels(("u",), (("hi", "all"),), ("hi all",)), "words")
    assert made.words


def test_every_option_of_the_search_reaches_it(tmp_path: Path) -> None:
    said = {"beam": 7, "nbest": 3, "lm_weight": 1.5, "beam_threshold": 9.0, "beam_tokens": 4}
    said |= {"word_score": -0.5, "sil_score": 0.25, "log_add": True}
    cfg = SimpleNamespace(decoder="lexicon", lexicon="words.lst", lm="lm.arpa", weights=None, **said)
    expected = DecoderSettings("lexicon", "words.lst", "lm.arpa", BeamSettings(**said))
    assert decoder_settings(cfg, SimpleNamespace(**said)) == expected
    cfg.weights = str(tmp_path / "tuned-dev.json")
    Path(cfg.weights).write_text('{"best": [{"lm_weight": 3, "word_score": 2, "sil_score": 1}]}')
    beam = decoder_settings(cfg, SimpleNamespace(**said)).beam
    assert (beam.lm_weight, beam.word_score, beam.sil_score, beam.beam) == (3.0, 2.0, 1.0, 7)


def test_a_tuned_file_s_search_is_taken_where_the_user_gave_none(tmp_path: Path) -> None:
    best = {"lm_weight": 3.0, "word_score": 2.0, "sil_score": 1.0}
    options = ["--beam", "50", "--beam-threshold", "9.5", "--beam-tokens", "5", "--log-add"]
    path = tmp_path / "tuned-dev.json"
    path.write_text(json.dumps({"best": [best], "options": options}))

    def found(**given: Any) -> BeamSettings:
        said = vars(BeamSettings(**given))
        cfg = SimpleNamespace(decoder="lexicon", lexicon="words.lst", lm="lm.arpa", weights=str(path), **said)
        return decoder_settings(cfg, SimpleNamespace(**said)).beam

    assert found() == BeamSettings(50, 9.5, 5, log_add=True, **best)
    assert found(beam=7, nbest=3) == BeamSettings(7, 9.5, 5, nbest=3, log_add=True, **best)
    assert found(beam_threshold=4.0, lm_weight=0.5) == BeamSettings(50, 4.0, 5, log_add=True, **best)
    assert found(beam_tokens=2) == BeamSettings(50, 9.5, 2, log_add=True, **best)


def test_an_asg_model_s_transitions_are_saved_as_they_are(tmp_path: Path) -> None:
    model = Model()
    model.units = asg_units(["|", "a"], num_repeats=1)
    made = torch.randn(3, 3).requires_grad_()
    model.network = SimpleNamespace(transitions=made)
    model.forward = lambda source: SimpleNamespace(  # type: ignore[method-assign]
        emissions=torch.randn(len(source), 7, 3), lengths=torch.tensor([7, 4])
    )
    generator(tmp_path, model, 2).generate(None, batch(0))
    saved = read_emissions(tmp_path / "emissions", "test")
    assert saved.transitions is not None and (saved.transitions == made.detach().numpy()).all()
    assert [len(saved[i]) for i in range(2)] == [7, 4]


def test_what_is_half_done_is_left_to_the_process_that_opened_it(tmp_path: Path) -> None:
    closed: list[int] = []
    open_now = ExitStack()
    open_now.callback(closed.append, 1)
    _drop(open_now, os.getpid() + 1)
    assert not closed
    _drop(open_now, os.getpid())
    assert closed == [1]


def test_a_model_decodes_as_it_is_judged_and_each_utterance_without_its_padding(tmp_path: Path) -> None:
    class Short(Model):
        def forward(self, source: torch.Tensor) -> SimpleNamespace:
            assert not self.training and not torch.is_grad_enabled()
            out = super().forward(source)
            return SimpleNamespace(emissions=out.emissions, lengths=torch.tensor([7, 3]))

    model = Short().train()
    generator(tmp_path, model, 2).generate([model], batch(0))
    saved = read_emissions(str(tmp_path / "emissions"), "test")
    assert [len(saved[i]) for i in range(2)] == [7, 3]


def test_as_many_processes_search_as_were_asked_for(tmp_path: Path) -> None:
    assert generator(tmp_path / "one", Model(), 1).pool.workers == 1
    assert generator(tmp_path / "two", Model(), 1, decode_workers=2).pool.workers == 2

"""The Python face that answers with words: what it is told reaches its parts, the best answer its caller."""

from types import SimpleNamespace
from typing import Any

import pytest
from transcribing import CTC

from vqw2v_plugin import transcriber as module
from vqw2v_plugin.audio.reading import AudioError
from vqw2v_plugin.decoding.hypothesis import Hypothesis, TimedText
from vqw2v_plugin.decoding.settings import DecoderSettings
from vqw2v_plugin.transcriber import Transcriber


def ears(**more: Any) -> Any:
    found = SimpleNamespace(frame_seconds=0.02, units=CTC, transitions=None, know=lambda voices: None, **more)
    found.to = lambda device: found
    found.eval = lambda: found
    return found


def answer(text: str) -> Hypothesis:
    spans = (TimedText(text, 1, 3, 1.0),)
    return Hypothesis(spans, spans, -1.0, -1.0)


def test_the_best_answer_is_given_at_its_place_in_the_file() -> None:
    decoder = SimpleNamespace(decode=lambda emissions: [answer("best"), answer("other")])
    found = Transcriber(ears(), decoder).decoded(None, "a.wav", 10)
    assert found.text == "best" and [(w.begin, w.end) for w in found.words] == [(11, 13)]


def test_a_part_that_cannot_be_decoded_names_its_file() -> None:
    def decode(emissions: Any) -> Any:
        raise ValueError("NaN in frame 3")

    with pytest.raises(AudioError, match=r"^a\.wav: NaN in frame 3$"):
        Transcriber(ears(), SimpleNamespace(decode=decode)).decoded(None, "a.wav", 0)


@pytest.mark.parametrize("limit", [0.0, 0.5, float("nan"), 1e9])
def test_a_length_that_no_part_can_have_is_refused(limit: float) -> None:
    with pytest.raises(ValueError, match=r"`limit` is .* s; expected 1"):
        Transcriber(ears(), SimpleNamespace(), limit=limit)


def test_all_that_it_is_told_reaches_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {}

    def load_ears(*given: Any) -> Any:
        told["ears"] = given
        return ears()

    def make_decoder(*given: Any) -> Any:
        told["decoder"] = given
        return SimpleNamespace()

    monkeypatch.setattr(module, "load_ears", load_ears)
    monkeypatch.setattr(module, "make_decoder", make_decoder)
    monkeypatch.setattr(module, "use_user_dir", lambda path: told.update(user_dir=path))
    lexicon = DecoderSettings("lexicon", "words.txt")
    names = {name: name for name in ("front", "bert", "pieces", "pca", "user_dir")}
    found = Transcriber.load("a.pt", lexicon, limit=7.0, **names)
    assert found.limit == 7 and told["user_dir"] == "user_dir"
    assert told["ears"] == ("a.pt", "front", "bert", "pieces", "pca")
    assert told["decoder"] == (lexicon, CTC, None, 0.02)
    Transcriber.load("a.pt")
    assert told["decoder"][0] == DecoderSettings() and told["user_dir"] is None

"""The toy corpus' voice: what espeak-ng is asked, and how its events become words and phones."""

from __future__ import annotations

import importlib
import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("espeakng_loader")

from vqw2v_plugin.toy.align import SILENCE, align, clean_label, spoken_text
from vqw2v_plugin.toy.espeak import Espeak, Event, Speech, variants
from vqw2v_plugin.toy.grammar import GRAMMARS, draw_sentence, vocabulary
from vqw2v_plugin.toy.speakers import VOICES, make_speakers


@pytest.fixture(scope="module")
def espeak() -> Espeak:
    return Espeak()


def test_variant_that_does_not_exist_is_refused(espeak: Espeak) -> None:
    with pytest.raises(ValueError, match="no variant `nobody`"):
        espeak.speak("hello.", "en-us+nobody")


def test_voice_that_does_not_exist_is_refused(espeak: Espeak) -> None:
    with pytest.raises(ValueError, match="no voice `xx-nowhere`"):
        espeak.speak("hello.", "xx-nowhere")


@pytest.mark.parametrize("status", [0, 1])
def test_a_text_that_gives_no_sound_is_named(
    espeak: Espeak, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    calls = {"SetVoiceByName": 0, "SetParameter": 0, "Synth": status}
    silent = SimpleNamespace(**{f"espeak_{name}": lambda *_, n=n: n for name, n in calls.items()})
    monkeypatch.setattr(espeak, "_library", silent)
    with pytest.raises(ValueError, match=rf"spoke nothing for `hm\.` with voice `de` \(status {status}\)"):
        espeak.speak("hm.", "de")


def test_missing_loader_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str, *rest: Any) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(ValueError, match="pip install espeakng-loader"):
        variants()


@pytest.mark.parametrize("language", GRAMMARS)
def test_every_word_is_said_with_a_phone(espeak: Espeak, language: str) -> None:
    for word in sorted(vocabulary(language)):
        speech = espeak.speak(spoken_text((word,)), VOICES[language])
        assert align(speech, (word,)).pronunciations[0]


@pytest.mark.parametrize("language", GRAMMARS)
def test_words_are_the_phones_between_their_ends(espeak: Espeak, language: str) -> None:
    rng = random.Random(5)
    for _ in range(60):
        tokens = draw_sentence(language, rng)
        speech = espeak.speak(spoken_text(tokens), f"{VOICES[language]}+m3")
        alignment = align(speech, tokens)
        ends = [phone.start for phone in alignment.phones[1:]] + [len(speech.samples)]
        assert [phone.end for phone in alignment.phones] == ends
        assert all(phone.start < phone.end for phone in alignment.phones)
        assert [word.label for word in alignment.words] == [token for token in tokens if token != ","]
        for word, pronunciation in zip(alignment.words, alignment.pronunciations, strict=True):
            inside = [p.label for p in alignment.phones if word.start <= p.start and p.end <= word.end]
            # Spanish voices pause inside `río`: a silence in the times, none in the pronunciation.
            assert tuple(label for label in inside if label != SILENCE) == pronunciation


def test_silences_are_silent_and_phones_are_not(espeak: Espeak) -> None:
    tokens = ("every", "morning", ",", "the", "doctor", "paints", "two", "maps")
    speech = espeak.speak(spoken_text(tokens), "en-us+m3")
    phones = align(speech, tokens).phones
    for phone in phones:
        assert speech.samples[phone.start : phone.end].any() == (phone.label != SILENCE), phone
    assert [phone.label for phone in phones].count(SILENCE) == 2  # at the comma and at the end


def test_pitch_its_range_and_the_rate_are_what_they_are_called(espeak: Espeak) -> None:
    def spoken(**settings: int) -> tuple[float, float, int]:
        """The voice's period, how much longer a long one is than a short one, and how many samples."""
        speech = espeak.speak("the doctor paints a big yellow boat near the river", "en-us+m3", **settings)
        samples, periods = speech.samples.astype(float), []
        for start in range(0, len(samples) - 1600, 400):
            part = samples[start : start + 1600]
            if part.std() > 1500:
                echo = np.correlate(part, part, "full")[1600:]  # from a shift of 1 on
                periods.append(61 + int(echo[60:400].argmax()))
        short, middle, long = np.percentile(periods, (10, 50, 90))
        return float(middle), float(long / short), len(samples)

    assert spoken(pitch=5)[0] > 2 * spoken(pitch=99)[0]
    assert spoken(pitch_range=0)[1] < 1.1 < 1.3 < spoken(pitch_range=99)[1]
    assert spoken(rate=140)[2] > 1.2 * spoken(rate=200)[2]


def test_closure_belongs_to_its_stop() -> None:
    samples = np.concatenate([np.ones(1000), np.zeros(500), np.ones(500)]).astype(np.int16)
    events = (Event(True, 0, 0, ""), Event(False, 0, 0, "a"), Event(False, 1500, 0, "t"))
    phones = align(Speech(samples, 22050, events), ("at",)).phones
    assert [(phone.label, phone.start) for phone in phones] == [("a", 0), ("t", 1000)]


def test_a_zero_crossing_before_a_phone_is_no_closure() -> None:
    """A closure is of 5 ms at least: 110 samples at 22,050 Hz."""
    events = (Event(True, 0, 0, ""), Event(False, 0, 0, "a"), Event(False, 1500, 0, "t"))
    for zeros, start in ((1, 1500), (109, 1500), (110, 1390), (111, 1389)):
        samples = np.ones(2000, dtype=np.int16)
        samples[1500 - zeros : 1500] = 0
        assert align(Speech(samples, 22050, events), ("at",)).phones[1].start == start


def test_a_word_s_first_phone_begins_with_its_word_and_the_next_with_itself() -> None:
    said = ((True, 0, 0, ""), (False, 100, 0, "a"), (True, 1000, 2, ""), (False, 1200, 2, "b"))
    events = tuple(Event(*event) for event in (*said, (False, 1500, 2, "c")))
    times = align(Speech(np.ones(3000, dtype=np.int16), 22050, events), ("a", "bc"))
    assert [(phone.label, phone.start) for phone in times.phones] == [("a", 0), ("b", 1000), ("c", 1500)]
    assert [(word.start, word.end) for word in times.words] == [(0, 1000), (1000, 3000)]


def test_phone_folded_into_its_vowel_gets_the_end_of_it() -> None:
    samples = np.ones(3000, dtype=np.int16)
    starts = (("a", 0), ("l", 2000), ("f", 2000))
    events = (Event(True, 0, 0, ""), *(Event(False, start, 0, label) for label, start in starts))
    phones = align(Speech(samples, 22050, events), ("alf",)).phones
    assert [(phone.label, phone.start, phone.end) for phone in phones] == [
        ("a", 0, 1300),
        ("l", 1300, 2000),
        ("f", 2000, 3000),
    ]


def test_labels_are_bare_phones() -> None:
    assert [clean_label(label) for label in ("ˈɔː", "ə-", "(en)", "_:", "ˌeː", "")] == [
        "ɔː",
        "ə",
        "",
        "",
        "eː",
        "",
    ]


@pytest.mark.parametrize("language", GRAMMARS)
def test_sentences_depend_on_the_seed_alone(language: str) -> None:
    first, again, other = (
        [draw_sentence(language, rng) for _ in range(50)] for rng in map(random.Random, (1, 1, 2))
    )
    assert first == again != other
    for tokens in first:
        words = [token for token in tokens if token != ","]
        assert 3 <= len(words) <= 9
        assert all(word == word.lower() and word.isalpha() for word in words)


def test_unknown_language_is_named() -> None:
    with pytest.raises(ValueError, match="`xx`; expected some of en, de, fr, es"):
        draw_sentence("xx", random.Random(0))


def test_speakers_differ() -> None:
    cast = make_speakers(60, ("en", "de"), seed=3)
    assert len({speaker.name for speaker in cast}) == 60
    assert len({(s.voice, s.rate, s.pitch, s.pitch_range) for s in cast}) == 60
    assert [speaker.language for speaker in cast[:4]] == ["en", "de", "en", "de"]
    assert {speaker.voice.split("+")[1] for speaker in cast} <= variants()


def test_what_stands_between_a_word_and_its_first_phone_is_none_of_its_phones() -> None:
    """A marker, and an event inside the word, such as at a hyphen."""
    said = ((True, 0, 0, ""), (False, 0, 0, "a"), (True, 2000, 2, ""), (False, 2000, 2, "(en)"))
    said += ((False, 3200, 2, "b"), (True, 3500, 4, ""), (False, 3500, 4, "c"))
    speech = Speech(np.ones(4000, dtype=np.int16), 22050, tuple(Event(*event) for event in said))
    times = align(speech, ("a", "b-c"))
    assert [(phone.label, phone.start) for phone in times.phones] == [("a", 0), ("b", 2000), ("c", 3500)]
    assert times.pronunciations == (("a",), ("b", "c"))


def test_a_pause_before_a_word_is_not_its_closure() -> None:
    samples = np.concatenate([np.ones(1000), np.zeros(4000), np.ones(1000)]).astype(np.int16)
    said = ((True, 0, 0, ""), (False, 0, 0, "a"), (False, 1000, 0, "_:"), (True, 5000, 2, ""))
    events = tuple(Event(*event) for event in (*said, (False, 5000, 2, "t")))
    phones = align(Speech(samples, 22050, events), ("a", "t")).phones
    assert [(phone.label, phone.start) for phone in phones] == [("a", 0), (SILENCE, 1000), ("t", 5000)]


def test_a_first_phone_without_a_duration_has_no_phone_to_take_from() -> None:
    events = (Event(True, 0, 0, ""), Event(False, 0, 0, "l"), Event(False, 0, 0, "a"))
    times = align(Speech(np.ones(900, dtype=np.int16), 22050, events), ("la",))
    assert times.pronunciations == (("l", "a"),) and (times.words[0].start, times.words[0].end) == (0, 900)


def test_a_library_that_finds_no_data_says_where_it_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = SimpleNamespace(espeak_Initialize=lambda *_: -1)
    monkeypatch.setattr("ctypes.CDLL", lambda path: silent)
    with pytest.raises(ValueError, match=r"found no data in `.*` \(\d+ characters; it reads at most 160\)"):
        Espeak()

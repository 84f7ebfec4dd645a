"""The toy corpus' tables and times, of utterances made by hand: no voice is needed."""

import itertools
import random
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.toy import chunk, grammar
from vqw2v_plugin.toy.align import (
    Interval,
    SentenceTimes,
    _absorb_short_pauses,
    _Phone,
    _trailing_zeros,
    align,
)
from vqw2v_plugin.toy.chunk import ToyUtterance
from vqw2v_plugin.toy.corpus import CorpusSummary, _check, make_corpus
from vqw2v_plugin.toy.espeak import Event, Speech
from vqw2v_plugin.toy.grammar import GRAMMARS, draw_sentence
from vqw2v_plugin.toy.speakers import FEMALE, MALE, MORE_MALE, VOICES, Speaker, make_speakers
from vqw2v_plugin.toy.writer import Tables, ctm_line, split_of

MEN = MALE + MORE_MALE
SPEAKER = Speaker("en000-m3", "en", "en-us+m3", 170, 50, 50, 0.5, 0.002)


@pytest.mark.parametrize("speakers", [1, 2, 4, 7])
def test_of_a_speaker_s_every_ten_utterances_one_is_for_valid_and_one_for_test(speakers: int) -> None:
    for speaker in range(speakers):
        own = [split_of(speaker + speakers * turn, speakers) for turn in range(30)]
        for first in (0, 10, 20):
            assert Counter(own[first : first + 10]) == {"train": 8, "valid": 1, "test": 1}


def test_speakers_take_turns_so_that_a_short_corpus_has_every_split() -> None:
    first = [split_of(index, 4) for index in range(12)]  # three of each of four speakers
    turns = {tuple(first[speaker::4]) for speaker in range(4)}
    assert len(turns) > 1 and {"valid", "test"} < set(first) and first.count("train") >= 8


def utterance(index: int, text: str, *said: str, language: str = "en") -> ToyUtterance:
    words = tuple(Interval(160 * i, 160 * (i + 1), word) for i, word in enumerate(text.split()))
    phones = (Interval(0, 80, "SIL"), Interval(80, 240, "a"), Interval(240, 400, "b"))
    speaker = Speaker("s", language, "v", 1, 1, 1, 1.0, 0.0)
    sounds = tuple(tuple(each) for each in said)
    return ToyUtterance(index, f"u{index}", f"s/u{index}.flac", 400, speaker, phones, words, sounds)


def test_the_lexicon_has_each_language_s_most_frequent_pronunciation(tmp_path: Path) -> None:
    with Tables(tmp_path, tmp_path / "flac") as tables:
        tables.add(utterance(0, "the cat", "xy", "ac"), "train")
        tables.add(utterance(1, "the the", "z", "xy"), "valid")
        tables.add(utterance(2, "cat", "c", language="de"), "test")
        tables.add(utterance(3, "cat", "ab"), "train")  # as often as `ac`, and the first by name
        assert tables.write_lexicon() == 2
        assert tables.num_utterances == {"train": 2, "valid": 1, "test": 1}
        assert (tables.num_samples, tables.phones) == (1600, {"a", "b"})
    assert (tmp_path / "lexicon.txt").read_text() == "cat\ta b\ncat\tc\nthe\tx y\n"
    rows = (tmp_path / "train.tsv").read_text().splitlines()
    assert rows[:2] == [str(tmp_path / "flac"), "# path\tsamples\tspeaker\tlang\tutt\ttext"]
    assert rows[2] == "s/u0.flac\t400\ts\ten\tu0\tthe cat"
    times = (tmp_path / "train.phones.ctm").read_text().splitlines()
    assert times[1] == "u0 1 0.00500 0.01000 a"
    assert (tmp_path / "test.words.ctm").read_text() == "u2 1 0.00000 0.01000 cat\n"


def test_a_time_names_its_sample() -> None:
    for start in (1, 12_345, 16_000 * 600 + 7):
        _, _, begin, seconds, label = ctm_line("u", Interval(start, start + 33, "x")).split()
        assert (round(float(begin) * 16_000), round(float(seconds) * 16_000), label) == (start, 33, "x")


def test_a_pause_of_a_twentieth_of_a_second_is_silence_and_a_shorter_one_an_onset() -> None:
    def kept(*phones: tuple[str, int, int]) -> list[tuple[str, int]]:
        found = _absorb_short_pauses([_Phone(*phone) for phone in phones], 50)
        return [(phone.label, phone.start) for phone in found]

    assert kept(("a", 0, 0), ("SIL", 100, -1), ("b", 150, 1)) == [("a", 0), ("SIL", 100), ("b", 150)]
    assert kept(("a", 0, 0), ("SIL", 100, -1), ("b", 149, 1)) == [("a", 0), ("b", 100)]
    assert kept(("a", 0, 0), ("SIL", 9, -1), ("SIL", 40, -1), ("b", 60, 1)) == [
        ("a", 0),
        ("SIL", 9),
        ("b", 60),
    ]


def test_zeros_at_the_end_are_counted() -> None:
    for samples, zeros in (([], 0), ([0, 0], 2), ([5, 0, 0], 2), ([0, 5], 0), ([5, 0, 5, 0], 1)):
        assert _trailing_zeros(np.array(samples, np.int16)) == zeros


def test_times_are_moved_to_the_corpus_rate_and_phones_cover_all_of_it() -> None:
    phones = (
        Interval(0, 2205, "SIL"),
        Interval(2205, 4410, "a"),
        Interval(4410, 6615, "b"),
        Interval(6615, 8820, "SIL"),
    )
    words = (Interval(2205, 6615, "ab"),)
    times = SentenceTimes(phones, words, (("a", "b"),))
    tiled, moved = chunk._retime(times, 22_050, 1000, 9000)
    assert tiled == (
        Interval(0, 2600, "SIL"),
        Interval(2600, 4200, "a"),
        Interval(4200, 5800, "b"),
        Interval(5800, 9000, "SIL"),
    )
    assert moved == (Interval(2600, 5800, "ab"),)
    near = SentenceTimes((Interval(0, 3, "a"), Interval(3, 5, "b")), (Interval(1, 4, "ab"),), (("a", "b"),))
    tiled_near, moved_near = chunk._retime(near, 22_050, 10, 20)  # 0.73, 2.18, 2.90 and 3.63 samples
    assert [(each.start, each.end) for each in (*tiled_near[1:3], *moved_near)] == [
        (10, 12),
        (12, 14),
        (11, 13),
    ]
    bare = SentenceTimes(phones[1:3], words, times.pronunciations)
    assert chunk._retime(bare, 22_050, 1000, 9000)[0] == tiled


def test_a_recording_has_its_speaker_s_level_and_noise() -> None:
    wave = np.sin(np.arange(16_000) / 5).astype(np.float32) * 123
    wave[:4000] = 0
    found = chunk._record(wave, SPEAKER, random.Random(1))
    assert found.dtype == np.int16
    assert np.abs(found).max() == pytest.approx(0.8 * 0.5 * 32_767, rel=0.02)
    assert found[:4000].std() == pytest.approx(0.002 * 0.8 * 0.5 * 32_767, rel=0.1)
    again, other = (chunk._record(wave, SPEAKER, random.Random(seed)) for seed in (1, 2))
    assert (again == found).all() and not (other == found).all()
    deep = np.where(wave > 0, wave / 3, wave)  # whose peak is below zero
    assert chunk._record(deep, SPEAKER, random.Random(1)).min() == pytest.approx(found.min(), rel=0.02)
    loud = Speaker("x", "en", "v", 1, 1, 1, 10.0, 0.0)
    clipped = chunk._record(wave, loud, random.Random(1)).astype(int)
    assert clipped.max() == 32_767 and clipped.min() == -32_768
    assert np.array_equal(np.sign(clipped[4000:]), np.sign(wave[4000:]))  # none has wrapped around


def test_speakers_are_women_and_men_in_turn_and_no_two_are_equally_loud() -> None:
    for languages in (("en",), ("en", "de"), ("en", "de", "fr")):
        cast = make_speakers(24, languages, 5)
        for language in languages:
            own = [s.voice.split("+")[1] in FEMALE for s in cast if s.language == language]
            assert all(one != other for one, other in itertools.pairwise(own))
        assert {s.voice.split("+")[1] in FEMALE for s in cast[: max(2, len(languages))]} == {True, False}
        assert all(s.voice.startswith(f"{VOICES[s.language]}+") for s in cast)
        gains, noises = {s.gain for s in cast}, {s.noise for s in cast}
        assert len(gains) == len(noises) == 24 and 0.3 < min(gains) <= max(gains) <= 1
        assert 1e-3 <= min(noises) <= max(noises) <= 10**-2.5
        assert all(140 <= s.rate <= 200 and 35 <= s.pitch <= 65 for s in cast)
        assert [s.name[:5] for s in cast[:2]] == [f"{languages[i % len(languages)]}{i:03d}" for i in (0, 1)]
    assert make_speakers(9, ("en",), 1) == make_speakers(9, ("en",), 1) != make_speakers(9, ("en",), 2)


@pytest.mark.parametrize("languages", [("en",), ("en", "de")])
def test_no_voice_comes_again_before_all_of_its_kind_have_come(languages: tuple[str, ...]) -> None:
    cast = make_speakers(20, languages, 3)
    names = [speaker.voice.split("+")[1] for speaker in cast]
    women, men = ([name for name in names if name in kind] for kind in (FEMALE, MEN))
    assert len(women) == len(men) == 10 and set(women) == set(FEMALE) and len(set(men)) == 10


@pytest.mark.parametrize(
    ("minutes", "speakers", "languages", "says"),
    [
        (1, 13, ("en",), "expected at most 12 a minute"),
        (1, 1, ("en", "de"), "at least one a language"),
        (6001, 1, ("en",), "at most 6000"),
        (0, 1, ("en",), "more than 0"),
        (1, 2, ("en", "en"), "each language once"),
        (1, 1, (), "`--languages` is empty"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is(
    minutes: float, speakers: int, languages: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=says):
        make_corpus(tmp_path / "out", minutes, speakers, languages)
    assert not (tmp_path / "out").exists()


def test_what_is_said_is_drawn_by_the_corpus_s_seed(tmp_path: Path) -> None:
    class Heard(Exception):
        pass

    class Espeak:
        def speak(self, text: str, *_: object) -> None:
            raise Heard(text)

    def said(seed: int) -> list[str]:
        texts = []
        for index in range(4):
            with pytest.raises(Heard) as heard:
                chunk._make_utterance(Espeak(), of_seed(seed), index)  # type: ignore[arg-type]
            texts.append(str(heard.value))
        return texts

    def of_seed(seed: int) -> chunk.Chunk:
        return chunk.Chunk(tmp_path, 0, 4, tuple(make_speakers(2, ("en",), seed=1)), seed)

    assert said(1) == said(1) and not set(said(1)) & set(said(2)) and len(set(said(1))) == 4


def test_the_least_and_the_most_that_can_be_made_are_let_through() -> None:
    for fine in ((6000, 1, ("en",)), (1, 12, ("en",)), (0.01, 1, ("de",)), (1, 4, ("en", "de", "fr", "es"))):
        _check(*fine, workers=None)
    with pytest.raises(ValueError, match=r"too many for 1\.5 minutes"):
        _check(1.5, 19, ("en",), None)


def test_a_pause_of_espeak_s_is_silence_from_a_twentieth_of_a_second_on() -> None:
    for end, labels in ((6_000, ["a", "SIL", "b"]), (5_999, ["a", "b"])):
        events = (Event(True, 0, 0, ""), Event(False, 0, 0, "a"), Event(False, 5_000, 0, "_:"))
        events += (Event(True, end, 2, ""), Event(False, end, 2, "b"))
        times = align(Speech(np.ones(9_000, np.int16), 20_000, events), ("a", "b"))
        assert [phone.label for phone in times.phones] == labels
        assert times.words[1].start == (6_000 if "SIL" in labels else 5_000)
        assert times.pronunciations == (("a",), ("b",))


def test_a_word_without_a_phone_is_named_with_its_sentence() -> None:
    events = (Event(True, 0, 0, ""), Event(False, 0, 0, "a"))
    with pytest.raises(ValueError, match=r"no phone to `b` in `a, b\.`; leave it out"):
        align(Speech(np.ones(900, np.int16), 22_050, events), ("a", ",", "b"))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("no voice"), ValueError("no voice")),
        (OSError(28, "No space"), RuntimeError("utterances from 50: OSError: [Errno 28] No space")),
    ],
)
def test_what_fails_apart_is_told_in_words(
    error: Exception, told: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(work: chunk.Chunk) -> None:
        raise error

    sent: list[Exception] = []
    monkeypatch.setattr(chunk, "data_folder", lambda: tmp_path / "data")
    monkeypatch.setattr(chunk, "make_chunk", fails)
    monkeypatch.chdir(tmp_path)
    chunk._answer(chunk.Chunk(tmp_path, 50, 25, (), 1), SimpleNamespace(send=sent.append))  # type: ignore[arg-type]
    assert [(type(each), str(each)) for each in sent] == [(type(told), str(told))]


def test_what_was_made_is_told_and_who_says_nothing_gets_four_english_voices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[object, ...]] = []

    def make(*told: object) -> CorpusSummary:
        asked.append(told)
        return CorpusSummary(tmp_path, 1.234, 20, 16, 3, 1, 4, 39, 150, made=len(asked) == 1)

    monkeypatch.setattr("vqw2v_plugin.toy.corpus.make_corpus", make)
    assert main(["toy", "out", "--minutes", "1.2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("made in ") and lines[0].endswith(f" s: {tmp_path}")
    assert lines[1:3] == [
        "  1.23 minutes, 20 utterances (train 16, valid 3, test 1)",
        "  4 speakers, 39 phones, 150 words",
    ]
    words = "--speakers 5 --languages de,,fr --seed 3 --workers 2"
    assert main(["toy", "out", "--minutes", "2", *words.split()]) == 0
    assert capsys.readouterr().out.startswith("already there, with the same arguments; left alone: ")
    assert asked == [("out", 1.2, 4, ("en",), 1, None), ("out", 2.0, 5, ("de", "fr"), 3, 2)]


def test_voices_are_as_unlike_as_they_may_be() -> None:
    cast = make_speakers(4_000, ("en",), 1)
    for name, (least, most) in {"rate": (140, 200), "pitch": (35, 65), "pitch_range": (35, 65)}.items():
        found = {getattr(speaker, name) for speaker in cast}
        assert found == set(range(least, most + 1)), name
    for name, (least, most) in {"gain": (10**-0.5, 1), "noise": (1e-3, 10**-2.5)}.items():
        values = [getattr(speaker, name) for speaker in cast]
        assert (min(values), max(values)) == pytest.approx((least, most), rel=0.01), name


@pytest.mark.parametrize("language", GRAMMARS)
def test_the_shortest_sentence_has_three_words_and_the_longest_nine(language: str) -> None:
    rng = random.Random(1)
    sizes = {sum(word != "," for word in draw_sentence(language, rng)) for _ in range(600)}
    assert sizes == set(range(3, 10))


def test_a_pause_is_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grammar, "GRAMMARS", {"en": {"S": "a , b | a , b , c , d | e f g | e"}})
    monkeypatch.setattr(grammar, "MAX_WORDS", 4)
    drawn = {" ".join(draw_sentence("en", random.Random(seed))) for seed in range(40)}
    assert drawn == {"a , b , c , d", "e f g"}


def test_a_speaker_speaks_with_a_voice_rate_and_pitch_of_its_own(tmp_path: Path) -> None:
    class Heard(Exception):
        pass

    class Espeak:
        def speak(self, text: str, voice: str, rate: int, pitch: int, pitch_range: int) -> None:
            raise Heard(voice, rate, pitch, pitch_range)

    cast = (
        Speaker("a", "en", "en-us+m3", 141, 36, 61, 0.5, 0.002),
        Speaker("b", "de", "de+f1", 199, 64, 37, 1, 0),
    )
    for index, wanted in (
        (0, ("en-us+m3", 141, 36, 61)),
        (1, ("de+f1", 199, 64, 37)),
        (4, ("en-us+m3", 141, 36, 61)),
    ):
        with pytest.raises(Heard) as heard:
            chunk._make_utterance(Espeak(), chunk.Chunk(tmp_path, 0, 5, cast, 1), index)  # type: ignore[arg-type]
        assert heard.value.args == wanted


@pytest.mark.parametrize("answer", [None, ValueError("no voice"), [3]])
def test_a_process_answers_with_utterances_or_an_error_or_has_died(
    answer: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def receive() -> object:
        if answer is None:
            raise EOFError
        return answer

    pipe = SimpleNamespace(recv=receive), SimpleNamespace(close=lambda: None)
    process = SimpleNamespace(start=lambda: None, join=lambda: None, exitcode=-9)
    context = SimpleNamespace(
        Pipe=lambda duplex: pipe, Process=lambda **_: process, set_forkserver_preload=lambda names: None
    )
    monkeypatch.setattr(chunk.multiprocessing, "get_context", lambda way: context)
    work = chunk.Chunk(Path(), 50, 25, (), 1)
    if answer == [3]:
        assert chunk.make_chunk_apart(work) == [3]
        return
    told = (
        "no voice" if answer else r"the process making utterances from 50 died \(exit code -9\); run the same"
    )
    with pytest.raises(ValueError if answer else RuntimeError, match=told):
        chunk.make_chunk_apart(work)

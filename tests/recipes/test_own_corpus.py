"""A corpus of one's own before a recipe is chosen: its splits, lengths, rates, silence and new words."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from sounds import noise

from vqw2v_plugin.corpora.manifest import Manifest, write_manifest
from vqw2v_plugin.recipes.own_corpus import CorpusLook, SplitLook, _lowest_rate, _split_names, look_at

COLUMNS = ("path", "samples", "rate", "speaker", "sentence")


def listed(folder: Path, split: str, rate: int, *clips: tuple[str, str, float, float, float]) -> None:
    """Each clip: who speaks, what, and seconds of silence, of sound and of silence again."""
    rows = []
    for i, (speaker, text, before, sound, after) in enumerate(clips):
        parts = [int(seconds * rate) for seconds in (before, sound, after)]
        wav = np.concatenate([np.zeros(parts[0]), noise(parts[1], i), np.zeros(parts[2])])
        path = f"{split}{i}.wav"
        if text:  # what has none is not even there
            soundfile.write(folder / path, wav, rate, subtype="FLOAT")
        row = {"path": path, "samples": len(wav), "rate": rate, "speaker": speaker}
        rows.append({**row, "sentence": text})
    write_manifest(folder / f"{split}.tsv", folder, rows, COLUMNS)


def test_utterances_with_a_text_are_looked_at(tmp_path: Path) -> None:
    train = [("x", "Ab, cd!", 0.2, 1.4, 0.4), ("y", "abc d", 0.1, 1.0, 0.1)]
    train += [("", "abcd abcd abcd abcd ab", 0.8, 0.8, 0.8), ("silent", "", 0.0, 9.0, 0.0)]
    listed(tmp_path, "train", 16_000, *train)
    listed(tmp_path, "valid", 16_000, ("x", "ab", 0, 1, 0))
    listed(tmp_path, "test", 8_000, ("z", "ab ab ab new", 0, 1, 0))
    look = look_at(tmp_path)
    assert look.train.texts[0] == "ab cd" and look.column == "sentence"
    assert look.train.seconds == pytest.approx((2.0, 1.2, 2.4)) and look.train.hours == pytest.approx(
        5.6 / 3600
    )
    assert look.train.length(50) == pytest.approx(2.0) and look.train.speakers == {"x", "y"}
    assert look.sample_rate == 8_000  # the lowest of all splits
    assert look.edge == pytest.approx(0.6, abs=0.03)  # of 0.6, 0.2 and 1.6
    # letters and ends of words: 6 in 2 s, 6 in 1.2 s, 23 in 2.4 s; nine in ten have fewer
    assert look.labels_a_second == pytest.approx(5 + 0.8 * (23 / 2.4 - 5))
    assert look.new_words == 0.25 and look.new_speakers
    for name in ("train", "valid", "test"):
        listed(tmp_path, name, 48_000, ("y", "ab", 0, 1, 0))
    again = look_at(tmp_path)
    assert (
        again.sample_rate == 16_000 and not again.new_speakers and again.new_words == 0
    )  # models want no more


def test_a_split_without_a_text_is_named(tmp_path: Path) -> None:
    listed(tmp_path, "train", 8_000, ("x", "ab", 0, 1, 0))
    listed(tmp_path, "valid", 8_000, ("x", "", 0, 1, 0), ("x", "", 0, 1, 0))
    with pytest.raises(ValueError, match=r"valid\.tsv: none of its 2 utterances has a text in 'sentence'"):
        look_at(tmp_path)


@pytest.mark.parametrize(
    ("there", "valid", "test"),
    [
        ("train valid dev test test-clean eval", "valid", "test"),
        ("train dev test-clean test-other", "dev", "test-clean"),
        ("train dev eval", "dev", "eval"),
        ("train dev test-x test-y", "dev", "test-x"),
        ("train test-x", "test-x", "test-x"),
        ("train valid refused", "valid", "valid"),
    ],
)
def test_what_chooses_and_what_is_decoded_goes_by_names(
    there: str, valid: str, test: str, tmp_path: Path
) -> None:
    for name in there.split():
        (tmp_path / f"{name}.tsv").touch()
    assert _split_names(tmp_path) == {"train": "train", "valid": valid, "test": test}


def split(texts: tuple[str, ...], *speakers: str) -> SplitLook:
    return SplitLook("x", (1.0,) * len(texts), texts, frozenset(speakers))


@pytest.mark.parametrize(
    ("known", "said", "share", "closed"),
    [
        (1000, ("w1 w1 w1 new", "w2 w3 w4 w5"), 1 / 8, False),
        (1000, ("w1 " * 99 + "new",), 0.01, False),
        (1000, ("w1 " * 100 + "new",), 1 / 101, True),
        (1001, ("w1",), 0, False),
    ],
)
def test_new_words_are_counted_as_often_as_they_are_said_and_few_words_are_closed(
    known: int, said: tuple[str, ...], share: float, closed: bool
) -> None:
    train = split((" ".join(f"w{i}" for i in range(known)),), "a")
    look = CorpusLook(train, train, split(said, "a"), "text", 16_000, 0.0, 10.0)
    assert look.new_words == pytest.approx(share) and look.is_closed == closed


def test_the_words_of_training_are_gathered_once_for_all_of_the_test_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a corpus of some hours takes hours."""
    gathered: list[SplitLook] = []
    words = SplitLook.words.fget
    assert words is not None
    monkeypatch.setattr(SplitLook, "words", property(lambda held: gathered.append(held) or words(held)))
    train = split(("a b", "c"))
    assert CorpusLook(train, train, split(("a b c d",) * 9), "", 1, 0, 1).new_words == 0.25
    assert len(gathered) == 1


@pytest.mark.parametrize(("columns", "rate"), [(COLUMNS, 8_000), (("path", "samples"), 11_025)])
def test_the_lowest_rate_is_the_manifest_s_or_that_of_a_file_where_it_names_none(
    columns: tuple[str, ...], rate: int, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "0.wav", noise(1_000), 11_025)
    rows = [{"path": f"{i}.wav", "samples": 9, "rate": hertz} for i, hertz in enumerate((16_000, 8_000))]
    write_manifest(
        tmp_path / "m.tsv", tmp_path, [{"speaker": "", "sentence": "", **r} for r in rows], columns
    )
    assert _lowest_rate([Manifest(tmp_path / "m.tsv")]) == rate


def test_a_column_that_is_asked_for_is_taken_and_one_that_is_not_there_named(tmp_path: Path) -> None:
    rows = [{"path": "0.wav", "samples": 800, "rate": 8_000, "text": "other words", "said": "what was said"}]
    soundfile.write(tmp_path / "0.wav", noise(800), 8_000)
    for split in ("train", "valid", "test"):
        write_manifest(tmp_path / f"{split}.tsv", tmp_path, rows, list(rows[0]))
    for column, text in ((None, "other words"), ("said", "what was said")):
        assert look_at(tmp_path, column).train.texts == (text,)
    with pytest.raises(ValueError, match=r"train\.tsv: has no column words \(path, .*said\); say `--text"):
        look_at(tmp_path, "words")

"""Trimming: silence at both ends goes but for what is kept, times of words move along, files stay."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.audio.edges import speech_span
from vqw2v_plugin.corpora.ctm import read_ctm
from vqw2v_plugin.corpora.manifest import Manifest
from vqw2v_plugin.corpora.rows import Row
from vqw2v_plugin.corpora.sources import Entry, Refusal
from vqw2v_plugin.corpora.sources.entry import Timed
from vqw2v_plugin.corpora.trim import check_trim, trimmed
from vqw2v_plugin.features.registry import load_features

RATE = 8000


def tone(before: float, said: float, behind: float, noise: float = 1e-3) -> np.ndarray:
    """Seconds of faint noise around a loud tone with a pause in its middle."""
    rng = np.random.default_rng(0)
    wav = 0.3 * np.sin(2 * np.pi * 440 * np.arange(int(said * RATE)) / RATE)
    wav[int(0.4 * said * RATE) : int(0.6 * said * RATE)] = 0
    wav = np.concatenate([np.zeros(int(before * RATE)), wav, np.zeros(int(behind * RATE))])
    return (wav + noise * rng.normal(0, 1, len(wav))).astype(np.float32)


@pytest.mark.parametrize("noise", [0.0, 1e-4, 1e-2, 0.05])
def test_speech_is_found_in_any_noise(noise: float) -> None:
    begin, end = speech_span(tone(0.7, 1.0, 0.4, noise), RATE)
    assert abs(begin - 0.7 * RATE) <= 0.03 * RATE and abs(end - 1.7 * RATE) <= 0.03 * RATE


def test_a_click_before_is_no_speech_and_what_is_of_one_loudness_stays_whole() -> None:
    wav = tone(0.7, 1.0, 0.4)
    wav[800:820] = 0.9
    assert speech_span(wav, RATE)[0] > 0.6 * RATE
    for whole in (np.zeros(5000, np.float32), np.full(30, 0.5, np.float32), tone(0, 0.001, 2.0, 0.1)):
        assert speech_span(whole, RATE) == (0, len(whole))


def test_rows_are_cut_and_times_move_with_them(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    rows = []
    for i, before in enumerate([0.7, 0.05]):
        soundfile.write(tmp_path / "c" / f"{i}.wav", tone(before, 1.0, 0.4), RATE)
        times = [[before, before + 0.4, "one"], [before + 0.6, before + 1, "two"]]
        rows.append(json.dumps({"wav": f"{i}.wav", "text": "one two", "word_times": times}))
    (tmp_path / "c" / "train.jsonl").write_text("\n".join([*rows, ""]))
    assert main(["manifest", str(tmp_path / "c"), str(tmp_path / "m"), "--trim", "0.1", "--valid", "0"]) == 0
    manifest = Manifest(tmp_path / "m" / "train.tsv")
    cut, whole = (manifest[i] for i in range(len(manifest)))
    if cut.start < whole.start:
        cut, whole = whole, cut
    assert abs(cut.start - 0.6 * RATE) <= 0.03 * RATE and abs(cut.samples - 1.2 * RATE) <= 0.06 * RATE
    assert whole.start == 0  # no more is cut than there is
    times = read_ctm(tmp_path / "m" / "train.words.ctm")[cut.utt]
    assert list(times.labels) == ["one", "two"]
    assert abs(times.starts[0] - 0.1) <= 0.04 and abs(times.ends[1] - 1.1) <= 0.04
    heard = load_features("logmel", sample_rate=RATE).of(cut)
    alone = load_features("logmel", sample_rate=RATE)(
        torch.from_numpy(soundfile.read(cut.path, dtype="float32")[0][cut.start : cut.start + cut.samples])
    )
    assert torch.equal(heard, alone)


def test_wrong_lengths_and_files_that_are_none_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c").mkdir()
    soundfile.write(tmp_path / "c" / "a.wav", tone(0.2, 1, 0.2), RATE)
    soundfile.write(tmp_path / "c" / "b.flac", tone(0.2, 1, 0.2), RATE)
    blob = bytearray((tmp_path / "c" / "b.flac").read_bytes())
    blob[len(blob) // 2 :] = b"\xff" * (len(blob) - len(blob) // 2)
    (tmp_path / "c" / "b.flac").write_bytes(bytes(blob))
    for bound in (None, 0.0, 60.0):
        check_trim(bound)
    for seconds in ("-0.1", "61", "nan"):
        assert main(["manifest", str(tmp_path / "c"), str(tmp_path / "m"), f"--trim={seconds}"]) == 2
        assert "`--trim` is" in capsys.readouterr().err
    assert main(["manifest", str(tmp_path / "c"), str(tmp_path / "m"), "--trim", "0"]) == 0
    assert "b.flac" in (tmp_path / "m" / "refused.tsv").read_text()


def test_of_pieces_of_a_file_each_is_trimmed_where_it_lies_with_words_and_phones(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.concatenate([tone(0.7, 1.0, 0.4), tone(0.5, 1.0, 0.3)]), RATE)
    whole = Entry(
        "a.wav", "a", words=(Timed(0.5, 1.5, "w"),), phones=(Timed(0.5, 0.9, "p"), Timed(1.1, 1.5, "q"))
    )
    rows = [
        Row(whole, 16_800, 14_400, RATE),
        Row(Entry("b.wav", "b"), 0, 9, RATE),
        Row(whole, 0, 16_800, RATE),
    ]
    second, missing, first = trimmed(rows, str(tmp_path), 0.1, workers=2)
    assert isinstance(second, Row) and isinstance(first, Row) and isinstance(missing, Refusal)
    assert missing.path == "b.wav" and "no such file" in missing.reason
    for row, begin in ((second, 2.1 + 0.5), (first, 0.7)):
        assert row.start / RATE == pytest.approx(begin - 0.1, abs=0.03)
        assert row.samples / RATE == pytest.approx(1.2, abs=0.06) and row.rate == RATE
    times = [(each.label, each.start, each.end) for each in (*second.entry.words, *second.entry.phones)]
    for (label, start, end), wanted in zip(
        times, (("w", 0.1, 1.1), ("p", 0.1, 0.5), ("q", 0.7, 1.1)), strict=True
    ):
        assert label == wanted[0] and (start, end) == pytest.approx(wanted[1:], abs=0.03)


def test_labels_of_what_is_cut_off_stay_at_the_row_s_ends_and_a_margin_ends_with_the_row(
    tmp_path: Path,
) -> None:
    soundfile.write(tmp_path / "a.wav", tone(0.7, 1.0, 0.4), RATE)
    words = (Timed(0.0, 0.2, "before"), Timed(0.8, 1.6, "said"), Timed(1.95, 2.1, "behind"))
    row = Row(Entry("a.wav", "a", words=words), 0, 16_800, RATE)
    (cut,) = trimmed([row], str(tmp_path), 0.1, workers=0)
    assert isinstance(cut, Row)
    before, said, behind = cut.entry.words
    seconds = cut.samples / RATE
    assert before == (0.0, 0.0, "before") and behind == (seconds, seconds, "behind")
    assert (said.start, said.end) == pytest.approx((0.2, 1.0), abs=0.03)
    assert trimmed([row], str(tmp_path), 5.0, workers=1) == [row]

"""What a report of codes looks at: clips from all over, changes that are drawn for each of them."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from small_run import usage_reports

from vqw2v_plugin.analysis import code_report
from vqw2v_plugin.analysis.code_report import Asked, PhonesError, report_codes
from vqw2v_plugin.corpora.ctm import Segments
from vqw2v_plugin.corpora.manifest import Utterance
from vqw2v_plugin.modules.layers.conv_spec import ConvGeometry

RATE = 8_000


class Loudness:
    """A tokenizer: whether each 100 samples begin above zero, and their first 3 samples as features."""

    sample_rate, layer, num_codes = RATE, "z", 2
    geometry = ConvGeometry(100, 100)

    def __init__(self) -> None:
        self.heard: list[str] = []

    def encode(self, wav: np.ndarray, rate: int) -> torch.Tensor:
        assert rate == RATE
        return torch.from_numpy(wav[: len(wav) // 100 * 100].reshape(-1, 100)[:, :1] > 0).long()

    def features_of(self, row: Utterance) -> torch.Tensor:
        self.heard.append(row.utt)
        wav = soundfile.read(row.path, dtype="float32")[0]
        return torch.from_numpy(wav[: len(wav) // 100 * 100].reshape(-1, 100)[:, :3])


def rows_of(folder: Path, number: int, **more: str) -> list[Utterance]:
    """The same clip under many names."""
    wav = np.random.default_rng(0).normal(0, 0.1, 1_600).astype(np.float32)
    soundfile.write(folder / "clip.wav", wav, RATE, subtype="FLOAT")
    return [Utterance(str(folder / "clip.wav"), 1_600, utt=f"u{i}", **more) for i in range(number)]


def codes_of(rows: list[Utterance]) -> dict[str, np.ndarray]:
    return {row.utt: np.arange(16)[:, None] // 4 % 2 for row in rows}


def test_each_clip_s_change_is_drawn_for_it_and_as_the_seed_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[float] = []

    def change(wav: np.ndarray, rng: np.random.Generator, rate: int) -> np.ndarray:
        assert rate == RATE and len(wav) == 1_600
        drawn.append(rng.random())
        return wav

    monkeypatch.setattr(code_report, "CHANGES", {"none": change})
    rows: list[Any] = rows_of(tmp_path, 3)
    for seed in (1, 1, 2):
        assert code_report._edits(Loudness(), rows, seed) == {"none": 0.0}  # type: ignore[arg-type]
    assert drawn[:3] == drawn[3:6] and len(set(drawn)) == 6


def test_the_share_that_changes_is_a_mean_over_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four clips the second's sound goes, and with it all runs of its tokens but one."""
    turns = iter(range(4))

    def change(wav: np.ndarray, rng: np.random.Generator, rate: int) -> np.ndarray:
        return wav * (next(turns) != 1)

    monkeypatch.setattr(code_report, "CHANGES", {"gone": change})
    wav = np.random.default_rng(0).normal(0, 0.1, 1_600)
    runs = 1 + int(np.count_nonzero(np.diff(wav[::100] > 0)))
    found = code_report._edits(Loudness(), rows_of(tmp_path, 4), 1)  # type: ignore[arg-type]
    assert found == {"gone": pytest.approx((runs - 1) / runs / 4)}


def test_rank_and_changes_are_of_clips_from_all_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, rows = Loudness(), rows_of(tmp_path, 60)
    changed: list[int] = []
    monkeypatch.setattr(code_report, "_edits", lambda _, rows, seed: changed.extend([len(rows), seed]) or {})
    known = codes_of(rows[:40])  # the others could not be encoded
    report = report_codes("it", tokenizer, known, rows, Asked(None, 5, 7))  # type: ignore[arg-type]
    assert tokenizer.heard == [f"u{i}" for i in range(0, 40, 2)]
    assert changed == [5, 7] and report.edited == 5
    assert (report.usage.num_frames, report.dim, report.layer) == (640, 3, "z")
    assert report.voices is None and report.phones is None  # nobody says who speaks, or what


def test_speakers_are_left_out_in_turn_where_they_are_known(tmp_path: Path) -> None:
    rows = [dataclasses.replace(row, speaker=f"s{i % 4}") for i, row in enumerate(rows_of(tmp_path, 8))]
    starts = np.arange(4) * 0.05
    segments = {row.utt: Segments(starts, starts + 0.05, ("a", "b", "a", "b")) for row in rows}
    asked = Asked(segments)
    report = report_codes("it", Loudness(), codes_of(rows), rows, asked)  # type: ignore[arg-type]
    assert report.sure is not None and (report.sure.speakers, report.sure.of) == (4, "speakers")
    assert report.voices is not None and (report.voices.clips, report.voices.speakers) == (4, 4)
    with pytest.raises(PhonesError, match="times for none of the manifest's utterances"):
        report_codes("it", Loudness(), codes_of(rows), rows, Asked({}))  # type: ignore[arg-type]


def test_a_report_s_lines_have_each_figure_in_its_place_and_nothing_of_what_was_not_asked() -> None:
    trained, untrained = usage_reports()
    assert trained.lines() == [
        "trained: 588 frames, 2 groups of 4 codes",
        "  group 0: 3 of 4 codes used, perplexity 2.5",
        "  group 1: 4 of 4 codes used, perplexity 3.5",
        "  together: 88% of the codes used; 9 combinations, perplexity 7.5",
        "  phones: the code tells 0.90 of 1.50 bits about the phone (60.0%, over 3 speakers 55.1% to 64.9%; "
        "3 phones, 588 frames)",
        "  voices: 87.5% of 8 clips are told to be of their speaker by their tokens alone "
        "(of 4; chance 25.0%)",
        "  rank: 7.2 of 16 dimensions of z are filled",
        "  tokens that change, in 2 clips, of those before: noise 20 dB 32%, tempo 0.9 12%",
    ]
    assert [line.split()[0] for line in untrained.lines()] == "untrained: group group together: rank:".split()
    few = dataclasses.replace(trained, sure=None).lines()
    assert "(60.0%; 3 phones, 588 frames)" in few[4]


def test_times_of_phones_are_those_of_the_tokenizer_s_rate(tmp_path: Path) -> None:
    """A token every 12.5 ms; each phone lasts four of them, as long as a token lasts."""
    rows = rows_of(tmp_path, 3)
    starts = np.arange(4) * 0.05
    segments = {row.utt: Segments(starts, starts + 0.05, ("a", "b", "a", "b")) for row in rows}
    asked = Asked(segments)
    report = report_codes("it", Loudness(), codes_of(rows), rows, asked)  # type: ignore[arg-type]
    assert report.phones is not None and (report.phones.num_frames, report.phones.share) == (48, 1.0)
    told = report.to_json()
    assert told["phones"]["share"] == 1.0 and told["usage"]["used"] == (2,)
    assert report.sure is not None and report.sure.of == "utterances"

"""Long recordings are cut at pauses, into parts that join without a gap."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from vqw2v_plugin.audio import cuts
from vqw2v_plugin.audio.cuts import parts_of
from vqw2v_plugin.audio.reading import AudioError


def record(path: Path, seconds: float, rate: int, pauses: tuple[float, ...] = ()) -> Path:
    """Noise, quiet for 0.3 s around each of the pauses."""
    wav = np.random.default_rng(0).normal(0, 0.1, int(seconds * rate))
    for pause in pauses:
        wav[int((pause - 0.15) * rate) : int((pause + 0.15) * rate)] *= 0.01
    sf.write(path, wav, rate)
    return path


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100])
def test_a_long_file_is_cut_in_its_pauses(tmp_path: Path, rate: int) -> None:
    path = record(tmp_path / "a.wav", 10, rate, (1.0, 2.4, 4.5, 6.6, 8.9))
    parts = list(parts_of(path, 3.0, 0.01))
    ends = [(part.start + part.samples) / rate for part in parts]
    assert ends[:-1] == pytest.approx([2.4, 4.5, 6.6, 8.9], abs=0.07)  # 1.0 lies in a first half
    assert parts[0].start == 0 and parts[-1].start + parts[-1].samples == int(10 * rate)
    for before, after in itertools.pairwise(parts):
        assert before.start + before.samples == after.start
        assert abs(after.start / rate - after.tick * 0.01) <= 0.5 / rate + 1e-9


def test_a_pause_on_a_tick_is_cut_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where its seconds, as a quotient, are a little less than a whole number of ticks."""
    path = record(tmp_path / "a.wav", 4, 8_000)
    for tick in range(200, 300):
        monkeypatch.setattr(cuts, "_quietest", lambda *_, tick=tick: tick * 80)
        assert next(parts_of(path, 3.0, 0.01)).samples == tick * 80


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100])
def test_a_tick_s_sample_is_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: int) -> None:
    """Where seconds times rate is a little less than a whole number, it is that number all the same."""
    path = record(tmp_path / "a.wav", 4, rate)
    for tick in range(180, 290):
        monkeypatch.setattr(cuts, "_quietest", lambda *_, tick=tick: (tick * rate + 99) // 100)
        first = next(parts_of(path, 3.0, 0.01))
        assert abs(2 * (100 * first.samples - tick * rate)) <= 100  # half a sample at most


def test_parts_are_neither_too_long_nor_too_short(tmp_path: Path) -> None:
    for tenths in range(5, 100, 7):
        path = record(tmp_path / "a.wav", tenths / 10, 8_000)
        lengths = [part.samples / 8_000 for part in parts_of(path, 2.0, 0.01)]
        assert sum(lengths) == pytest.approx(tenths / 10) and max(lengths) <= 2.0
        assert len(lengths) == 1 if tenths <= 20 else min(lengths) >= 0.49


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_what_is_exactly_as_long_as_the_limit_is_one_part(tmp_path: Path, rate: int) -> None:
    path = record(tmp_path / "a.wav", 2.0, rate)
    assert [(part.start, part.samples, part.tick) for part in parts_of(path, 2.0, 0.01)] == [(0, 2 * rate, 0)]
    path = tmp_path / "b.wav"
    sf.write(path, np.random.default_rng(0).normal(0, 0.1, 2 * rate + 1), rate)
    assert len(list(parts_of(path, 2.0, 0.01))) == 2


def test_what_cannot_be_cut_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`limit` is 0.5 s; expected 1, as a pause"):
        list(parts_of(tmp_path / "a.wav", 0.5, 0.01))
    with pytest.raises(AudioError, match="no such file"):
        list(parts_of(tmp_path / "none.wav", 2.0, 0.01))


def test_a_fifth_of_a_second_is_a_pause_and_a_tenth_is_none(tmp_path: Path) -> None:
    """However silent the tenth is."""
    wav = np.random.default_rng(0).normal(0, 0.1, 32_000)
    wav[15_600:16_400] = 0  # 0.1 s around 2 s
    wav[19_000:21_000] *= 0.1  # 0.25 s around 2.5 s
    sf.write(tmp_path / "a.wav", wav, 8_000)
    assert next(parts_of(tmp_path / "a.wav", 3.0, 0.01)).samples == pytest.approx(20_000, abs=400)

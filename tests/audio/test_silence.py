"""Silence in a clip: pauses go, what is said stays, and a clip of one loudness stays whole."""

import sys
import types
from concurrent.futures import ThreadPoolExecutor
from threading import local

import numpy as np
import pytest
from sounds import noise, sine

from vqw2v_plugin.audio.silence import check_detector, spoken_parts, without_silence

RATE = 8_000


def clip(*parts: tuple[float, float]) -> np.ndarray:
    """(seconds, level) of each stretch, over a quiet floor."""
    return np.concatenate([sine(440, RATE, seconds, level) for seconds, level in parts]) + noise(
        sum(int(RATE * seconds) for seconds, _ in parts)
    ) * np.float32(0.005)


def test_pauses_are_left_out_but_for_their_edges() -> None:
    wav = clip((0.5, 0), (0.6, 0.3), (0.5, 0), (0.4, 0.3), (0.3, 0))
    parts = [(begin / RATE, end / RATE) for begin, end in spoken_parts(wav, RATE)]
    np.testing.assert_allclose(parts, [(0.45, 1.15), (1.55, 2.05)], atol=0.03)
    found = without_silence(wav, RATE, "energy")
    assert np.array_equal(found, np.concatenate([wav[a:b] for a, b in spoken_parts(wav, RATE)]))


def test_a_stop_s_closure_is_no_pause() -> None:
    wav = clip((0.3, 0.3), (0.12, 0), (0.3, 0.3), (0.5, 0))
    ((begin, end),) = spoken_parts(wav, RATE)
    assert begin == 0 and end / RATE == pytest.approx(0.77, abs=0.03)


def test_twenty_hops_of_silence_are_a_pause_and_nineteen_are_none() -> None:
    for quiet, count in ((19, 1), (20, 2)):
        levels = np.repeat([0.0, 0.3, 0.0, 0.3, 0.0], [30, 20, quiet, 20, 30])
        wav = np.repeat(levels, RATE // 100).astype(np.float32)
        assert len(spoken_parts(wav, RATE)) == count


@pytest.mark.parametrize("wav", [noise(4_000), np.zeros(4_000, "f"), np.zeros(0, "f"), noise(30)])
def test_a_clip_of_one_loudness_stays_whole(wav: np.ndarray) -> None:
    assert without_silence(wav, RATE, "energy") is wav and without_silence(wav, RATE, "keep") is wav


def test_another_detector_is_refused() -> None:
    with pytest.raises(ValueError, match="`--silence` is 'rvad'; expected one of keep, energy, silero"):
        without_silence(noise(99), RATE, "rvad")
    with pytest.raises(ValueError, match=r"`task\.silence` is ''; expected one of"):
        check_detector("", "task.silence")


def test_silero_s_parts_are_those_that_it_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    package = types.ModuleType("silero_vad")
    loaded: list[int] = []
    package.load_silero_vad = lambda: loaded.append(1) or "network"  # type: ignore[attr-defined]

    def find(wav: object, model: str, sampling_rate: int) -> list[dict[str, int]]:
        assert model == "network" and sampling_rate == RATE
        return [{"start": 10, "end": 20}, {"start": 30, "end": 35}]

    package.get_speech_timestamps = find  # type: ignore[attr-defined]
    monkeypatch.setattr("vqw2v_plugin.audio.silence._LOADED", local())
    monkeypatch.setitem(sys.modules, "silero_vad", package)
    wav = noise(50)
    assert np.array_equal(without_silence(wav, RATE, "silero"), np.concatenate([wav[10:20], wav[30:35]]))
    monkeypatch.setattr(package, "get_speech_timestamps", lambda *_, **__: [])
    assert without_silence(wav, RATE, "silero") is wav  # where nobody seems to say anything
    monkeypatch.setattr(package, "get_speech_timestamps", find)
    with pytest.raises(ValueError, match="silero-vad hears audio of 16000 or 8000 Hz, not of 22050"):
        without_silence(wav, 22_050, "silero")
    for _ in range(2):
        without_silence(wav, RATE, "silero")
    assert len(loaded) == 1
    with ThreadPoolExecutor(1) as pool:  # whose network remembers what it alone has heard
        pool.submit(without_silence, wav, RATE, "silero").result()
    assert len(loaded) == 2


def test_without_the_package_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "silero_vad", None)
    with pytest.raises(ValueError, match=r"needs `silero-vad` .*this package's extra `\[vad\]`"):
        without_silence(noise(99), RATE, "silero")


def test_a_twentieth_of_a_second_stays_on_each_side_of_what_is_said() -> None:
    levels = np.repeat([0.0, 0.3, 0.0, 0.3, 0.0], [30, 20, 30, 20, 3])
    wav = np.repeat(levels, RATE // 100).astype(np.float32)
    assert spoken_parts(wav, RATE) == [(2_400 - 400, 4_000 + 400), (6_400 - 400, 8_000 + 240)]

"""From where to where something is said, to the hop; what is too quiet or too short by little is not."""

import numpy as np
import pytest
from sounds import noise, sine

from vqw2v_plugin.audio.edges import said_hops, speech_span
from vqw2v_plugin.audio.silence import spoken_parts

RATE = 8_000
HOP = 80


def spoken(level: float = 0.3, floor: float = 1e-3, silent: int = 0, behind: int = 3_200) -> np.ndarray:
    """0.7 s of a faint floor, its first samples silent; a second of a tone, and the floor once more."""
    wav = np.concatenate([np.zeros(5_600), sine(440, RATE, 1.0, level), np.zeros(behind)])
    wav[silent:] += 10 * floor * noise(len(wav))[silent:]
    return wav.astype(np.float32)


@pytest.mark.parametrize("floor", [0.0, 1e-3])
@pytest.mark.parametrize("behind", [3_200, 3_279, 79])
def test_what_is_said_is_found_to_the_hop(floor: float, behind: int) -> None:
    """Also with part of a hop at the clip's end."""
    assert speech_span(spoken(floor=floor, behind=behind), RATE) == (5_600, 13_600)


def test_a_tenth_of_a_second_of_digital_silence_does_not_make_noise_speech() -> None:
    assert speech_span(spoken(silent=800), RATE) == (5_600, 13_600)


def test_a_clip_that_ends_in_speech_ends_with_its_last_whole_hop() -> None:
    wav = spoken()[: 13_600 - 30]
    assert speech_span(wav, RATE) == (5_600, 13_520)
    assert speech_span(wav[::-1].copy(), RATE)[0] == 0


def test_three_loud_hops_of_five_are_speech_and_two_are_a_click() -> None:
    for hops, found in ((2, False), (3, True)):
        wav = 1e-3 * noise(20 * HOP)
        for at in range(hops):
            wav[(10 + at) * HOP : (11 + at) * HOP] = 0.5
        said = said_hops(wav, HOP)
        assert said is not None and np.flatnonzero(said).tolist() == ([10, 11, 12] if found else [])


def test_six_decibels_apart_are_told_apart_and_fewer_are_not() -> None:
    square = np.where(np.arange(HOP) % 2, 1.0, -1.0)  # of one power in each hop
    for decibels, found in ((5.9, False), (6.1, True)):
        levels = np.repeat([0.1, 0.1 * 10 ** (decibels / 20), 0.1], 20)
        wav = (levels[:, None] * square).ravel().astype(np.float32)
        assert (said_hops(wav, HOP) is not None) == found
        assert speech_span(wav, RATE) == ((20 * HOP, 40 * HOP) if found else (0, len(wav)))


def test_speech_begins_at_three_tenths_of_the_range() -> None:
    square = np.where(np.arange(HOP) % 2, 1.0, -1.0)
    for decibels, found in ((11.5, 0), (12.5, 10)):  # of 40 from the quietest to the loudest
        levels = np.repeat([0.005, 0.005 * 10 ** (decibels / 20), 0.5], [30, 10, 20])
        wav = (levels[:, None] * square).ravel().astype(np.float32)
        assert speech_span(wav, RATE) == ((40 - found) * HOP, 60 * HOP)


def test_a_loud_hop_does_not_hide_what_is_said_faintly() -> None:
    """Of a hundred hops one is 60 dB over the quiet ones, and speech 12."""
    square = np.where(np.arange(HOP) % 2, 1.0, -1.0)
    levels = 1e-3 * 10 ** (np.repeat([0, 12, 0], [40, 40, 20]) / 20)
    levels[10] = 1.0
    wav = (levels[:, None] * square).ravel().astype(np.float32)
    assert speech_span(wav, RATE) == (40 * HOP, 80 * HOP)


def test_a_quiet_hop_among_loud_ones_is_not_said() -> None:
    square = np.where(np.arange(HOP) % 2, 1.0, -1.0)
    levels = np.repeat([0.001, 0.5, 0.001, 0.5, 0.001], [10, 3, 1, 3, 10])
    said = said_hops((levels[:, None] * square).ravel().astype(np.float32), HOP)
    assert said is not None and np.flatnonzero(said).tolist() == [10, 11, 12, 14, 15, 16]


def test_a_clip_of_clicks_alone_stays_whole() -> None:
    """One hop of three is loud, which is too few to be speech anywhere."""
    levels = np.tile([0.5, 0.001, 0.001], 20)
    square = np.where(np.arange(HOP) % 2, 1.0, -1.0)
    wav = (levels[:, None] * square).ravel().astype(np.float32)
    said = said_hops(wav, HOP)
    assert said is not None and not said.any()
    assert speech_span(wav, RATE) == (0, len(wav)) and spoken_parts(wav, RATE) == [(0, len(wav))]


@pytest.mark.parametrize("hops", [0, 1, 2, 4])
def test_a_clip_of_less_than_five_hops_is_said_whole(hops: int) -> None:
    wav = np.repeat([0.001, 0.5, 0.001, 0.5][:hops], HOP).astype(np.float32)
    assert said_hops(wav, HOP) is None and speech_span(wav, RATE) == (0, len(wav))

"""Changed samples say the same: noise as asked, another pitch as long, another tempo as high."""

import numpy as np
import pytest

from vqw2v_plugin.audio.augment import (
    CHANGES,
    _best_shift,
    add_noise,
    add_reverb,
    change_pitch,
    change_tempo,
)

RATE = 16_000


def tone(hertz: float = 220.0, seconds: float = 2.0) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE).astype(np.float32)


def pitch_of(wav: np.ndarray) -> float:
    """Hz of the strongest frequency, to half a hertz."""
    size = 2 * RATE
    return float(np.abs(np.fft.rfft(wav * np.hanning(len(wav)), size)).argmax()) * RATE / size


def clicks() -> np.ndarray:
    """Four, half a second apart."""
    wav = np.zeros(2 * RATE, dtype=np.float32)
    for at in (4_000, 12_000, 20_000, 28_000):
        wav[at : at + 40] = 1.0
    return wav


@pytest.mark.parametrize("decibels", [20.0, 0.0])
def test_noise_lies_as_far_below_as_asked(decibels: float) -> None:
    wav = tone()
    noise = add_noise(wav, np.random.default_rng(0), decibels) - wav
    assert 10 * np.log10(np.mean(wav**2) / np.mean(noise**2)) == pytest.approx(decibels, abs=0.2)
    assert abs(np.corrcoef(noise[1:], noise[:-1])[0, 1]) < 0.03  # white


def test_an_echo_fades_by_60_decibels_and_what_was_first_stays_first() -> None:
    wav = np.zeros(RATE, dtype=np.float32)
    wav[1_000] = 1.0
    heard = add_reverb(wav, np.random.default_rng(0), RATE, 0.4)
    assert len(heard) == len(wav) and np.abs(heard[:1_000]).max() < 1e-6 and heard.argmax() == 1_000
    early, late = (np.square(heard[at : at + 800]).mean() for at in (1_100, 1_100 + 3_200))
    assert 10 * np.log10(early / late) == pytest.approx(30, abs=2)  # half of the time
    assert np.abs(heard[1_000 + 6_400 :]).max() < 1e-6
    assert np.square(heard).sum() == pytest.approx(1.0, rel=1e-3)


def low_noise(rate: int) -> np.ndarray:
    """A second and a half of what has no frequency above 1,300 Hz, the same at any rate."""
    wave = np.random.default_rng(0).normal(0, 1, 24_000)
    spectrum = np.fft.rfft(wave)
    spectrum[1_950:] = 0
    return (0.05 * np.fft.irfft(spectrum))[:: 16_000 // rate].astype(np.float32)


@pytest.mark.parametrize("gain", [1e-24, 1e20])
def test_powers_are_told_of_clips_of_any_loudness(gain: float) -> None:
    """Whose squares are no numbers of 32 bit."""
    wav = tone()
    for change in (lambda x, rng: add_noise(x, rng, 10.0), lambda x, rng: add_reverb(x, rng, RATE)):
        plain, gained = (change(x, np.random.default_rng(0)) for x in (wav, wav * np.float32(gain)))
        np.testing.assert_allclose(gained.astype(np.float64) / gain, plain, rtol=1e-3, atol=1e-4)


def test_an_echo_lasts_as_long_at_any_rate() -> None:
    wav = np.zeros(16_000, dtype=np.float32)
    wav[1_000] = 1.0
    for rate, size in ((8_000, 2_400), (16_000, 4_800)):  # 0.3 s where nothing is said
        heard = np.abs(add_reverb(wav, np.random.default_rng(0), rate))
        assert heard[1_000 + size - 400 : 1_000 + size].max() > 1e-6 > heard[1_000 + size :].max()


@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_half_the_rate_is_changed_as_the_whole_is(factor: float) -> None:
    """Pieces and where they are looked for are told in seconds; after some the rates part."""
    whole, half = (change_tempo(low_noise(rate), rate, factor) for rate in (16_000, 8_000))
    assert np.corrcoef(whole[:1600:2], half[:800])[0, 1] > 0.95  # of other pieces: 0.6


@pytest.mark.parametrize("factor", [0.8, 0.9, 1.1, 1.3])
def test_tempo_changes_the_length_alone(factor: float) -> None:
    wav = tone()
    found = change_tempo(wav, RATE, factor)
    assert len(found) == round(len(wav) / factor)
    assert pitch_of(found) == pytest.approx(220, abs=0.6)
    assert found[800:-800].std() == pytest.approx(wav.std(), rel=0.02)


def test_what_is_said_comes_that_much_earlier() -> None:
    found = change_tempo(clicks(), RATE, 1.25)
    heard = np.flatnonzero(found > 0.5)
    groups = np.split(heard, np.flatnonzero(np.diff(heard) > 800) + 1)
    assert [round(float(group.mean()) / 100) for group in groups] == pytest.approx([32, 96, 160, 224], abs=2)


@pytest.mark.parametrize("semitones", [-4.0, 2.0, 5.0])
def test_pitch_changes_and_the_length_does_not(semitones: float) -> None:
    wav = tone()
    found = change_pitch(wav, RATE, semitones)
    assert len(found) == len(wav)
    assert pitch_of(found) == pytest.approx(220 * 2 ** (semitones / 12), abs=0.6)


def test_no_change_of_tempo_is_none() -> None:
    wav = np.random.default_rng(0).normal(0, 0.1, 9_000).astype(np.float32)
    np.testing.assert_allclose(change_tempo(wav, RATE, 1.0), wav, atol=1e-6)


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("size", [1, 300, 9_000])
def test_any_clip_is_changed_as_the_generator_says(name: str, size: int) -> None:
    wav = np.random.default_rng(1).normal(0, 0.1, size).astype(np.float32)
    kept = wav.copy()
    first, again = (CHANGES[name](wav, np.random.default_rng(3), RATE) for _ in range(2))
    assert first.dtype == np.float32 and np.isfinite(first).all() and np.array_equal(first, again)
    assert np.array_equal(wav, kept) and abs(len(first) - size) <= size // 8 + 1
    if size == 9_000:
        assert len(first) != size or not np.allclose(first, wav, atol=1e-3)


def test_silence_stays_silent() -> None:
    for change in CHANGES.values():
        assert not change(np.zeros(4_000, dtype=np.float32), np.random.default_rng(0), RATE).any()


def test_an_echo_of_a_clip_s_end_does_not_come_at_its_beginning() -> None:
    for size in (2_000, 4_096, 5_000):
        wav = np.zeros(size, dtype=np.float32)
        wav[-2] = 1.0
        for seconds in (0.01, 0.3, 2.0):
            heard = add_reverb(wav, np.random.default_rng(0), RATE, seconds)
            assert np.abs(heard[:-2]).max() < 1e-6 < np.abs(heard[-1])


def test_a_piece_is_taken_where_it_is_most_like_and_not_where_it_is_loudest() -> None:
    rng = np.random.default_rng(0)
    padded = 0.01 * rng.standard_normal(600)
    wanted = rng.standard_normal(40)
    padded[:40] = wanted
    padded[180:240] = 20 * rng.standard_normal(60)  # loud and unlike
    padded[260:300] = 0.3 * wanted
    assert _best_shift(padded, 0, 230, 40, 60) == 30
    padded[260:300] = -0.3 * wanted  # the other way round is not alike
    padded[215:255] = 0.3 * wanted
    assert _best_shift(padded, 0, 230, 40, 60) == -15


def test_changes_are_what_their_names_say() -> None:
    wav = tone()
    for name, change in CHANGES.items():
        what, _, number = name.partition(" ")
        found = change(wav, np.random.default_rng(0), RATE)
        if what == "noise":
            assert 10 * np.log10(np.mean(wav**2) / np.mean((found - wav) ** 2)) == pytest.approx(
                float(number.split()[0]), abs=0.3
            )
        elif what == "pitch":
            assert pitch_of(found) == pytest.approx(220 * 2 ** (float(number) / 12), abs=0.6)
        elif what == "tempo":
            assert len(found) == round(len(wav) / float(number))
        else:
            assert name == "reverb" and np.array_equal(found, add_reverb(wav, np.random.default_rng(0), RATE))


def test_of_what_is_heard_in_a_room_four_fifths_are_the_direct_sound() -> None:
    """The echo has half of its amplitude, so a quarter of its power."""
    wav = np.zeros(8_000, dtype=np.float32)
    wav[1_000] = 1.0
    for seed in range(3):
        heard = add_reverb(wav, np.random.default_rng(seed), RATE)
        assert heard[1_000] ** 2 == pytest.approx(0.8, abs=0.01)

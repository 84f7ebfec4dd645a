"""Reading audio: any rate, any piece, and one clear sentence for what cannot be read."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import Sound, noise, sine

from vqw2v_plugin.audio.clip import Clip, Crop
from vqw2v_plugin.audio.reading import AudioError, AudioInfo, audio_info, read_audio, size_at


def level(wave: np.ndarray) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(np.square(wave, dtype=np.float64))) + 1e-12))


@pytest.mark.parametrize("name", ["x.flac", "x.wav", "x.ogg", "x.mp3", "x.aiff"])
def test_formats_of_soundfile_are_read(sound: Sound, name: str) -> None:
    path = sound(name, sine(440, 16_000, 1.0))
    wave = read_audio(path, 16_000)
    assert wave.dtype == np.float32 and len(wave) == 16_000
    assert abs(level(wave[4000:12000]) - level(sine(440, 16_000, 0.5))) < 0.2
    assert audio_info(path) == AudioInfo(16_000, 16_000, 1)


def test_8khz_stereo_becomes_16khz_mono(sound: Sound) -> None:
    left, right = sine(1000, 8_000, 2.0, 0.6), sine(1000, 8_000, 2.0, 0.2)
    wave = read_audio(sound("x.wav", np.stack([left, right], axis=1), 8_000), 16_000)
    assert len(wave) == 32_000
    # The mean of the channels, at its frequency and level; the image at 7 kHz is gone.
    spectrum = np.abs(np.fft.rfft(wave[8_000:24_000] * np.hanning(16_000))) / 4_000
    assert spectrum.argmax() == 1_000 and abs(spectrum[1_000] - 0.4) < 1e-3
    assert 20 * np.log10(spectrum[4_100:].max() / 0.4) < -80


@pytest.mark.parametrize("rate", [44_100, 48_000, 22_050])
def test_resampling_keeps_the_passband_and_folds_nothing_back(sound: Sound, rate: int) -> None:
    low = read_audio(sound("low.wav", sine(5_000, rate, 1.0), rate, "FLOAT"), 16_000)
    high = read_audio(sound("high.wav", sine(9_000, rate, 1.0), rate, "FLOAT"), 16_000)
    assert np.abs(low[2_000:-2_000] - sine(5_000, 16_000, 1.0)[2_000 : len(low) - 2_000]).max() < 1e-3
    assert level(high[2_000:-2_000]) < -60


@settings(max_examples=30, deadline=None)
@given(
    rate=st.sampled_from([8_000, 11_025, 16_000, 22_050, 44_100, 48_000]),
    length=st.integers(1, 9_000),
    position=st.floats(0, 1, exclude_max=True),
)
def test_crop_equals_slice_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, rate: int, length: int, position: float
) -> None:
    path = tmp_path_factory.getbasetemp() / f"crop{rate}.wav"
    if not path.exists():
        soundfile.write(path, noise(20_000), rate, subtype="FLOAT")
    whole = read_audio(path, 16_000)
    begin, end = Crop(length, position).bounds(len(whole))
    piece = read_audio(path, 16_000, crop=Crop(length, position))
    assert len(piece) == end - begin == min(length, len(whole))
    np.testing.assert_allclose(piece, whole[begin:end], atol=2e-6)


@pytest.mark.parametrize(("rate", "target"), [(96_000, 8_000), (48_000, 8_000), (8_000, 48_000)])
def test_a_crop_is_a_slice_however_far_the_rates_lie_apart(sound: Sound, rate: int, target: int) -> None:
    """The filter is as long as its slower rate wants it: at 96 kHz twelve times as many samples."""
    path = sound("x.wav", np.random.default_rng(0).normal(0, 0.2, 2 * rate), rate, "FLOAT")
    whole = read_audio(path, target)
    for position in (0.3, 0.5, 0.7):
        crop = Crop(target // 100, position)
        begin, end = crop.bounds(len(whole))
        assert np.abs(read_audio(path, target, crop=crop) - whole[begin:end]).max() < 2e-6


@pytest.mark.parametrize(
    ("rate", "start", "aligned"), [(16_000, 1_234, 1_234), (8_000, 617, 1_234), (44_100, 4_410, 1_600)]
)
def test_segment_equals_slice_of_file(sound: Sound, rate: int, start: int, aligned: int) -> None:
    path = sound("x.wav", noise(30_000), rate, "FLOAT")
    whole = read_audio(path, 16_000)
    segment = read_audio(Clip(str(path), 8_820, start), 16_000)
    assert len(segment) == size_at(8_820, rate, 16_000)
    np.testing.assert_allclose(segment, whole[aligned : aligned + len(segment)], atol=2e-6)


def test_segment_off_the_grid_is_the_shifted_wave(sound: Sound) -> None:
    wave = sine(1_000, 44_100, 1.0)
    segment = read_audio(Clip(str(sound("x.wav", wave, 44_100, "FLOAT")), 22_050, 4_411), 16_000)
    expected = 0.5 * np.sin(2 * np.pi * 1_000 * (np.arange(8_000) / 16_000 + 4_411 / 44_100))
    np.testing.assert_allclose(segment, expected, atol=1e-3)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_three_samples_and_silence_are_read(sound: Sound, rate: int) -> None:
    assert len(read_audio(sound("three.wav", noise(3), rate), 16_000)) == size_at(3, rate, 16_000)
    assert not read_audio(sound("silence.flac", np.zeros(9_000, np.float32), rate), 16_000).any()


def with_nan(channels: int) -> np.ndarray:
    wave = np.stack([noise(100)] * channels, axis=1)
    wave[40, -1], wave[41, 0] = np.nan, np.inf
    return wave


@pytest.mark.parametrize("channels", [1, 2])
def test_nan_is_counted_and_placed(sound: Sound, channels: int) -> None:
    path = sound("x.wav", with_nan(channels), subtype="FLOAT")
    with pytest.raises(
        AudioError, match=r"x\.wav: 2 of 60 samples are NaN or infinite, the first is sample 40"
    ):
        read_audio(Clip(str(path), 60, 30), 16_000)
    assert len(read_audio(Clip(str(path), 40), 16_000)) == 40


def test_large_finite_samples_are_not_called_infinite(sound: Sound) -> None:
    wave = np.full(100, 3e38, dtype=np.float32)
    assert len(read_audio(sound("x.wav", wave, subtype="FLOAT"), 16_000)) == 100


def test_truncated_flac_is_refused_and_its_sound_part_still_reads(sound: Sound) -> None:
    path = sound("x.flac", noise(60_000))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AudioError, match=r"x\.flac: breaks off or is corrupt between samples 0 and 60000"):
        read_audio(path, 16_000)
    assert len(read_audio(path, 16_000, crop=Crop(5_000, 0.0))) == 5_000


def test_where_a_file_ends_too_early_is_counted_from_its_beginning(sound: Sound) -> None:
    path = sound("x.mp3", noise(60_000))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for start in (0, 20_000):
        with pytest.raises(AudioError, match=r"breaks off after \d+ samples, its header says 60000") as error:
            read_audio(Clip(str(path), 30_000, start), 16_000)
        assert 25_000 < int(str(error.value).split("after ")[1].split()[0]) < 30_000  # half of it is left


def unfinished_stream(path: Path) -> None:
    """Zeroes the number of samples in a FLAC header, as of a stream that was piped."""
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "spoil", "said"),
    [
        ("x.wav", lambda p: p.unlink(), "no such file, expected an audio file; correct the manifest's root"),
        ("x.wav", lambda p: (p.unlink(), p.mkdir()), "is a folder, expected an audio file"),
        ("x.wav", lambda p: p.write_bytes(b""), "is empty, 0 bytes, expected an audio file"),
        ("x.flac", lambda p: p.write_text("hello"), r"cannot be opened as audio \(5 bytes: "),
        ("x.wav", lambda p: soundfile.write(p, noise(0), 16_000), "holds no samples, expected at least one"),
        ("x.wav", lambda p: p.write_bytes(p.read_bytes()[:1_000]), "has 478 samples, 2000 were expected"),
        ("x.flac", unfinished_stream, "its header gives no length"),
        ("x.raw", lambda p: p.write_bytes(bytes(100)), "expected an audio file that states its format"),
    ],
)
def test_each_bad_file_is_named_with_its_defect(sound: Sound, name: str, spoil, said: str) -> None:
    path = sound(name if name != "x.raw" else "y.wav", noise(2_000)).with_name(name)
    spoil(path)
    with pytest.raises(AudioError, match=said) as error:
        read_audio(Clip(str(path), 2_000), 16_000)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


def test_wrong_rate_and_vanishing_piece_are_refused(sound: Sound) -> None:
    path = sound("x.wav", noise(2_000), 8_000)
    assert len(read_audio(Clip(str(path), rate=8_000), 16_000)) == 4_000
    with pytest.raises(AudioError, match="column rate says 16000 Hz, the file has 8000 Hz"):
        read_audio(Clip(str(path), rate=16_000), 16_000)
    with pytest.raises(AudioError, match="1 samples at 8000 Hz leave none at 4000 Hz"):
        read_audio(Clip(str(path), 1), 4_000)


def test_a_start_behind_the_end_is_refused(sound: Sound) -> None:
    path = sound("x.wav", noise(2_000), 8_000)
    for rate in (8_000, 16_000):
        with pytest.raises(
            AudioError, match=r"has 2000 samples, 2000 were expected \(start 2010, samples -10\)"
        ):
            read_audio(Clip(str(path), start=2_010), rate)


def test_fsdd_is_read_at_16khz(real_data: Path) -> None:
    path = real_data / "fsdd" / "flac" / "lucas" / "0_lucas_0.flac"
    assert len(read_audio(path, 16_000)) == 2 * audio_info(path).samples


def test_a_crop_may_begin_at_any_place_where_it_fits_and_at_no_other() -> None:
    begins = [Crop(2, position / 30).bounds(4) for position in range(30)]
    assert begins == [(0, 2)] * 10 + [(1, 3)] * 10 + [(2, 4)] * 10
    assert Crop(9, 0.999).bounds(4) == (0, 4)


def test_of_a_sample_that_is_not_whole_nothing_remains() -> None:
    assert [size_at(samples, 44_100, 16_000) for samples in (0, 2, 3, 8, 441)] == [0, 0, 1, 2, 160]
    assert size_at(5, 16_000, 8_000) == 2 and size_at(5, 8_000, 16_000) == 10

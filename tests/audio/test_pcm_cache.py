"""The cache of decoded samples answers as the file does, and mends itself."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest
from sounds import Sound, noise

from vqw2v_plugin.audio import pcm_cache
from vqw2v_plugin.audio.clip import Clip, Crop
from vqw2v_plugin.audio.pcm_cache import PcmCache
from vqw2v_plugin.audio.reading import AudioError, read_audio


@pytest.fixture
def cache(tmp_path: Path) -> PcmCache:
    return PcmCache(tmp_path / "cache", 16_000)


def decoding_fails(*args: object, **kwargs: object) -> None:
    raise AssertionError("decoded again")


@pytest.mark.parametrize("rate", [16_000, 8_000])
@pytest.mark.parametrize("crop", [None, Crop(1_000, 0.0), Crop(1_000, 0.7)])
def test_cache_returns_the_same_samples(
    sound: Sound, cache: PcmCache, monkeypatch: pytest.MonkeyPatch, rate: int, crop: Crop | None
) -> None:
    path = str(sound("x.flac", noise(5_000), rate))
    expected = read_audio(Clip(path, 4_000, 100, rate), 16_000, crop)
    first = cache.read(Clip(path, 4_000, 100, rate), crop)
    monkeypatch.setattr(pcm_cache, "read_audio", decoding_fails)
    again = cache.read(Clip(path, 4_000, 100, rate), crop)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(first, expected, atol=0 if rate == 16_000 else 2**-16 + 1e-6)
    assert again.dtype == np.float32


def test_samples_beyond_16_bit_are_clipped(sound: Sound, cache: PcmCache) -> None:
    path = str(sound("x.wav", np.array([1.5, -1.5, 0.25], np.float32), subtype="FLOAT"))
    assert cache.read(Clip(path)).tolist() == [1 - 2**-15, -1.0, 0.25]


def test_a_changed_file_is_decoded_anew(sound: Sound, cache: PcmCache) -> None:
    path = sound("x.wav", noise(1_000, seed=1))
    cache.read(Clip(str(path)))
    sound("x.wav", noise(1_000, seed=2))
    os.utime(path, ns=(0, 0))
    np.testing.assert_array_equal(cache.read(Clip(str(path))), read_audio(path, 16_000))
    sound("x.wav", noise(1_200, seed=2))
    os.utime(path, ns=(0, 0))  # of another length alone
    assert len(cache.read(Clip(str(path)))) == 1_200


def test_what_is_kept_of_one_rate_is_not_taken_for_another(sound: Sound, cache: PcmCache) -> None:
    path = str(sound("x.wav", noise(1_000), 8_000))
    assert len(cache.read(Clip(path))) == 2_000
    assert len(PcmCache(cache.folder, 8_000).read(Clip(path))) == 1_000
    with pytest.raises(AudioError, match="column rate says 16000 Hz, the file has 8000 Hz"):
        cache.read(Clip(path, rate=16_000))


@pytest.mark.parametrize("spoil", [b"", b"nonsense", None])
def test_a_broken_entry_is_made_anew(
    sound: Sound, cache: PcmCache, caplog: pytest.LogCaptureFixture, spoil: bytes | None
) -> None:
    path = str(sound("x.wav", noise(1_000)))
    expected = cache.read(Clip(path))
    entry = cache.file_of(Clip(path))
    entry.write_bytes(entry.read_bytes()[:-100] if spoil is None else spoil)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(cache.read(Clip(path)), expected)
    assert "is made anew" in caplog.text
    assert np.load(entry).shape == (1_000,)


@pytest.mark.parametrize("kind", [np.zeros(3), np.zeros((3, 2), np.int16), np.zeros(0, np.int16)])
def test_an_entry_of_another_kind_is_made_anew(sound: Sound, cache: PcmCache, kind: np.ndarray) -> None:
    path = str(sound("x.wav", noise(1_000)))
    expected = cache.read(Clip(path))
    np.save(cache.file_of(Clip(path)), kind)
    np.testing.assert_array_equal(cache.read(Clip(path)), expected)


def test_only_whole_entries_are_left(
    sound: Sound, cache: PcmCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = str(sound("x.wav", noise(1_000)))

    def full_disk(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full_disk)
    assert len(cache.read(Clip(path))) == 1_000 and len(cache.read(Clip(path))) == 1_000
    assert not [file for file in cache.folder.rglob("*") if file.is_file()]
    assert caplog.text.count("No space left on device; going on without writing to it") == 1


def test_filling_the_cache_waits_for_no_disk(
    sound: Sound, cache: PcmCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    clip = Clip(str(sound("x.wav", noise(1_000))))
    cache.file_of(clip).parent.mkdir()
    cache.read(clip)
    assert cache.file_of(clip).is_file() and not synced


def test_bad_audio_and_bad_folder_are_named(sound: Sound, cache: PcmCache, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"gone\.wav: no such file or directory, expected an audio file"):
        cache.read(Clip(str(tmp_path / "gone.wav")))
    occupied = sound("occupied.wav", noise(10))
    with pytest.raises(AudioError, match=r"audio_cache=.*occupied\.wav: cannot be written"):
        PcmCache(occupied, 16_000)


def test_each_stretch_of_a_file_is_kept_by_itself(sound: Sound, cache: PcmCache) -> None:
    path = str(sound("x.flac", noise(6_000)))
    for clip in (
        Clip(path, 1_000),
        Clip(path, 1_000, 5_000),
        Clip(path, 900),
        Clip(path),
        Clip(path, start=1),
    ):
        np.testing.assert_array_equal(cache.read(clip), read_audio(clip, 16_000))


def test_a_file_that_was_changed_within_a_second_is_decoded_anew(sound: Sound, cache: PcmCache) -> None:
    for seed in (1, 2):
        path = sound("x.wav", noise(1_000, seed=seed))
        os.utime(path, ns=(0, 10**18 + 1_000 * seed))
        np.testing.assert_array_equal(cache.read(Clip(str(path))), read_audio(path, 16_000))


def test_of_what_is_kept_only_the_crop_is_read(
    sound: Sound, cache: PcmCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """By a map of the file; and a file that is not there yet is nothing to warn of."""
    clip = Clip(str(sound("x.wav", noise(1_000))))
    cache.read(clip)
    assert not caplog.records
    modes: list[object] = []
    load = np.load
    monkeypatch.setattr(
        np,
        "load",
        lambda file, mmap_mode=None, **how: modes.append(mmap_mode) or load(file, mmap_mode, **how),
    )
    assert len(cache.read(clip, Crop(10, 0.5))) == 10 and modes == ["r"]


def test_files_of_one_relative_name_in_two_folders_are_two(
    cache: PcmCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.wav").write_bytes(b"alike")
        os.utime(tmp_path / name / "x.wav", ns=(0, 0))
        monkeypatch.chdir(tmp_path / name)
        kept.append(cache.file_of(Clip("x.wav")))
    assert kept[0] != kept[1]

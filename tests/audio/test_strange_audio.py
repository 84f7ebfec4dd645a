"""Audio of strangers: each kind is one sentence that names the file, and nothing is allocated on its word."""

import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vqw2v_plugin.audio import reading
from vqw2v_plugin.audio.cuts import check_limit
from vqw2v_plugin.audio.reading import AudioError, audio_info, read_audio
from vqw2v_plugin.audio.sphere import shorten_refusal

Make = Callable[[Path], object]


def flac(path: Path, samples: int = 16_000, rate: int = 16_000) -> None:
    """A FLAC of 16,000 samples whose header says otherwise."""
    soundfile.write(path, np.zeros(16_000), 16_000, format="FLAC")
    data = bytearray(path.read_bytes())
    fields = int.from_bytes(data[18:26], "big")
    fields = (rate << 44) | (fields & ((1 << 44) - (1 << 36))) | samples
    data[18:26] = fields.to_bytes(8, "big")
    path.write_bytes(data)


def riff(path: Path, rate: int) -> None:
    head = struct.pack("<IHHIIHH", 16, 1, 1, rate, (2 * rate) % 2**32, 2, 16)
    size = struct.pack("<I", 32_000)
    path.write_bytes(b"RIFF\x24\x7d\0\0WAVEfmt " + head + b"data" + size + bytes(32_000))


KINDS: dict[str, tuple[Make, str]] = {
    "pipe": (os.mkfifo, "is a pipe, expected an audio file"),
    "device": (lambda path: os.symlink("/dev/zero", path), "is a device, expected an audio file"),
    "terminal": (lambda path: os.symlink("/dev/tty", path), "is a device, expected an audio file"),
    "folder": (os.mkdir, "is a folder, expected an audio file"),
    "loop": (lambda path: os.symlink(path.name, path), "expected an audio file"),
    "empty": (lambda path: path.write_bytes(b""), "is empty, 0 bytes"),
    "kernel": (lambda path: os.symlink("/proc/kmsg", path), "is empty, 0 bytes"),
    "2^33": (lambda path: flac(path, 2**33), "its header says 8,589,934,592 samples, which its"),
    "2^36": (lambda path: flac(path, 2**36 - 1), "bytes cannot hold; restore the file"),
    "breaks": (lambda path: flac(path, 20_000), "breaks off"),
    "1 Hz": (lambda path: flac(path, rate=1), "its header says 1 Hz, expected 1,000 to 1,000,000"),
    "1 Hz wav": (lambda path: riff(path, 1), "its header says 1 Hz, expected 1,000"),
    "2^31 Hz": (lambda path: riff(path, 2**31 - 1), "its header says 2,147,483,647 Hz, expected"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_one_sentence_at_once(tmp_path: Path, kind: str) -> None:
    make, said = KINDS[kind]
    path = tmp_path / "x.flac"
    make(path)
    tracemalloc.start()
    with pytest.raises(AudioError) as error:
        read_audio(path, 16_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(error.value).startswith(f"{path}: ") and said in str(error.value)
    assert peak < 2_000_000


@pytest.mark.parametrize("path", ["x\0y.wav", ""])
def test_names_of_no_file_are_refused(path: str) -> None:
    with pytest.raises(AudioError, match="expected an audio file"):
        audio_info(path)


def test_more_than_memory_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flac(tmp_path / "x.flac")
    monkeypatch.setattr(reading, "machine_memory", lambda: 60_000)
    with pytest.raises(
        AudioError, match=r"its 16,000 samples \(0.0 h\) need more memory than there is; cut it"
    ):
        read_audio(tmp_path / "x.flac", 16_000)


def test_all_channels_count_towards_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros((1_000, 3)), 16_000)
    for memory, fits in ((4 * 3 * 1_000, True), (4 * 3 * 1_000 - 1, False)):
        monkeypatch.setattr(reading, "machine_memory", lambda memory=memory: memory)
        if fits:
            assert len(read_audio(tmp_path / "x.wav", 16_000)) == 1_000
        else:
            with pytest.raises(AudioError, match="need more memory than there is"):
                read_audio(tmp_path / "x.wav", 16_000)


@pytest.mark.parametrize("coding", ["pcm,embedded-shorten-v2.00", "pcm,wavpack", "ulaw,shortpack"])
def test_a_packed_sphere_file_is_told_how_to_unpack(tmp_path: Path, coding: str) -> None:
    path = tmp_path / "x.wv1"
    for said, is_packed in ((coding, True), ("pcm", False), ("ulaw", False)):
        head = f"NIST_1A\n   1024\nsample_coding -s{len(said)} {said}\nend_head\n"
        path.write_bytes(head.encode().ljust(1024) + bytes(64))
        found = shorten_refusal(str(path))
        assert (found is not None and f"cannot read sample_coding {coding}" in found) == is_packed
        with pytest.raises(AudioError) as error:  # of a header that is not whole, too
            audio_info(path)
        assert (str(error.value) == f"{path}: {found}") == is_packed


def test_a_sphere_file_s_coding_is_the_line_of_that_name_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.wv1"
    for before, behind in (("pcm", "pcm,embedded-shorten-v2.00"), ("pcm,embedded-shorten-v2.00", "pcm")):
        lines = ("channel_count -i 1", f"sample_coding -s{len(before)} {before}", f"comment -s9 {behind}")
        path.write_bytes(("\n".join(("NIST_1A", "   1024", *lines, "end_head", ""))).encode().ljust(1024))
        assert (shorten_refusal(str(path)) is not None) == ("shorten" in before)


def test_silence_packed_as_tightly_as_flac_can_is_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.flac", np.zeros(3_000_000, np.int16), 16_000)
    assert len(read_audio(tmp_path / "x.flac", 16_000)) == 3_000_000


def test_a_pipe_is_no_sphere_file_to_wait_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.wv1")
    assert shorten_refusal(str(tmp_path / "x.wv1")) is None


@pytest.mark.parametrize("limit", [float("inf"), float("nan"), -1.0, 0.0, 2.0**63])
def test_a_limit_is_a_number_of_seconds(limit: float) -> None:
    with pytest.raises(ValueError, match=r"`limit` is .* s; expected 1, as a pause"):
        check_limit(limit)


def test_limits_are_from_a_second_to_a_day() -> None:
    check_limit(1)
    check_limit(24 * 60 * 60)
    for limit in (0.999, 24 * 60 * 60 + 1):
        with pytest.raises(ValueError, match=r"expected 1, as a pause .* to 86,400"):
            check_limit(limit)


def test_the_lowest_and_the_highest_rate_are_read(tmp_path: Path) -> None:
    for rate, is_read in ((1_000, True), (999, False), (1_000_000, True), (1_000_001, False)):
        riff(tmp_path / "x.wav", rate)
        if is_read:
            assert audio_info(tmp_path / "x.wav").sample_rate == rate
        else:
            with pytest.raises(AudioError, match=f"its header says {rate:,} Hz"):
                audio_info(tmp_path / "x.wav")


def test_what_memory_cannot_hold_is_told_in_hours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flac(tmp_path / "x.flac", 1_080_000, 1_000)
    monkeypatch.setattr(reading, "machine_memory", lambda: 60_000)
    with pytest.raises(AudioError, match=r"its 1,080,000 samples \(0\.3 h\) need more memory"):
        read_audio(tmp_path / "x.flac", 1_000)


def test_memory_that_is_gone_while_reading_is_the_same_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    flac(tmp_path / "x.flac")
    monkeypatch.setattr(soundfile.SoundFile, "read", full)
    with pytest.raises(AudioError, match=r"x\.flac: its 16,000 samples .* need more memory"):
        read_audio(tmp_path / "x.flac", 16_000)


def test_a_file_that_may_not_be_read_is_not_called_a_broken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.flac").write_bytes(b"hello")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.R_OK)
    with pytest.raises(
        AudioError, match=r"x\.flac: cannot be opened as audio \(permission denied\); expected"
    ):
        audio_info(tmp_path / "x.flac")

"""Log-mels: the right band for a tone, a frame every 10 ms, none that sees what is not there."""

import math

import pytest
import torch

from vqw2v_plugin.modules.layers import spectrum as logmel
from vqw2v_plugin.modules.layers.spectrum import LogMel, check_bands, mel_bands


def tone(hertz: float, samples: int = 16_000) -> torch.Tensor:
    return torch.sin(torch.arange(samples) * (2 * math.pi * hertz / 16_000))


def test_a_tone_is_loudest_in_its_band() -> None:
    mel = LogMel(16_000, 40)
    bands = mel_bands(40, 512, 16_000)
    for hertz in (300.0, 1000.0, 4000.0):
        expected = int(bands[round(hertz / 16_000 * 512)].argmax())
        assert mel(tone(hertz)).mean(0).argmax() == expected


@pytest.mark.parametrize(("rate", "middles"), [(16_000, [614.3, 1767.8, 3933.6]), (8_000, [620.6, 1791.3])])
def test_bands_are_equally_wide_in_mel(rate: int, middles: list[float]) -> None:
    """Middles worked out by the scale's other form, 1127.01 · ln(1 + f / 700) mel (O'Shaughnessy, 1987)."""
    size = 1 << 16
    bands = mel_bands(len(middles), size, rate).double()
    hertz = torch.arange(len(bands)) * rate / size
    assert hertz[bands.argmax(0)].tolist() == pytest.approx(middles, abs=0.3)
    for band, (low, high) in zip(
        bands.T, zip([0.0, *middles], [*middles[1:], rate / 2], strict=False), strict=True
    ):
        inside = hertz[band > 0]
        assert (inside.min().item(), inside.max().item()) == pytest.approx((low, high), abs=0.5)


def test_the_energy_of_a_tone_is_that_of_its_windowed_samples() -> None:
    """By Parseval: 512 / 2 · Σ (w · x)², where Hann's Σ w² is 3/8 of 400 and a sine's mean square 1/2."""
    found = LogMel(16_000, 1)(tone(1000.0))[:, 0]
    energy = 512 / 2 * 400 * 3 / 8 / 2 * 1000 / 1767.8  # the only band rises from 0 to 1767.8 Hz
    torch.testing.assert_close(found, torch.full_like(found, math.log(energy)), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("rate", "size"), [(8_000, 256), (16_000, 512), (20_480, 512), (44_100, 2048)])
def test_a_window_is_filled_up_to_the_next_power_of_two(rate: int, size: int) -> None:
    bands = LogMel(rate, 20)._bands
    assert torch.equal(bands, mel_bands(20, size, rate)) and LogMel(rate).receptive_field <= size


def test_bands_share_each_frequency() -> None:
    bands = mel_bands(20, 512, 16_000)
    middle = bands[bands.argmax(0)[0] : bands.argmax(0)[-1]]  # between the first and the last one's middle
    torch.testing.assert_close(middle.sum(1), torch.ones(len(middle)), atol=1e-5, rtol=0)


def test_frames_are_those_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    mel = LogMel(16_000)
    assert [mel.frames(n) for n in (399, 400, 559, 560, 16_000)] == [0, 1, 1, 2, 98]
    whole = mel(tone(500))
    assert whole.shape == (98, 80)
    monkeypatch.setattr(logmel, "_FRAMES", 7)
    torch.testing.assert_close(mel(tone(500)), whole)
    torch.testing.assert_close(mel(tone(500)[160:]), whole[1:], atol=1e-4, rtol=1e-4)


def test_cepstra_are_the_spectrum_of_the_bands_mirrored() -> None:
    wav = torch.randn(4000, generator=torch.Generator().manual_seed(1))
    bands, cepstra = LogMel(16_000, 40)(wav), LogMel(16_000, 40, num_cepstra=13)(wav)
    waves = torch.fft.rfft(torch.cat([bands, bands.flip(1)], 1).double())[:, :13]
    expected = (waves * torch.exp(-1j * math.pi * torch.arange(13) / 80)).real / math.sqrt(80)
    expected[:, 0] /= math.sqrt(2)
    torch.testing.assert_close(cepstra.double(), expected, atol=1e-4, rtol=1e-5)


def test_silence_has_the_floor_s_energy() -> None:
    assert LogMel(8_000)(torch.zeros(800)).unique().tolist() == pytest.approx([-23.02585])  # ln 1e-10


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="`bands` is 0"):
        LogMel(16_000, 0)
    for cepstra in (24, 0):
        with pytest.raises(ValueError, match=f"{cepstra} cepstra of 23 bands; expected 1 at least"):
            LogMel(16_000, 23, num_cepstra=cepstra)
    with pytest.raises(ValueError, match="`sample_rate` is 399"):
        LogMel(399)
    assert [LogMel(400, 23, num_cepstra=n).dim for n in (1, 23, None)] == [1, 23, 23]


@pytest.mark.parametrize("cepstra", [None, 5])
def test_many_clips_have_each_its_own_frames_and_not_a_bit_from_others(
    cepstra: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logmel, "_FRAMES", 64)
    mel, clips = LogMel(16_000, 20, num_cepstra=cepstra), [tone(300.0, n) for n in (4000, 400, 9000)]
    found = mel.of_many(clips)
    for wav, frames in zip(clips, found, strict=True):
        torch.testing.assert_close(frames, mel(wav), atol=1e-4, rtol=1e-4)
    beside = mel.of_many([clips[0] * 1e6, *clips[1:], tone(5000.0, 2000)])
    assert torch.equal(beside[1], found[1]) and torch.equal(beside[2], found[2])


def test_the_largest_sizes_are_taken_and_larger_ones_refused() -> None:
    check_bands(4_096, 1_000_000)
    with pytest.raises(ValueError, match="`bands` is 4,097; expected 1 to 4,096"):
        check_bands(4_097, 16_000)
    with pytest.raises(ValueError, match="`sample_rate` is 1,000,001; expected 400 to 1,000,000"):
        check_bands(80, 1_000_001)


@pytest.mark.parametrize("cepstra", [None, 5])
def test_all_that_it_holds_lies_on_the_device_that_is_asked_for(cepstra: int | None) -> None:
    mel = LogMel(8_000, 20, torch.device("meta"), num_cepstra=cepstra)
    found = mel(torch.zeros(800, device="meta"))
    assert found.device.type == "meta" and found.shape == (8, cepstra or 20)
    assert {x.device.type for x in vars(mel).values() if isinstance(x, torch.Tensor)} == {"meta"}

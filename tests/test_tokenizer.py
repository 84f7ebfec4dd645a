"""The Python face: codes of audio in memory and in files, whatever stands beside it in a list or a batch."""

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch

from vqw2v_plugin import Tokenizer
from vqw2v_plugin.audio.clip import Clip
from vqw2v_plugin.audio.reading import AudioError, read_audio
from vqw2v_plugin.checkpoints.wav2vec import Imported, Loaded, save_checkpoint
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.quantizers import quantizer_names

ROOT = Path(__file__).resolve().parent.parent
QUANTIZERS = [name for name in quantizer_names() if name != "none"]
STRIDE = 40  # samples between two frames of `tiny`
Tiny = Callable[..., VqWav2Vec]


@pytest.fixture(params=QUANTIZERS)
def network(tiny: Tiny, request: pytest.FixtureRequest) -> VqWav2Vec:
    return tiny(quantizer=request.param, vq_vars=20)


@pytest.fixture
def tokenizer(tiny: Tiny) -> Tokenizer:
    return Tokenizer(Loaded(tiny(quantizer="kmeans"), 16_000, False))


def clip(samples: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return (np.random.default_rng(seed).normal(0, 0.1, samples)).astype(np.float32)


def test_codes_of_a_clip_are_the_network_s(network: VqWav2Vec) -> None:
    tokenizer = Tokenizer(Loaded(network.eval(), 16_000, False))
    wav = clip(4000)
    codes = tokenizer.encode(wav, 16_000)
    assert codes.dtype == torch.int64 and codes.shape == (98, tokenizer.num_groups)
    assert torch.equal(codes, network.encode(torch.from_numpy(wav)[None])[0])
    features = tokenizer.decode(codes)
    torch.testing.assert_close(features, network.features(torch.from_numpy(wav)[None]).quantized.x[0])
    assert not features.requires_grad and torch.equal(tokenizer.decode(codes[None])[0], features)
    assert torch.equal(tokenizer.decode(codes.to(torch.uint8)), features)


def test_a_clip_s_codes_do_not_depend_on_its_company(network: VqWav2Vec) -> None:
    tokenizer = Tokenizer(Loaded(network, 16_000, True))
    clips = [clip(samples, seed) for seed, samples in enumerate([4000, 105, 9000, 4000])]
    alone = [tokenizer.encode(wav, 16_000) for wav in clips]
    together = tokenizer.encode(clips, 16_000)
    assert isinstance(together, list) and len(tokenizer.encode(tuple(clips), 16_000)) == 4
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))
    batch = tokenizer.encode(np.stack([clips[0], clips[3]]), 16_000)
    assert torch.equal(batch, torch.stack([alone[0], alone[3]]))
    assert torch.equal(tokenizer.decode(batch)[1], tokenizer.decode(alone[3]))


def test_codes_of_any_whole_numbers_are_decoded(tiny: Tiny) -> None:
    tokenizer = Tokenizer(Loaded(tiny(quantizer="kmeans", combine_groups=True), 16_000, False))
    codes = tokenizer.encode(clip(4000), 16_000)
    for dtype in (torch.uint8, torch.int16):
        assert torch.equal(tokenizer.decode(codes.to(dtype)), tokenizer.decode(codes))


def test_nothing_gives_nothing(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode([], 16_000) == []
    assert tokenizer.encode(np.zeros((0, 4000), dtype=np.float32), 16_000).shape == (0, 98, 2)
    assert tokenizer.encode(np.zeros((0, 2000), dtype=np.float32), 8_000).shape == (0, 98, 2)
    assert tokenizer.decode(torch.zeros(0, 2, dtype=torch.int64)).shape[0] == 0


def test_whole_numbers_are_the_samples_that_a_file_of_them_has(tmp_path: Path) -> None:
    from vqw2v_plugin.tokenizer import _mono

    samples = np.array([-32_768, -16_384, -1, 0, 1, 16_384, 32_767], dtype=np.int16)
    sf.write(tmp_path / "a.wav", samples, 16_000, subtype="PCM_16")
    heard = _mono(samples, "a")
    assert heard.dtype == np.float32 and np.array_equal(heard, read_audio(tmp_path / "a.wav", 16_000))
    assert heard.tolist() == [value / 32_768 for value in samples.tolist()]


@pytest.mark.parametrize(
    "convert",
    [
        torch.from_numpy,
        lambda wav: torch.from_numpy(wav).double(),
        lambda wav: torch.from_numpy(wav).requires_grad_(),
        lambda wav: wav.astype(np.float64),
        lambda wav: (wav * 32_768).astype(np.int16),
        lambda wav: np.frombuffer(wav.tobytes(), dtype=np.float32),  # read-only
        lambda wav: np.repeat(wav, 2)[::2],
    ],
    ids=["tensor", "double", "leaf", "float64", "int16", "read-only", "strided"],
)
def test_the_same_samples_in_any_type_give_the_same_codes(
    tokenizer: Tokenizer, convert: Callable[[Any], Any]
) -> None:
    wav = (np.round(clip(4000) * 32_768) / 32_768).astype(np.float32)
    expected = tokenizer.encode(wav, 16_000)
    assert torch.equal(tokenizer.encode(convert(wav), 16_000), expected)


def test_samples_of_16_bit_floats_are_those_numbers(tokenizer: Tokenizer) -> None:
    """numpy has no bfloat16; its own half has 11 bits."""
    for dtype in (torch.bfloat16, torch.float16):
        rough = torch.from_numpy(clip(4000)).to(dtype)
        assert torch.equal(tokenizer.encode(rough, 16_000), tokenizer.encode(rough.float(), 16_000))
        assert torch.equal(tokenizer.encode([rough], 16_000)[0], tokenizer.encode(rough.double(), 16_000))


def test_samples_stay_the_caller_s_whatever_is_done_with_them(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = tokenizer.coder.codes
    monkeypatch.setattr(tokenizer.coder, "codes", lambda wav: codes(wav.mul_(2)))  # as a coder may
    wav = clip(4000)
    found = tokenizer.encode(wav, 16_000)
    assert np.array_equal(wav, clip(4000)) and torch.equal(found, tokenizer.encode(wav, 16_000))


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_a_file_and_its_samples_give_the_same_codes(
    tiny: Tiny, tmp_path: Path, rate: int, subtype: str
) -> None:
    from vqw2v_plugin.tokenizer import _resample

    sf.write(tmp_path / "a.wav", clip(rate // 2 + 7), rate, subtype=subtype)
    wav = sf.read(tmp_path / "a.wav", dtype="float32")[0]
    assert np.array_equal(_resample(wav, rate, 16_000), read_audio(tmp_path / "a.wav", 16_000))
    tokenizer = Tokenizer(Loaded(tiny(quantizer="gumbel"), 16_000, True))
    assert torch.equal(tokenizer.encode(wav, rate), tokenizer.encode_file(tmp_path / "a.wav"))


def test_a_segment_of_a_file(tokenizer: Tokenizer, tmp_path: Path) -> None:
    wav = clip(9000)
    sf.write(tmp_path / "a.wav", np.stack([wav, wav], 1), 16_000, subtype="FLOAT")
    codes = tokenizer.encode_file(tmp_path / "a.wav", 1000, 4000)
    assert torch.equal(codes, tokenizer.encode(wav[1000:5000], 16_000))


def test_a_file_s_rate_may_be_said_and_a_clip_says_all_itself(tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    sf.write(path, clip(9000), 16_000, subtype="FLOAT")
    part = Clip(str(path), 4000, 1000, 16_000)
    assert torch.equal(tokenizer.encode_file(path, 1000, 4000, rate=16_000), tokenizer.encode_file(part))
    with pytest.raises(AudioError, match="8000"):
        tokenizer.encode_file(path, 1000, 4000, rate=8000)
    for others in ({"start": 1000}, {"samples": 4000}, {"rate": 16_000}):
        with pytest.raises(ValueError, match="leave out the others"):
            tokenizer.encode_file(part, **others)


def test_frames_that_get_codes_are_as_many_as_these_and_a_short_file_is_named(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    for name, samples in (("a.wav", 4000), ("short.wav", 50)):
        sf.write(tmp_path / name, clip(samples), 16_000, subtype="FLOAT")
    frames = tokenizer.features_of(Clip(str(tmp_path / "a.wav")))
    assert len(frames) == len(tokenizer.encode_file(tmp_path / "a.wav")) == 98
    begun = lambda heard: tokenizer.begin([(read_audio(heard, 16_000), heard)])  # noqa: E731
    for ask in (tokenizer.features_of, tokenizer.encode_file, begun):
        with pytest.raises(AudioError, match=r"short\.wav: "):
            ask(Clip(str(tmp_path / "short.wav")))


def test_normalization_takes_volume_and_offset_away(tiny: Tiny) -> None:
    network = tiny(quantizer="kmeans")
    wav = clip(4000)
    plain, normal = (Tokenizer(Loaded(network, 16_000, flag)) for flag in (False, True))
    scaled = torch.nn.functional.layer_norm(torch.from_numpy(wav + 0.5), (4000,))
    assert torch.equal(normal.encode(wav + np.float32(0.5), 16_000), plain.encode(scaled, 16_000))


@pytest.mark.parametrize(
    ("wav", "rate", "says"),
    [
        (clip(104), 16_000, r"the clip: 104 samples at 16000 Hz are too short for a frame; .* at least 105"),
        ([clip(4000), clip(60)], 16_000, "clip 1: 60 samples"),
        (clip(50), 8_000, "the clip: 100 samples at 16000 Hz"),
        (np.zeros((4000, 2), np.float32), 16_000, r"clip 0 of \[clips, samples\] \[4000, 2\]: 2 samples"),
        ([np.zeros((1, 4000))], 16_000, r"clip 0: has the shape \[1, 4000\]; .* average its channels"),
        (np.zeros((2, 2, 4000)), 16_000, r"the shape \[2, 2, 4000\]; expected \[samples\] or"),
        (np.float32(1), 16_000, "is a float32; expected numpy arrays or torch tensors"),
        (torch.tensor(1.0), 16_000, r"the shape \[\]"),
        ([0.1, 0.2], 16_000, "is a float; expected numpy arrays or torch tensors"),
        ("a.wav", 16_000, "is a str"),
        (np.zeros(4000, np.int32), 16_000, "of type int32; expected floats between -1 and 1, or int16"),
        (torch.zeros(4000, dtype=torch.bool), 16_000, "of type bool"),
        (np.where(np.arange(4000) == 7, np.nan, 0), 16_000, "1 of 4000 samples are NaN .* is sample 7"),
        ([clip(4000), np.full(4000, np.inf)], 16_000, "clip 1: 4000 of 4000 samples are NaN or infinite"),
        (np.full(4000, 1e300), 16_000, "NaN or infinite"),
        (clip(4000), 0, "`sample_rate` is 0; expected a whole number of Hz"),
        (clip(4000), 16_000.5, "`sample_rate` is 16000.5"),
        (clip(4000), "16k", "`sample_rate` is '16k'"),
        (clip(4000), True, "`sample_rate` is True"),
    ],
)
def test_audio_that_is_not_understood_is_refused(
    tokenizer: Tokenizer, wav: Any, rate: Any, says: str
) -> None:
    with warnings.catch_warnings(), pytest.raises(AudioError, match=says):
        warnings.simplefilter("error")  # one sentence is enough
        tokenizer.encode(wav, rate)


def test_frame_times(tokenizer: Tokenizer) -> None:
    assert tokenizer.frame_rate == 400 and tokenizer.sample_rate == 16_000
    assert tokenizer.times(3).tolist() == [0.0, 40 / 16_000, 80 / 16_000]
    assert tokenizer.times(2, at="end").tolist() == [105 / 16_000, 145 / 16_000]
    assert tokenizer.times(1, at="centre").tolist() == [52.5 / 16_000]
    wav = clip(4000)
    last = tokenizer.times(len(tokenizer.encode(wav, 16_000)), at="end")[-1]
    assert 4000 / 16_000 - STRIDE / 16_000 < last <= 4000 / 16_000
    with pytest.raises(ValueError, match="`at` is 'middle'; expected one of start, centre, end"):
        tokenizer.times(3, at="middle")


def test_parse_inverts_tokens(tokenizer: Tokenizer) -> None:
    codes = tokenizer.encode(clip(4000), 16_000)
    text = tokenizer.tokens(codes)
    assert text.split()[0] == f"{codes[0, 0]}-{codes[0, 1]}" and len(text.split()) == 98
    assert torch.equal(tokenizer.parse(text), codes)
    with pytest.raises(ValueError, match=r"the shape \[1, 98, 2\]; expected one clip's \[frames, groups\]"):
        tokenizer.tokens(codes[None])
    assert tokenizer.tokens(codes[:0]) == "" and torch.equal(tokenizer.parse(""), codes[:0])
    for tokens, says in [
        ("1-2 3", r"token 1 is '3'; expected 2 codes joined by hyphens, as in '0-0'"),
        ("1-x", "token 0 is '1-x'"),
        ("1-²", "token 0"),
        ("1-٣", "token 0"),
        ("1-8", "codes run from 1 to 8; expected 0 to 7"),
    ]:
        with pytest.raises(ValueError, match=says):
            tokenizer.parse(tokens)


@pytest.mark.parametrize("use", ["decode", "tokens"])
@pytest.mark.parametrize(
    ("codes", "says"),
    [
        (torch.zeros(3, 2), "of type torch.float32; expected integers"),
        (torch.zeros(3, 3, dtype=torch.int64), r"the shape \[3, 3\]; expected \[frames, 2\]"),
        (torch.zeros(3, 2, dtype=torch.bool), "of type torch.bool; expected integers"),
        (torch.full((3, 2), 8), "from 8 to 8; expected 0 to 7"),
        (torch.full((3, 2), -1), "from -1 to -1"),
    ],
)
def test_what_are_no_codes_is_said(tokenizer: Tokenizer, use: str, codes: torch.Tensor, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        getattr(tokenizer, use)(codes)


@pytest.mark.parametrize("dtype", ["bf16", torch.bfloat16])
@pytest.mark.parametrize("position", ["encoder", "context"])
def test_bf16_gives_mostly_the_codes_of_fp32(tiny: Tiny, dtype: Any, position: str) -> None:
    network = tiny(quantizer="gumbel", quantizer_position=position)
    wav = clip(40_000)
    exact = Tokenizer(Loaded(network, 16_000, False)).encode(wav, 16_000)
    tokenizer = Tokenizer(Loaded(network, 16_000, False), dtype=dtype)
    rough = tokenizer.encode(wav, 16_000)
    assert 0.9 < float((rough == exact).float().mean()) < 1
    assert tokenizer.decode(rough).dtype == torch.float32


def test_what_cannot_be_made_is_said(tiny: Tiny) -> None:
    loaded = Loaded(tiny(quantizer="gumbel"), 16_000, False)
    with pytest.raises(ValueError, match="dtype is 'fp8'; expected fp32, bf16 or tf32"):
        Tokenizer(loaded, dtype="fp8")
    with pytest.raises(ValueError, match=r"device 'gpu' cannot be used \(.*\); expected cpu or cuda"):
        Tokenizer(loaded, device="gpu")
    with pytest.raises(ValueError, match="has no quantizer"):
        Tokenizer(Loaded(tiny(quantizer="none"), 16_000, False))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_codes_of_a_cpu(network: VqWav2Vec) -> None:
    wav = clip(40_000)
    cpu = Tokenizer(Loaded(network, 16_000, False)).encode(wav, 16_000)
    tokenizer = Tokenizer(Loaded(network, 16_000, False), device="cuda")
    gpu = tokenizer.encode(torch.from_numpy(wav).cuda(), 16_000)
    assert gpu.device.type == "cpu" and float((gpu == cpu).float().mean()) > 0.999
    assert tokenizer.decode(gpu).device.type == "cuda"


def test_three_lines_give_codes_without_fairseq(tiny: Tiny, tmp_path: Path) -> None:
    loaded = Loaded(tiny(quantizer="kmeans").eval(), 16_000, False)
    save_checkpoint(Imported(loaded, False, 0, []), tmp_path / "checkpoint_best.pt")
    sf.write(tmp_path / "speech.wav", clip(8000), 16_000)
    example = """
import soundfile
from vqw2v_plugin import Tokenizer

codes = Tokenizer.load("checkpoint_best.pt").encode(*soundfile.read("speech.wav"))
"""
    before = "import sys, vqw2v_plugin\nassert not {'torch', 'fairseq'} & set(sys.modules)"
    code = f"{before}\n{example}\nassert 'fairseq' not in sys.modules\nprint(tuple(codes.shape))"
    command = [sys.executable, "-c", code]
    env = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout == "(198, 2)\n" and done.stderr == "", done.stderr
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert example.strip() in readme


def test_the_package_has_no_other_names() -> None:
    import vqw2v_plugin

    with pytest.raises(AttributeError, match="has no attribute 'Tokeniser'"):
        vqw2v_plugin.Tokeniser  # noqa: B018

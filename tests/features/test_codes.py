"""One path from a clip to its codes: BERT is fed what `discretize` gives; the network stays as it was."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from corpus_runs import corpus, saved
from torch import Tensor

from vqw2v_plugin import Tokenizer
from vqw2v_plugin.__main__ import main
from vqw2v_plugin.checkpoints.bert import build_bert, save_bert
from vqw2v_plugin.checkpoints.wav2vec import Loaded
from vqw2v_plugin.corpora.manifest import Manifest
from vqw2v_plugin.features import codes as path_to_codes
from vqw2v_plugin.features.coder import NetworkCoder, QuantizedFeatures
from vqw2v_plugin.features.codes import ClipEncoder
from vqw2v_plugin.features.network import ContextFeatures, EncoderFeatures
from vqw2v_plugin.modules.bert.network import Bert
from vqw2v_plugin.modules.bert.vocabulary import Symbols
from vqw2v_plugin.modules.kernels import devices, launching, rounding
from vqw2v_plugin.modules.kernels.clip_layers import ClipConv
from vqw2v_plugin.modules.quantizers.kmeans import KmeansQuantizer
from vqw2v_plugin.modules.wav2vec.context import ConvContext, GruContext
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec

Tiny = Callable[..., VqWav2Vec]
VARIANTS = {
    "pieces": {},
    "skips": {"skip_connections_feat": True},
    "context": {"quantizer_position": "context"},
    "gru": {"quantizer_position": "context", "aggregator": "gru", "gru_dim": 16},
}
SYMBOLS = tuple(f"{i}-{j}" for i in range(8) for j in range(8))


def wav(samples: int = 9000) -> Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(samples))


@pytest.mark.parametrize("quantizer", ["gumbel", "kmeans"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
def test_features_feed_bert_the_codes_of_the_tokenizer(
    tiny: Tiny,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, object],
    dtype: str,
    quantizer: str,
) -> None:
    checkpoint, manifest = saved(tiny(quantizer=quantizer, **settings), tmp_path), corpus(tmp_path, files=8)
    sizes = {"encoder_layers": 1, "encoder_embed_dim": 8, "encoder_attention_heads": 2}
    save_bert(tmp_path / "bert.pt", build_bert(sizes, Symbols(SYMBOLS)))
    heard: list[list[int]] = []
    states = Bert.states

    def spy(self: Bert, tokens: Tensor, lengths: list[int]) -> list[Tensor]:
        heard.append(tokens[1:-1].tolist())
        return states(self, tokens, lengths)

    monkeypatch.setattr(Bert, "states", spy)
    options = ["--layer", "bert", "--bert", str(tmp_path / "bert.pt"), "--dtype", dtype, "--workers", "1"]
    assert main(["features", checkpoint, str(manifest), str(tmp_path / "out"), *options]) == 0
    tokenizer, rows = Tokenizer.load(checkpoint, dtype=dtype), Manifest(manifest)
    expected = [tokenizer.tokens(tokenizer.encode_file(rows[i])).split() for i in range(len(rows))]
    assert [[SYMBOLS[i - 4] for i in ids] for ids in heard] == expected


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
def test_bf16_leaves_the_network_as_it_was(tiny: Tiny, settings: dict[str, object]) -> None:
    network = tiny(quantizer="gumbel", **settings).eval()
    before = network.encode(wav()[None])
    Tokenizer(Loaded(network, 16_000, False), dtype="bf16").encode(wav(), 16_000)
    assert not any(module._forward_hooks for module in network.modules())
    assert torch.equal(network.encode(wav()[None]), before)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
def test_quantized_vectors_are_those_of_the_tokenizer(
    tiny: Tiny, settings: dict[str, object], normalize: bool
) -> None:
    loaded = Loaded(tiny(quantizer="kmeans", **settings).eval(), 16_000, normalize)
    tokenizer = Tokenizer(loaded)
    expected = tokenizer.decode(tokenizer.encode(wav(), 16_000))
    with torch.no_grad():
        coder = NetworkCoder(loaded)
        assert torch.equal(QuantizedFeatures(coder)(wav()), expected)
        # what is said to be quantized is: these features, and their name
        x, codes = coder.quantizes(wav()), tokenizer.encode(wav(), 16_000)
        assert torch.equal(loaded.network.quantizer.encode(x[None])[0].cpu(), codes)
        assert coder.layer == ("c" if loaded.network.quantize_context else "z")
        if not loaded.network.quantize_context:
            c = loaded.network.context(expected[None])[0]
            assert torch.equal(ContextFeatures(loaded)(wav()), c)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
def test_a_model_that_wants_it_hears_each_clip_at_mean_0_and_variance_1(
    tiny: Tiny, settings: dict[str, object], dtype: str
) -> None:
    network, loud = tiny(quantizer="kmeans", **settings).eval(), 3 * wav() + 0.2
    same = (loud - loud.mean()) / (loud.var(correction=0) + 1e-5).sqrt()
    wants, plain = (ClipEncoder(Loaded(network, 16_000, normalize), dtype) for normalize in (True, False))
    tolerance = {"atol": 1e-4, "rtol": 1e-4} if dtype == "fp32" else {"atol": 0.1, "rtol": 0.1}
    with torch.no_grad():
        torch.testing.assert_close(wants.z(loud), plain.z(same), **tolerance)
        assert not torch.allclose(wants.z(loud), plain.z(loud), atol=0.2)
    assert (wants.codes(loud) == plain.codes(same)).float().mean() > 0.95
    assert wants.context(plain.z(loud)).dtype == torch.float32
    loaded = Loaded(network, 16_000, True)
    coded = QuantizedFeatures(NetworkCoder(loaded))
    for features in (EncoderFeatures(loaded), ContextFeatures(loaded), coded):
        assert features.spec.normalize is True


def test_context_in_bf16_is_given_on_in_fp32(tiny: Tiny) -> None:
    network = tiny(quantizer="kmeans", skip_connections_agg=False).eval()
    clips = ClipEncoder(Loaded(network, 16_000, False), "bf16")
    with torch.no_grad():
        assert clips.context(clips.z(wav())).dtype == torch.float32


def test_a_clip_s_memory_is_bounded_as_it_was_asked_and_pieces_are_made_once(tiny: Tiny) -> None:
    clips = ClipEncoder(Loaded(tiny(quantizer="kmeans").eval(), 16_000, False), memory=123)
    pieces = clips._piecewise()
    assert pieces is not None and pieces.memory == 123 and clips._piecewise() is pieces
    clips.refresh()
    assert clips._piecewise() is not pieces


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
def test_whole_clips_are_encoded_in_exact_fp32(
    tiny: Tiny, settings: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would run in cuDNN on a GPU runs while TF32 is off."""
    inside = 0

    @contextlib.contextmanager
    def noted(device: torch.device) -> Iterator[None]:
        nonlocal inside
        inside += 1
        yield
        inside -= 1

    monkeypatch.setattr(path_to_codes, "exact", noted)
    network = tiny(quantizer="kmeans", **settings).eval()
    seen: list[int] = []
    for module in network.modules():
        if isinstance(module, (torch.nn.Conv1d, torch.nn.GRU)):
            module.register_forward_hook(lambda *_: seen.append(inside))
    loaded = Loaded(network, 16_000, False)
    for made in (Tokenizer(loaded).coder.codes, EncoderFeatures(loaded), ContextFeatures(loaded)):
        made(wav())  # type: ignore[operator]
    assert seen and all(seen)


def test_what_learns_is_exact_but_in_training_itself(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.device] = []
    monkeypatch.setattr(
        path_to_codes, "exact", lambda device: asked.append(device) or contextlib.nullcontext()
    )
    clips = ClipEncoder(Loaded(tiny(quantizer="kmeans").eval(), 16_000, False))
    for learning in ((), (clips.network.context,)):
        clips.learning = learning
        for grad in (False, True):
            asked.clear()
            with torch.set_grad_enabled(grad), clips.precision(wav()):
                assert bool(asked) != bool(learning and grad)


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("quantizer", ["gumbel", "kmeans"])
def test_in_tf32_the_networks_round_and_the_quantizer_does_not(
    tiny: Tiny, settings: dict[str, object], quantizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In pieces, whole and in rows, by torch's own switches, which are as they were behind it."""
    matmul = torch.backends.cuda.matmul
    monkeypatch.setattr(rounding, "_can_round", lambda device: True)
    seen: dict[str, set[bool]] = {"network": set(), "quantizer": set()}

    def note(owner: type, name: str, what: str) -> None:
        made = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *x: seen[what].add(matmul.allow_tf32) or made(*x))

    note(ClipConv, "convolve", "network")
    note(ConvContext, "forward", "network")
    note(GruContext, "forward", "network")
    note(KmeansQuantizer, "nearest", "quantizer")
    note(torch.nn.Linear, "forward", "quantizer")
    network = tiny(quantizer=quantizer, **settings).eval()
    clips = ClipEncoder(Loaded(network, 16_000, False), "tf32")
    alone = clips.codes(wav())
    assert clips.z(wav()).shape == (len(alone), clips.network.encoder.dim)
    if "skip_connections_feat" not in settings:
        monkeypatch.setattr(devices, "is_gpu", lambda x: True)
        monkeypatch.setattr(launching, "have_triton", lambda: False)
        assert torch.equal(clips.codes_of([wav()])[0], alone)
    assert seen["network"] <= {True} and seen["quantizer"] <= {False} and (seen["network"] or settings)
    assert seen["quantizer"] and not matmul.allow_tf32


def test_bf16_takes_the_logarithm_in_fp32(tiny: Tiny) -> None:
    network = tiny(quantizer="none", skip_connections_feat=True).eval()
    z = ClipEncoder(Loaded(network, 16_000, False), "bf16").z(wav())
    assert z.dtype == torch.float32
    small = z[(z > 0) & (z < 0.1)]
    assert len(small.unique()) > 100  # 1 + z in bf16 has 13 values here


@pytest.mark.parametrize("quantizer", ["gumbel", "kmeans"])
def test_no_layer_is_ever_run_over_a_whole_clip_where_it_can_go_in_pieces(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, quantizer: str
) -> None:
    """However long it is: only skips over the clip, and codes of what has heard all of it, want that."""

    def whole(*_: object) -> None:
        raise MemoryError("the clip is too long")

    found = {}
    for name, settings in VARIANTS.items():
        network = tiny(quantizer=quantizer, **settings).eval()
        monkeypatch.setattr(network.encoder, "convolve", whole)
        clips = ClipEncoder(Loaded(network, 16_000, False))
        for way in ("z", "codes"):
            with contextlib.suppress(MemoryError):
                getattr(clips, way)(wav())
                found[name, way] = True
    assert set(found) == {("pieces", "z"), ("pieces", "codes"), ("context", "z"), ("gru", "z")}

"""Many clips at once, as a GPU wants them: of every layer what each clip has alone, and one wait for all."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from bert_of_pieces import make as make_pieces
from speech_bert import restored as restored_speech
from torch import Tensor
from wav2vec2s import tiny_wav2vec2

from vqw2v_plugin import Tokenizer
from vqw2v_plugin.audio.clip import Clip
from vqw2v_plugin.audio.reading import AudioError
from vqw2v_plugin.checkpoints.bert import build_bert
from vqw2v_plugin.checkpoints.clusters import KIND as CLUSTERS
from vqw2v_plugin.checkpoints.clusters import ClusterSettings, cluster_network
from vqw2v_plugin.checkpoints.kinds import Audio, Header, Restored
from vqw2v_plugin.checkpoints.wav2vec import Loaded
from vqw2v_plugin.checkpoints.wav2vec2 import KIND as WAV2VEC2
from vqw2v_plugin.features import spectral, speech, together
from vqw2v_plugin.features.base import Features, Layer
from vqw2v_plugin.features.bert import BertFeatures
from vqw2v_plugin.features.clusters import ClusterCoder
from vqw2v_plugin.features.coder import NetworkCoder, QuantizedFeatures
from vqw2v_plugin.features.front import AudioFront
from vqw2v_plugin.features.network import ContextFeatures, EncoderFeatures
from vqw2v_plugin.features.prepared import PreparedFeatures
from vqw2v_plugin.features.principal import FilePrincipal, PrincipalFeatures
from vqw2v_plugin.features.registry import load_features
from vqw2v_plugin.features.spectral import SpectralFeatures
from vqw2v_plugin.features.speech import SpeechFeatures
from vqw2v_plugin.features.together import batches, fit_side_by_side, to_device, to_processor
from vqw2v_plugin.features.wav2vec2 import Wav2Vec2Coder, Wav2Vec2Features
from vqw2v_plugin.modules.bert.vocabulary import Symbols
from vqw2v_plugin.modules.kernels import devices, launching
from vqw2v_plugin.modules.layers.principal import Principal
from vqw2v_plugin.modules.quantizers.clusters import Clusters, ClustersConfig
from vqw2v_plugin.modules.wav2vec import many_clips
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.stores.feature_spec import FileId

Tiny = Callable[..., VqWav2Vec]
SIZES = (4000, 1500, 2777, 900)
GRU = {"aggregator": "gru", "gru_dim": 16}


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """With torch's forms of its kernels, and little room."""
    monkeypatch.setattr(devices, "is_gpu", lambda x: True)
    monkeypatch.setattr(launching, "have_triton", lambda: False)
    monkeypatch.setattr(many_clips, "_SAMPLES", 16_000)
    for each in (spectral, speech, together):
        monkeypatch.setattr(each, "SAMPLES", 16_000)


def clips() -> list[Tensor]:
    drawn = torch.Generator().manual_seed(0)
    return [0.1 * torch.randn(n, generator=drawn) for n in SIZES]


def loaded(tiny: Tiny, normalize: bool = False, **settings: object) -> Loaded:
    return Loaded(tiny(**{"quantizer": "kmeans", **settings}).eval(), 16_000, normalize)


def restored_wav2vec2() -> Restored[object]:
    network = tiny_wav2vec2().eval()
    return Restored(Header(WAV2VEC2.model, WAV2VEC2.settings(network), Audio(16_000, True)), network)


ALL = Symbols(tuple(f"{i}-{j}" for i in range(8) for j in range(8)))


def bert_over(tiny: Tiny, run_length: bool, symbols: Symbols = ALL) -> BertFeatures:
    sizes = {"encoder_layers": 1, "encoder_embed_dim": 16, "encoder_attention_heads": 2}
    return BertFeatures(NetworkCoder(loaded(tiny)), build_bert(sizes, symbols), Layer("bert"), run_length)


def in_components(features: Features) -> PrincipalFeatures:
    axes = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(6))).Q[:5]
    held = FilePrincipal(Path("p"), Principal(torch.ones(16), axes), features.spec, {}, FileId("p", "0"))
    return PrincipalFeatures(features, held)


MADE: dict[str, Callable[[Tiny], Features]] = {
    "z": lambda tiny: EncoderFeatures(loaded(tiny, normalize=True)),
    "z in bf16": lambda tiny: EncoderFeatures(loaded(tiny), "bf16"),
    "c": lambda tiny: ContextFeatures(loaded(tiny)),
    "c of 1.0": lambda tiny: ContextFeatures(loaded(tiny, quantizer="none")),
    "c by a GRU": lambda tiny: ContextFeatures(loaded(tiny, **GRU)),
    "c in bf16": lambda tiny: ContextFeatures(loaded(tiny), "bf16"),
    "q": lambda tiny: QuantizedFeatures(NetworkCoder(loaded(tiny))),
    "q of c": lambda tiny: QuantizedFeatures(NetworkCoder(loaded(tiny, quantizer_position="context"))),
    "q of c by a GRU": lambda tiny: QuantizedFeatures(
        NetworkCoder(loaded(tiny, quantizer_position="context", **GRU))
    ),
    "bert": lambda tiny: bert_over(tiny, False),
    "bert of runs": lambda tiny: bert_over(tiny, True),
    "speech": lambda tiny: SpeechFeatures(restored_speech(), Layer("speech", 1)),
    "w2v2": lambda tiny: Wav2Vec2Features(restored_wav2vec2(), Layer("w2v2", 1)),  # type: ignore[arg-type]
    "logmel": lambda tiny: SpectralFeatures(Layer("logmel"), 16_000, 20),
    "prepared": lambda tiny: PreparedFeatures(EncoderFeatures(loaded(tiny)), 1, "utterance"),
    "components": lambda tiny: in_components(EncoderFeatures(loaded(tiny))),
}


@pytest.mark.parametrize("name", MADE)
def test_each_clip_has_the_features_that_it_has_alone(tiny: Tiny, name: str) -> None:
    features, heard = MADE[name](tiny).eval(), clips()
    assert features.fits(SIZES) and not features.fits([*SIZES, 16_000])
    found = features.of_many([(wav.numpy(), Clip("x.wav")) for wav in heard])
    tolerance = {"z in bf16": 0.05, "c in bf16": 0.15}.get(name, 1e-4)
    for wav, beside, again in zip(heard, found, features.together(heard), strict=True):
        with torch.no_grad():
            alone = features(wav)
        torch.testing.assert_close(beside, alone, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(again, alone, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("quantizer", ["gumbel", "kmeans"])
def test_a_tokenizer_s_codes_are_those_alone(tiny: Tiny, quantizer: str) -> None:
    tokenizer, heard = Tokenizer(loaded(tiny, quantizer=quantizer)), [*clips(), torch.randn(17_000)]
    found = tokenizer.encode([wav.numpy() for wav in heard], 16_000)
    square = tokenizer.encode(torch.stack([heard[0], heard[0].flip(0)]), 16_000)
    alone = [tokenizer.coder.codes(wav) for wav in heard]
    assert all(torch.equal(a, b) for a, b in zip(found, alone, strict=True))
    assert torch.equal(square[0], alone[0])
    with pytest.raises(AudioError, match="clip 1: 50 samples"):
        tokenizer.encode([heard[0], heard[0][:50]], 16_000)


@pytest.mark.parametrize("run_length", [False, True])
def test_what_bert_does_not_know_is_counted_over_all_clips(tiny: Tiny, run_length: bool) -> None:
    few = Symbols(tuple(f"{i}-{j}" for i in range(4) for j in range(8)))
    notes = []
    for at_once in (True, False):
        made = bert_over(tiny, run_length, few)
        made.take_notes()
        found = made.together(clips()) if at_once else [made(wav) for wav in clips()]
        notes.append((made.notes(), [len(x) for x in found]))
    assert notes[0] == notes[1] and f" of {sum(notes[0][1]):,} frames (" in notes[0][0][0]


def test_pieces_of_many_clips_are_those_of_each(tiny: Tiny, tmp_path: Path) -> None:
    checkpoint, _ = make_pieces(tiny(quantizer="kmeans").eval(), tmp_path)
    made = load_features("bert", checkpoint, bert=str(tmp_path / "bert.pt"), pieces=str(tmp_path / "pieces"))
    with torch.no_grad():
        for x, wav in zip(made.together(clips()), clips(), strict=True):
            torch.testing.assert_close(x, made(wav), rtol=1e-4, atol=1e-5)


def test_before_each_clip_there_is_room_for_its_context(tiny: Tiny) -> None:
    z, c = EncoderFeatures(loaded(tiny)), ContextFeatures(loaded(tiny))
    late = NetworkCoder(loaded(tiny, quantizer_position="context"))
    sizes = [640] * 25  # of a row of 16,000 samples each takes a part, and with what stands before it two
    assert z.fits(sizes) and not c.fits(sizes) and not late.fits(sizes)
    assert all(made.fits([*sizes[:12], 0, 0]) and not made.fits(sizes[:13]) for made in (c, late))
    heard = [torch.randn(640) for _ in range(12)]
    assert len(c.together(heard)) == len(late.codes_of(heard)) == 12


def test_codes_of_a_wav2vec2_are_those_alone() -> None:
    coder = Wav2Vec2Coder(restored_wav2vec2())  # type: ignore[arg-type]
    assert coder.fits(SIZES) and not coder.fits([*SIZES, 900])  # which pads
    for wav, codes in zip(clips(), coder.codes_of(clips()), strict=True):
        assert torch.equal(codes, coder.codes(wav))


def test_a_frozen_front_hears_a_batch_at_once_and_one_that_learns_each_alone(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = EncoderFeatures(loaded(tiny))
    frozen, wav = AudioFront(features), torch.nn.utils.rnn.pad_sequence(clips(), batch_first=True)
    heard_together: list[int] = []
    make = features.together
    monkeypatch.setattr(features, "together", lambda clips: heard_together.append(len(clips)) or make(clips))
    x, lengths = frozen(wav, torch.tensor(SIZES))
    assert heard_together == [4]
    for i, clip in enumerate(clips()):
        torch.testing.assert_close(x[i, : lengths[i]], features(clip), rtol=1e-4, atol=1e-5)
    learning = AudioFront(features, freeze_updates=0).train()
    assert learning(wav, torch.tensor(SIZES))[0].requires_grad and heard_together == [4]


def test_batches_are_as_large_as_fits_and_what_does_not_fit_is_by_itself() -> None:
    found = list(batches([3, 4, 9, 1, 2, 3, 20, 1], int, lambda sizes: sum(sizes) <= 7))
    assert found == [[3, 4], [9], [1, 2, 3], [20], [1]]
    assert list(batches([], int, lambda sizes: True)) == []


def test_all_come_to_the_processor_as_they_were() -> None:
    parts = [torch.arange(n * 2).view(n, 2) for n in (3, 1, 5)]
    assert all(torch.equal(a, b) for a, b in zip(to_processor(parts), parts, strict=True))


def test_what_could_not_be_read_takes_no_place_beside_others() -> None:
    assert fit_side_by_side([8_000, 0, 0, 8_000]) and not fit_side_by_side([8_000, 1, 8_000])
    assert fit_side_by_side([0]) and fit_side_by_side([])


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("name", ["z", "c of 1.0"])
def test_many_clips_are_heard_by_the_weights_as_they_are_after_a_refresh(
    tiny: Tiny, name: str, moved: bool
) -> None:
    """Or after a move, if only to where they lie."""
    features = MADE[name](tiny).eval()
    before = features.together(clips())
    with torch.no_grad():
        for number, p in enumerate(features.parameters()):
            p.mul_(1 + 0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(number)))
    features.to("cpu") if moved else features.refresh()
    for x, earlier, wav in zip(features.together(clips()), before, clips(), strict=True):
        torch.testing.assert_close(x, features(wav), rtol=1e-3, atol=1e-4)
        assert not torch.allclose(x, earlier, atol=0.05)


@pytest.mark.parametrize("name", ["z", "c", "bert", "speech", "w2v2", "prepared", "components"])
def test_what_learns_hears_one_clip_at_a_time(tiny: Tiny, name: str) -> None:
    features = MADE[name](tiny)
    assert features.fits([4_000])
    assert features.let_learn() and not features.fits([4_000])


def test_clusters_of_many_clips_are_those_alone() -> None:
    made = Clusters(20, ClustersConfig(6))
    torch.manual_seed(3)
    made.entries.data.normal_()
    frames = SpectralFeatures(Layer("logmel"), 16_000, 20)(clips()[0])
    made.mean, made.scale = frames.mean(0), frames.std(0)
    network = cluster_network(ClusterSettings("logmel", 20, made.config, bands=20), made, {}).eval()
    coder = ClusterCoder(Restored(Header(CLUSTERS.model, CLUSTERS.settings(network), Audio()), network))
    assert coder.fits(SIZES)
    found = coder.codes_of(clips())
    assert len(torch.cat(found).unique()) > 2
    for wav, codes in zip(clips(), found, strict=True):
        assert torch.equal(codes, coder.codes(wav))


def test_all_go_to_the_device_unless_they_are_there() -> None:
    heard = clips()
    assert all(a is b for a, b in zip(to_device(heard, torch.device("cpu")), heard, strict=True))
    moved = to_device(heard, torch.device("meta"))
    assert [(len(wav), wav.device.type) for wav in moved] == [(size, "meta") for size in SIZES]


@pytest.mark.parametrize("name", ["speech", "logmel"])
def test_as_much_as_there_is_room_for_fits(tiny: Tiny, name: str) -> None:
    features = MADE[name](tiny)
    assert features.fits([8_000, 8_000]) and not features.fits([8_000, 8_001])

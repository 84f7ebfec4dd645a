"""The front: an utterance's features whatever else is in the batch, frozen or learning, in float32 always."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from vqw2v_plugin.checkpoints.bert import build_bert
from vqw2v_plugin.checkpoints.wav2vec import Loaded
from vqw2v_plugin.features import front as front_module
from vqw2v_plugin.features.base import Features, Layer, parse_layer
from vqw2v_plugin.features.bert import BertFeatures
from vqw2v_plugin.features.coder import NetworkCoder, QuantizedFeatures
from vqw2v_plugin.features.front import AudioFront
from vqw2v_plugin.features.network import (
    ContextFeatures,
    EncoderFeatures,
)
from vqw2v_plugin.features.spectral import SpectralFeatures
from vqw2v_plugin.modules.bert.network import Bert
from vqw2v_plugin.modules.bert.vocabulary import Symbols
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec

Tiny = Callable[..., VqWav2Vec]
LENGTHS = [4000, 1500, 2777]
LEARNING = ["z", "c", "bert"]


def bert() -> Bert:
    torch.manual_seed(2)
    sizes = {"encoder_layers": 2, "encoder_embed_dim": 16, "encoder_ffn_embed_dim": 32}
    symbols = Symbols(tuple(f"{i}-{j}" for i in range(8) for j in range(8)))
    return build_bert({**sizes, "encoder_attention_heads": 2}, symbols)


def features(tiny: Tiny, layer: str, quantizer: str = "kmeans", **settings: object) -> Features:
    loaded = Loaded(tiny(quantizer=quantizer, **settings).eval(), 16_000, False)
    if layer.startswith("bert"):
        return BertFeatures(
            NetworkCoder(loaded, wanted="layer 'bert'", remedy="; take z or c"), bert(), parse_layer(layer)
        )
    if layer == "q":
        return QuantizedFeatures(NetworkCoder(loaded))
    return {"z": EncoderFeatures, "c": ContextFeatures}[layer](loaded)


def batch() -> tuple[Tensor, Tensor]:
    wav = 0.1 * torch.randn(3, 4000, generator=torch.Generator().manual_seed(4))
    for row, n in zip(wav, LENGTHS, strict=True):
        row[n:] = float("nan")
    return wav, torch.tensor(LENGTHS)


@pytest.mark.parametrize("quantizer", ["kmeans", "gumbel", "none"])
@pytest.mark.parametrize("layer", ["z", "c", "q", "bert", "bert:0"])
@pytest.mark.parametrize("train", [False, True])
def test_a_padded_batch_is_each_utterance_alone(tiny: Tiny, quantizer: str, layer: str, train: bool) -> None:
    if quantizer == "none" and layer not in ("z", "c"):
        return
    front = AudioFront(features(tiny, layer, quantizer)).train(train)
    wav, lengths = batch()
    together, frames = front(wav, lengths)
    assert together.shape[2] == front.dim and not together.requires_grad
    for i, n in enumerate(LENGTHS):
        alone = front.features(wav[i, :n])
        assert frames[i].item() == len(alone) == front.frames(n)
        assert torch.equal(together[i, : len(alone)], alone) and not together[i, len(alone) :].any()


def test_a_bert_s_layer_without_a_number_is_its_last(tiny: Tiny) -> None:
    coder, wav = NetworkCoder(Loaded(tiny(quantizer="kmeans").eval(), 16_000, False)), batch()[0][0]
    first, last, unnamed = (BertFeatures(coder, bert(), Layer("bert", n)).eval()(wav) for n in (1, 2, None))
    assert torch.equal(unnamed, last) and not torch.equal(unnamed, first)
    assert [BertFeatures(coder, bert(), Layer("bert"), dtype=d).spec.dtype for d in ("fp32", "bf16")] == [
        *("fp32", "bf16")
    ]


def test_log_mels_of_a_batch_are_each_utterance_s_alone() -> None:
    front = AudioFront(SpectralFeatures(Layer("logmel"), 16_000, 20))
    wav, lengths = batch()
    together, frames = front(wav, lengths)
    assert (front.features.stride, front.dim, frames.tolist()) == (
        160,
        20,
        [(n - 400) // 160 + 1 for n in LENGTHS],
    )
    for i, n in enumerate(LENGTHS):
        assert torch.equal(together[i, : frames[i]], front.features(wav[i, :n]))
    assert not list(front.parameters())


@pytest.mark.parametrize("layer", LEARNING)
def test_it_learns_after_as_many_updates_as_it_is_told(tiny: Tiny, layer: str) -> None:
    front = AudioFront(features(tiny, layer, "gumbel"), freeze_updates=10).train()
    learning = {name for name, p in front.named_parameters() if p.requires_grad}
    heads = {"z": "features.network.encoder.", "c": "features.network.context.", "bert": "features.bert."}
    assert learning and all(name.startswith(heads[layer]) for name in learning)
    front.set_num_updates(9)
    assert not front(*batch())[0].requires_grad
    front.set_num_updates(10)
    x, _ = front(*batch())
    (x * torch.randn_like(x)).sum().backward()
    for name, p in front.named_parameters():
        head = "vocabulary.bias" in name or "head_" in name  # what BERT's own training needs
        assert (p.grad is not None and bool(p.grad.abs().sum() > 0)) == (name in learning and not head), name


@pytest.mark.parametrize(
    ("quantizer", "settings", "parts"),
    [
        ("none", {}, {"encoder", "context"}),
        ("gumbel", {}, {"context"}),
        ("gumbel", {"quantizer_position": "context"}, {"encoder", "context"}),
    ],
)
def test_the_context_learns_with_the_encoder_unless_codes_lie_between(
    tiny: Tiny, quantizer: str, settings: dict[str, object], parts: set[str]
) -> None:
    front = AudioFront(features(tiny, "c", quantizer, **settings), freeze_updates=0).train()
    learning = [name for name, p in front.named_parameters() if p.requires_grad]
    assert {name.split(".")[2] for name in learning} == parts
    front(*batch())[0].square().sum().backward()
    assert {n.split(".")[2] for n, p in front.named_parameters() if p.grad is not None} == parts


def test_of_many_ranks_each_has_a_gradient_of_zero_for_what_does_not_learn_yet(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ranks wait for each other's gradients of every parameter."""
    front = AudioFront(features(tiny, "c", "none"), freeze_updates=10).train()
    alone = front(*batch())[0]
    assert not alone.requires_grad
    monkeypatch.setattr(front_module, "is_one_of_many", lambda: True)
    among_many = front(*batch())[0]
    assert torch.equal(among_many, alone)
    among_many.square().sum().backward()
    learning = [p for p in front.parameters() if p.requires_grad]
    assert learning and all(p.grad is not None and not p.grad.any() for p in learning)
    with torch.no_grad():
        assert not front(*batch())[0].requires_grad
    assert not AudioFront(features(tiny, "c", "none"))(*batch())[0].requires_grad  # it never learns


def test_learning_gives_the_features_that_the_frozen_network_gives(tiny: Tiny) -> None:
    frozen = AudioFront(features(tiny, "c", "none"))(*batch())[0]
    front = AudioFront(features(tiny, "c", "none"), freeze_updates=0).train()
    learning = front(*batch())[0]
    assert learning.requires_grad
    torch.testing.assert_close(learning, frozen, atol=2e-4, rtol=1e-3)


def test_what_is_frozen_never_trains(tiny: Tiny) -> None:
    front = AudioFront(features(tiny, "c", "gumbel", dropout=0.5), freeze_updates=5).train()
    network: VqWav2Vec = front.features.network  # type: ignore[assignment]
    assert front.training and not any(m.training for m in network.modules())
    begun = AudioFront(features(tiny, "c", "gumbel").train())
    assert not any(m.training for m in begun.features.modules())
    front.set_num_updates(5)
    quantizer = network.quantizer
    assert quantizer is not None and network.context.training
    assert not network.encoder.training and not quantizer.training
    assert not torch.equal(front(*batch())[0], front(*batch())[0])  # its dropout
    front.eval()
    assert not any(m.training for m in front.modules())
    assert torch.equal(front(*batch())[0], front(*batch())[0])


def test_evaluation_sees_what_has_been_learnt(tiny: Tiny) -> None:
    front = AudioFront(features(tiny, "z", "none"), freeze_updates=0).eval()
    with torch.no_grad():
        before = front(*batch())[0]
    front.train()
    optimizer = torch.optim.SGD(front.parameters(), 0.1)
    front(*batch())[0].square().mean().backward()
    optimizer.step()
    front.eval()
    with torch.no_grad():
        after = front(*batch())[0]
    grad_on = front(*batch())[0].detach()
    assert not torch.allclose(before, after, atol=1e-4)
    torch.testing.assert_close(after, grad_on, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halving_the_model_leaves_the_front_as_it_is(tiny: Tiny, dtype: torch.dtype) -> None:
    model = nn.ModuleDict({"front": AudioFront(features(tiny, "c")), "other": nn.Linear(2, 2)})
    wav, lengths = batch()
    before = model["front"](wav, lengths)[0]
    model.to(dtype)
    assert model["other"].weight.dtype == dtype
    assert torch.equal(model["front"](wav, lengths)[0], before)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model["front"](wav, lengths)[0], before)
    assert model["front"](wav.double(), lengths)[0].dtype == torch.float32
    moved = {(p.device.type, p.dtype) for p in model.to("meta", dtype)["front"].parameters()}
    assert moved == {("meta", torch.float32)}


@pytest.mark.parametrize("layer", ["z", "c"])
def test_only_a_front_that_learns_is_in_the_state(tiny: Tiny, layer: str) -> None:
    frozen = nn.ModuleDict({"front": AudioFront(features(tiny, layer))})
    assert not frozen.state_dict() and frozen["front"].state_dict() == {}
    held: dict[str, Tensor] = {"other": torch.zeros(1)}
    assert frozen["front"].state_dict(destination=held) is held and held.keys() == {"other"}
    frozen.load_state_dict({})  # strictly
    whole = nn.ModuleDict({**frozen, "other": nn.Linear(2, 2)})
    whole.load_state_dict(whole["other"].state_dict(prefix="other."))
    assert whole.state_dict().keys() == {"other.weight", "other.bias"}
    learning = nn.ModuleDict({"front": AudioFront(features(tiny, layer), freeze_updates=3)})
    learning.load_state_dict({})  # from a model whose front was frozen
    with torch.no_grad():
        for p in learning.parameters():
            p.add_(0.1 * torch.randn_like(p))
    state = learning.state_dict()
    expected = learning["front"].eval()(*batch())[0]
    assert not torch.allclose(frozen["front"](*batch())[0], expected, atol=1e-3)
    frozen.load_state_dict(state)
    torch.testing.assert_close(frozen["front"](*batch())[0], expected, atol=2e-4, rtol=1e-3)
    assert frozen.state_dict().keys() == state.keys()


@pytest.mark.parametrize("learns", [False, True])
def test_a_state_with_some_of_a_front_lacks_the_rest(tiny: Tiny, learns: bool) -> None:
    """What is missing would stay as another network has it."""
    state = AudioFront(features(tiny, "z"), freeze_updates=0).state_dict()
    front = AudioFront(features(tiny, "z"), freeze_updates=0 if learns else -1)
    gone = next(iter(state))
    with pytest.raises(RuntimeError, match=f"Missing key.*{gone}"):
        front.load_state_dict({name: value for name, value in state.items() if name != gone})


def test_what_cannot_be_is_named(tiny: Tiny) -> None:
    with pytest.raises(ValueError, match="layer `q` is a table of vectors"):
        AudioFront(features(tiny, "q"), freeze_updates=0)
    with pytest.raises(ValueError, match="log-mels and cepstra have nothing to learn"):
        AudioFront(SpectralFeatures(Layer("mfcc", 4), 16_000, 8), freeze_updates=0)
    for layer in ("bert:3", "bert:-4"):  # at once, not when the first clip has come so far
        with pytest.raises(ValueError, match=f"layer `{layer}`: this BERT has the layers 0 .* to 2"):
            features(tiny, layer)
    assert [features(tiny, layer).spec.layer for layer in ("bert:-3", "bert:2")] == ["bert:-3", "bert:2"]
    front = AudioFront(features(tiny, "c"))
    with pytest.raises(ValueError, match=r"utterance 1 of the batch has 30 samples, fewer than .* \(105\)"):
        front(torch.zeros(2, 200), torch.tensor([200, 30]))
    with pytest.raises(ValueError, match=r"the audio is \[2, 100\] of torch.int16"):
        front(torch.zeros(2, 100, dtype=torch.int16), torch.tensor([100, 100]))
    with pytest.raises(ValueError, match=r"the audio is \[2, 1, 200\] of torch.float32; expected \[batch, "):
        front(torch.zeros(2, 1, 200), torch.tensor([200, 200]))

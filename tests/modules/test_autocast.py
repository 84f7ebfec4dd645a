"""Under autocast every custom backward gives gradients of its inputs' types, near those of full precision."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from speech_bert import speech_bert
from torch import Tensor, nn
from wav2vec2s import LARGE_STYLE, noise, padded, tiny_wav2vec2

from vqw2v_plugin.modules.acoustic.asg import ASG
from vqw2v_plugin.modules.bert.config import BertConfig
from vqw2v_plugin.modules.bert.network import Bert
from vqw2v_plugin.modules.bert.vocabulary import Symbols
from vqw2v_plugin.modules.kernels.attention import Rows, packed_attention
from vqw2v_plugin.modules.layers.transformer import rotary_angles, rotate
from vqw2v_plugin.modules.quantizers.base import straight_through
from vqw2v_plugin.modules.quantizers.gumbel import _SampledLookup
from vqw2v_plugin.modules.wav2vec.contrastive import StepPredictor, sample_negatives
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.modules.wav2vec2.network import ScaledGradient

MODULES = Path(__file__).resolve().parents[2] / "vqw2v_plugin" / "modules"
Build = Callable[..., VqWav2Vec]


def scores() -> tuple[Callable[..., Tensor], list[Tensor]]:
    predictor, negatives = StepPredictor(8, 8, 2, 1), sample_negatives(2, 12, 3)
    inputs = [torch.randn(2, 12, 8), torch.randn(2, 12, 8), predictor.weight, predictor.bias]

    def work(c: Tensor, targets: Tensor, *_: Tensor) -> Tensor:
        return predictor(c, targets, negatives).scores

    return work, inputs


def sampled() -> tuple[Callable[..., Tensor], list[Tensor]]:
    def work(logits: Tensor, entries: Tensor) -> Tensor:
        return _SampledLookup.apply(logits.float().softmax(-1), entries)  # type: ignore[no-any-return, no-untyped-call]

    return work, [torch.randn(5, 2, 8), torch.randn(2, 8, 4)]


def straight() -> tuple[Callable[..., Tensor], list[Tensor]]:
    return lambda x: straight_through(x, x.detach().float()), [torch.randn(2, 3, 4)]


def asg() -> tuple[Callable[..., Tensor], list[Tensor]]:
    loss = ASG(6)
    said = (torch.tensor([9, 7]), torch.tensor([[1, 2, 3], [2, 1, 0]]), torch.tensor([3, 2]))
    return lambda e, _: loss(e, *said), [torch.randn(2, 9, 6), loss.transitions]


def attention() -> tuple[Callable[..., Tensor], list[Tensor]]:
    linear = nn.Linear(12, 48)

    def work(x: Tensor, *_: Tensor) -> Tensor:
        torch.manual_seed(3)
        return packed_attention(linear(x), [10, 7], 2, 0.1)

    return work, [torch.randn(17, 12), linear.weight]


def rotation() -> tuple[Callable[..., Tensor], list[Tensor]]:
    linear, angles = nn.Linear(12, 48), rotary_angles(torch.arange(17), 8)
    return lambda x, _: rotate(linear(x), angles, 2), [torch.randn(17, 12), linear.weight]


def scaled_gradient() -> tuple[Callable[..., Tensor], list[Tensor]]:
    return lambda x: ScaledGradient.apply(x, 0.5), [torch.randn(2, 3)]  # type: ignore[no-untyped-call]


CASES = {
    "_Score": scores,
    "_SampledLookup": sampled,
    "StraightThrough": straight,
    "_Loss": asg,
    "_DroppedAttention": attention,
    "_Rotation": rotation,
    "ScaledGradient": scaled_gradient,
}
# Those of `kernels/cpu_training.py` and of GPUs, for which autocast has the plain form; and the sum over
# ranks of what full precision has made (`tests/distributed`).
NOT_REACHED = {
    "_FirstLayers",
    "_TiledConv",
    "_NormAct",
    "_GeluConv",
    "_FeedForward",
    "_Sum",
    "_Blocks",
    "_Sample",
}


def functions() -> set[str]:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in MODULES.rglob("*.py")]
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return {c.name for c in classes if any("autograd.Function" in ast.unparse(base) for base in c.bases)}


def test_no_custom_backward_is_forgotten_here() -> None:
    assert functions() == set(CASES) | NOT_REACHED


def gradients(work: Callable[..., Tensor], inputs: list[Tensor], autocast: bool) -> list[Tensor]:
    for x in inputs:
        x.grad = None
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        y = work(*inputs)
    y.float().square().sum().backward()
    return [x.grad for x in inputs if x.grad is not None]


@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_custom_backward_keeps_types_and_directions(
    case: Callable[[], tuple[Callable[..., Tensor], list[Tensor]]], given: torch.dtype
) -> None:
    torch.manual_seed(0)
    work, inputs = case()
    inputs = [x if isinstance(x, nn.Parameter) else x.requires_grad_() for x in inputs]
    wanted = gradients(work, inputs, autocast=False)
    lowered = [x if isinstance(x, nn.Parameter) else x.detach().to(given).requires_grad_() for x in inputs]
    found = gradients(work, lowered, autocast=True)
    assert len(found) == len(wanted) == len(inputs)
    for x, a, b in zip(lowered, found, wanted, strict=True):
        assert a.dtype == x.dtype
        assert torch.cosine_similarity(a.float().flatten(), b.flatten(), 0) > 0.99


def network_gradients(network: nn.Module, loss: Callable[[], Tensor], autocast: bool) -> dict[str, Tensor]:
    network.zero_grad()
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        value = loss()
    assert value.dtype == torch.float32
    value.backward()
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    "settings",
    [
        {"quantizer": "none"},
        {"quantizer": "gumbel"},
        {"quantizer": "kmeans", "quantizer_args": '{"ema_decay": 0.9, "revive_after": 2}'},
        {"quantizer": "kmeans", "quantizer_position": "context"},
        {"quantizer": "fsq", "vq_vars": 25, "quantizer_args": '{"levels": [5, 5]}'},
        {"quantizer": "none", "aggregator": "gru", "gru_dim": 16},
    ],
    ids=lambda settings: "-".join(map(str, settings.values()))[:24],
)
def test_vq_wav2vec_learns_the_same_under_autocast(tiny: Build, settings: dict[str, object]) -> None:
    network = tiny(**settings).train()
    wav = 0.1 * torch.randn(2, 3000)

    def loss() -> Tensor:
        return network.objective(wav, quantizer_weight=1.0).loss

    wanted = network_gradients(network, loss, autocast=False)
    found = network_gradients(network, loss, autocast=True)
    assert found.keys() == wanted.keys() and all(found[name].dtype == torch.float32 for name in found)
    near = [torch.cosine_similarity(found[n].flatten(), wanted[n].flatten(), 0) for n in found]
    assert torch.stack(near).median() > 0.9, near  # some codes are chosen otherwise
    network.set_num_updates(1)
    assert all(p.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("position", ["learned", "rotary"])
def test_bert_learns_the_same_under_autocast(position: str) -> None:
    torch.manual_seed(0)
    sizes = {"encoder_layers": 2, "encoder_embed_dim": 16, "encoder_ffn_embed_dim": 32}
    config = BertConfig(**sizes, encoder_attention_heads=2, position=position)
    network = Bert(config, Symbols(tuple(f"{i}-{i}" for i in range(20)))).train()
    tokens, masked = torch.randint(4, 20, (15,)), torch.tensor([1, 3, 9])

    def loss() -> Tensor:
        return network(tokens, [8, 7], Rows(masked, [2, 1]), tokens[masked]).loss

    wanted = network_gradients(network, loss, autocast=False)
    found = network_gradients(network, loss, autocast=True)
    assert found.keys() == wanted.keys() and all(found[name].dtype == torch.float32 for name in found)
    for name in found:
        assert torch.cosine_similarity(found[name].flatten(), wanted[name].flatten(), 0) > 0.95, name


@pytest.mark.parametrize("settings", [{}, {"position": "learned", "num_groups": 2}], ids=str)
def test_bert_over_speech_learns_the_same_under_autocast(settings: dict[str, object]) -> None:
    network = speech_bert(**settings).train()
    frames, masked = torch.randn(15, 20), torch.tensor([1, 3, 9])
    wanted_codes = torch.randint(7, (3, network.num_targets))

    def loss() -> Tensor:
        return network(frames, [8, 7], Rows(masked, [2, 1]), wanted_codes).loss

    wanted = network_gradients(network, loss, autocast=False)
    found = network_gradients(network, loss, autocast=True)
    assert found.keys() == wanted.keys() and all(found[name].dtype == torch.float32 for name in found)
    for name in found:
        assert torch.cosine_similarity(found[name].flatten(), wanted[name].flatten(), 0) > 0.95, name


@pytest.mark.parametrize(
    "settings", [{}, LARGE_STYLE, {"quantizer": "kmeans"}], ids=["BASE", "LARGE", "kmeans"]
)
def test_wav2vec2_learns_the_same_under_autocast(settings: dict[str, Any]) -> None:
    network = tiny_wav2vec2(**settings, latent_vars=3).train()
    wav, lengths = padded([noise(2000), noise(1500, 1)])

    def loss() -> Tensor:
        return network.objective(wav, lengths, [1, 2]).loss

    wanted = network_gradients(network, loss, autocast=False)
    found = network_gradients(network, loss, autocast=True)
    assert found.keys() == wanted.keys() and all(found[name].dtype == torch.float32 for name in found)
    near = [torch.cosine_similarity(found[n].flatten(), wanted[n].flatten(), 0) for n in found]
    assert torch.stack(near).median() > 0.9, near  # some codes are chosen otherwise

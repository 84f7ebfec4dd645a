"""The convolution stacks: fairseq's own, parameter for parameter, and blind to what lies behind an end."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from vqw2v_plugin.modules.acoustic.conv_stack import ARCHS, ConvStack, parse_stack

BLOCKS = {
    "timit": ("[(24, 5)] * 3", "prelu", "none"),
    "wsj": (
        "[(24, 4, 1, 9, 0.2), (28, 5, 1, 0), (32, 6, 1, 0, 0.5), (36, 7, 1, 0), (36, 1)]",
        "glu",
        "weight",
    ),
    "tiny": ("[(24, 7, 2), (24, 5, 3), (24, 3)]", "relu", "layer"),
    "gelu": ("[(24, 3)]", "gelu", "layer"),
}


def stack(name: str, dim_in: int = 6, dim_out: int = 9, drop: float = 0.3) -> ConvStack:
    spec, activation, norm = BLOCKS[name]
    torch.manual_seed(3)
    return ConvStack(dim_in, dim_out, parse_stack(spec, drop), activation, norm)


def stock() -> ModuleType:
    """fairseq's file; its package would import all of speech recognition."""
    fairseq = pytest.importorskip("fairseq")
    path = Path(fairseq.__file__).parent / "examples/speech_recognition/models/w2l_conv_glu_enc.py"
    if not path.is_file():
        pytest.skip("this fairseq has no examples in its wheel")
    spec = importlib.util.spec_from_file_location("w2l_conv_glu_enc", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def w2l() -> ModuleType:
    return stock()


def as_stock_layers(spec: str) -> list[tuple[int, int, int, float]]:
    """(channels, kernel, padding, dropout) of all but the last, which is a linear layer there."""
    layers = parse_stack(spec, 0.0)
    return [(layer.dim, layer.kernel, layer.padding, layer.dropout) for layer in layers[:-1]]


def test_the_wsj_stack_is_fairseq_s_default(w2l: ModuleType) -> None:
    ours = parse_stack(ARCHS["vq_wav2letter_wsj"].conv_layers, 0.0)
    theirs = eval(w2l.default_conv_enc_config)
    assert len(theirs) == 17 and all(layer.stride == 1 for layer in ours)
    assert [(layer.dim, layer.kernel, layer.padding) for layer in ours[:-1]] == [row[:3] for row in theirs]
    assert [layer.dropout for layer in ours[:-1]] == pytest.approx([row[3] for row in theirs], abs=1e-6)
    assert (ours[-1].dim, ours[-1].kernel, ours[-1].dropout) == (2 * theirs[-1][0] // 2, 1, ours[-2].dropout)


def test_the_same_weights_give_fairseq_s_scores(w2l: ModuleType) -> None:
    ours = stack("wsj").eval()
    theirs = w2l.W2lConvGluEncoder(9, 6, 1, as_stock_layers(BLOCKS["wsj"][0])).eval()
    for drop in theirs.dropouts:
        drop.p = 0.0  # they are in a plain list: `eval` has not reached them
    blocks = [block.conv for block in ours.blocks]
    for own, other in zip(
        [*blocks, ours.projection], [*theirs.conv_layers, *theirs.linear_layers], strict=True
    ):
        weights = other.state_dict()
        weights |= {k: v.view(*v.shape, 1) for k, v in weights.items() if v.dim() == 2 and own is blocks[-1]}
        own.load_state_dict(weights)
    x = torch.randn(2, 31, 6)
    with torch.no_grad():
        scores, lengths = ours(x, torch.tensor([31, 31]))
        expected = theirs(x, torch.tensor([31, 31]))["encoder_out"].transpose(0, 1)  # [B, T, V]
    assert lengths.tolist() == [31, 31]
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-5)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_wsj_stack_has_as_many_parameters_as_fairseq_s(w2l: ModuleType) -> None:
    spec, activation, norm, drop = ARCHS["vq_wav2letter_wsj"]
    with torch.device("meta"):
        ours = ConvStack(80, 31, parse_stack(spec, drop), activation, norm)
        theirs = w2l.W2lConvGluEncoder(31, 80, 1, eval(w2l.default_conv_enc_config))
    expected = sum(math_of_glu_layer(*sizes) for sizes in glu_sizes(80, spec)) + 31 * (908 + 1 + 1)
    assert count(ours) == count(theirs) == expected == 209_072_852


def glu_sizes(dim_in: int, spec: str) -> list[tuple[int, int, int]]:
    layers = parse_stack(spec, 0.0)
    dims = [dim_in, *(layer.dim // 2 for layer in layers)]
    return [(dim, layer.dim, layer.kernel) for dim, layer in zip(dims, layers, strict=False)]


def math_of_glu_layer(dim_in: int, dim: int, kernel: int) -> int:
    """Weights, and a bias and a gain of each channel."""
    return dim * (dim_in * kernel + 1 + 1)


def test_the_timit_stack_has_the_parameters_of_the_closed_form() -> None:
    spec, activation, norm, drop = ARCHS["vq_wav2letter_timit"]
    with torch.device("meta"):
        ours = ConvStack(512, 39, parse_stack(spec, drop), activation, norm)
    conv = 1000 * (512 * 5 + 1) + 6 * 1000 * (1000 * 5 + 1)
    assert count(ours) == conv + 7 + 39 * 1001 == 32_606_046
    assert (drop, ours.stride, len(ours.blocks)) == (0.7, 1, 7)


def test_normed_weights_begin_as_wide_as_wav2letter_s() -> None:
    """Uniform within √(3 / fan-in), so of a deviation of 1 / √fan-in; torch's own lie within 1 / √fan-in."""
    torch.manual_seed(0)
    layers = parse_stack("[(64, 5), (64, 5)]", 0.0)
    normed, plain = (ConvStack(32, 8, layers, "glu", norm) for norm in ("weight", "none"))
    for name, fan_in in (("blocks.0.conv", 32 * 5), ("blocks.1.conv", 32 * 5), ("projection", 32)):
        bounds = [stack.get_submodule(name).weight.abs().max().item() for stack in (normed, plain)]
        assert bounds == pytest.approx([(3 / fan_in) ** 0.5, fan_in**-0.5], rel=0.03)


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("behind", [0.0, 1e3, float("nan")])
def test_padding_changes_no_valid_frame(name: str, behind: float) -> None:
    network, lengths = stack(name).eval().double(), [40, 23, 1, 14]
    x = torch.randn(4, 52, 6, dtype=torch.float64)
    for row, n in zip(x, lengths, strict=True):
        row[n:] = behind
    with torch.no_grad():
        together, frames = network(x, torch.tensor(lengths))
        for i, n in enumerate(lengths):
            alone, own = network(x[i : i + 1, :n], torch.tensor([n]))
            assert own.item() == frames[i].item() == alone.size(1) == network.frames(n) >= 1
            torch.testing.assert_close(together[i, : alone.size(1)], alone[0], atol=1e-12, rtol=0)


def test_utterances_that_are_too_short_have_no_frames() -> None:
    network = ConvStack(4, 4, parse_stack("[(8, 7, 1, 0), (8, 3, 2, 4)]", 0.0), "relu", "none").eval()
    lengths = list(range(21))
    found = network(torch.randn(21, 20, 4), torch.tensor(lengths))[1]
    assert found.tolist() == [network.frames(n) for n in lengths] and min(map(network.frames, lengths)) == 3
    (block, *_) = network.blocks
    assert [block.layer.frames(n) for n in (0, 6, 7, 8)] == [0, 0, 1, 2]


def test_the_arch_without_a_name_is_timit_s_and_the_tiny_one_drops_a_tenth() -> None:
    assert ARCHS["vq_wav2letter"] == ARCHS["vq_wav2letter_timit"]
    spec, *others = ARCHS["vq_wav2letter_tiny"]
    assert others == ["gelu", "layer", 0.1]
    layers = parse_stack(spec, 0.1)
    assert [(layer.dim, layer.kernel, layer.stride) for layer in layers] == [(192, 7, 2), *[(192, 7, 1)] * 4]


@pytest.mark.parametrize("name", BLOCKS)
def test_eval_reaches_every_dropout(name: str) -> None:
    network, x, lengths = stack(name), torch.randn(1, 30, 6), torch.tensor([30])
    with torch.no_grad():
        assert not torch.equal(network(x, lengths)[0], network(x, lengths)[0])
        network.eval()
        assert torch.equal(network(x, lengths)[0], network(x, lengths)[0])


@pytest.mark.parametrize("name", BLOCKS)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    network = stack(name, drop=0.0).eval()
    scores, _ = network(torch.randn(2, 30, 6), torch.tensor([30, 20]))
    scores.square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in network.parameters())


def test_a_strided_frame_is_centred_on_the_frame_it_stands_for() -> None:
    network = stack("tiny").eval()
    x = torch.randn(1, 60, 6)
    bent = x.clone()
    bent[0, 30] += 1.0
    with torch.no_grad():
        moved = (network(bent, torch.tensor([60]))[0] - network(x, torch.tensor([60]))[0]).abs().sum(2)[0]
    changed = moved.nonzero().flatten().float()  # the reach is the same to both sides of 30 / 6
    assert network.stride == 6 and float(changed.mean()) == 5


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("__import__('os').getcwd()", "cannot be read"),
        ("[(4, 3)", "cannot be read"),
        ("[]", "holds no layers"),
        ("7", "holds no layers"),
        ("[(4,)]", "expected a list of"),
        ("[(4, 3.0)]", "expected a list of"),
        ("[(4, 3, 1, 1, 0.1, 2)]", "expected a list of"),
        ("[(0, 3)]", "stride above 0"),
        ("[(4, 0)]", "stride above 0"),
        ("[(4, 3, 0)]", "stride above 0"),
        ("[(4, 3, 1, -1)]", "`-1` is neither a list, a tuple nor a number"),
        ("[(4, 4)]", r"its kernel is even.*\(4, 4, 1, 2\)"),
        ("[(4, 3, 1, 1, 1.0)]", r"dropout is 1.0"),
        ("[(4, 5, 1, 0)]", "cut 4 frames at the ends; expected paddings of 2 frames more"),
        ("[(4, 3, 2), (4, 3, 1, 2)]", "add 4 frames at the ends; expected paddings of 2 frames less"),
    ],
)
def test_a_wrong_spec_is_refused_by_the_name_of_its_field(spec: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        parse_stack(spec, 0.0)
    assert "`conv_layers`" in str(error.value)


def test_a_spec_gives_strides_paddings_and_dropouts() -> None:
    (first,) = parse_stack("[(8, 7, 2)]", 0.1)
    assert (first.dim, first.padding, first.stride, first.dropout) == (8, 3, 2, 0.1)
    layers = parse_stack("[(8, 4, 1, 3, 0.5), (8, 4, 1, 0)]", 0.1)
    assert [(layer.padding, layer.dropout) for layer in layers] == [(3, 0.5), (0, 0.1)]
    more = parse_stack("[(8, 3, 1, 1, 0)] + [[8, 3, 1, 1, 0.5]] * 2", 0.1)
    assert [(layer.padding, layer.dropout) for layer in more] == [(1, 0.0), (1, 0.5), (1, 0.5)]


def test_odd_channels_and_unknown_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="7 channels; expected an even number"):
        ConvStack(4, 4, parse_stack("[(8, 3), (7, 3)]", 0.0), "glu", "none")
    assert ConvStack(4, 4, parse_stack("[(8, 3), (7, 3)]", 0.0), "relu", "none").projection.in_features == 7
    with pytest.raises(ValueError, match="`activation` is 'swish'; expected one of relu, prelu, gelu, glu"):
        ConvStack(4, 4, parse_stack("[(8, 3)]", 0.0), "swish", "none")
    with pytest.raises(ValueError, match="`norm` is 'batch'"):
        ConvStack(4, 4, parse_stack("[(8, 3)]", 0.0), "relu", "batch")

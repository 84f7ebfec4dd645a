"""The quick ways through encoder and context network against the plain ones, over all settings.

Training on a CPU has kernels of its own, a clip in pieces has others; both are held to the modules as they
are written, in evaluation, which are stock's to the bit.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vqw2v_plugin.checkpoints.wav2vec import build_network
from vqw2v_plugin.modules.kernels import conv, cpu_training, first_layers
from vqw2v_plugin.modules.layers.conv_spec import parse_conv_layers
from vqw2v_plugin.modules.wav2vec import long_clips
from vqw2v_plugin.modules.wav2vec.context import ConvContext
from vqw2v_plugin.modules.wav2vec.encoder import Encoder
from vqw2v_plugin.modules.wav2vec.long_clips import PieceEncoder
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.quantizers import quantizer_names

ENCODERS = {"one": "[(16, 10, 5)]", "two": "[(16, 10, 5), (16, 8, 4)]"}
ENCODERS["several"] = "[(16, 10, 5), (16, 8, 4), (16, 4, 2), (24, 5, 2), (24, 1, 1)]"
CONTEXTS = {"one": "[(24, 3, 1)]", "two": "[(32, 1, 1), (32, 2, 1)]"}
CONTEXTS["several"] = "[(24, 2, 1), (32, 3, 1), (32, 5, 1)]"
# distance as a share of the norm, of outputs and of gradients; the plain form's own in bf16 is up to 0.11
TOLERANCES = {torch.float64: (5e-15, 1e-14), torch.float32: (1e-6, 4e-6), torch.bfloat16: (2e-2, 0.25)}
SETTINGS = list(product(ENCODERS, ("relu", "gelu"), (True, False), (True, False), (True, False)))
NAMES = ("layers", "activation", "affine", "skips", "flag")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """What is so small only waits for a second one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=[0, 4])
def roots(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Convolutions by so many roots, where their taps allow it; 0: the library's. Pieces are a few frames."""
    for module in (conv, first_layers):
        monkeypatch.setattr(
            module, "best_roots", lambda taps, rows: request.param if request.param + 3 > taps else 0
        )
    monkeypatch.setattr(first_layers, "_PIECE", 7)  # several of an utterance, the last one shorter
    return int(request.param)


def with_gradients(module: nn.Module, x: Tensor) -> list[Tensor]:
    """The module's output, and gradients of a loss that weighs each number of it otherwise."""
    y = module(x)
    weigh = torch.linspace(-1, 1, y[0].numel(), dtype=torch.float64).view_as(y[0])
    inputs = [*module.parameters(), *([x] if x.requires_grad else [])]
    return [y, *torch.autograd.grad((y * weigh).sum() + y.square().sum(), inputs)]


def same(module: nn.Module, x: Tensor, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels in `dtype` against the plain form of the same numbers in fp64."""
    torch.manual_seed(0)
    for parameter in (p for p in module.parameters() if p.ndim == 1):
        nn.init.normal_(parameter)
    module.to(dtype)
    rounded = x.to(dtype).detach().requires_grad_(x.requires_grad)
    found = with_gradients(module.train(), rounded)
    with monkeypatch.context() as patched:
        patched.setattr(cpu_training, "takes_over", lambda module, x: False)
        wide = rounded.detach().double().requires_grad_(x.requires_grad)
        expected = with_gradients(module.double(), wide)
    for i, (ours, plain) in enumerate(zip(found, expected, strict=True)):
        assert ours.dtype == dtype and ours.shape == plain.shape
        assert (ours - plain).norm() <= TOLERANCES[dtype][i > 0] * plain.norm()


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize(NAMES, SETTINGS)
def test_an_encoder_in_training_is_the_plain_one(
    layers: str,
    activation: str,
    affine: bool,
    skips: bool,
    flag: bool,
    dtype: torch.dtype,
    roots: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(1)
    options: dict[str, Any] = {"activation": activation, "affine": affine, "skip_connections": skips}
    encoder = Encoder(parse_conv_layers(ENCODERS[layers]), log_compression=flag, **options).double()
    same(encoder, torch.randn(3, 2111, dtype=torch.float64) + 0.3, dtype, monkeypatch)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize(NAMES, SETTINGS)
def test_a_context_network_in_training_is_the_plain_one(
    layers: str,
    activation: str,
    affine: bool,
    skips: bool,
    flag: bool,
    dtype: torch.dtype,
    roots: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(1)
    options: dict[str, Any] = {"activation": activation, "affine": affine, "skip_connections": skips}
    context = ConvContext(24, parse_conv_layers(CONTEXTS[layers]), zero_pad=flag, bias=flag, **options)
    same(
        context.double(), torch.randn(3, 41, 24, dtype=torch.float64, requires_grad=True), dtype, monkeypatch
    )


def test_training_on_a_cpu_takes_the_kernels_and_evaluation_never_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*args: Any) -> Tensor:
        raise AssertionError("a kernel")

    monkeypatch.setattr(cpu_training, "encoder_blocks", refuse)
    monkeypatch.setattr(cpu_training, "context_blocks", refuse)
    encoder = Encoder(parse_conv_layers(ENCODERS["two"]))
    context = ConvContext(16, parse_conv_layers(CONTEXTS["two"]))
    wav, z = torch.randn(1, 500), torch.randn(1, 20, 16)
    for module, x in ((encoder, wav), (context, z)):
        module.eval()(x)
        with pytest.raises(AssertionError, match="a kernel"):
            module.train()(x)
        module.to("meta")(x.to("meta"))  # kernels are for CPUs


def network(quantizer: str, layers: str, activation: str, affine: bool, log: bool) -> VqWav2Vec:
    torch.manual_seed(0)
    settings = {"conv_feature_layers": ENCODERS[layers], "conv_aggregator_layers": CONTEXTS["one"]}
    made = build_network(
        {
            **settings,
            "quantizer": quantizer,
            "activation": activation,
            "non_affine_group_norm": not affine,
            "log_compression": log,
            "vq_vars": 16,
            "max_update": 9,
        }
    )
    for name, weight in made.named_parameters():
        if ".norm." in name:
            nn.init.uniform_(weight, 0.5, 1.5)
    return made.eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("quantizer", quantizer_names())
@pytest.mark.parametrize(
    ("layers", "activation", "affine", "log"),
    list(product(ENCODERS, ("relu", "gelu"), (True, False), (True, False))),
)
def test_a_clip_in_pieces_is_the_plain_encoder_and_has_its_codes(
    quantizer: str,
    layers: str,
    activation: str,
    affine: bool,
    log: bool,
    dtype: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(long_clips._SAMPLES, "cpu", 500)
    monkeypatch.setitem(long_clips._FRAMES, "cpu", 8)
    made = network(quantizer, layers, activation, affine, log)
    clip = torch.randn(4321, generator=torch.Generator().manual_seed(1)) * 0.1 + 0.02
    encoder = PieceEncoder(made.encoder, dtype)
    with torch.no_grad():
        whole = made.encoder(clip[None])[0]
        z = encoder.z(clip)
        limit = 1e-6 if dtype == torch.float32 else 2e-2
        assert z.dtype == torch.float32 and (z - whole).norm() <= limit * whole.norm()
        if dtype == torch.float32 and made.has_codes:
            assert torch.equal(encoder.codes(clip, made.quantizer), made.encode(clip[None])[0])


def test_autocast_which_knows_the_plain_layers_is_left_to_them() -> None:
    module, x = torch.nn.Linear(2, 2).train(), torch.zeros(1, 2)
    assert cpu_training.takes_over(module, x)
    with torch.autocast("cpu", torch.bfloat16):
        assert not cpu_training.takes_over(module, x)

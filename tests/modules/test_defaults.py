"""Parts that are built by themselves begin as the papers' networks do."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch

from vqw2v_plugin.modules.layers.transformer import TransformerLayer
from vqw2v_plugin.modules.wav2vec.config import VqWav2VecConfig
from vqw2v_plugin.modules.wav2vec.context import ConvContext
from vqw2v_plugin.modules.wav2vec.contrastive import StepPredictor
from vqw2v_plugin.modules.wav2vec.encoder import Encoder

OWN = {"affine": True, "bias": True}  # what the configuration has as a setting that takes it away
NAMES = {"zero_pad": "agg_zero_pad", "gain": "prediction_gain"}


def defaults(part: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(part).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


@pytest.mark.parametrize(("part", "side"), [(Encoder, "feat"), (ConvContext, "agg"), (StepPredictor, "")])
def test_parts_of_vq_wav2vec_are_set_as_the_whole_is(part: Callable[..., Any], side: str) -> None:
    config, found = VqWav2VecConfig(), defaults(part)
    assert found
    for name, value in found.items():
        setting = f"skip_connections_{side}" if name == "skip_connections" else NAMES.get(name, name)
        assert value == (OWN[name] if name in OWN else getattr(config, setting)), name


def test_a_transformer_s_layer_drops_nothing_unless_it_is_asked() -> None:
    torch.manual_seed(0)
    layer, x = TransformerLayer(8, 2, 16), torch.randn(9, 8)
    asked = TransformerLayer(8, 2, 16, activation="gelu", norm_first=False)
    asked.load_state_dict(layer.state_dict())
    expected = layer.eval()(x, [4, 5])
    assert torch.equal(layer.train()(x, [4, 5]), expected)
    assert torch.equal(asked(x, [4, 5]), expected)

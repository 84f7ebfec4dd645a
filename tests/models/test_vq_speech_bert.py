"""What fairseq sees of a BERT over speech: an arch's sizes where none are given, and what its task has."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from speech_bert import speech_bert

pytest.importorskip("fairseq")
from fairseq.models import ARCH_MODEL_REGISTRY

import vqw2v_plugin

vqw2v_plugin.register()
from vqw2v_plugin.models.vq_speech_bert import VqSpeechBertModel, VqSpeechBertModelConfig
from vqw2v_plugin.modules.kernels.attention import Rows

TASK = SimpleNamespace(
    heard={"bands": 10, "stack": 3, "normalize_bands": False}, code_sizes={"num_groups": 2, "num_codes": 7}
)


def build(**given: Any) -> VqSpeechBertModel:
    with torch.device("meta"):
        return VqSpeechBertModel.build_model(VqSpeechBertModelConfig(**given), TASK)


@pytest.mark.parametrize(
    ("arch", "sizes"),
    [
        ("vq_speech_bert", (12, 768, 3072, 12)),
        ("vq_speech_bert_base", (12, 768, 3072, 12)),
        ("vq_speech_bert_small", (6, 256, 1024, 4)),
    ],
)
def test_sizes_follow_from_the_arch_and_the_rest_from_the_task(arch: str, sizes: tuple[int, ...]) -> None:
    model = build(_name=arch)
    found = model.network.config
    layers = (found.encoder_layers, found.encoder_embed_dim, found.encoder_ffn_embed_dim)
    assert (*layers, found.encoder_attention_heads) == sizes
    assert (found.bands, found.stack, found.normalize_bands) == (10, 3, False)
    assert (found.num_groups, found.num_codes) == (2, 7) and model.max_positions() > 10**9
    assert arch == "vq_speech_bert" or ARCH_MODEL_REGISTRY[arch] is VqSpeechBertModel
    assert build(_name=arch, encoder_layers=2).network.config.encoder_layers == 2


def test_it_says_what_a_frame_has_codes_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        build(_name="vq_speech_bert_small")
    (said,) = caplog.messages
    assert said.startswith("vq_speech_bert: 6 layers of 256, 3 × 2 × 7 codes a frame, ")


def test_a_step_is_the_network_s() -> None:
    network = speech_bert().eval()
    x, masked, targets = torch.randn(9, 20), torch.tensor([1, 4, 5]), torch.tensor([[1, 2], [0, 6], [3, 3]])
    found = VqSpeechBertModel(network).eval()(x, [4, 5], masked, [1, 2], targets, apart=True)
    assert torch.equal(found.loss, network(x, [4, 5], Rows(masked, [1, 2]), targets).loss)
    assert found.apart is not None and found.apart.sums[:, 2].tolist() == [2, 4]

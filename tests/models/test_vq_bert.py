"""What fairseq sees of BERT: an arch's sizes where none are given."""

from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("fairseq")
from fairseq.models import ARCH_MODEL_REGISTRY

import vqw2v_plugin

vqw2v_plugin.register()
from vqw2v_plugin.models.vq_bert import VqBertModel, VqBertModelConfig
from vqw2v_plugin.modules.bert.config import BertConfig
from vqw2v_plugin.modules.bert.vocabulary import Symbols
from vqw2v_plugin.tasks.vq_token_pretraining import VqTokenPretrainingConfig

TASK = SimpleNamespace(symbols=Symbols(("0", "1", "2")))


@pytest.mark.parametrize(
    ("arch", "layers", "dim", "ffn", "heads"),
    [
        ("vq_bert_base", 12, 768, 3072, 12),
        ("vq_bert_small", 12, 512, 2048, 8),
        ("vq_bert_tiny", 4, 128, 512, 4),
        ("vq_bert", 12, 768, 3072, 12),
    ],
)
def test_sizes_follow_from_the_arch_unless_they_are_given(
    arch: str, layers: int, dim: int, ffn: int, heads: int
) -> None:
    with torch.device("meta"):
        model = VqBertModel.build_model(VqBertModelConfig(_name=arch), TASK)
        config = model.network.config
        given = VqBertModel.build_model(VqBertModelConfig(_name=arch, encoder_layers=2), TASK).network.config
    assert arch == "vq_bert" or ARCH_MODEL_REGISTRY[arch] is VqBertModel
    sizes = (config.encoder_embed_dim, config.encoder_ffn_embed_dim, config.encoder_attention_heads)
    assert (config.encoder_layers, *sizes) == (layers, dim, ffn, heads)
    assert given.encoder_layers == 2 and given.encoder_embed_dim == dim
    assert model.max_positions() > 10**9


def test_it_says_how_large_it_is(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"), torch.device("meta"):
        VqBertModel.build_model(VqBertModelConfig(_name="vq_bert_tiny", encoder_layers=2), TASK)
    (said,) = caplog.messages
    assert said.startswith("vq_bert: 2 layers of 128, 8 symbols, ") and said.endswith(" parameters")


@torch.no_grad()
def test_a_step_is_the_network_s_and_tells_each_utterance_s_share_where_it_is_asked_to() -> None:
    torch.manual_seed(0)
    model = VqBertModel.build_model(VqBertModelConfig(_name="vq_bert_tiny", encoder_layers=1), TASK).eval()
    tokens, masked = torch.tensor([0, 5, 6, 2, 0, 7, 5, 6, 2]), torch.tensor([1, 5, 6])
    targets = tokens[masked]
    found = model(tokens, [4, 5], masked, [1, 2], targets, apart=True)
    plain = model(tokens, [4, 5], masked, [1, 2], targets)
    assert plain.apart is None and torch.equal(found.loss, plain.loss)
    assert found.apart is not None and found.apart.sums[:, 2].tolist() == [1, 2]
    torch.testing.assert_close(found.apart.sums[:, 0].sum().to(found.loss), found.loss)
    first = model(tokens[:4], [4], masked[:1], [1], targets[:1])
    torch.testing.assert_close(found.apart.sums[0, 0].to(first.loss), first.loss)


def test_what_is_not_given_is_stock_roberta_s() -> None:
    from argparse import Namespace

    from fairseq.models.roberta.model import base_architecture

    theirs = Namespace()
    base_architecture(theirs)
    ours = {name: value for name, value in vars(BertConfig()).items() if hasattr(theirs, name)}
    assert len(ours) == 11 and ours == {name: getattr(theirs, name) for name in ours}
    assert BertConfig().max_positions == VqTokenPretrainingConfig().tokens_per_sample == 2048

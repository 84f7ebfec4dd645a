"""tokens ──BERT──▶ states: the settings of the network, under stock roberta's names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_CHOICES = {"activation_fn": ("gelu", "relu"), "position": ("learned", "rotary")}


@dataclass(frozen=True)
class BertConfig:
    """The base model of arXiv 1910.05453; `vocabulary` and `position` are ours."""

    encoder_layers: int = 12
    encoder_embed_dim: int = 768  # size of the states
    encoder_ffn_embed_dim: int = 3072  # inside feed-forward blocks
    encoder_attention_heads: int = 12
    dropout: float = 0.1  # of states
    attention_dropout: float = 0.1  # of attention weights
    activation_dropout: float = 0.0  # inside feed-forward blocks
    activation_fn: str = "gelu"
    max_positions: int = 2048  # learned ones, with <s> and </s>; longer input repeats them
    encoder_normalize_before: bool = False  # layer norm before each block
    layernorm_embedding: bool = True
    untie_weights_roberta: bool = False  # output weights of their own
    position: str = "learned"  # as in stock, or rotary: relative, for any length
    vocabulary: str = "joint"  # codes of all groups together (the paper), or groups: a table and softmax each

    def __post_init__(self) -> None:
        for name in ("encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim", "max_positions"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` is {getattr(self, name)}; expected at least 1")
        dim, heads = self.encoder_embed_dim, self.encoder_attention_heads
        if heads < 1 or dim % heads:
            raise ValueError(
                f"`encoder_embed_dim` ({dim}) must be divisible by `encoder_attention_heads` ({heads})"
            )
        if self.position == "rotary" and dim // heads % 2:
            raise ValueError(
                f"rotary positions need an even size of each head; got {dim} / {heads} = {dim // heads}"
            )
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"`{name}` is {getattr(self, name)!r}; expected {' or '.join(choices)}")
        for name in ("dropout", "attention_dropout", "activation_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"`{name}` is {getattr(self, name)}; expected a probability in [0, 1)")
        for setting in dataclasses.fields(self):  # any word is true, "false" too
            value = getattr(self, setting.name)
            if type(setting.default) is bool and type(value) is not bool:
                raise ValueError(f"`{setting.name}` is {value!r}; expected true or false")


ARCHS = {
    "vq_bert": BertConfig(),
    "vq_bert_base": BertConfig(),
    "vq_bert_small": BertConfig(12, 512, 2048, 8, 0.05),
    "vq_bert_tiny": BertConfig(4, 128, 512, 4, 0.1),
}


def config_of(arch: str, given: Mapping[str, Any]) -> BertConfig:
    """The settings of an arch with those that are given, and not None, in their place."""
    if arch not in ARCHS:
        raise ValueError(f"arch is {arch!r}; expected one of {', '.join(ARCHS)}")
    return dataclasses.replace(
        ARCHS[arch], **{name: value for name, value in given.items() if value is not None}
    )

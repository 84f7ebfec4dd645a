"""tokens or speech ──BERT──▶ states: the settings of the networks, under stock roberta's names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ..layers.checks import check_choices, check_counts, check_probabilities, check_switches

_CHOICES = {"activation_fn": ("gelu", "relu"), "position": ("learned", "rotary")}
MOST_STACKED = 100
_AT_LEAST_ONE = ("encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim", "max_positions")


@dataclass(frozen=True)
class TransformerConfig:
    """The base model of arXiv 1910.05453, but for what it reads and says; `position` is ours."""

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
    position: str = "learned"  # as in stock, or rotary: relative, for any length

    def __post_init__(self) -> None:
        check_counts(self, dict.fromkeys(_AT_LEAST_ONE, 1))
        dim, heads = self.encoder_embed_dim, self.encoder_attention_heads
        if heads < 1 or dim % heads:
            raise ValueError(
                f"`encoder_embed_dim` ({dim}) must be divisible by `encoder_attention_heads` ({heads})"
            )
        if self.position == "rotary" and dim // heads % 2:
            raise ValueError(
                f"rotary positions need an even size of each head; got {dim} / {heads} = {dim // heads}"
            )
        check_choices(self, _CHOICES)
        check_probabilities(self, ("dropout", "attention_dropout", "activation_dropout"))
        check_switches(self)


@dataclass(frozen=True)
class BertConfig(TransformerConfig):
    """Of a BERT over tokens; `vocabulary` is ours."""

    untie_weights_roberta: bool = False  # output weights of their own
    vocabulary: str = "joint"  # codes of all groups together (the paper), or groups: a table and softmax each


ARCHS = {
    "vq_bert": BertConfig(),
    "vq_bert_base": BertConfig(),
    "vq_bert_small": BertConfig(12, 512, 2048, 8, 0.05),
    "vq_bert_tiny": BertConfig(4, 128, 512, 4, 0.1),
}


@dataclass(frozen=True)
class SpeechLayersConfig(TransformerConfig):
    """Of a BERT over speech; its positions are relative."""

    position: str = "rotary"


@dataclass(frozen=True)
class SpeechBertConfig(SpeechLayersConfig):
    """And what it hears, and how many codes it restores."""

    bands: int = 80  # of the log-mels, a frame every 10 ms
    stack: int = 2  # of these frames are joined
    normalize_bands: bool = True  # each band at mean 0 and deviation 1 over an utterance
    num_groups: int = 1  # of the codes
    num_codes: int = 100  # of each group

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counts(self, dict.fromkeys(("bands", "stack", "num_groups", "num_codes"), 1))
        if self.stack > MOST_STACKED:
            raise ValueError(f"`stack` is {self.stack}; expected 1 to {MOST_STACKED} frames of 10 ms")


SPEECH_ARCHS = {
    "vq_speech_bert": SpeechBertConfig(),
    "vq_speech_bert_base": SpeechBertConfig(),
    "vq_speech_bert_small": SpeechBertConfig(6, 256, 1024, 4),
}
C = TypeVar("C", bound=TransformerConfig)


def config_of(arch: str, given: Mapping[str, Any]) -> BertConfig:
    """The settings of an arch with those that are given, and not None, in their place."""
    return of_arch(ARCHS, arch, given)


def of_arch(archs: Mapping[str, C], arch: str, given: Mapping[str, Any]) -> C:
    """The same for the archs of any model."""
    if arch not in archs:
        raise ValueError(f"arch is {arch!r}; expected one of {', '.join(archs)}")
    return dataclasses.replace(
        archs[arch], **{name: value for name, value in given.items() if value is not None}
    )

"""tokens ──BERT──▶ states: a Transformer that restores masked tokens (arXiv 1910.05453 §4.2).

Shapes: N tokens of a batch's utterances, one after the other with <s> and </s>; K masked ones, D model.
"""

# no `from __future__ import annotations`: fairseq and omegaconf read the config's types as objects

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, List, NamedTuple, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels.attention import Rows, packed_attention
from ..kernels.dropout import dropout
from ..wav2vec.config import is_on, on_off
from .vocabulary import BOS, EOS, PAD, Prediction, Symbols, make_vocabulary, predict


class Sizes(NamedTuple):
    """What the named architectures differ in."""

    encoder_layers: int
    encoder_embed_dim: int
    encoder_ffn_embed_dim: int
    encoder_attention_heads: int
    dropout: float


ARCHS = {
    "vq_bert": Sizes(12, 768, 3072, 12, 0.1),
    "vq_bert_base": Sizes(12, 768, 3072, 12, 0.1),
    "vq_bert_small": Sizes(12, 512, 2048, 8, 0.05),
    "vq_bert_tiny": Sizes(4, 128, 512, 4, 0.1),
}


@dataclass
class BertConfig:
    """Stock roberta's options under stock's names; `vocabulary` and `position` are ours."""

    encoder_layers: Optional[int] = field(
        default=None, metadata={"help": "layers; default: of the arch (12; tiny: 4)"}
    )
    encoder_embed_dim: Optional[int] = field(
        default=None, metadata={"help": "size of the states; default: of the arch (base 768, small 512)"}
    )
    encoder_ffn_embed_dim: Optional[int] = field(
        default=None, metadata={"help": "inner size; default: of the arch (base 3072, small 2048)"}
    )
    encoder_attention_heads: Optional[int] = field(
        default=None, metadata={"help": "attention heads; default: of the arch (base 12, small 8)"}
    )
    dropout: Optional[float] = field(
        default=None, metadata={"help": "dropout of states; default: of the arch (base 0.1, small 0.05)"}
    )
    attention_dropout: float = field(default=0.1, metadata={"help": "dropout of attention weights"})
    activation_dropout: float = field(default=0.0, metadata={"help": "dropout inside feed-forward blocks"})
    activation_fn: str = field(default="gelu", metadata={"help": "gelu or relu"})
    max_positions: int = field(
        default=2048,
        metadata={"help": "learned positions, with <s> and </s>; longer input repeats them"},
    )
    encoder_normalize_before: bool = field(default=False, metadata={"help": "layer norm before each block"})
    layernorm_embedding: str = on_off(True, "layer norm of the embeddings")
    untie_weights_roberta: bool = field(default=False, metadata={"help": "output weights of their own"})
    position: str = field(
        default="learned", metadata={"help": "learned (stock), or rotary: relative, for any length"}
    )
    vocabulary: str = field(
        default="joint",
        metadata={"help": "joint codes (the paper), or groups: a table and a softmax each"},
    )


class Layer(nn.Module):
    """Attention and feed-forward block, each with a residual; norms behind them (the default) or before."""

    def __init__(self, config: BertConfig, sizes: Sizes) -> None:
        super().__init__()
        dim = sizes.encoder_embed_dim
        self.num_heads = sizes.encoder_attention_heads
        self.norm_first = config.encoder_normalize_before
        self.activation = getattr(F, config.activation_fn)
        self.p, self.attention_p, self.inner_p = (
            sizes.dropout,
            config.attention_dropout,
            config.activation_dropout,
        )
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.attention_norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, sizes.encoder_ffn_embed_dim)
        self.fc2 = nn.Linear(sizes.encoder_ffn_embed_dim, dim)
        self.ffn_norm = nn.LayerNorm(dim)

    def forward(
        self, x: Tensor, lengths: Sequence[int], angles: Optional[Tensor] = None, rows: Optional[Rows] = None
    ) -> Tensor:
        """[N, D] → [N, D]; with `rows` only their states [K, D]: all that a last layer is asked for."""
        qkv = self.qkv(self.attention_norm(x) if self.norm_first else x)
        if angles is not None:
            qkv = rotate(qkv, angles, self.num_heads)
        p = self.attention_p if self.training else 0.0
        mixed = self.out(packed_attention(qkv, lengths, self.num_heads, p, rows))
        x = (x if rows is None else x[rows.index]) + dropout(mixed, self.p, self.training)
        if self.norm_first:
            return x + self._feed_forward(self.ffn_norm(x))
        x = self.attention_norm(x)
        return self.ffn_norm(x + self._feed_forward(x))  # type: ignore[no-any-return]

    def _feed_forward(self, x: Tensor) -> Tensor:
        inner = dropout(self.activation(self.fc1(x)), self.inner_p, self.training)
        return dropout(self.fc2(inner), self.p, self.training)


class Bert(nn.Module):
    """Embeddings, layers and the head that scores symbols."""

    def __init__(self, config: BertConfig, symbols: Symbols, arch: str = "vq_bert_base") -> None:
        super().__init__()
        sizes = resolve(config, arch)
        dim = sizes.encoder_embed_dim
        self.config, self.sizes, self.symbols = config, sizes, symbols
        self.vocabulary = make_vocabulary(config.vocabulary, symbols, dim, config.untie_weights_roberta)
        learned = config.position == "learned"
        # stock's table: position 0 of an utterance has row PAD + 1
        self.positions = (
            nn.Embedding(config.max_positions + PAD + 1, dim, padding_idx=PAD) if learned else None
        )
        has_norm = is_on("layernorm_embedding", config.layernorm_embedding)
        self.embedding_norm = nn.LayerNorm(dim) if has_norm else nn.Identity()
        self.layers = nn.ModuleList(Layer(config, sizes) for _ in range(sizes.encoder_layers))
        self.final_norm = nn.LayerNorm(dim) if config.encoder_normalize_before else nn.Identity()
        self.head_dense = nn.Linear(dim, dim)
        self.head_norm = nn.LayerNorm(dim)
        self.apply(_initialize)

    def forward(self, tokens: Tensor, lengths: Sequence[int], masked: Rows, targets: Tensor) -> Prediction:
        """What a training step needs, computed for masked tokens alone: tokens [N], targets [K]."""
        x, angles = self._embed(tokens, lengths)
        for layer in self.layers[:-1]:
            x = layer(x, lengths, angles)
        x = self.final_norm(self.layers[-1](x, lengths, angles, masked))
        return predict(self.vocabulary, self._head(x), targets)

    def states(self, tokens: Tensor, lengths: Sequence[int]) -> List[Tensor]:
        """The embeddings, then each layer's output, [N, D] each."""
        x, angles = self._embed(tokens, lengths)
        found = [x]
        for layer in self.layers:
            x = layer(x, lengths, angles)
            found.append(x)
        found[-1] = self.final_norm(x)
        return found

    def scores(self, tokens: Tensor, lengths: Sequence[int]) -> Tuple[Tensor, ...]:
        """Of every symbol at every position: [N, V], or [N, V_g] for each group."""
        return self.vocabulary.scores(self._head(self.states(tokens, lengths)[-1]))

    def _head(self, x: Tensor) -> Tensor:
        activation = getattr(F, self.config.activation_fn)
        return self.head_norm(activation(self.head_dense(x)))  # type: ignore[no-any-return]

    def _embed(self, tokens: Tensor, lengths: Sequence[int]) -> Tuple[Tensor, Optional[Tensor]]:
        """Embeddings [N, D], and the angles [N, d / 2] of rotary positions."""
        x = self.vocabulary.embed(tokens)
        places = torch.cat([torch.arange(n) for n in lengths]).to(tokens.device, non_blocking=True)  # [N]
        angles = None
        if self.positions is None:
            angles = rotary_angles(places, self.sizes.encoder_embed_dim // self.sizes.encoder_attention_heads)
        else:
            x = x + self.positions(places % self.config.max_positions + PAD + 1)
        return dropout(self.embedding_norm(x), self.sizes.dropout, self.training), angles


def rotary_angles(places: Tensor, head_dim: int) -> Tensor:
    """Position × frequency, 10000^(-2i/d) radians a token (arXiv 2104.09864 §3.2): [N] → [N, d / 2]."""
    exponents = torch.arange(0, head_dim, 2, device=places.device) / head_dim
    return places[:, None] * 10_000.0**-exponents


def rotate(qkv: Tensor, angles: Tensor, num_heads: int) -> Tensor:
    """Turns each pair of components of queries and keys by its angle: [N, 3·D] → [N, 3·D]."""
    cos, sin = angles.cos()[:, None, None].to(qkv), angles.sin()[:, None, None].to(qkv)
    return _Rotation.apply(qkv, cos, sin, num_heads)  # type: ignore[no-any-return, no-untyped-call]


class _Rotation(torch.autograd.Function):
    """In place in one copy, forth and back: autograd through the same formula takes twice as long."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, cos: Tensor, sin: Tensor, num_heads: int) -> Tensor:
        ctx.save_for_backward(cos, sin)
        ctx.num_heads = num_heads
        return _turned(qkv, cos, sin, num_heads)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tuple[Optional[Tensor], ...]:
        cos, sin = ctx.saved_tensors
        return _turned(grad, cos, -sin, ctx.num_heads), None, None, None


def _turned(qkv: Tensor, cos: Tensor, sin: Tensor, num_heads: int) -> Tensor:
    turned = qkv.clone(memory_format=torch.contiguous_format)
    (a, b), (to_a, to_b) = (x.view(len(x), 3, num_heads, -1)[:, :2].chunk(2, -1) for x in (qkv, turned))
    to_a.mul_(cos).addcmul_(b, sin, value=-1)
    to_b.mul_(cos).addcmul_(a, sin)
    return turned


def _initialize(module: nn.Module) -> None:
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
        elif module.padding_idx is not None:
            nn.init.zeros_(module.weight.data[module.padding_idx])
    elif isinstance(getattr(module, "output", None), nn.Parameter):
        nn.init.normal_(module.output, std=0.02)  # type: ignore[arg-type]


def resolve(config: BertConfig, arch: str) -> Sizes:
    """The sizes given, and the arch's where none is given; checked together."""
    if arch not in ARCHS:
        raise ValueError(f"arch is {arch!r}; expected one of {', '.join(ARCHS)}")
    given = {name: getattr(config, name) for name in Sizes._fields}
    sizes = ARCHS[arch]._replace(**{name: value for name, value in given.items() if value is not None})
    dim, heads = sizes.encoder_embed_dim, sizes.encoder_attention_heads
    if heads < 1 or dim % heads:
        raise ValueError(
            f"`encoder_embed_dim` ({dim}) must be divisible by `encoder_attention_heads` ({heads})"
        )
    if config.position == "rotary" and dim // heads % 2:
        raise ValueError(
            f"rotary positions need an even size of each head; got {dim} / {heads} = {dim // heads}"
        )
    for name, choices in (("activation_fn", ("gelu", "relu")), ("position", ("learned", "rotary"))):
        if getattr(config, name) not in choices:
            raise ValueError(f"`{name}` is {getattr(config, name)!r}; expected {' or '.join(choices)}")
    probabilities = {name: getattr(config, name) for name in ("attention_dropout", "activation_dropout")}
    for name, p in {"dropout": sizes.dropout, **probabilities}.items():
        if not 0 <= p < 1:
            raise ValueError(f"`{name}` is {p}; expected a probability in [0, 1)")
    for name in ("encoder_layers", "encoder_ffn_embed_dim"):
        if getattr(sizes, name) < 1:
            raise ValueError(f"`{name}` is {getattr(sizes, name)}; expected at least 1")
    if config.max_positions < 1:
        raise ValueError(f"`max_positions` is {config.max_positions}; expected at least 1")
    return sizes


class LayerMix(nn.Module):
    """γ · Σ softmax(w)_l · h_l over embeddings and layers, w and γ learned (arXiv 1802.05365, eq. 1)."""

    def __init__(self, num_layers: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(num_layers + 1))
        self.gamma = nn.Parameter(torch.ones(()))

    def forward(self, states: Sequence[Tensor]) -> Tensor:  # L + 1 of [N, D] → [N, D]
        shares = torch.softmax(self.weights, 0)
        return self.gamma * torch.stack([w * x for w, x in zip(shares, states, strict=True)]).sum(0)


def bert_features(network: Bert, tokens: Sequence[Tensor], layer: int | LayerMix = -1) -> list[Tensor]:
    """States [T, D] of each utterance's token ids [T], without <s> and </s>; layer 0 are the embeddings.

    An utterance's states do not depend on what else is in the batch. Gradients flow unless the caller stops
    them; dropout acts in train mode only.
    """
    if not tokens:
        return []
    device = network.head_dense.weight.device
    packed = torch.cat([F.pad(F.pad(ids, (1, 0), value=BOS), (0, 1), value=EOS) for ids in tokens])  # [N]
    lengths = [len(ids) + 2 for ids in tokens]
    states = network.states(packed.to(device), lengths)
    num_layers = len(states) - 1
    if isinstance(layer, LayerMix):
        chosen = layer(states)
    elif -num_layers - 1 <= layer <= num_layers:
        chosen = states[layer]
    else:
        raise ValueError(f"layer is {layer}; expected 0 (the embeddings) to {num_layers}, or -1 for the last")
    return [piece[1:-1] for piece in chosen.split(lengths)]

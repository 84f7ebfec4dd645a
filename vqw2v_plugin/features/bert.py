"""wav → tokens ──BERT──▶ states, a row a frame: the features of a BERT over codes.

Shapes: S samples, T frames, G groups, N tokens, M pieces of several tokens, D features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..modules.bert.network import Bert, bert_features
from ..modules.bert.vocabulary import UNK
from ..stores.pieces import JOINT, Pieces
from ..stores.symbols import NUM_SPECIAL
from .base import FeatureOptions, Layer
from .code_ids import CodeIds, UnknownCodes, check_dictionary
from .coder import Coder, CoderFeatures, Parts
from .together import to_processor


class BertFeatures(CoderFeatures):
    """BERT's states; codes let no gradient pass. In bf16 or TF32 its products are too.

    Where a token is a run of equal codes, or a piece of several runs, its state is repeated to its frames.
    """

    def __init__(
        self,
        coder: Coder,
        bert: Bert,
        layer: Layer,
        run_length: bool = False,
        pieces: Pieces | None = None,
        dtype: str = "fp32",
        name: str = "this BERT",
    ) -> None:
        """`name` is what messages call the BERT."""
        _check_layer(bert, layer)
        dim = bert.config.encoder_embed_dim
        super().__init__(coder, layer, dim, dtype, run_length=run_length)
        self.bert, self.pieces, self.number = bert, pieces, -1 if layer.number is None else layer.number
        self.run_length = run_length or pieces is not None
        groups, codes = coder.num_groups, coder.num_codes
        symbols = [bert.symbols.all[i] for i in bert.symbols.codes.tolist()]
        if pieces is None:
            _refuse_pieces(symbols, name)
            check_dictionary(symbols, groups, codes, name)
            self.ids = CodeIds(bert.symbols.lines, groups, codes, NUM_SPECIAL, UNK)
        else:
            check_dictionary(pieces.codes, groups, codes, name)
            self.ids = CodeIds(pieces.codes, groups, codes, 0, -1)
        self._unknown: UnknownCodes | None = None

    def forward(self, wav: Tensor) -> Tensor:  # [S] → [T, D]
        return self._states([self.coder.codes(wav)])[0]

    @torch.no_grad()
    def together(self, clips: Sequence[Tensor]) -> list[Tensor]:
        return self._states(self.coder.codes_of(clips))

    def _states(self, codes: Sequence[Tensor]) -> list[Tensor]:  # [T, G] → [T, D] each
        ids, frames = self._tokens(codes)
        with self.coder.precision(codes[0]):
            states = bert_features(self.bert, ids, self.number)  # [N or M, D] each
        if frames is None:
            return [x.float() for x in states]
        return [
            x.float().repeat_interleave(n, 0, output_size=len(each))
            for x, n, each in zip(states, frames, codes, strict=True)
        ]

    def take_notes(self) -> None:
        self._unknown = UnknownCodes()

    def notes(self) -> list[str]:
        return [] if self._unknown is None else self._unknown.sentences("BERT's dictionary")

    def _tokens(
        self, codes: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor] | None]:  # [T, G] → [N or M] each
        """BERT's ids, and where one may stand for several frames, for how many."""
        whole, sizes, frames = torch.cat(list(codes)), [len(each) for each in codes], None
        if self.run_length:
            whole, frames, sizes = _runs(whole, sizes)
        ids = self.ids(whole)
        if self._unknown is not None:
            self._unknown.add(whole, frames, ids == self.ids.unknown)
        of_each = list(torch.split(ids, sizes))
        if frames is None:
            return of_each, None
        lasting = list(torch.split(frames, sizes))
        return (of_each, lasting) if self.pieces is None else _pieces(self.pieces, of_each, lasting)

    def let_learn(self) -> list[nn.Module]:
        self.coder.learns = True
        return [self.bert]


def _runs(codes: Tensor, sizes: list[int]) -> tuple[Tensor, Tensor, list[int]]:  # [ΣT, G] → [ΣN, G], [ΣN]
    """Runs of equal codes of clips one after the other, how long each is, and how many are each clip's."""
    if len(sizes) == 1:
        codes, frames = torch.unique_consecutive(codes, dim=0, return_counts=True)
        return codes, frames, [len(codes)]
    clips = torch.arange(len(sizes), device="cpu").repeat_interleave(torch.tensor(sizes, device="cpu"))
    told = torch.cat(
        [clips.to(codes.device, non_blocking=True)[:, None], codes], 1
    )  # none reaches into another
    found, frames = torch.unique_consecutive(told, dim=0, return_counts=True)
    return found[:, 1:], frames, torch.bincount(found[:, 0], minlength=len(sizes)).tolist()


def _pieces(
    pieces: Pieces, ids: list[Tensor], frames: list[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:  # [N] → [M] each
    """By a model of pieces, which is a processor's."""
    joined, lasting = [], []
    for places, counts in zip(to_processor(ids), to_processor(frames), strict=True):
        found, tokens = pieces.join(places.numpy())  # [M] each
        joined.append(torch.from_numpy(found))
        lasting.append(torch.from_numpy(np.add.reduceat(counts.numpy(), np.cumsum(tokens) - tokens)))
    sizes, device = [len(each) for each in joined], ids[0].device
    of_all = [torch.split(torch.cat(each).to(device), sizes) for each in (joined, lasting)]
    return list(of_all[0]), list(of_all[1])


def bert_layer_features(layer: Layer, options: FeatureOptions, parts: Parts) -> BertFeatures:
    bert, pieces = parts.bert(), None
    if options.pieces is not None:
        pieces = Pieces.load(options.pieces)
        if list(bert.symbols.lines) != pieces.symbols:
            raise ValueError(
                f"`--pieces` {options.pieces}: expected the token folder that the BERT of `--bert` was "
                f"trained on"
            )
    coder, name = parts.coder("layer 'bert'"), options.bert or "this BERT"
    return BertFeatures(coder, bert, layer, options.run_length, pieces, options.dtype, name)


def _check_layer(bert: Bert, layer: Layer) -> None:
    layers = len(bert.layers)
    if layer.number is not None and not -layers - 1 <= layer.number <= layers:
        raise ValueError(f"layer `{layer}`: this BERT has the layers 0 (embeddings) to {layers}")


def _refuse_pieces(symbols: list[str], name: str) -> None:
    joined = next((symbol for symbol in symbols if JOINT in symbol), None)
    if joined is not None:
        raise ValueError(
            f"{name} is of pieces, such as {joined!r}, not of single codes: give `--pieces FOLDER`, the "
            f"tokens that it was trained on (of an acoustic model: `front_pieces`)"
        )

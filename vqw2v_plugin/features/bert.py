"""wav → tokens ──BERT──▶ states, a row a frame: the features of a BERT over codes.

Shapes: S samples, T frames, G groups, N tokens, M pieces of several tokens, D features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..modules.bert.network import Bert, bert_features
from ..modules.bert.vocabulary import UNK
from ..stores.pieces import JOINT, Pieces
from ..stores.symbols import NUM_SPECIAL
from .base import FeatureOptions, Layer
from .code_ids import CodeIds, UnknownCodes, check_dictionary
from .coder import Coder, CoderFeatures, Parts


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
        read = [self._tokens(each) for each in codes]
        with self.coder.precision(codes[0]):
            states = bert_features(self.bert, [ids for ids, _ in read], self.number)  # [N or M, D] each
        return [
            x.float() if frames is None else x.float().repeat_interleave(frames, 0)
            for x, (_, frames) in zip(states, read, strict=True)
        ]

    def take_notes(self) -> None:
        self._unknown = UnknownCodes()

    def notes(self) -> list[str]:
        return [] if self._unknown is None else self._unknown.sentences("BERT's dictionary")

    def _tokens(self, codes: Tensor) -> tuple[Tensor, Tensor | None]:  # [T, G] → [N or M] each
        """BERT's ids, and where one may stand for several frames, for how many."""
        frames = None
        if self.run_length:
            codes, frames = torch.unique_consecutive(codes, dim=0, return_counts=True)  # [N, G], [N]
        ids = self.ids(codes)  # [N]
        if self._unknown is not None:
            self._unknown.add(codes, frames, ids == self.ids.unknown)
        if self.pieces is None or frames is None:
            return ids, frames
        joined, counts = self.pieces.join(ids.cpu().numpy())  # [M] each
        of_pieces = torch.stack([part.sum() for part in frames.split(counts.tolist())])
        return torch.from_numpy(joined).to(codes.device), of_pieces

    def let_learn(self) -> list[nn.Module]:
        self.coder.learns = True
        return [self.bert]


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

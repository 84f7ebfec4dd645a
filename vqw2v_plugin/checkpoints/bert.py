"""tokens ──BERT──▶ states, on disk: settings, symbols and weights ↔ the network, ours and stock's roberta."""

from __future__ import annotations

import dataclasses
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ..modules.bert.config import ARCHS, BertConfig, config_of
from ..modules.bert.network import Bert
from ..modules.bert.vocabulary import Symbols
from ..stores.symbols import DICT, TokenError, read_dict
from .checks import check_settings
from .files import CheckpointError, read_pickle, sha256
from .format import (
    is_exported,
    mapping,
    model_name,
    model_options,
    num_updates,
    read_checkpoint,
    read_state,
    write_checkpoint,
)
from .kinds import Header, Kind, Restored, State
from .stock_roberta import bert_settings_of_stock, bert_weights_of_stock, is_roberta

_SETTINGS = frozenset(f.name for f in dataclasses.fields(BertConfig))


@dataclasses.dataclass(frozen=True)
class _Extra:
    """What a header says beside the network's settings."""

    symbols: Sequence[str]  # the lines of dict.txt


def build_bert(settings: Mapping[str, Any], symbols: Symbols) -> Bert:
    """An untrained network; `_name` is the arch, whose sizes hold where none is given."""
    arch = config_of(settings.get("_name") or "vq_bert", {})
    given = {name: value for name, value in settings.items() if name in _SETTINGS and value is not None}
    return Bert(check_settings(BertConfig, {**dataclasses.asdict(arch), **given}), symbols)


def load_bert(path: str | Path, dict_path: str | Path | None = None) -> Bert:
    """A trained network in eval mode: `vq_bert` of fairseq's trainer or exported, or a stock roberta.

    Stock keeps its dictionary beside the checkpoint: dict.txt in its folder, or `dict_path`.
    """
    path = Path(path)
    if is_exported(path):
        header, weights = read_checkpoint(path, KIND)
    else:
        state = read_pickle(path, [Namespace])  # what 2019's files keep their options in
        name = model_name(state)
        if KIND.is_stock(name, state["model"]) and not KIND.is_of(name, state["model"]):
            return KIND.from_stock(state, path, dict_path).network
        header, weights = read_state(state, path, KIND)
    if dict_path is not None:
        header = dataclasses.replace(header, extra={"symbols": list(read_dict(dict_path))})
        _check_size(weights, header.extra["symbols"], dict_path)
    return KIND.restore(header, weights, str(path)).network


def save_bert(path: str | Path, network: Bert, force: bool = False) -> None:
    """Writes what `load_bert` reads, and what `fairseq-train --finetune-from-model` starts from."""
    header = Header(KIND.model, KIND.settings(network), extra={"symbols": list(network.symbols.lines)})
    write_checkpoint(Path(path), header, network.state_dict(), force)


class BertKind(Kind[Bert]):
    model, expected = "vq_bert", "vq_bert, or stock's roberta"
    destination = "goes to `vqw2v features … --layer bert --bert` or `--front-bert`"

    def is_of(self, name: str | None, weights: Mapping[str, Tensor]) -> bool:
        return name in ARCHS

    def header(self, state: State) -> Header:
        options, symbols = model_options(state), mapping(state.get("task_state")).get("symbols")
        sizes = dataclasses.asdict(ARCHS[str(model_name(state))])
        given = {name: value for name, value in options.items() if name in _SETTINGS}
        settings = {**given, **{n: size for n, size in sizes.items() if given.get(n) is None}}
        return Header(self.model, settings, extra={} if symbols is None else {"symbols": symbols})

    def state(self, header: Header) -> dict[str, Any]:
        cfg = {
            "model": {"_name": self.model, **header.settings},
            "task": {"_name": "vq_token_pretraining", "data": "."},
            "criterion": {"_name": "vq_masked_tokens"},
        }
        return {"cfg": cfg, "task_state": {"symbols": list(header.extra["symbols"])}}

    def restore(self, header: Header, weights: Mapping[str, Tensor], where: str) -> Restored[Bert]:
        if not header.extra.get("symbols"):
            raise CheckpointError(f"{where} names no symbols; give the dict.txt that it was trained with")
        return super().restore(header, weights, where)

    def build(self, header: Header) -> Bert:
        config = check_settings(BertConfig, header.settings)
        return Bert(config, Symbols(tuple(check_settings(_Extra, header.extra).symbols)))

    def settings(self, network: Bert) -> dict[str, Any]:
        return dataclasses.asdict(network.config)

    def summary(self, restored: Restored[Bert]) -> str:
        sizes, symbols = restored.network.config, restored.network.symbols
        return f"{sizes.encoder_layers} layers of {sizes.encoder_embed_dim}, {len(symbols):,} symbols"

    def is_stock(self, name: str | None, weights: Mapping[str, Tensor]) -> bool:
        return is_roberta(name, weights)

    def from_stock(self, state: State, path: Path, dict_path: str | Path | None = None) -> Restored[Bert]:
        options, dict_path = model_options(state), dict_path or path.parent / DICT
        try:
            symbols = list(read_dict(dict_path))
        except TokenError as error:
            raise CheckpointError(
                f"{error}; put a stock roberta's dict.txt beside {path.name}, "
                f"or tell `vqw2v import` where it is: `--dict FILE`"
            ) from error
        try:
            weights = bert_weights_of_stock(state["model"], path)
            _check_size(weights, symbols, dict_path)
            settings = bert_settings_of_stock(options, weights)
        except CheckpointError:
            raise
        except (KeyError, IndexError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{path}: weights that every roberta has are missing or misshapen: {error}"
            ) from error
        dated = "cfg" if mapping(state.get("cfg")).get("model") else "args of 2019"
        made_from = {"file": path.name, "sha256": sha256(path), "kind": f"stock roberta, {dated}"}
        header = Header(self.model, settings, None, {"symbols": symbols}, made_from, num_updates(state))
        return self.restore(header, weights, str(path))


KIND = BertKind()


def _check_size(weights: Mapping[str, Tensor], symbols: Sequence[str], path: str | Path) -> None:
    table = weights.get("vocabulary.table.weight")  # where each group has its own, a wrong one shows in use
    rows, wanted = len(Symbols(tuple(symbols))), None if table is None else len(table)
    if wanted not in (None, rows):
        raise CheckpointError(
            f"{path}: names {rows} symbols with the five special ones, the checkpoint has {wanted}; "
            f"give the dict.txt that it was trained with"
        )

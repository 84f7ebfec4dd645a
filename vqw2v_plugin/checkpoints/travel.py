"""Checkpoints that travel: ours as safetensors and json; these, or stock's, as a file of the trainer."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from .checks import shown
from .files import WEIGHTS_NAME, CheckpointError, checkpoint_hash, read_pickle, sha256
from .format import (
    is_exported,
    load,
    load_any,
    model_name,
    model_options,
    read_checkpoint,
    read_state,
    write_exported,
)
from .huggingface import export_huggingface, import_huggingface, is_huggingface
from .kinds import KINDS, Header, Kind, Restored

N = TypeVar("N", bound=nn.Module)


def export_folder(
    path: str | Path,
    out: str | Path,
    force: bool = False,
    to: str | None = None,
    about: Callable[[Restored[Any]], Mapping[str, str]] | None = None,
) -> Restored[Any]:
    """A checkpoint of ours, whatever it holds, as safetensors + json, ours or `to` somebody else's.

    `about` answers with the texts, by name, that are to lie beside ours.
    """
    path = Path(path)
    restored = load_any(path)
    if to == "huggingface":
        export_huggingface(restored, Path(out), force)
        return restored
    header = replace(restored.header, made_from=_origin(path, restored.header))
    write_exported(Path(out), header, restored.weights, force, about(restored) if about else None)
    return restored


def import_checkpoint(path: str | Path, dict_path: str | Path | None = None) -> Restored[Any]:
    """A stock file or an exported folder, for `write_checkpoint`; `dict_path` is a stock one's dictionary."""
    path = Path(path)
    if is_exported(path):
        if dict_path is not None:
            raise CheckpointError(
                f"`--dict` goes with stock's files; {path} is an exported folder: leave it out"
            )
        if is_huggingface(path):
            source = path / WEIGHTS_NAME if path.is_dir() else path
            kind = {"file": source.name, "sha256": sha256(source), "kind": "Hugging Face, wav2vec2"}
            return import_huggingface(path, kind)
        restored = load_any(path)
        return replace(restored, header=replace(restored.header, made_from=_origin(path, restored.header)))
    state = read_pickle(path, admitted=[Namespace])
    name, weights = model_name(state), state["model"]
    stock = next((kind for kind in KINDS.values() if kind.is_stock(name, weights)), None)
    if stock is not None:
        return stock.from_stock(state, path, dict_path)
    if any(kind.is_of(name, weights) for kind in KINDS.values()):
        raise CheckpointError(f"{path} holds the model {shown(name)}, which is ours already; use it as it is")
    if not model_options(state):
        raise CheckpointError(
            f"{path} says in neither `cfg` nor `args` how its model was made; expected stock fairseq's file"
        )
    raise CheckpointError(
        f"{path} holds the model {shown(name)}; expected stock's 'wav2vec', 'wav2vec2', 'wav2vec_ctc' or "
        f"'roberta', or a folder of `vqw2v export` or of Hugging Face's wav2vec2"
    )


def load_or_import(path: str | Path, wanted: Kind[N]) -> Restored[N]:
    """A network of one kind, whoever wrote it: fairseq's trainer, ours or stock's, or an export."""
    path = Path(path)
    if is_exported(path):
        found = import_checkpoint(path) if is_huggingface(path) else load(path, wanted)
    else:
        state = read_pickle(path, admitted=[Namespace])
        name, weights = model_name(state), state["model"]
        if wanted.is_stock(name, weights) and not wanted.is_of(name, weights):
            return wanted.from_stock(state, path, None)
        header, weights = read_state(state, path, wanted)
        return wanted.restore(header, weights, str(path))
    if found.header.model != wanted.model:
        raise CheckpointError(
            f"{path} holds the model {shown(found.header.model)}; expected {wanted.expected}"
        )
    return found


def comes_from(path: str | Path, digest: str) -> bool:
    """Whether a checkpoint is the file of this SHA-256, or was exported or imported from it."""
    path = Path(path)
    if checkpoint_hash(path) == digest:
        return True
    try:
        made_from: Any = read_checkpoint(path)[0].made_from
    except CheckpointError:
        return False
    while isinstance(made_from, Mapping):
        if made_from.get("sha256") == digest:
            return True
        made_from = made_from.get("from")
    return False


def _origin(path: Path, header: Header) -> dict[str, Any]:
    """What is made from `path` says so, and what that was made from."""
    source = path / WEIGHTS_NAME if path.is_dir() else path
    origin: dict[str, Any] = {"file": source.name, "sha256": checkpoint_hash(path)}
    if header.made_from:
        origin["from"] = dict(header.made_from)
    return origin

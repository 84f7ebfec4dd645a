"""Stock fairseq's fine-tuned wav2vec 2.0, its `wav2vec_ctc` → our settings, columns and weights' names."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ..modules.finetuned.config import FineTuning
from ..modules.wav2vec2.config import Wav2Vec2Config
from ..stores.labels import LabelError, dict_name, read_symbol_file
from ..text.units import BLANK, BOUNDARY, PIECE_BEGIN
from .checks import check_settings, shown
from .files import CheckpointError
from .stock_wav2vec2 import wav2vec2_weights_of_stock

ARCHITECTURES = ("wav2vec_ctc",)
SPECIAL = ("<pad>", "</s>", "<unk>")  # of stock's dictionary, behind <s>, which is its blank
NO_LABELS = ("<s>", *SPECIAL)  # columns that files of others have, and no transcript
_MODEL, _LETTERS = "w2v_encoder.w2v_model.", "w2v_encoder.proj."
# what stock's model does when a file lacks the option, where ours would do another thing
_STOCK_DEFAULTS = {
    "apply_mask": False,
    "mask_prob": 0.5,
    "mask_channel_prob": 0.0,
    "mask_channel_length": 10,
    "layerdrop": 0.0,
    "activation_dropout": 0.0,
}


def tuning_of_stock(options: Mapping[str, Any]) -> FineTuning:
    """How it was fine-tuned."""
    known = FineTuning.__dataclass_fields__
    given = {name: value for name, value in options.items() if name in known and value is not None}
    said = {**_STOCK_DEFAULTS, **given}
    if not said["mask_prob"]:  # which is a way to mask nothing
        said |= {"apply_mask": False, "mask_prob": _STOCK_DEFAULTS["mask_prob"]}
    return check_settings(FineTuning, said)


def pretrained_options(options: Mapping[str, Any], path: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Of the wav2vec 2.0 in it, and of its task; in 2020 these were one."""
    held = options.get("w2v_args")
    held = vars(held) if isinstance(held, Namespace) else held
    if not isinstance(held, Mapping):
        raise CheckpointError(
            f"{path}: `w2v_args` is {shown(held)}; expected the settings of what was fine-tuned"
        )
    model = held.get("model", held)
    task = held.get("task", held) if "model" in held else held
    parts = [vars(part) if isinstance(part, Namespace) else part for part in (model, task)]
    if not all(isinstance(part, Mapping) for part in parts):
        raise CheckpointError(f"{path}: `w2v_args` holds no settings; expected those of a wav2vec 2.0")
    name = parts[0].get("_name") or parts[0].get("arch")
    if name != "wav2vec2":
        raise CheckpointError(f"{path}: `w2v_args` names the model {shown(name)}; expected 'wav2vec2'")
    return parts[0], parts[1]


def symbols_of_stock(path: Path, dict_path: str | Path | None, num_columns: int) -> tuple[list[str], str]:
    """All columns' symbols, the blank first, and what they are: letters, phones or pieces."""
    where = Path(dict_path) if dict_path is not None else path.parent / dict_name("letters")
    remedy = f"put the dictionary of {path.name}'s letters beside it, or tell where it is: `--dict FILE`"
    try:
        labels = read_symbol_file(where)
    except LabelError as error:
        raise CheckpointError(f"{error}; {remedy}") from error
    symbols = [BLANK, *SPECIAL, *labels]
    if len(symbols) != num_columns:
        raise CheckpointError(
            f"{where}: names {len(labels)} labels, and {path.name} has {num_columns} columns, of which four "
            f"are no labels; {remedy}"
        )
    return symbols, kind_of(labels)


def kind_of(labels: Sequence[str]) -> str:
    if any(label.startswith(PIECE_BEGIN) for label in labels):
        return "pieces"
    letters = BOUNDARY in labels and all(len(label) == 1 or label.startswith("<") for label in labels)
    return "letters" if letters else "phones"


def fine_tuned_weights_of_stock(state: Mapping[str, Tensor], config: Wav2Vec2Config) -> dict[str, Tensor]:
    """Stock `Wav2VecCtc`'s weights under our names; `config`: of the wav2vec 2.0 in it."""
    inside, ours = {}, {}
    for name, value in state.items():
        if name.startswith(_MODEL):
            inside[name.removeprefix(_MODEL)] = value
        elif name.startswith(_LETTERS):
            ours[f"projection.{name.removeprefix(_LETTERS)}"] = value
        else:
            raise CheckpointError(
                f"stock weight {shown(name)} has no place in vq_wav2vec2_ctc; is it a `wav2vec_ctc`?"
            )
    theirs = wav2vec2_weights_of_stock(inside, config)
    return {**{f"wav2vec2.{name}": value for name, value in theirs.items()}, **ours}


def num_columns_of(state: Mapping[str, Tensor], path: Path) -> int:
    bias = state.get(f"{_LETTERS}bias")
    if bias is None or bias.dim() != 1:
        raise CheckpointError(f"{path}: lacks `{_LETTERS}bias`, a number for each letter")
    return len(bias)

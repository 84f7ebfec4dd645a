"""A fine-tuned wav2vec 2.0 in a folder as transformers' Wav2Vec2ForCTC and its processor have it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..modules.finetuned.config import FineTunedConfig, FineTuning, without_targets
from ..modules.finetuned.network import FineTuned
from ..modules.wav2vec2.config import Wav2Vec2Config
from ..text.loss_kinds import LOSS_KINDS
from ..text.units import BLANK, BOUNDARY, Units
from .checks import check_settings, shown
from .files import CheckpointError, read_json
from .finetuned import KIND, columns_of, fine_tuned_header
from .huggingface_names import (
    PREPROCESSOR,
    TheirConfig,
    our_settings,
    our_weights,
    preprocessor,
    their_config,
    their_weights,
)
from .kinds import Audio, Restored, Weights
from .stock_wav2vec_ctc import kind_of

ARCHITECTURE = "Wav2Vec2ForCTC"
VOCABULARY, TOKENIZER, TOKENS = "vocab.json", "tokenizer_config.json", "special_tokens_map.json"
_PAD, _BEGIN = "<pad>", "<s>"  # the first is their blank
_SPECIAL = {"bos_token": _BEGIN, "eos_token": "</s>", "unk_token": "<unk>", "pad_token": _PAD}
_MASK = "wav2vec2.masked_spec_embed"

Files = tuple[dict[str, Any], dict[str, Tensor], dict[str, Mapping[str, Any]]]


def ctc_files(restored: Restored[FineTuned]) -> Files:
    """config.json, the weights, and the other files by name."""
    network, units = restored.network, columns_of(restored.header)
    config, tuning, audio = network.wav2vec2.config, network.config.tuning, restored.header.audio or Audio()
    if units.loss.name != "ctc" or config.quantize_input:
        wrong = "quantized input" if config.quantize_input else units.loss.title
        raise CheckpointError(
            f"this model is one of {wrong}; transformers' {ARCHITECTURE} knows CTC over z alone"
        )
    said = {
        **their_config(config, ARCHITECTURE),
        "apply_spec_augment": tuning.apply_mask,
        "final_dropout": tuning.final_dropout,
        "vocab_size": len(units),
        "pad_token_id": units.blank,
        "bos_token_id": None,
        "eos_token_id": None,
        "ctc_loss_reduction": "sum",
        "ctc_zero_infinity": True,
    }
    weights = their_weights(network.wav2vec2)
    weights |= {f"lm_head.{name}": p.detach() for name, p in network.projection.named_parameters()}
    tokenizer = {
        "tokenizer_class": "Wav2Vec2CTCTokenizer",
        "processor_class": "Wav2Vec2Processor",
        "word_delimiter_token": BOUNDARY,
        "do_lower_case": False,
        **_SPECIAL,
    }
    heard = {**preprocessor(config, audio), "processor_class": "Wav2Vec2Processor"}
    vocabulary = {name: column for column, name in enumerate(_their_names(units))}
    more: dict[str, Mapping[str, Any]] = {
        PREPROCESSOR: heard,
        VOCABULARY: vocabulary,
        TOKENIZER: tokenizer,
        TOKENS: dict(_SPECIAL),
    }
    return said, weights, more


def _their_names(units: Units) -> list[str]:
    """Stock's own <pad>, which is never said, has <s>'s name there: theirs is the blank."""
    names = [_BEGIN if symbol == _PAD else symbol for symbol in units.symbols]
    if units.blank is not None:
        names[units.blank] = _PAD
    if len(set(names)) < len(names):
        raise CheckpointError(f"its symbols hold both {_PAD} and {_BEGIN}; transformers have a place for one")
    return names


def fine_tuned_of_theirs(
    config: TheirConfig, audio: Audio, weights: Weights, path: Path, made_from: Mapping[str, Any]
) -> Restored[FineTuned]:
    """A ValueError where the config is wrong."""
    folder = path if path.is_dir() else path.parent
    held = dict(weights)
    letters = [held.pop(f"lm_head.{name}", None) for name in ("weight", "bias")]
    if letters[0] is None or letters[1] is None or letters[0].dim() != 2:
        raise CheckpointError(f"{path}: lacks `lm_head`, by which letters are told")
    order, units = _columns(folder, config.pad_token_id, len(letters[0]))
    masks = bool(config.mask_time_prob)
    settings = {**our_settings(config), "quantizer": "none", "quantize_targets": False}
    settings |= {} if masks else {"mask_prob": FineTuning.mask_prob}
    pretrained = without_targets(check_settings(Wav2Vec2Config, settings))
    tuning = _tuning(config, masks)
    header = fine_tuned_header(FineTunedConfig(len(units), pretrained, tuning), audio, units, made_from)
    network = KIND.untrained(header, weights, str(path))
    held.setdefault(
        _MASK, torch.zeros(pretrained.encoder_embed_dim)
    )  # theirs has none where nothing is masked
    ours = our_weights(held, network.wav2vec2, str(path))
    found = {f"wav2vec2.{name}": value for name, value in ours.items()}
    found |= {"projection.weight": letters[0][order], "projection.bias": letters[1][order]}
    return KIND.with_weights(header, network, found, str(path))


def _tuning(config: TheirConfig, masks: bool) -> FineTuning:
    return FineTuning(
        apply_mask=config.apply_spec_augment and masks,
        mask_prob=config.mask_time_prob if masks else FineTuning.mask_prob,
        mask_length=config.mask_time_length,
        mask_channel_prob=config.mask_feature_prob,
        mask_channel_length=config.mask_feature_length,
        layerdrop=config.layerdrop,
        dropout=config.hidden_dropout,
        attention_dropout=config.attention_dropout,
        activation_dropout=config.activation_dropout,
        dropout_input=config.feat_proj_dropout,
        final_dropout=config.final_dropout,
    )


def _columns(folder: Path, pad: int | None, number: int) -> tuple[list[int], Units]:
    """Their columns in our order, the blank first, and what they stand for."""
    file = folder / VOCABULARY
    if not file.is_file():
        raise CheckpointError(f"{file} is missing; expected the vocabulary, a column for each symbol")
    vocabulary = read_json(file)
    names: dict[int, str] = {}
    for symbol, column in vocabulary.items():
        if type(column) is not int or column < 0 or column in names:
            raise CheckpointError(f"{file}: {shown(symbol)} is {shown(column)}; expected a column of its own")
        names[column] = symbol
    if not set(range(number)) <= names.keys():
        raise CheckpointError(f"{file}: names not all of the {number} columns")
    if pad is None or not 0 <= pad < number:
        raise ValueError(f"`pad_token_id` is {pad}; expected one of the {number} columns: it is the blank")
    delimiter = _delimiter(folder / TOKENIZER)
    order = [pad, *(column for column in range(number) if column != pad)]
    symbols = [BOUNDARY if names[column] == delimiter else names[column] for column in order[1:]]
    kind = kind_of(symbols)
    return order, Units((BLANK, *symbols), kind, 0, loss=LOSS_KINDS["ctc"])


def _delimiter(file: Path) -> str:
    """What stands between words."""
    said = read_json(file).get("word_delimiter_token", BOUNDARY) if file.is_file() else BOUNDARY
    return said if isinstance(said, str) else BOUNDARY

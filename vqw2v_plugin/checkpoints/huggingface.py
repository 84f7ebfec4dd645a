"""wav2vec 2.0 in a folder as Hugging Face's transformers read and write it ↔ our settings and weights.

`config.json`, `preprocessor_config.json` and `model.safetensors` of a Wav2Vec2ForPreTraining; what a
Wav2Vec2ForCTC has besides is in `huggingface_ctc`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..modules.finetuned.network import FineTuned
from ..modules.wav2vec2.network import Wav2Vec2
from .checks import shown
from .files import CONFIG_NAME, CheckpointError, read_folder, read_json, write_folder
from .huggingface_ctc import ARCHITECTURE as CTC
from .huggingface_ctc import ctc_files, fine_tuned_of_theirs
from .huggingface_names import (
    MODEL_TYPE,
    PREPROCESSOR,
    our_settings,
    our_weights,
    preprocessor,
    their_audio,
    their_config,
    their_weights,
    what_is_read,
)
from .kinds import Audio, Header, Restored
from .wav2vec2 import KIND

PRETRAINING = "Wav2Vec2ForPreTraining"


def is_huggingface(path: Path) -> bool:
    """Whether a folder, or the safetensors file in one, says so of itself."""
    config = (path if path.is_dir() else path.parent) / CONFIG_NAME
    try:
        said = read_json(config)
    except (OSError, ValueError):  # whoever reads it says what is wrong
        return False
    return "format" not in said and said.get("model_type") == MODEL_TYPE


def export_huggingface(restored: Restored[Any], out: Path, force: bool = False) -> None:
    """The folder that `from_pretrained` of their class reads."""
    if isinstance(restored.network, FineTuned):
        config, weights, more = ctc_files(restored)
    elif isinstance(restored.network, Wav2Vec2):
        network, audio = restored.network, restored.header.audio or Audio()
        _need_theirs(network)
        config, weights = their_config(network.config, PRETRAINING), their_weights(network)
        more = {PREPROCESSOR: preprocessor(network.config, audio)}
    else:
        raise CheckpointError(
            f"`--to huggingface` is for {KIND.expected}, pretrained or fine-tuned; this is a "
            f"{restored.header.model!r}: leave it out"
        )
    write_folder(out, config, weights, force, more)


def _need_theirs(network: Wav2Vec2) -> None:
    """Refuses what their class has no place for."""
    config = network.config
    wrong = {
        "quantizer": (config.quantizer, "gumbel"),
        "quantize_targets": (config.quantize_targets, True),
        "quantize_input": (config.quantize_input, False),
        "quantizer_depth": (config.quantizer_depth, 1),
        "quantizer_args.combine_groups": (
            bool(json.loads(config.quantizer_args).get("combine_groups", False)),
            False,
        ),
    }
    for name, (value, wanted) in wrong.items():
        if value != wanted:
            raise CheckpointError(
                f"`{name}` is {shown(value)}; transformers' {PRETRAINING} knows {shown(wanted)} alone"
            )


def import_huggingface(path: Path, made_from: Mapping[str, Any]) -> Restored[Any]:
    """The folder that transformers' `save_pretrained` of a model and its processor wrote."""
    said, weights, where = read_folder(path)
    audio = their_audio(where.parent / PREPROCESSOR)
    try:
        config = what_is_read(said)
        if config.architectures == [CTC]:
            return fine_tuned_of_theirs(config, audio, weights, path, made_from)
        if config.architectures != [PRETRAINING]:
            raise ValueError(
                f"`architectures` is {shown(config.architectures)}; expected [{PRETRAINING!r}] or [{CTC!r}]"
            )
        settings = our_settings(config)
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"{where}: {error}") from error
    header = Header(KIND.model, settings, audio, {}, made_from)
    network = KIND.untrained(header, weights, str(path))
    return KIND.with_weights(header, network, our_weights(weights, network, str(path)), str(path))

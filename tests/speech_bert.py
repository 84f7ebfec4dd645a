"""A small BERT over speech, and a file of it."""

from pathlib import Path
from typing import Any

import torch

from vqw2v_plugin.checkpoints.format import write_checkpoint
from vqw2v_plugin.checkpoints.kinds import Audio, Header, Restored
from vqw2v_plugin.checkpoints.speech import KIND
from vqw2v_plugin.modules.bert.config import SpeechBertConfig
from vqw2v_plugin.modules.bert.speech import SpeechBert

SIZES = {
    "encoder_layers": 2,
    "encoder_embed_dim": 16,
    "encoder_ffn_embed_dim": 24,
    "encoder_attention_heads": 2,
    "bands": 10,
    "num_codes": 7,
}


def speech_bert(**settings: Any) -> SpeechBert:
    torch.manual_seed(0)
    return SpeechBert(SpeechBertConfig(**{**SIZES, **settings}))


def restored(sample_rate: int = 16_000, normalize: bool = False, **settings: Any) -> Restored[SpeechBert]:
    network = speech_bert(**settings).eval()
    return Restored(Header(KIND.model, KIND.settings(network), Audio(sample_rate, normalize)), network)


def saved_speech_bert(path: Path, **settings: Any) -> str:
    found = restored(**settings)
    write_checkpoint(path, found.header, found.weights)
    return str(path)

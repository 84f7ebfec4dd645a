"""Small fine-tuned networks: ours, and stock fairseq's `wav2vec_ctc` with the same weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from wav2vec2s import TINY, config_of

from vqw2v_plugin.checkpoints.finetuned import fine_tuned_header, make_fine_tuned
from vqw2v_plugin.checkpoints.format import write_checkpoint
from vqw2v_plugin.checkpoints.kinds import Audio
from vqw2v_plugin.modules.finetuned.config import FineTunedConfig, FineTuning, without_targets
from vqw2v_plugin.modules.finetuned.network import FineTuned
from vqw2v_plugin.text.units import Units, ctc_units

UNITS = ctc_units(["|", *"abcd"])
STILL = FineTuning(layerdrop=0.0, activation_dropout=0.0, mask_channel_length=4)
SYMBOLS = ["<s>", "<pad>", "</s>", "<unk>", "|", *"EATB"]  # stock's, the first of which is its blank


def vary(network: torch.nn.Module) -> None:
    """Other values where networks begin with 0 or 1."""
    for name, p in network.named_parameters():
        if "norm" in name or name.endswith("bias"):
            torch.nn.init.normal_(p, 1.0 if name.endswith("weight") else 0.0, 0.2)


def tiny_fine_tuned(tuning: FineTuning = STILL, units: Units = UNITS, **settings: Any) -> FineTuned:
    """Nothing is dropped unless it is asked."""
    torch.manual_seed(0)
    config = FineTunedConfig(len(units), without_targets(config_of(**settings)), tuning)
    network = make_fine_tuned(config, units)
    vary(network)
    return network


def save_fine_tuned(path: Path, network: FineTuned, units: Units = UNITS, audio: Audio | None = None) -> Path:
    header = fine_tuned_header(network.config, audio or Audio(), units)
    write_checkpoint(path, header, network.state_dict())
    return path


def stock_ctc(num_columns: int, tuning: FineTuning = STILL, **settings: Any) -> Any:
    """`Wav2VecCtc` over a pretrained model of random weights, and its settings."""
    from fairseq.models.wav2vec.wav2vec2 import Wav2Vec2Config
    from fairseq.models.wav2vec.wav2vec2_asr import Wav2Vec2CtcConfig, Wav2VecCtc, Wav2VecEncoder
    from omegaconf import OmegaConf

    torch.manual_seed(3)
    options = {"quantize_targets": True, "latent_temp": (2, 0.5, 0.9)}
    said = dataclasses.asdict(tuning)
    # as stock does where it reads a pretrained file
    tuned = {**said, "encoder_layerdrop": said.pop("layerdrop")}
    tuned = {name: value for name, value in tuned.items() if name in vars(Wav2Vec2Config())}
    pretrained = OmegaConf.create(
        {
            "model": {**vars(Wav2Vec2Config()), "_name": "wav2vec2", **options, **TINY, **settings, **tuned},
            "task": {"_name": "audio_pretraining", "data": "/data", "normalize": False},
            "criterion": {"_name": "wav2vec"},
            "lr_scheduler": {"_name": "fixed"},
        },
        flags={"allow_objects": True},
    )
    cfg = Wav2Vec2CtcConfig(w2v_args=pretrained, normalize=False, data="/data", ddp_backend="legacy_ddp")
    for name, value in dataclasses.asdict(tuning).items():
        setattr(cfg, name, value)
    model = Wav2VecCtc(cfg, Wav2VecEncoder(cfg, num_columns))
    vary(model)
    return model, pretrained

"""Checkpoints as stock fairseq writes them: today's, and those of 2019."""

import argparse
from pathlib import Path
from typing import Any

import torch
from fairseq.models.wav2vec.wav2vec import Wav2VecConfig, Wav2VecModel
from omegaconf import OmegaConf

SMALL = {
    "conv_feature_layers": "[(32, 10, 5), (32, 8, 4)] + [(32, 4, 2)] * 2",
    "conv_aggregator_layers": "[(32, 2, 1), (48, 3, 1)]",
    "vq_vars": 20,
    "prediction_steps": 5,
}


def stock_model(**options: Any) -> tuple[Wav2VecModel, dict[str, Any]]:
    """A random model of stock's, and its options as stock's own config holds them."""
    torch.manual_seed(7)
    config = Wav2VecConfig()
    for name, value in {**SMALL, "infonce": False, **options}.items():
        setattr(config, name, value)
    return Wav2VecModel(config).eval(), {**vars(config), "_name": "wav2vec"}


def write_today(path: Path, model: Wav2VecModel, options: dict[str, Any], **task: Any) -> None:
    """As stock's trainer does: `cfg` in plain containers, enums as strings."""
    cfg = OmegaConf.create(
        {
            "model": options,
            "task": {"_name": "audio_pretraining", "data": "/data", "sample_rate": 16_000, **task},
            "optimization": {"max_update": 1000},
        },
        flags={"allow_objects": True},
    )
    state = {"args": None, "cfg": OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)}
    history = [{"criterion_name": "Wav2vecCriterion", "num_updates": 400, "optimizer_name": "FairseqAdam"}]
    state |= {"model": model.state_dict(), "optimizer_history": history, "extra_state": {}}
    torch.save(state, path)


def write_2019(path: Path, model: Wav2VecModel, options: dict[str, Any], zipped: bool) -> None:
    """As stock's trainer did: everything in one argparse.Namespace, tuples as strings, the old names."""
    args = argparse.Namespace(**{k: v for k, v in options.items() if not k.startswith("_")})
    args.vq_temp = "(2.0, 0.5, 0.999995)"
    args.arch, args.task, args.criterion = "audio_cpc", "speech_pretraining", "binary_cross_entropy"
    args.data, args.lr, args.encoder, args.max_update, args.sample_rate = "/data", [0.1], "cnn", 9, 16_000
    args.log_keys = None
    if options["vq_type"] == "none":  # such files are older than these options
        for name in ("activation", "vq_type", "vq_depth", "vq_vars", "vq_temp", "infonce", "normalize"):
            vars(args).pop(name, None)
    state = {"args": args, "model": model.state_dict(), "optimizer_history": [{"num_updates": 3}]}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)

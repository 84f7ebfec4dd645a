"""fairseq's trainer of a network that has the 33 M model's layers, each some channels wide."""

from typing import Any

from fairseq import models, options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.trainer import Trainer

import vqw2v_plugin

vqw2v_plugin.register()
CHANNELS = 16
ENCODER = str([(CHANNELS, *steps) for steps in ((10, 5), (8, 4), *[(4, 2)] * 3, *[(1, 1)] * 3)])
CONTEXT = str([(CHANNELS, taps, 1) for taps in range(2, 14)])
NAMES = "--task vq_audio_pretraining --arch vq_wav2vec --criterion vq_contrastive --infonce --centred"
TRAINING = "--optimizer adam --lr [1e-05] --lr-scheduler fixed --cpu --prediction-steps 12 --vq-vars 32"
QUANTIZERS = {
    "gumbel": ["--quantizer", "gumbel", "--vq-temp", "[2.0,0.5,0.999995]", "--loss-weights", "[0.1]"],
    "kmeans": ["--quantizer", "kmeans", "--quantizer-args", '{"ema_decay": 0.99, "revive_after": 20}'],
}


def deep_trainer(quantizer: str, bf16: bool) -> Trainer:
    layers = ["--conv-feature-layers", ENCODER, "--conv-aggregator-layers", CONTEXT]
    line: list[Any] = ["no-data", *NAMES.split(), *TRAINING.split(), *layers, *QUANTIZERS[quantizer]]
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), line))
    cfg.common.bf16 = bf16
    task = tasks.setup_task(cfg.task)
    return Trainer(cfg, task, models.build_model(cfg.model, task), task.build_criterion(cfg.criterion))

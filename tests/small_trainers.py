"""fairseq's trainers of networks that have the papers' layers, each some channels wide."""

from pathlib import Path

from fairseq import models, options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.trainer import Trainer

import vqw2v_plugin
from vqw2v_plugin.stores.symbols import write_dict

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


TRANSFORMER = (
    "--encoder-embed-dim 32 --encoder-ffn-embed-dim 32 --encoder-attention-heads 4 --cpu "
    "--optimizer adam --lr [1e-05] --lr-scheduler fixed"
)
BERT = "--task vq_token_pretraining --arch vq_bert_base --criterion vq_masked_tokens"
SYMBOLS = 64
WAV2VEC2 = "--task vq_audio_pretraining --arch vq_wav2vec2_base --criterion vq_masked_contrastive"


def deep_trainer(quantizer: str, bf16: bool) -> Trainer:
    layers = ["--conv-feature-layers", ENCODER, "--conv-aggregator-layers", CONTEXT]
    return _trainer(["no-data", *NAMES.split(), *TRAINING.split(), *layers, *QUANTIZERS[quantizer]], bf16)


def deep_bert_trainer(folder: Path, bf16: bool) -> Trainer:
    """Of the folder's dictionary, which it writes."""
    write_dict(folder / "dict.txt", [(f"{i // 8}-{i % 8}", 1) for i in range(SYMBOLS)])
    return _trainer([str(folder), *BERT.split(), *TRANSFORMER.split()], bf16)


def deep_wav2vec2_trainer(bf16: bool, *options: str) -> Trainer:
    """Of BASE's layers, of which none is left out."""
    sizes = ["--final-dim", "16", "--latent-vars", "8", "--encoder-layerdrop", "0"]
    layers = str([(CHANNELS, 10, 5), *[(CHANNELS, 3, 2)] * 4, *[(CHANNELS, 2, 2)] * 2])
    own = [*sizes, "--conv-feature-layers", layers, *options]
    return _trainer(["no-data", *WAV2VEC2.split(), *TRANSFORMER.split(), *own], bf16)


def _trainer(line: list[str], bf16: bool) -> Trainer:
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), line))
    cfg.common.bf16 = bf16
    task = tasks.setup_task(cfg.task)
    return Trainer(cfg, task, models.build_model(cfg.model, task), task.build_criterion(cfg.criterion))

"""Small networks of wav2vec 2.0: ours, and stock fairseq's with the same weights."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqw2v_plugin.checkpoints.format import write_checkpoint
from vqw2v_plugin.checkpoints.kinds import Audio, Header
from vqw2v_plugin.checkpoints.wav2vec2 import KIND, make_wav2vec2
from vqw2v_plugin.modules.kernels.attention import Rows
from vqw2v_plugin.modules.wav2vec2.config import Wav2Vec2Config
from vqw2v_plugin.modules.wav2vec2.draws import Draws, draw_distractors
from vqw2v_plugin.modules.wav2vec2.network import Wav2Vec2

LAYERS = "[(16, 10, 5), (16, 3, 2), (16, 2, 2)]"  # a frame sees 30 samples and comes every 20
STILL = dict.fromkeys(
    ("dropout", "attention_dropout", "dropout_input", "dropout_features", "encoder_layerdrop"), 0.0
)
TINY: dict[str, Any] = {
    "conv_feature_layers": LAYERS,
    "encoder_layers": 2,
    "encoder_embed_dim": 24,
    "encoder_ffn_embed_dim": 32,
    "encoder_attention_heads": 2,
    "conv_pos": 8,
    "conv_pos_groups": 4,
    "latent_vars": 9,
    "final_dim": 12,
    "num_negatives": 5,
    **STILL,
}
LARGE_STYLE: dict[str, Any] = {"extractor_mode": "layer_norm", "conv_bias": True, "layer_norm_first": True}


def config_of(**settings: Any) -> Wav2Vec2Config:
    return Wav2Vec2Config(**{**TINY, **settings})


def tiny_wav2vec2(**settings: Any) -> Wav2Vec2:
    """A few thousand weights; nothing is dropped unless it is asked."""
    torch.manual_seed(0)
    return make_wav2vec2(config_of(**settings))


def saved(path: Path, normalize: bool = False, rate: int = 16_000, **settings: Any) -> Wav2Vec2:
    """A checkpoint of one whose norms and biases are all different."""
    network = tiny_wav2vec2(**settings).eval()
    for name, p in network.named_parameters():
        if "norm" in name or name.endswith("bias"):  # which begin alike
            torch.nn.init.normal_(p, 1.0 if name.endswith("weight") else 0.2, 0.2)
    header = Header(KIND.model, KIND.settings(network), Audio(rate, normalize))
    write_checkpoint(path, header, network.state_dict())
    return network


def noise(samples: int, seed: int = 0) -> Tensor:  # [S]
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


def padded(wavs: list[Tensor], more: int = 0) -> tuple[Tensor, list[int]]:
    """Side by side, with noise in place of silence behind their ends."""
    lengths = [len(wav) for wav in wavs]
    batch = torch.stack([torch.cat([wav, noise(max(lengths) + more - len(wav), 99)]) for wav in wavs])
    return batch, lengths


def even_draws(batch: int, frames: int, count: int, config: Wav2Vec2Config) -> Draws:
    """As many masked frames in each utterance, which stock needs."""
    generator = torch.Generator().manual_seed(5)
    rows = [torch.randperm(frames, generator=generator)[:count].sort().values for _ in range(batch)]
    index = torch.cat([row + i * frames for i, row in enumerate(rows)])
    others = [draw_distractors(count, config.num_negatives, generator) + i * count for i in range(batch)]
    return Draws(Rows(index, [count] * batch), torch.cat(others))

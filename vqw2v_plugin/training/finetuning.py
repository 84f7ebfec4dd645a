"""wav ──wav2vec 2.0──▶ states ──▶ letters, how it begins to learn: options, and whose weights it has."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Optional

from ..checkpoints.files import CheckpointError
from ..checkpoints.finetuned import ARCHS, Start, read_start
from ..checkpoints.kinds import Audio
from ..modules.finetuned.config import FineTuning, without_targets
from ..modules.wav2vec2.config import ARCHS as PRETRAINED
from ..modules.wav2vec2.config import Wav2Vec2Config
from .options import options_of, plain_settings

SIZES = (
    *("extractor_mode", "conv_feature_layers", "conv_bias", "encoder_layers", "encoder_embed_dim"),
    *("encoder_ffn_embed_dim", "encoder_attention_heads", "layer_norm_first", "activation_fn"),
    *("conv_pos", "conv_pos_groups"),
)
_LEFT = "; without w2v_path alone, default: of the arch"
_SIZE_HELPS = {
    "extractor_mode": f"default: group norm in the encoder's first layer; layer_norm: in all{_LEFT}",
    "conv_feature_layers": f"encoder layers [(channels, kernel, stride), …]{_LEFT}",
    "conv_bias": f"encoder layers with bias{_LEFT}",
    "encoder_layers": f"Transformer layers{_LEFT}",
    "encoder_embed_dim": f"size of the states{_LEFT}",
    "encoder_ffn_embed_dim": f"inner size{_LEFT}",
    "encoder_attention_heads": f"attention heads{_LEFT}",
    "layer_norm_first": f"layer norm before each block{_LEFT}",
    "activation_fn": f"gelu or relu{_LEFT}",
    "conv_pos": f"taps of the convolution that tells positions{_LEFT}",
    "conv_pos_groups": f"its groups{_LEFT}",
}
_TUNING_HELPS = {
    "apply_mask": "hide frames and channels in training",
    "mask_prob": "share of the frames that would be masked if spans did not overlap",
    "mask_length": "M, frames of a span",
    "mask_channel_prob": "the same share of channels of what the Transformer hears, over all of the time",
    "mask_channel_length": "channels of a span",
    "layerdrop": "how often a whole layer is left out",
    "dropout": "dropout of states",
    "attention_dropout": "dropout of attention weights",
    "activation_dropout": "dropout inside feed-forward blocks",
    "dropout_input": "dropout of what the Transformer hears",
    "final_dropout": "dropout of what letters are told from",
    "feature_grad_mult": "factor of the encoder's gradient; 0: it does not learn",
}


_Sizes: Any = options_of(Wav2Vec2Config, _SIZE_HELPS, SIZES, SIZES)


@dataclass
class FineTuningConfig(options_of(FineTuning, _TUNING_HELPS), _Sizes):  # type: ignore[misc]
    w2v_path: Optional[str] = field(
        default=None,
        metadata={
            "help": "pretrained or fine-tuned checkpoint to begin from, of fairseq-train, `vqw2v import` or "
            "`vqw2v export`; default: begin with nothing, of the sizes below"
        },
    )
    normalize: Optional[bool] = field(
        default=None,
        metadata={"help": "each clip at zero mean and unit variance; default: as w2v_path learnt, else no"},
    )
    freeze_finetune_updates: int = field(
        default=0, metadata={"help": "first updates in which the linear layer alone learns"}
    )


def tuning_of(cfg: Any) -> FineTuning:
    return FineTuning(**plain_settings(FineTuning, cfg))


def start_of(cfg: Any, known: Optional[Mapping[str, Any]], sample_rate: int) -> Start:
    """What a network begins from: of a checkpoint, which is `known`, of a pretrained one, or nothing."""
    sizes = {name: value for name, value in plain_settings(Wav2Vec2Config, cfg).items() if name in SIZES}
    given = {name: value for name, value in sizes.items() if value is not None}
    path = getattr(cfg, "w2v_path", None)
    if known is not None:
        start = Start.from_json(known)
    elif path:
        start = read_start(path)
    else:
        arch = ARCHS.index(getattr(cfg, "_name", None) or ARCHS[0])
        config = without_targets(replace(list(PRETRAINED.values())[arch], **given))
        return Start(config, Audio(sample_rate, bool(getattr(cfg, "normalize", None))))
    where = path or "the checkpoint"
    for name, value in given.items():
        if value != getattr(start.config, name):
            raise CheckpointError(
                f"`{name}` is {value!r}, and {where} has {getattr(start.config, name)!r}; leave it out"
            )
    _check_audio(start.audio, getattr(cfg, "normalize", None), sample_rate, where)
    return start


def _check_audio(audio: Audio, normalize: Optional[bool], sample_rate: int, where: str) -> None:
    if normalize is not None and normalize != audio.normalize:
        raise CheckpointError(
            f"`normalize` is {normalize}, and {where} learnt with {audio.normalize}; leave it out"
        )
    if sample_rate != audio.sample_rate:
        raise CheckpointError(
            f"`sample_rate` is {sample_rate}; {where} expects audio of {audio.sample_rate} Hz: set "
            f"`task.sample_rate` to that"
        )

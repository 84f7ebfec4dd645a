"""wav → z → tokens and c: the settings of the network, stock fairseq's names and the paper's values."""

from dataclasses import dataclass, field
from typing import Any, List, Optional, Union


def on_off(default: bool, text: str) -> Any:
    """An option that is on by default; on fairseq's command line a plain bool's flag would turn it off."""
    return field(
        default=str(default).lower(), metadata={"help": f"{text}: true or false", "argparse_const": "true"}
    )


def is_on(name: str, value: Union[bool, str]) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if str(value).lower() not in words:
        raise ValueError(f"`{name}` is {value!r}; expected true or false")
    return words[str(value).lower()]


@dataclass
class VqWav2VecConfig:
    """Stock fairseq's options under stock's names and the paper's values; ours are `quantizer*`."""

    prediction_steps: int = field(default=8, metadata={"help": "future steps K that each frame predicts"})
    num_negatives: int = field(default=10, metadata={"help": "negatives from the same utterance"})
    cross_sample_negatives: int = field(default=0, metadata={"help": "negatives from the whole batch"})
    sample_distance: Optional[int] = field(
        default=None, metadata={"help": "farthest that a negative of the same utterance may lie, in frames"}
    )
    conv_feature_layers: str = field(
        default="[(512, 10, 5), (512, 8, 4), (512, 4, 2), (512, 4, 2), (512, 4, 2)] + [(512, 1, 1)] * 3",
        metadata={"help": "encoder layers [(channels, kernel, stride), …]"},
    )
    conv_aggregator_layers: str = field(
        default="[(512, 2, 1), (512, 3, 1), (512, 4, 1), (512, 5, 1), (512, 6, 1), (512, 7, 1), (512, 8, 1), "
        "(512, 9, 1), (512, 10, 1), (512, 11, 1), (512, 12, 1), (512, 13, 1)]",
        metadata={"help": "context layers [(channels, kernel, stride), …]"},
    )
    dropout: float = field(default=0.0, metadata={"help": "dropout in context layers and predictions"})
    dropout_features: float = field(default=0.0, metadata={"help": "dropout before the context network"})
    dropout_agg: float = field(default=0.0, metadata={"help": "dropout after the context network"})
    aggregator: str = field(default="cnn", metadata={"help": "context network: cnn, or gru over time"})
    gru_dim: int = field(default=512, metadata={"help": "size of the gru"})
    no_conv_bias: bool = field(default=False, metadata={"help": "context convolutions without bias"})
    agg_zero_pad: bool = field(
        default=False, metadata={"help": "pad the past with zeros, not the first frame"}
    )
    skip_connections_feat: bool = field(default=False, metadata={"help": "residuals around encoder layers"})
    skip_connections_agg: str = on_off(True, "residuals around context layers")
    residual_scale: float = field(default=0.5, metadata={"help": "a residual sum is scaled by √ of this"})
    log_compression: str = on_off(True, "log(1 + |z|) at the encoder's end")
    balanced_classes: bool = field(default=False, metadata={"help": "weigh negatives by 1 / their number"})
    project_features: str = field(
        default="none",
        metadata={"help": "targets through a context network: none, same, or new (one of its own)"},
    )
    non_affine_group_norm: bool = field(default=False, metadata={"help": "group norm without gain and bias"})
    offset: str = field(
        default="auto", metadata={"help": "frames to the first prediction; auto: until receptive fields part"}
    )
    activation: str = field(default="relu", metadata={"help": "relu (the paper) or gelu"})
    quantizer: str = field(default="none", metadata={"help": "none, gumbel, kmeans or a registered one"})
    quantizer_position: str = field(
        default="encoder",
        metadata={"help": "quantize after the encoder (the paper) or after the context network"},
    )
    quantizer_args: str = field(
        default="{}", metadata={"help": "JSON object of options that only the chosen quantizer knows"}
    )
    vq_vars: int = field(default=320, metadata={"help": "codes V a group"})
    vq_groups: int = field(default=2, metadata={"help": "groups G"})
    vq_dim: int = field(default=0, metadata={"help": "size of the quantized vector; 0: as z"})
    vq_depth: int = field(default=2, metadata={"help": "linear layers of the gumbel head"})
    combine_groups: bool = field(default=False, metadata={"help": "one codebook shared by the groups"})
    vq_temp: List[float] = field(
        default_factory=lambda: [2.0, 0.5],
        metadata={
            "help": "gumbel temperature: (start, stop) falls linearly over 70%% of max_update (the paper); "
            "(start, stop, decay) by a factor an update as in stock"
        },
    )
    vq_gamma: float = field(default=0.25, metadata={"help": "weight of the k-means commitment term"})
    max_update: int = field(default=0, metadata={"help": "updates of the whole training, for schedules"})


_CHOICES = {
    "aggregator": ("cnn", "gru"),
    "activation": ("relu", "gelu"),
    "project_features": ("none", "same", "new"),
    "quantizer_position": ("encoder", "context"),
}


def _validate(config: VqWav2VecConfig) -> None:
    for name, choices in _CHOICES.items():
        if getattr(config, name) not in choices:
            raise ValueError(f"`{name}` is {getattr(config, name)!r}; expected one of {', '.join(choices)}")
    for name in ("dropout", "dropout_features", "dropout_agg"):
        if not 0 <= getattr(config, name) < 1:
            raise ValueError(f"`{name}` is {getattr(config, name)}; expected a probability in [0, 1)")
    if config.offset != "auto" and not str(config.offset).isdecimal():
        raise ValueError(f"`offset` is {config.offset!r}; expected 'auto' or a number of frames")
    if config.num_negatives < 0 or config.cross_sample_negatives < 0:
        raise ValueError("`num_negatives` and `cross_sample_negatives` must not be negative")
    if config.num_negatives + config.cross_sample_negatives == 0:
        raise ValueError(
            "`num_negatives` and `cross_sample_negatives` are both 0; expected at least one negative"
        )

"""wav → z → tokens and c: the settings of the network, under stock fairseq's names."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ..layers.checks import check_choices, check_probabilities, check_switches

_MOST_NEGATIVES = 10_000  # of a prediction; the papers have 10
_CHOICES = {
    "aggregator": ("cnn", "gru"),
    "activation": ("relu", "gelu"),
    "project_features": ("none", "same", "new"),
    "quantizer_position": ("encoder", "context"),
}


@dataclass(frozen=True)
class VqWav2VecConfig:
    """The values are the papers' (arXiv 1904.05862, 1910.05453); `quantizer*` are ours."""

    prediction_steps: int = 8  # future steps K that each frame predicts
    num_negatives: int = 10  # from the same utterance
    cross_sample_negatives: int = 0  # from the whole batch
    sample_distance: int | None = None  # farthest that a negative of the same utterance may lie, in frames
    conv_feature_layers: str = (  # the encoder's, (channels, kernel, stride) each
        "[(512, 10, 5), (512, 8, 4), (512, 4, 2), (512, 4, 2), (512, 4, 2)] + [(512, 1, 1)] * 3"
    )
    conv_aggregator_layers: str = (  # the context network's
        "[(512, 2, 1), (512, 3, 1), (512, 4, 1), (512, 5, 1), (512, 6, 1), (512, 7, 1), (512, 8, 1), "
        "(512, 9, 1), (512, 10, 1), (512, 11, 1), (512, 12, 1), (512, 13, 1)]"
    )
    dropout: float = 0.0  # in context layers and predictions
    dropout_features: float = 0.0  # before the context network
    dropout_agg: float = 0.0  # after the context network
    aggregator: str = "cnn"  # the context network: cnn, or gru over time
    gru_dim: int = 512
    no_conv_bias: bool = False  # context convolutions without bias
    agg_zero_pad: bool = False  # pad the past with zeros, not the first frame
    skip_connections_feat: bool = False  # residuals around encoder layers
    skip_connections_agg: bool = True  # residuals around context layers
    residual_scale: float = 0.5  # a residual sum is scaled by √ of this
    log_compression: bool = True  # log(1 + |z|) at the encoder's end
    balanced_classes: bool = False  # weigh negatives by 1 / their number
    project_features: str = "none"  # targets through a context network: none, same, or new (one of its own)
    non_affine_group_norm: bool = False  # group norm without gain and bias
    centred: bool = (
        False  # weights start and stay deaf to the mean over their inputs; without, this size collapses
    )
    prediction_gain: float = 1.0  # of the predictions' first weights; 1: stock's
    offset: str = "auto"  # frames to the first prediction; auto: until receptive fields part
    activation: str = "relu"
    quantizer: str = "none"  # its registered name
    quantizer_position: str = "encoder"  # after the encoder (the paper), or after the context network
    quantizer_args: str = "{}"  # JSON object of settings that only the chosen quantizer knows
    vq_vars: int = 320  # codes V a group
    vq_groups: int = 2  # groups G
    vq_dim: int = 0  # size of the quantized vector; 0: as z
    vq_depth: int = 2  # linear layers of the gumbel head
    combine_groups: bool = False  # one codebook shared by the groups
    # gumbel temperature: (start, stop) falls linearly over 70 % of `max_update` (the paper);
    # (start, stop, decay) by a factor an update as in stock
    vq_temp: list[float] = field(default_factory=lambda: [2.0, 0.5])
    vq_gamma: float = 0.25  # weight of the k-means commitment term
    max_update: int = 0  # updates of the whole training, for schedules

    def __post_init__(self) -> None:
        check_choices(self, _CHOICES)
        check_switches(self)
        check_probabilities(self, ("dropout", "dropout_features", "dropout_agg"))
        if not 0 <= self.prediction_gain <= 1:
            raise ValueError(f"`prediction_gain` is {self.prediction_gain}; expected a factor in [0, 1]")
        if not 0 < self.residual_scale < math.inf:
            raise ValueError(f"`residual_scale` is {self.residual_scale}; expected a positive number")
        if self.gru_dim < 1:
            raise ValueError(f"`gru_dim` is {self.gru_dim}; expected at least 1")
        if self.sample_distance is not None and self.sample_distance < 1:
            raise ValueError(f"`sample_distance` is {self.sample_distance}; expected at least 1 frame")
        offset = str(self.offset)
        if offset != "auto" and not (offset.isdecimal() and len(offset) < 10):  # Python refuses long numbers
            raise ValueError(f"`offset` is {offset[:20]!r}; expected 'auto' or a number of frames")
        for name in ("num_negatives", "cross_sample_negatives"):
            if not 0 <= (value := getattr(self, name)) <= _MOST_NEGATIVES:
                raise ValueError(f"`{name}` is {value}; expected 0 to {_MOST_NEGATIVES:,}")
        if self.num_negatives + self.cross_sample_negatives == 0:
            raise ValueError(
                "`num_negatives` and `cross_sample_negatives` are both 0; expected at least one negative"
            )

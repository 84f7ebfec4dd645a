"""features ──generator──▶ phones without labels, as fairseq's model `vq_wav2vec_u`; archs: …_2."""

import logging
import sys
from typing import Any, Dict, Optional, Union

from fairseq.models import BaseFairseqModel, register_model, register_model_architecture
from torch import Tensor

from ..checkpoints.about import About, describe
from ..checkpoints.unpaired import ARCHS, NAME, seconds_of
from ..modules.unpaired.config import OPTIONS, UnpairedConfig
from ..modules.unpaired.network import Step, UnpairedNetwork, UnpairedOutput
from ..stores.feature_spec import FeatureSpec
from ..text.units import Units
from ..training.options import options_of, plain_settings
from ..training.two_adams import DISCRIMINATOR, GENERATOR

logger = logging.getLogger(__name__)

HELPS: Dict[str, str] = {
    "generator_kernel": "frames that the generator's convolution sees",
    "generator_stride": "frames of features to one of phones",
    "generator_dilation": "frames between those that it sees",
    "generator_pad": "frames of zeros on each side; -1: half of the kernel",
    "generator_bias": "the convolution has a bias",
    "generator_dropout": "of the features",
    "generator_batch_norm": "what the scale of a batch norm over the features begins with; 0: there is none",
    "generator_residual": "a linear layer beside the features",
    "segments": "one frame of phones for each run of the same (join), for each few frames (uniform), both "
    "(uniform_join), or for each frame (none)",
    "subsample_rate": "uniform: segments to a frame",
    "mean_pool": "uniform: in training too the mean of a segment, in place of one frame of it",
    "mean_pool_join": "join: in training too the mean of a run, in place of one frame of it",
    "discriminator_dim": "channels of the adversary",
    "discriminator_depth": "its layers, but for the last",
    "discriminator_kernel": "phones that one of its layers sees",
    "discriminator_dilation": "phones between those that it sees",
    "discriminator_causal": "a layer sees no phones that come later",
    "discriminator_linear_emb": "its first layer sees one phone",
    "discriminator_act_after_linear": "GELU behind its first layer",
    "discriminator_max_pool": "it judges by the worst place, not by the mean of all",
    "discriminator_dropout": "of its channels",
    "gradient_penalty": "weight of how far from 1 the adversary's gradients are",
    "probabilistic_grad_penalty_slicing": "these are taken anywhere in the longer of text and output",
    "code_penalty": "weight of phones that are not used",
    "smoothness_weight": "weight of steps between neighbouring frames of phones",
    "smoothing": "how far from sure the adversary is to be",
    "smoothing_one_sided": "of text alone",
    "mmi_weight": "weight of naming an auxiliary cluster of each frame (the task's `aux`)",
    "target_dim": "how many such clusters there are",
    "skipgram_weight": "weight of pairs of phones that are not as often as in the text",
    "skipgram_reach": "places that the phones of such a pair may be apart",
    "skipgram_start_weight": "beside it, the weight of phones that begin a line",
    "skipgram_repeats": "frames that a phone is heard for, before runs are joined",
    "stock_padding": "padding counts in the losses, as it does in fairseq's wav2vec_u",
}
VqWav2VecUConfig = options_of(UnpairedConfig, HELPS, left_to_arch=OPTIONS, only=OPTIONS)


@register_model(NAME, dataclass=VqWav2VecUConfig)
class VqWav2VecUModel(BaseFairseqModel):
    """Each update one of the two learns: the generator first, the adversary second."""

    def __init__(self, network: UnpairedNetwork, units: Units, spec: FeatureSpec) -> None:
        super().__init__()
        self.network, self.units = network, units
        self.frame_seconds = seconds_of(spec, network.stride)
        self.about = About(describe(units, network.config, self.frame_seconds, spec))
        self.num_updates = 0
        self.decodes_runs = False  # one frame a run, where text is asked for
        for p in network.parameters():
            p.param_group = GENERATOR  # type: ignore[attr-defined]
        for p in network.discriminator.parameters():
            p.param_group = DISCRIMINATOR  # type: ignore[attr-defined]

    @classmethod
    def build_model(cls, cfg: Any, task: Any) -> "VqWav2VecUModel":
        network = UnpairedNetwork(network_config(cfg, task.feature_dim, len(task.units)))
        sizes = [
            sum(p.numel() for p in part.parameters()) for part in (network.generator, network.discriminator)
        ]
        logger.info(
            f"{NAME}: {task.feature_dim} features ({task.feature_spec.layer}) to {len(task.units)} phones, "
            f"{sizes[0]:,} parameters, against an adversary of {sizes[1]:,}"
        )
        return cls(network, task.units, task.feature_spec)

    def set_num_updates(self, num_updates: int) -> None:
        """fairseq says so before each update."""
        super().set_num_updates(num_updates)
        self.num_updates = num_updates

    @property
    def learns(self) -> str:
        """The group that this update is of; fairseq's `wav2vec_u` takes turns alike."""
        return DISCRIMINATOR if self.num_updates % 2 else GENERATOR

    def forward(
        self,
        source: Tensor,
        lengths: Tensor,
        text: Optional[Tensor] = None,
        text_lengths: Optional[Tensor] = None,
        targets: Optional[Tensor] = None,
        joined: Optional[bool] = None,
    ) -> Union[Step, UnpairedOutput]:
        """[B, T, D], [B]; with text [B, N], [B] a step of one of the two, else scores of phones."""
        network = self.network
        if text is None or text_lengths is None:
            return network(source, lengths, self.decodes_runs if joined is None else joined)  # type: ignore[no-any-return]
        if self.learns == DISCRIMINATOR:
            return network.discriminator_step(source, lengths, text, text_lengths)
        return network.generator_step(source, lengths, targets)

    def stride_by(self, frames: int) -> None:
        """From here on so many frames of features are one of phones, other than in training."""
        self.network.generator.stride_by(frames)
        self.frame_seconds = seconds_of(
            FeatureSpec.from_json(self.about.content["features"]), self.network.stride
        )

    def frames(self, size: int) -> int:
        """Frames of phones that so many frames of features give, before runs are joined."""
        return self.network.frames(size)

    def max_positions(self) -> int:
        """Any length; the task's options leave out what is too long."""
        return sys.maxsize


def network_config(cfg: Any, in_dim: int, num_columns: int) -> UnpairedConfig:
    """The options given, and the arch's where none is given."""
    given = {name: value for name, value in plain_settings(UnpairedConfig, cfg).items() if value is not None}
    given |= {"input_dim": in_dim, "num_columns": num_columns}
    return UnpairedConfig(**{**ARCHS[getattr(cfg, "_name", None) or NAME], **given})


for _arch in set(ARCHS) - {NAME}:
    # the settings follow from the arch's name where none are given, in yaml too: nothing to fill in here
    register_model_architecture(NAME, _arch)(lambda args: None)

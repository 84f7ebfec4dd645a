"""wav ──wav2vec 2.0──▶ states ──▶ letters, as fairseq's model `vq_wav2vec2_ctc`, and its archs."""

import logging
import sys
from dataclasses import dataclass
from typing import Any, ClassVar, Optional, Sequence

from fairseq.models import BaseFairseqModel, register_model, register_model_architecture
from torch import Tensor

from ..checkpoints.finetuned import ARCHS, NAME, STATE, about_of, begun
from ..checkpoints.kinds import Audio
from ..modules.acoustic.network import AcousticOutput
from ..modules.finetuned.network import FineTuned, unit_clips
from ..text.units import Units
from ..training.finetuning import FineTuningConfig, start_of, tuning_of

logger = logging.getLogger(__name__)


@dataclass
class VqWav2Vec2CtcConfig(FineTuningConfig):
    """The sizes are those of w2v_path; without one, those of the arch or given."""


@register_model(NAME, dataclass=VqWav2Vec2CtcConfig)
class VqWav2Vec2CtcModel(BaseFairseqModel):
    draws: ClassVar[bool] = True  # its masks are an utterance's own, by seeds that come with the batch

    def __init__(self, network: FineTuned, units: Units, audio: Audio, freeze_updates: int = 0) -> None:
        super().__init__()
        self.network, self.units, self.audio = network, units, audio
        self.frame_seconds = network.stride / audio.sample_rate
        self.about = about_of(network.config, units, audio)
        self.freeze_updates = freeze_updates

    @classmethod
    def build_model(cls, cfg: Any, task: Any) -> "VqWav2Vec2CtcModel":
        if task.feature_dim:
            raise ValueError("`data` holds features, and this model hears audio; name a folder of manifests")
        if (held := cfg.freeze_finetune_updates) < 0:
            raise ValueError(f"`freeze_finetune_updates` is {held}; expected 0 or more")
        start = start_of(cfg, task.known(STATE), task.cfg.sample_rate)
        task.note(STATE, start.to_json())
        network = begun(start, tuning_of(cfg), task.units)
        config, origin = network.wav2vec2.config, f" from {start.path}" if start.path else ""
        logger.info(
            f"{NAME}: {config.encoder_layers} layers of {config.encoder_embed_dim}{origin}, "
            f"{len(task.units)} symbols with {task.units.loss.title}, "
            f"{sum(p.numel() for p in network.parameters()):,} parameters; a frame of emissions every "
            f"{1000 * network.stride / start.audio.sample_rate:g} ms"
        )
        return cls(network, task.units, start.audio, held)

    def set_num_updates(self, num_updates: int) -> None:
        """fairseq says so before each batch, our tasks also after each update."""
        self.network.is_held = num_updates < self.freeze_updates
        self.network.set_num_updates(num_updates)

    def forward(
        self, source: Tensor, lengths: Tensor, seeds: Optional[Sequence[int]] = None
    ) -> AcousticOutput:
        """[B, S], [B]; without seeds nothing depends on the utterances' names."""
        wav = unit_clips(source, lengths) if self.audio.normalize else source
        out: AcousticOutput = self.network(wav, lengths, seeds)
        return out

    def frames(self, size: int) -> int:
        """Frames of emissions that so many samples give."""
        return self.network.frames(size)

    def max_positions(self) -> int:
        """Any length; the task's options leave out what is too long."""
        return sys.maxsize


for _arch in set(ARCHS) - {NAME}:
    # sizes follow from the arch's name where none are given, in yaml too: nothing to fill in here
    register_model_architecture(NAME, _arch)(lambda args: None)

"""wav ──BERT──▶ states, learnt without labels: the task that feeds it speech, and codes of a round before."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, FrozenSet, Optional, Tuple

from fairseq.tasks import register_task
from omegaconf import MISSING

from ..common.on_off import is_on
from ..corpora.mixture import Entry
from ..modules.bert.config import SpeechBertConfig
from ..modules.bert.speech import SpeechInput
from ..modules.layers.masks import expected_share
from ..stores.frames import TokenFrames, read_code_sizes
from ..stores.symbols import TokenError
from ..training.datasets.base import BatchDataset
from ..training.datasets.speech import Spans, SpeechDataset
from ..training.mixing import entries_of, need_alike
from ..training.restart import need_folder
from .vq_audio_pretraining import VqAudioPretrainingConfig, VqAudioPretrainingTask, audio_of

logger = logging.getLogger(__name__)

_PLAIN = SpeechBertConfig()


@dataclass
class VqSpeechPretrainingConfig(VqAudioPretrainingConfig):
    """As for pretraining on audio; what is heard, what is restored, and what is hidden."""

    tokens: str = field(
        default=MISSING,
        metadata={"help": "folder of the codes to restore, of the same utterances: SPLIT.bin, SPLIT.idx, …"},
    )
    augment: Optional[str] = field(
        default=None,
        metadata={
            "help": "changes of the audio that is heard, with commas: noise, reverb, pitch; codes stay those "
            "of the audio as it is (default: none)"
        },
    )
    bands: int = field(default=_PLAIN.bands, metadata={"help": "log-mel bands, every 10 ms"})
    stack: int = field(default=_PLAIN.stack, metadata={"help": "of these frames are joined (2: 50 a second)"})
    normalize_bands: str = field(  # a word, since fairseq's flag of a bool that is on would turn it off
        default="true",
        metadata={
            "help": "give each band mean 0 and deviation 1 over a crop: true or false",
            "argparse_const": "true",
        },
    )
    mask_start_prob: float = field(
        default=0.08, metadata={"help": "p, the share of the joined frames that start a masked span"}
    )
    mask_length: int = field(default=10, metadata={"help": "M, joined frames of a masked span"})
    mask_stdev: float = field(
        default=0.0, metadata={"help": "standard deviation of the spans' lengths, at least 1 frame each"}
    )


@register_task("vq_speech_pretraining", dataclass=VqSpeechPretrainingConfig)
class VqSpeechPretrainingTask(VqAudioPretrainingTask):
    """Batches of speech from the manifests in `data`, with the codes in `tokens`."""

    trains: ClassVar[Tuple[str, ...]] = ("vq_speech_bert",)
    cfg: VqSpeechPretrainingConfig
    may_change: ClassVar[FrozenSet[str]] = VqAudioPretrainingTask.may_change | {"tokens"}

    def __init__(self, cfg: VqSpeechPretrainingConfig, **kwargs: Any) -> None:
        super().__init__(cfg, **kwargs)
        self.spans = Spans(cfg.mask_start_prob, cfg.mask_length, cfg.mask_stdev)
        # into every checkpoint: a network whose codes are known needs no folder beside it
        self.state.add_factory("codes", self._read_sizes)

    @cached_property
    def code_sizes(self) -> Mapping[str, int]:
        """Groups of `tokens`, and codes of each."""
        return dict(self.state.codes)

    def _read_sizes(self) -> Mapping[str, int]:
        corpora = entries_of(self.cfg.data)
        folders = list(dict.fromkeys(corpus.tokens or self.cfg.tokens for corpus in corpora))
        for folder in folders:
            need_folder("tokens", folder, "tokens.json, dict.txt and SPLIT.idx", TokenError)
        sizes = {folder: read_code_sizes(folder) for folder in folders}
        groups, codes = need_alike(self.cfg.data, sizes, "the number of codes")
        return {"num_groups": groups, "num_codes": codes}

    @property
    def heard(self) -> Mapping[str, Any]:
        """What the network is to know of its input."""
        cfg = self.cfg
        normalizes = is_on("normalize_bands", cfg.normalize_bands)
        return {"bands": cfg.bands, "stack": cfg.stack, "normalize_bands": normalizes}

    def check_data(self) -> None:
        super().check_data()
        self._read_sizes()

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Refuses to go on with codes of another number than those before."""
        theirs = state.get("codes", self.code_sizes)
        if dict(theirs) != self.code_sizes:
            ours = self.code_sizes
            raise TokenError(
                f"{self.cfg.tokens}: has {ours['num_groups']} groups of {ours['num_codes']} codes, the "
                f"checkpoint {theirs}; train on tokens of the model that made those before"
            )

    def make_dataset(self, corpus: Entry, split: str) -> BatchDataset[Any]:
        """Of one folder of manifests, and one of tokens."""
        cfg = self.cfg
        dataset = SpeechDataset(
            **audio_of(cfg, corpus.data, split),
            tokens=TokenFrames(Path(corpus.tokens or cfg.tokens), split),
            heard=SpeechInput(cfg.sample_rate, **self.heard),
            spans=self.spans,
        )
        length = dataset.heard.geometry.frames(int(dataset.sizes.mean()))
        share = expected_share(length, self.spans.start_prob, self.spans.length, self.spans.stdev)
        logger.info(f"{split}: {share:.1%} of the frames will be masked, for {length} frames in a crop")
        return dataset

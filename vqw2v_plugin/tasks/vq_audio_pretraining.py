"""wav ──encoder──▶ z ──quantizer──▶ tokens, learnt without labels: the task that feeds it audio."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, FrozenSet, List, Optional, Tuple

import torch
from fairseq.criterions import FairseqCriterion
from fairseq.models import BaseFairseqModel
from fairseq.tasks import register_task
from hydra.utils import to_absolute_path
from omegaconf import MISSING

from ..audio.drawn_changes import DrawnChanges
from ..audio.pcm_cache import PcmCache
from ..common.locks import Rank
from ..common.splits import split_there
from ..corpora.manifest import Manifest, ManifestError
from ..corpora.mixture import Entry
from ..corpora.sizes import DEFAULT_RATE
from ..jobs.discretize import DiscretizeOptions, discretize
from ..jobs.split_job import Outcome
from ..jobs.work import usual_work
from ..tokenizer import Tokenizer
from ..training.begun import BeginningTask, CodesBeginningConfig
from ..training.datasets.audio import AudioCropDataset
from ..training.datasets.base import BatchDataset
from ..training.discretizing import Discretizer, WholeSplit
from ..training.mixing import Mixer, entries_of
from ..training.restart import remedy_for


@dataclass
class VqAudioPretrainingConfig(CodesBeginningConfig):
    """Stock's option names where stock has the option."""

    data: str = field(
        default=MISSING,
        metadata={
            "help": "folder of the manifests, one SPLIT.tsv a split; or a yaml that lists such folders"
        },
    )
    sample_rate: int = field(
        default=DEFAULT_RATE,
        metadata={"help": "rate in Hz that all audio is resampled to; the sizes below count at it"},
    )
    normalize: bool = field(
        default=False, metadata={"help": "give every crop zero mean and unit variance (silence stays zero)"}
    )
    max_sample_size: int = field(
        default=150_000,
        metadata={"help": "crop utterances to this many samples (the paper: 150,000 = 9.4 s)"},
    )
    min_sample_size: int = field(
        default=4_000,
        metadata={
            "help": "leave out utterances of fewer samples (4,000 = 0.25 s = 23 frames, "
            "enough for 12 future steps and as many frames to predict them from)"
        },
    )
    audio_cache: Optional[str] = field(  # fairseq's argument parser does not know `str | None`
        default=None,
        metadata={"help": "folder to keep decoded audio in, 16 bit a sample (default: decode each time)"},
    )
    augment: Optional[str] = field(
        default=None,
        metadata={
            "help": "changes of what the context (or the Transformer) hears, with commas: noise, reverb, "
            "pitch; targets and negatives stay as they are (default: none; costs the encoder twice)"
        },
    )
    augment_probability: float = field(
        default=0.5, metadata={"help": "how often each of these changes comes"}
    )
    strict_audio: bool = field(
        default=False,
        metadata={"help": "stop at a file that cannot be read (default: name it, count it, skip it)"},
    )


_CRITERIONS = ("vq_contrastive", "vq_masked_contrastive")


@register_task("vq_audio_pretraining", dataclass=VqAudioPretrainingConfig)
class VqAudioPretrainingTask(BeginningTask):
    """Batches of raw audio from the manifests in `data`."""

    cfg: VqAudioPretrainingConfig
    trains: ClassVar[Tuple[str, ...]] = ("vq_wav2vec", "vq_wav2vec2")
    may_change: ClassVar[FrozenSet[str]] = BeginningTask.may_change | {"audio_cache"}
    _pads: bool = False
    _learns_by: Optional[str] = None
    _decodes: bool = False  # a checkpoint was loaded, and no criterion built: it is `fairseq-generate`

    def load_dataset(
        self, split: str, task_cfg: VqAudioPretrainingConfig | None = None, **kwargs: Any
    ) -> None:
        """Loads `data`/SPLIT.tsv; to discretize it, of the folder that is named and not of the training's."""
        if self._decodes:
            self.datasets[split] = WholeSplit(Manifest(find_manifest(self.cfg.data, split)))
            return
        # `task_cfg` is an earlier checkpoint's, and may lack options; `self.cfg` has them, and what was asked
        mixer = Mixer("tsv", self.make_dataset, self.cfg.seed, self.cfg.strict_audio)
        self.datasets[split] = mixer.load(self.cfg.data, split, self.trains_on(split))

    def make_dataset(self, corpus: Entry, split: str) -> BatchDataset[Any]:
        """Of one folder."""
        return AudioCropDataset(**audio_of(self.cfg, corpus.data, split), pad=self._pads)

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> BaseFairseqModel:
        model = super().build_model(cfg, from_checkpoint)
        self._decodes = from_checkpoint
        self._pads, self._learns_by = getattr(model, "pads", False), getattr(model, "criterion", None)
        return model

    def build_criterion(self, cfg: Any, from_checkpoint: bool = False) -> FairseqCriterion:
        wanted, name = self._learns_by, getattr(cfg, "_name", None) or getattr(cfg, "criterion", None)
        if wanted and name in _CRITERIONS and name != wanted:
            raise ValueError(f"`criterion` is {name!r}; expected {wanted!r}, by which this model learns")
        self._decodes = False
        return super().build_criterion(cfg, from_checkpoint)

    @classmethod
    def add_args(cls, parser: Any) -> None:
        """fairseq's scorer for translation wants a dictionary; here nothing is scored."""
        super().add_args(parser)
        if parser.get_default("beam") is not None:
            parser.set_defaults(scoring="vq_error")

    def build_generator(self, models: List[Any], args: Any, *others: Any, **kwargs: Any) -> Discretizer:
        """What makes tokens in `fairseq-generate`."""
        splits = [held for held in self.datasets.values() if isinstance(held, WholeSplit)]
        if not splits:
            raise ValueError(
                "`fairseq-generate` makes tokens with `--task vq_audio_pretraining` and a checkpoint with "
                "codes, in `--path`; for features there is `vqw2v features`"
            )
        return Discretizer(self.cfg, splits[-1].manifest, _discretize)

    def check_data(self) -> None:
        """The folders of manifests are to be there."""
        for corpus in entries_of(self.cfg.data):
            list_manifests(corpus.data)

    @property
    def source_dictionary(self) -> None:
        """None: the input is audio."""

    @property
    def target_dictionary(self) -> None:
        """None: there are no labels."""


def audio_of(cfg: VqAudioPretrainingConfig, data: str, split: str) -> dict[str, Any]:
    """What a data set of crops is told of `data`/SPLIT.tsv."""
    # A relative folder is the user's, also where hydra has changed the working folder.
    cache = PcmCache(to_absolute_path(cfg.audio_cache), cfg.sample_rate) if cfg.audio_cache else None
    changes = DrawnChanges.parse(cfg.augment, cfg.augment_probability) if cfg.augment else None
    return {
        "manifest": Manifest(find_manifest(data, split)),
        "sample_rate": cfg.sample_rate,
        "max_sample_size": cfg.max_sample_size,
        "min_sample_size": cfg.min_sample_size,
        "normalize": cfg.normalize,
        "seed": cfg.seed,
        "cache": cache,
        "strict": cfg.strict_audio,
        "changes": changes,
    }


def find_manifest(data: str, split: str) -> Path:
    """The manifest of a split."""
    there, split = list_manifests(data), split_there(data, split, "tsv")
    if f"{split}.tsv" not in there:
        raise ManifestError(
            f"data={data}: holds no {split}.tsv; the manifests there are: {', '.join(there) or 'none'}; "
            f"name one of these splits, or make the manifest with `vqw2v manifest`"
        )
    return Path(data) / f"{split}.tsv"


def list_manifests(data: str) -> list[str]:
    """The manifests in a folder, which is to be there."""
    try:
        return sorted(name for name in os.listdir(data) if name.endswith(".tsv"))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        remedy = remedy_for(data, "correct the path or give yourself access")
        raise ManifestError(
            f"data={data}: {reason}, expected a folder of SPLIT.tsv files; {remedy}"
        ) from error


def _discretize(checkpoint: str, manifest: Manifest, out: str, device: torch.device) -> Outcome:
    """As `vqw2v discretize` does."""
    rank = Rank.of(os.environ)
    work = usual_work(None, device.type, rank)
    options = DiscretizeOptions(workers=work.get("workers", 1), readers=work.get("readers", 0))
    return discretize(Tokenizer.load(checkpoint, str(device)), checkpoint, manifest, out, options, rank)

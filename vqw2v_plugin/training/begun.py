"""How models learn, and what they begin with: weights of another training, with all else of their own."""

import logging
from dataclasses import dataclass, field
from typing import Any, Iterator, List, Optional

import torch
from fairseq.models import BaseFairseqModel
from hydra.utils import to_absolute_path

from ..checkpoints.beginnings import Part, check_audio, table, take_weights
from ..checkpoints.files import CheckpointError
from ..checkpoints.kinds import AUDIO, KINDS, Audio, Kind
from ..checkpoints.travel import load_or_import
from ..corpora.sizes import DEFAULT_RATE
from ..modules.layers.ranks import rank
from .restart import LAST
from .resumed import as_mapping, restored_file
from .task import TrainingConfig, TrainingTask

logger = logging.getLogger(__name__)

_FRAMES_A_CODE = 32  # that are heard for each code that begins anew
_MOST_CLIPS = 2_000


@dataclass
class BeginningConfig(TrainingConfig):
    init_from: Optional[str] = field(
        default=None,
        metadata={
            "help": "checkpoint whose weights a new training begins with, and nothing else of it: of "
            "fairseq-train, ours or stock's, or an exported folder; a training that goes on has its own"
        },
    )


@dataclass
class CodesBeginningConfig(BeginningConfig):
    init_codebook: str = field(
        default="keep",
        metadata={"help": "with init_from: keep its codes, or reseed them with frames of the new audio"},
    )


class BeginningTask(TrainingTask):
    """A training that may begin with another's weights."""

    cfg: BeginningConfig

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> BaseFairseqModel:
        model = super().build_model(cfg, from_checkpoint)
        if not from_checkpoint:
            self._begin(model, cfg)
        return model

    def _begin(self, model: BaseFairseqModel, cfg: Any) -> None:
        settings = as_mapping(self.cfg)
        checkpoint = settings.get("checkpoint", {})
        reseed, path = self._asked()
        if path is None:
            return
        for name, usual in (("finetune_from_model", None), ("restore_file", LAST)):
            if (said := checkpoint.get(name) or usual) != usual:
                raise CheckpointError(
                    f"`init_from` and `checkpoint.{name}` ({said}) both name what to begin with; name one"
                )
        if (own := restored_file(checkpoint)) is not None:
            logger.info(f"going on from {own.name}: `init_from` is not read again")
            return
        kind = self._kind(cfg)
        restored, network = load_or_import(path, kind), model.network
        if kind.hears_audio:
            check_audio(Audio(**{name: getattr(self.cfg, name) for name in AUDIO}), restored, path)
        parts = take_weights(network, kind, restored, path, reseed)
        updates = restored.header.num_updates
        self._tell([f"begins with weights of {path} ({kind.model}, {updates:,} updates)", *_told(parts)])
        if reseed:
            split = settings.get("dataset", {}).get("train_subset", "train").split(",")[0]
            theirs = restored.header.settings.get("quantizer")
            self._seed(network, split, known=kind.settings(network).get("quantizer") == theirs)

    def _asked(self) -> "tuple[bool, Optional[str]]":
        how, path = getattr(self.cfg, "init_codebook", "keep"), self.cfg.init_from
        if how not in ("keep", "reseed"):
            raise ValueError(f"`init_codebook` is {how!r}; expected keep or reseed")
        if how == "reseed" and not path:
            raise ValueError("`init_codebook` is 'reseed' without `init_from`; name that, or leave it out")
        return how == "reseed", to_absolute_path(path) if path else None

    def _kind(self, cfg: Any) -> "Kind[Any]":
        name = getattr(cfg, "_name", None) or getattr(cfg, "arch", None)
        kind = next((KINDS[model] for model in self.trains if KINDS[model].is_of(name, {})), None)
        if kind is None:
            raise ValueError(f"`init_from` is not for the model {name!r}; leave it out")
        return kind

    def _seed(self, network: Any, split: str, known: bool) -> None:
        """Codes begin as frames of what will be learnt from; by the seed alone, so that all ranks agree."""
        coder = getattr(network, "coder", None)
        if coder is None or not coder.num_groups:
            raise ValueError("`init_codebook` is 'reseed', and this model has no codes: leave it out")
        clips = self._clips(split, _FRAMES_A_CODE * coder.num_codes, network.encoder.geometry)
        try:
            network.seed_codes(clips, self.cfg.seed, known)
        except NotImplementedError:
            raise ValueError(
                f"`init_codebook` is 'reseed', and the codes of {type(coder).__name__} cannot begin with "
                f"frames; say keep"
            ) from None
        rate: Any = getattr(self.cfg, "sample_rate", DEFAULT_RATE)
        seconds = sum(clip.size(1) for clip in clips) / rate
        self._tell([f"codes begin anew, with frames of {len(clips)} clips ({seconds:.1f} s) of {split}"])

    def _clips(self, split: str, frames: int, geometry: Any) -> List[torch.Tensor]:  # [1, S] each
        found, held = [], 0
        for clip in self._drawn(split):
            found.append(clip)
            held += max(0, geometry.frames(clip.size(1)))
            if held >= frames or len(found) == _MOST_CLIPS:
                break
        if not held:
            raise ValueError(f"{split}: none of its audio could be read, and codes begin with its frames")
        return found

    def _drawn(self, split: str) -> Iterator[torch.Tensor]:
        """What the first epoch of a split will hear, in an order of the seed's."""
        self.load_dataset(split)
        dataset: Any = self.datasets.pop(split)  # fairseq loads it when it wants it
        items = dataset.drawn()
        order = torch.randperm(len(items), generator=torch.Generator().manual_seed(abs(self.cfg.seed)))
        for index in order.tolist():
            batch = dataset.collater([dataset[items[index]]])
            if batch:
                yield batch["net_input"]["source"]

    def _tell(self, lines: List[str]) -> None:
        if rank() == 0:
            for line in lines:
                logger.info(line)


def _told(parts: "list[Part]") -> "list[str]":
    return [*table(parts), "  optimizer, learning rate, schedules and counts of codes begin anew"]

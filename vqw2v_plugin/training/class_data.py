"""states ──head──▶ class: what a split holds to learn from, and what to answer.

Shapes: T frames, D features, N classes.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq.data import Dictionary
from torch import Tensor

from ..audio.reading import AudioError
from ..common.words import some_of
from ..stores.labels import CLASS, LabelError, Labels, dict_name, extension, read_joined_labels, read_symbols
from ..text.classes import Classes
from .acoustic_data import Learning
from .answering import Answering, Printed
from .class_generator import ClassGenerator
from .datasets.label_join import JoinedLabels
from .datasets.labelled import Source
from .restart import need_folder

logger = logging.getLogger(__name__)

_MOST_HEARD = 300  # utterances by which features are told to be large or small
_MADE_HERE = "`vqw2v labels … --unit class --column COLUMN`"


def describe_classes(labels: Path) -> dict[str, Any]:
    """What a checkpoint says of its labels: the classes of the folder."""
    need_folder("labels", labels, f"SPLIT.cls and {dict_name(CLASS)} ({_MADE_HERE})")
    if not (labels / dict_name(CLASS)).is_file():
        raise LabelError(f"labels={labels}: holds no {dict_name(CLASS)}; {_MADE_HERE} writes it")
    return {"classes": list(read_symbols(labels, CLASS))}


def check_same_classes(labels: Path, trained_on: Mapping[str, Any] | None) -> None:
    """Refuses labels of other classes than those that a checkpoint was trained on."""
    if trained_on is None:
        raise LabelError("the checkpoint is of another task; expected one of `--task vq_utterance`")
    classes, path = tuple(trained_on["classes"]), labels / dict_name(CLASS)
    if path.is_file() and (here := read_symbols(labels, CLASS)) != classes:
        raise LabelError(
            f"{path}: has {len(here)} classes ({some_of(here)}), the checkpoint was trained with "
            f"{len(classes)} ({some_of(classes)}); make labels with `vqw2v labels … --dict FILE`"
        )


class ClassLearning(Learning):
    """Every utterance has a class that is in the dictionary."""

    def __init__(self, cfg: Any, labels: Path, classes: Classes, frames: Callable[[int], int]) -> None:
        super().__init__(cfg, labels, classes, frames)
        self.classes = classes

    def weights(self) -> Tensor:  # [N]
        """By which each class is as important as any other, however rare it is in training; 1 in the mean."""
        counts = torch.tensor(self.counts(), dtype=torch.float64)
        there = int((counts > 0).sum())
        return torch.where(counts > 0, counts.sum() / (there * counts.clamp_min(1)), 0.0).float()

    def counts(self) -> list[int]:
        """How many utterances of each class are trained on."""
        split = str(self.cfg.train_subset)
        labels = read_joined_labels(self.labels, split, CLASS)
        chosen, pairs = self.chosen(split, labels), zip(labels.utts, labels.labels, strict=True)
        found = Counter(name for utt, (name,) in pairs if chosen is None or utt in chosen)
        return [found[name] for name in self.classes.names]

    def join(self, split: str, source: Source, labels: Labels) -> JoinedLabels:
        """Refuses a class that is not known: what it is taken for would be no measure."""
        unknown = Counter(name for (name,) in labels.labels if name not in self.classes.labels)
        if unknown:
            named = some_of([f"{name} {count:,} times" for name, count in unknown.most_common()])
            raise LabelError(
                f"{self.labels / split}.{extension(CLASS)}: has classes that {dict_name(CLASS)}, which is of "
                f"training, lacks: {named}; leave these utterances out of {split}, or split the data so that "
                "each class is in training"
            )
        return super().join(split, source, labels)


class ClassAnswering(Answering):
    """Every utterance has an answer; where its class is known to the model, it is scored."""

    def __init__(self, cfg: Any, labels: Path) -> None:
        super().__init__(cfg, labels, Dictionary())
        self.true: dict[str, str] = {}  # by utterance

    def targets(self, split: str, labels: Labels, kind: str) -> Sequence[Printed]:
        names = [name for (name,) in labels.labels]
        self.true = dict(zip(labels.utts, names, strict=True))
        known = self.dictionary
        unknown = Counter(name for name in names if name not in known)
        if unknown:
            named = some_of([f"{name} {count:,} times" for name, count in unknown.most_common()])
            logger.warning(
                f"{self.labels / split}: {sum(unknown.values()):,} utterances are of classes that the model "
                f"has not learnt, so they are answered but not scored: {named}"
            )
        return [None if name in unknown else _printed(known, name) for name in names]

    def generator(self, models: Sequence[Any], generation: Any) -> ClassGenerator:
        return ClassGenerator(models, self.cfg, self.num_expected, self.dictionary, self.true)


def _printed(dictionary: Dictionary, name: str) -> Printed:
    return np.array([dictionary.index(name), dictionary.eos()], np.int64)


def fit(model: Any, source: Source) -> None:
    """Tells the network what features are like in training, by utterances evenly over it."""
    places = np.linspace(0, len(source.utts) - 1, min(_MOST_HEARD, len(source.utts))).astype(int)
    count, total, squares = 0, torch.zeros(1), torch.zeros(1)
    for index in dict.fromkeys(places.tolist()):
        try:
            heard = torch.from_numpy(source.read(index))
        except AudioError:  # it is named where it is to be learnt from
            continue
        with torch.no_grad():
            x = model.heard(heard[None], torch.tensor([len(heard)]))[0][0].double()  # [T, D]
        count, total, squares = count + len(x), total + x.sum(0), squares + x.square().sum(0)
    if count:
        mean = total / count
        model.network.fit(mean.float(), (squares / count - mean.square()).clamp_min(0).float())

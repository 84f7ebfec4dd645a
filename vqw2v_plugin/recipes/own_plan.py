"""wav → … → text for one's own corpus: what a corpus is like → the sizes of a recipe, each with its reason.

Shapes: T frames of features, T' of emissions, N utterances.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..common.words import rough_time
from ..corpora.batches import BatchLimits, Ints, cut_padded, nearly_equal
from .own_corpus import CorpusLook

_FRAMES_A_LABEL = 2.0  # of emissions at least: CTC needs one, and one more between equal labels
_EDGE, _KEPT = 0.3, 0.1  # seconds: more silence than this is worth leaving out, and so much of it is kept
_SHARE = 0.3  # of an utterance that a frame of emissions may see
_STACKS = ((7, 5), (7, 4), (5, 4), (5, 3), (3, 4), (3, 3))  # kernel and layers, from wide to narrow
_MINUTES = 0.5  # hours, below which a model learns for long, and under more dropout
_SMALL = 2.0  # hours, below which a wide stack learns utterances by heart
_OPERATIONS = 2e10  # a second, of a CPU's core (measured with 128 channels) and of a GPU
_OPERATIONS_GPU = 2e13


@dataclass(frozen=True)
class FrontPlan:
    """Which features: spectra, or a layer of a network that was trained before."""

    layer: str
    dim: int
    frame_seconds: float
    checkpoint: str | None = None
    bands: int = 0  # of spectra
    sample_rate: int = 16_000
    deltas: int = 0

    @property
    def is_cepstra(self) -> bool:
        return self.layer.startswith("mfcc")


@dataclass(frozen=True)
class Plan:
    """The numbers of an acoustic model's yaml and of the commands around it."""

    front: FrontPlan
    gpus: int
    kernel: int
    layers: int
    channels: int
    stride: int
    dropout: float
    time_masks: int
    time_mask_width: int
    feature_masks: int
    feature_mask_width: int
    max_tokens: int  # frames of features in a batch
    updates: int
    validate_interval: int  # epochs
    lr: float
    order: int  # of the language model
    minutes: float  # of training, computed
    batches: int  # of an epoch
    trim: float | None  # seconds of silence to keep

    @property
    def epochs(self) -> float:
        return self.updates / self.batches

    @property
    def time(self) -> str:
        """Of training."""
        time, where = rough_time(60 * self.minutes), self.machine if self.gpus else "a CPU core"
        return f"{time} on {where} (computed, not measured)"

    @property
    def machine(self) -> str:
        return f"{self.gpus} GPUs" if self.gpus > 1 else "a GPU" if self.gpus else "a CPU"

    @property
    def conv_layers(self) -> str:
        first = f"({self.channels}, {self.kernel}, {self.stride})"
        return f"[{first}] + [({self.channels}, {self.kernel})] * {self.layers - 1}"

    @property
    def receptive_frames(self) -> int:
        return receptive_frames(self.kernel, self.layers, self.stride)

    @property
    def receptive_seconds(self) -> float:
        return self.receptive_frames * self.front.frame_seconds


def receptive_frames(kernel: int, layers: int, stride: int) -> int:
    """Frames of features that a frame of emissions sees; the first layer alone strides."""
    return kernel + (layers - 1) * (kernel - 1) * stride


def spectra(look: CorpusLook) -> FrontPlan:
    """Cepstra with slopes for little data, which has too few voices to learn that harmonics mean nothing."""
    rate = 16_000 if look.sample_rate >= 16_000 else look.sample_rate
    if look.train.hours < 20:
        return FrontPlan("mfcc:13", 39, 0.01, bands=40, sample_rate=rate, deltas=2)
    return FrontPlan("logmel", 80, 0.01, bands=80, sample_rate=rate)


def trim_for(look: CorpusLook) -> float | None:
    """Seconds of silence to keep at each end; None: there is little."""
    return _KEPT if look.edge > _EDGE else None


def plan_for(look: CorpusLook, front: FrontPlan, gpus: int = 0) -> Plan:
    hours, length = look.train.hours, look.train.length(50)
    trim = trim_for(look)
    spoken = max(0.1, length - (look.edge - 2 * _KEPT if trim else 0.0))  # seconds, once trimmed
    stride = _stride(look.labels_a_second * length / spoken, front.frame_seconds)
    kernel, layers = _stack(hours, spoken / front.frame_seconds, stride)
    channels = _channels(hours, gpus)
    sizes = _learnt_from(look, front, stride)
    batch = _batch(float(sizes.sum()), float(sizes.max()), gpus)
    batches = _cut(sizes, batch)
    updates = _updates(hours, len(batches), gpus)
    padded = sum(len(each) * int(each.max()) for each in batches) / len(batches)  # frames
    weights = channels * kernel * (front.dim + (layers - 1) * channels)
    operations = 6 * weights * padded / stride * updates
    masks = _masks(front, spoken / front.frame_seconds)
    return Plan(
        front,
        gpus,
        kernel,
        layers,
        channels,
        stride,
        dropout=0.3 if hours < _MINUTES else 0.2 if hours < 5 else 0.1,
        time_masks=masks[0],
        time_mask_width=masks[1],
        feature_masks=masks[2],
        feature_mask_width=masks[3],
        max_tokens=batch,
        updates=updates,
        validate_interval=max(1, round(updates / len(batches) / 20)),
        lr=0.002 if channels <= 256 else 0.001,
        order=3 if hours < 5 else 4,
        minutes=operations / (_OPERATIONS_GPU * gpus if gpus else _OPERATIONS) / 60,
        batches=len(batches),
        trim=trim,
    )


def _stride(labels_a_second: float, frame_seconds: float) -> int:
    """The fewest frames of emissions that hold the labels of fast utterances."""
    most = 1 / frame_seconds / (_FRAMES_A_LABEL * labels_a_second)
    return max(1, min(3, math.floor(most)))


def _stack(hours: float, frames: float, stride: int) -> tuple[int, int]:
    """The widest that sees no more than a third of an utterance."""
    stacks = [stack for stack in _STACKS if hours >= _SMALL or stack[0] < 7]
    fitting = (stack for stack in stacks if receptive_frames(*stack, stride) <= _SHARE * frames)
    return next(fitting, stacks[-1])


def _channels(hours: float, gpus: int) -> int:
    for most, channels in ((1.0, 128), (5.0, 192), (50.0, 256)):
        if hours < most:
            return channels
    return 512 if gpus else 256


def _batch(frames: float, longest: float, gpus: int) -> int:
    """Twenty batches an epoch where there is that much, in round numbers; the longest utterance fits."""
    most = 60_000 if gpus else 8_000
    wanted = max(1_500, min(most, frames / 20), longest * 1.05)
    return math.ceil(wanted / 500) * 500


def _learnt_from(look: CorpusLook, front: FrontPlan, stride: int) -> Ints:
    """Frames [N] of the utterances whose letters CTC finds room for; of all where there are none."""
    sizes = np.maximum(1, np.round(np.array(look.train.seconds) / front.frame_seconds)).astype(np.int64)
    letters = ["".join(f"{word}|" for word in text.split()) for text in look.train.texts]
    needed = np.array([len(said) + sum(map(str.__eq__, said, said[1:])) for said in letters])
    fits = sizes >= needed * stride
    return sizes[fits] if fits.any() else sizes


def _cut(sizes: Ints, max_tokens: int) -> list[Ints]:
    """An epoch's batches, as training cuts them: the sizes in each."""
    ties = np.random.default_rng(1).permutation(len(sizes))
    ordered = sizes[np.lexsort((ties, nearly_equal(sizes)))[::-1]]
    return cut_padded(ordered, ordered, BatchLimits(max_tokens))


def _updates(hours: float, batches: int, gpus: int) -> int:
    """So many that every utterance is seen often, and no more than a machine does in a night."""
    epochs = 30 if hours < 1 else 20 if hours < 20 else 40 if gpus else 10
    most = 100_000 if gpus else 12_000
    least = 2400.0 if hours < _MINUTES else 600.0
    return round(min(most, max(least, epochs * batches)) / 100) * 100


def _masks(front: FrontPlan, frames: float) -> tuple[int, int, int, int]:
    """Stretches of a tenth of an utterance; bands only where neighbours among features are of one pitch."""
    width = max(2, min(40, round(frames / 10)))
    if front.is_cepstra:
        return 2, width, 0, 1
    return 2, width, 2, max(2, front.dim // 10)

"""Features of any layer → phones: what a linear classifier can read off single frames.

N frames, D features, P phones. The better a layer separates phones, the more of its frames a softmax over one
linear map gets right; its weight decay is chosen on training utterances that are held out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ..corpora.ctm import Segments
from ..stores.features import FEATURES, FeatureError, FeatureStore

DECAYS = (1e-2, 1e-3, 1e-4)
_APART = 10  # every tenth training utterance is held out to choose among them
_UPDATES = 60


@dataclass(frozen=True)
class Frames:
    """Labelled frames: features [N, D], phones [N], and which utterance each is of [N]."""

    x: npt.NDArray[np.float32]
    phones: npt.NDArray[np.str_]
    utterance: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, chosen: npt.NDArray[np.bool_]) -> Frames:
        return Frames(self.x[chosen], self.phones[chosen], self.utterance[chosen])


@dataclass(frozen=True)
class ProbeResult:
    """The share of test frames whose phone was found, and the share of the most frequent training phone."""

    accuracy: float
    majority: float
    num_frames: int
    num_phones: int


def labelled_frames(
    folder: str | Path, split: str, segments: Mapping[str, Segments], most: int | None = None
) -> Frames:
    """The frames of a feature folder whose centre lies in a phone; `most` of them, evenly spread."""
    store, seconds = FeatureStore(folder, split), _clock(folder)
    rows, phones, utterance = [], [], []
    for number, (utt, num_frames) in enumerate(store.rows):
        if utt not in segments:
            continue
        labels = segments[utt].at(seconds(np.arange(num_frames)))
        rows += [i + int(store.ends[number]) - num_frames for i, label in enumerate(labels) if label]
        found = [label for label in labels if label]
        phones += found
        utterance += [number] * len(found)
    if not rows:
        raise FeatureError(
            f"{Path(folder) / split}: none of its {len(store)} utterances has phone times; give the CTM file "
            f"of this split"
        )
    step = max(1, -(-len(rows) // most)) if most else 1
    x = np.asarray(store.frames[rows[::step]], dtype=np.float32)
    return Frames(x, np.array(phones[::step]), np.array(utterance[::step]))


def probe(train: Frames, test: Frames) -> ProbeResult:
    """Fits the classifier on `train` and counts its hits on `test`; phones new to it there are misses."""
    names, labels = np.unique(train.phones, return_inverse=True)
    place = {name: i for i, name in enumerate(names.tolist())}
    expected = torch.tensor([place.get(phone, -1) for phone in test.phones.tolist()])
    mean, spread = train.x.mean(0), train.x.std(0) + 1e-5
    x, y = torch.from_numpy((train.x - mean) / spread), torch.from_numpy(labels)
    apart = torch.from_numpy(_kept_apart(train.utterance))
    weights = torch.zeros(x.size(1) + 1, len(names))
    decay, most = DECAYS[-1], -1.0
    for tried in DECAYS if apart.any() and not apart.all() else ():
        weights = _fit(x[~apart], y[~apart], weights, tried)  # starting from the previous decay's weights
        hits = _hits(weights, x[apart], y[apart])
        decay, most = (tried, hits) if hits > most else (decay, most)
    weights = _fit(x, y, weights, decay)
    accuracy = _hits(weights, torch.from_numpy((test.x - mean) / spread), expected)
    majority = float((expected == y.bincount().argmax()).float().mean())
    return ProbeResult(accuracy, majority, len(test), len(names))


def cross_probe(frames: Frames, folds: int = 4) -> ProbeResult:
    """Each utterance is tested by a classifier trained on others: every `folds`-th is left out in turn."""
    turn = np.unique(frames.utterance, return_inverse=True)[1] % folds
    if turn.max() + 1 < folds:
        raise ValueError(
            f"{turn.max() + 1} utterances with phones cannot be shared out among {folds} folds; "
            f"take fewer folds"
        )
    parts = [probe(frames[turn != fold], frames[turn == fold]) for fold in range(folds)]
    total = sum(part.num_frames for part in parts)
    accuracy = sum(part.accuracy * part.num_frames for part in parts) / total
    majority = sum(part.majority * part.num_frames for part in parts) / total
    return ProbeResult(accuracy, majority, total, len(np.unique(frames.phones)))


def _clock(folder: str | Path) -> Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float64]]:
    """Frame numbers → seconds of their centres."""
    about = FEATURES.read_about(folder)
    try:
        stride, field, rate = (about[name] for name in ("stride", "receptive_field", "sample_rate"))
    except KeyError as error:
        raise FeatureError(
            f"{Path(folder) / FEATURES.about}: does not say {error}; expected the file that "
            "`vqw2v features` writes"
        ) from None
    return lambda frames: (frames * stride + field / 2) / rate


def _kept_apart(utterance: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:  # [N] → [N]
    number = np.unique(utterance, return_inverse=True)[1]
    return np.asarray(number % _APART == _APART - 1) if number.max() >= _APART - 1 else number == number.max()


def _fit(x: Tensor, y: Tensor, start: Tensor, decay: float) -> Tensor:  # [N, D], [N] → [D + 1, P]
    """The softmax regression that minimizes cross-entropy + decay · ‖W‖² / 2; convex, so no seed matters."""
    weights = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [weights], max_iter=_UPDATES, history_size=20, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(_scores(weights, x), y) + decay / 2 * weights[1:].square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return weights.detach()


def _scores(weights: Tensor, x: Tensor) -> Tensor:  # [N, P]
    return torch.addmm(weights[0], x, weights[1:])


def _hits(weights: Tensor, x: Tensor, y: Tensor) -> float:
    return float((_scores(weights, x).argmax(1) == y).float().mean())

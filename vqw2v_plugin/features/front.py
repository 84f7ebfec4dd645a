"""wav → features inside the acoustic model: a frozen network's, or one that learns after some updates.

Shapes: B batch, S samples, T frames, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ..audio.clip import Clip
from ..modules.layers.ranks import is_one_of_many
from ..stores.feature_spec import FeatureSpec
from .base import Features
from .together import batches


class AudioFront(nn.Module):
    """Each utterance is heard alone, so its features depend on nothing else in the batch.

    It stays in float32 when the model is halved, so the features are those that `vqw2v features` writes. Its
    weights are in the model's state only if they learn.
    """

    def __init__(self, features: Features, freeze_updates: int = -1) -> None:
        super().__init__()
        self.features, self.freeze_updates = features, freeze_updates
        self.is_saved = self.learns
        self._active = freeze_updates == 0
        self._learners = features.let_learn() if self.learns else []
        features.requires_grad_(False)
        for part in self._learners:
            part.requires_grad_(True)
        self.train(self.training)

    @property
    def learns(self) -> bool:
        """At some time; before, its weights stay as they are."""
        return self.freeze_updates >= 0

    @property
    def spec(self) -> FeatureSpec:
        return self.features.spec

    @property
    def dim(self) -> int:
        return self.features.dim

    def frames(self, num_samples: int) -> int:
        return self.features.frames(num_samples)

    def set_num_updates(self, num_updates: int) -> None:
        """fairseq says so before each update."""
        self._active = 0 <= self.freeze_updates <= num_updates
        self.train(self.training)

    def train(self, mode: bool = True) -> AudioFront:
        """Only what learns is ever in train mode: a frozen part has no dropout and no noise."""
        super().train(False)
        self.training = mode
        for part in self._learners if self._active else []:
            part.train(mode)
        return self

    @property
    def goes_by_speaker(self) -> bool:
        """Then it wants to know which clips it hears."""
        return self.spec.standardize == "speaker"

    def forward(
        self, wav: Tensor, lengths: Tensor, clips: Sequence[Clip] | None = None
    ) -> tuple[Tensor, Tensor]:  # [B, S] → [B, T, D], [B]
        if wav.dim() != 2 or not wav.is_floating_point():
            raise ValueError(
                f"the audio is {list(wav.shape)} of {wav.dtype}; expected [batch, samples] in [-1, 1]"
            )
        sizes = lengths.tolist()
        for i, samples in enumerate(sizes):
            if self.frames(samples) < 1:
                raise ValueError(
                    f"utterance {i} of the batch has {samples} samples, fewer than a frame sees "
                    f"({self.features.receptive_field}); leave such clips out"
                )
        heard = [row[:samples].float() for row, samples in zip(wav, sizes, strict=True)]
        with (
            torch.autocast(wav.device.type, enabled=False),
            torch.set_grad_enabled(torch.is_grad_enabled() and self._active),
        ):
            rows = self._rows_of(heard, clips)
        x = pad_sequence(rows, batch_first=True)
        if self.learns and torch.is_grad_enabled() and is_one_of_many():
            x = x + self._nothing()
        return x, torch.tensor([len(row) for row in rows], device=wav.device)

    def _rows_of(self, heard: list[Tensor], clips: Sequence[Clip] | None) -> list[Tensor]:
        """Each utterance's frames; what goes by speaker is told whose they are."""
        if clips is not None:
            pairs = zip(heard, clips, strict=True)
            return [self.features.of_read(wav.cpu().numpy(), clip) for wav, clip in pairs]
        return [x for some in batches(heard, len, self.features.fits) for x in self._together(some)]

    def _together(self, heard: list[Tensor]) -> list[Tensor]:
        if self.features.fits([len(wav) for wav in heard]):
            return self.features.together(heard)
        return [self.features(wav) for wav in heard]

    def _nothing(self) -> Tensor:
        """0, and no gradient but 0: DDP waits for every parameter, also for those that do not learn yet."""
        return sum(p.flatten()[0] * 0 for p in self.parameters() if p.requires_grad)  # type: ignore[return-value]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> AudioFront:
        def move(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

        super()._apply(move, recurse)  # type: ignore[no-untyped-call]
        return self

    def state_dict(
        self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> Any:
        if not self.is_saved:
            return {} if destination is None else destination
        return super().state_dict(*args, destination=destination, prefix=prefix, keep_vars=keep_vars)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *others: Any) -> None:
        """A state without a front leaves this one as it is; one with some of it lacks the rest."""
        if any(name.startswith(prefix) for name in state_dict):
            self.is_saved = True
        else:
            state_dict.update(super().state_dict(prefix=prefix))
        super()._load_from_state_dict(state_dict, prefix, *others)
        self.features.refresh()

"""How models learn: an update whose gradient is not finite is named, skipped, and not skipped for ever.

fairseq's trainer ends a run at the first such gradient and names neither file nor remedy.
"""

import logging
from typing import Any, Dict, List, Sequence, Tuple, Union

import torch
from fairseq.logging import metrics
from fairseq.optim.amp_optimizer import AMPOptimizer
from torch import Tensor

from ..common.words import sentence
from .quick_steps import QuickSteps, finite

logger = logging.getLogger(__name__)

Names = Union[Sequence[str], Tensor]  # of a batch's utterances, or their numbers
_NAMED = 8  # utterances of a batch
_FORGIVEN = 100  # good updates in a row, after which earlier skips no longer count


class NumericalTroubleError(RuntimeError):
    """More updates without a finite gradient than the user allows."""


class UpdateGuard:
    """Stands between trainer and optimizer: `watch` it, `note` each batch, ask `skips` before the step."""

    def __init__(self, max_skipped: int) -> None:
        if max_skipped < 0:
            raise ValueError(f"`max_skipped_updates` is {max_skipped}; expected 0 or more")
        self.max_skipped = max_skipped
        self._watched: Any = None
        self._judges = False  # whether `watch` could put itself between
        self._batches: List[Tuple[Names, Tensor]] = []
        self._skip = self._overflow = False
        self._num_skipped = 0
        self._num_good = 0
        self._quick = QuickSteps()

    def watch(self, optimizer: Any) -> None:
        """Makes the optimizer's gradient norm, which the trainer asks for and checks, pass through here."""
        if optimizer is self._watched:
            return
        self._quick.take_over(optimizer)
        self._watched, norm_of = optimizer, optimizer.clip_grad_norm
        self._judges = not isinstance(optimizer, AMPOptimizer)  # AMP's scaler has its own way

        def clip_grad_norm(*args: Any, **kwargs: Any) -> Tensor:
            batches, self._batches = self._batches, []  # before fp16's scaler may raise: they are done with
            try:
                norm: Tensor = norm_of(*args, **kwargs)
            except OverflowError:  # fairseq's trainer goes on with the next update
                self._overflow = True
                raise
            is_finite = bool(torch.isfinite(norm).all())
            if not self._judges:
                self._overflow = not is_finite
                return norm
            self._judge(is_finite, batches)
            return norm if is_finite else torch.zeros_like(norm)

        optimizer.clip_grad_norm = clip_grad_norm

    def note(self, utts: Names, loss: Tensor, logs: Dict[str, Any]) -> Dict[str, Any]:
        """One batch of the update; its logs come back finite, or it would spoil the means of an epoch."""
        if self._judges:
            self._batches.append((utts, loss.detach()))
        logs = dict(logs)
        return logs if self._quick.hold(logs) else {key: finite(value) for key, value in logs.items()}

    def skips(self) -> bool:
        """Whether this update is to be skipped."""
        skip, self._skip = self._skip, False
        return skip

    def overflowed(self) -> bool:
        """Whether a scaler of losses, of fp16 or of AMP, has taken no step since it was last asked."""
        overflow, self._overflow = self._overflow, False
        return overflow

    def _judge(self, finite: bool, batches: Sequence[Tuple[Names, Tensor]]) -> None:
        if finite:
            self._num_good += 1
            if self._num_good >= _FORGIVEN:
                self._num_skipped = 0
            return
        self._skip, self._num_good = True, 0
        self._num_skipped += 1
        metrics.log_scalar_sum("skipped_updates", 1)
        limit = self.max_skipped
        logger.warning(f"update skipped ({self._num_skipped} of at most {limit}): {_cause(batches)}")
        if self._num_skipped > self.max_skipped:
            raise NumericalTroubleError(
                f"stopped: {self._num_skipped} updates had no finite gradient, `max_skipped_updates` is "
                f"{limit}. Look at the utterances named above; lower `lr`, lengthen the warm-up, give "
                "`clip_norm` (say 1), or train in fp32 instead of fp16. The last checkpoint is from before."
            )


def _cause(batches: Sequence[Tuple[Names, Tensor]]) -> str:
    bad = [utts for utts, loss in batches if not torch.isfinite(loss).all()]
    if bad:
        return f"the loss is not finite for {_named(bad)}"
    every = _named([utts for utts, _ in batches])
    return f"the losses here are finite, the gradient over all processes is not; here it is of {every}"


def _named(batches: Sequence[Names]) -> str:
    utts = [utt if isinstance(utt, str) else f"number {int(utt)}" for batch in batches for utt in batch]
    more = f", … ({len(utts)} in all)" if len(utts) > _NAMED else ""
    return f"the batch of {sentence(', '.join(utts[:_NAMED]))}{more}"

"""How models learn: what the tasks that train on audio, on tokens and on labels share."""

import sys
from dataclasses import dataclass, field
from typing import Any, Dict, Tuple

from fairseq.data.iterators import EpochBatchIterator
from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask
from omegaconf import II
from torch import Tensor

from .finished import Patience, look_first
from .restart import LAST, check_ranks, mend_last_checkpoint
from .update_guard import UpdateGuard


@dataclass
class TrainingConfig(FairseqDataclass):
    max_skipped_updates: int = field(
        default=10,
        metadata={
            "help": "skip updates without a finite gradient, and stop after so many with fewer than 100 good "
            "ones in a row between them; 0: stop at the first"
        },
    )
    seed: int = II("common.seed")
    save_dir: str = II("checkpoint.save_dir")
    restore_file: str = II("checkpoint.restore_file")


class TrainingTask(FairseqTask):
    """Looks before it starts, guards its updates, and ends its workers with their epoch."""

    cfg: TrainingConfig

    def __init__(self, cfg: TrainingConfig, **kwargs: Any) -> None:
        super().__init__(cfg, **kwargs)
        self.guard = UpdateGuard(cfg.max_skipped_updates)
        self.patience = Patience()

    def check_data(self) -> None:
        """Refuses data that is not there when a training begins; fairseq does later, and less clearly."""

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> BaseFairseqModel:
        if not from_checkpoint:
            self.check_data()
            check_ranks()
            if self.cfg.restore_file == LAST:
                mend_last_checkpoint(self.cfg.save_dir)
            look_first()
        return super().build_model(cfg, from_checkpoint)

    def train_step(
        self,
        sample: Dict[str, Any],
        model: Any,
        criterion: Any,
        optimizer: Any,
        update_num: int,
        ignore_grad: bool = False,
        **kwargs: Any,
    ) -> Tuple[Tensor, int, Dict[str, Any]]:
        """fairseq's step on one batch, under guard."""
        self.guard.watch(optimizer)
        loss, size, logs = super().train_step(
            sample, model, criterion, optimizer, update_num, ignore_grad, **kwargs
        )
        return loss, size, self.guard.note(sample.get("utts", sample["id"]), loss, logs)

    def optimizer_step(self, optimizer: Any, model: Any, update_num: int) -> None:
        """fairseq's step of the optimizer, unless the gradient was not finite."""
        if self.guard.skips():
            optimizer.zero_grad()
            if hasattr(model, "discard_update"):
                model.discard_update()
        else:
            super().optimizer_step(optimizer, model, update_num)
        # fairseq would say so with the next batch, after the checkpoint: too late for a codebook's upkeep
        model.set_num_updates(update_num + 1)

    def get_batch_iterator(self, *args: Any, **kwargs: Any) -> EpochBatchIterator:
        """fairseq's iterator, whose worker processes end with their epoch."""
        iterator = super().get_batch_iterator(*args, **kwargs)
        # Each epoch has an iterator of its own. Persistent workers of one that is garbage-collected miss the
        # message to stop (its queues are finalized first), and five seconds are waited for each of them.
        iterator.persistent_workers = False
        return iterator

    def begin_valid_epoch(self, epoch: int, model: Any) -> None:
        """Validation closes a stretch of training: the moment to say how many files were skipped."""
        for dataset in self.datasets.values():
            dataset.report_skipped()

    def get_checkpoint_dict(self) -> Dict[str, Any]:
        """What fairseq takes into a checkpoint for us, besides `state`."""
        return {type(self).__name__: {"patience": self.patience.state_dict()}}

    def set_checkpoint_dict(self, state: Dict[str, Any]) -> None:
        """The same, from the checkpoint that a training goes on from; on all ranks."""
        self.patience.load_state_dict(state.get("patience", {}))

    def max_positions(self) -> int:
        """No limit: crops and pieces fit by construction."""
        return sys.maxsize

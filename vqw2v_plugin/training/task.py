"""How models learn: what the tasks that train on audio, on tokens and on labels share."""

import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Dict, FrozenSet, List, Optional, Tuple

from fairseq.data.iterators import EpochBatchIterator
from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask
from omegaconf import II
from torch import Tensor

from ..checkpoints.bounds import fits_memory
from .datasets.mixture import MixtureDataset
from .finished import Patience, end_where_finished
from .kinds import KindTable
from .look_first import need_our_model
from .mixing import look_into_mixtures, told
from .pace import Pace
from .quick_steps import bring_logs
from .restart import LAST, check_ranks, mend_last_checkpoint
from .resumed import DATA, Before, as_mapping, before
from .update_guard import UpdateGuard
from .workers import leave_memory_alone

logger = logging.getLogger(__name__)


@dataclass
class TrainingConfig(FairseqDataclass):
    max_skipped_updates: int = field(
        default=10,
        metadata={
            "help": "skip updates without a finite gradient, and stop after so many with fewer than 100 good "
            "ones in a row between them; 0: stop at the first"
        },
    )
    resume_changed: bool = field(
        default=False,
        metadata={"help": "go on from a checkpoint of other data, another seed or another model's settings"},
    )
    seed: int = II("common.seed")
    save_dir: str = II("checkpoint.save_dir")
    restore_file: str = II("checkpoint.restore_file")


class TrainingTask(FairseqTask):
    """Looks before it starts, guards its updates, and ends its workers with their epoch."""

    cfg: TrainingConfig
    trains: ClassVar[Tuple[str, ...]] = ()  # the models that it is for
    # of the task's settings, those with which a training may go on unlike before: its data is told by content
    may_change: ClassVar[FrozenSet[str]] = frozenset(
        {"data", "save_dir", "restore_file", "seed", "max_skipped_updates", "resume_changed", "strict_audio"}
    )

    def __init__(self, cfg: TrainingConfig, **kwargs: Any) -> None:
        super().__init__(cfg, **kwargs)
        self.guard = UpdateGuard(cfg.max_skipped_updates)
        self.patience = Patience()
        self._pace = Pace()
        self.before: Optional[Before] = None
        self.trained_on: FrozenSet[str] = frozenset()  # splits; none where nothing is trained
        self._told: List[Any] = []  # mixtures whose table has been shown
        self._kinds: Dict[bool, Optional[KindTable]] = {}  # of what is trained on, and of what is validated

    def check_data(self) -> None:
        """Refuses data that is not there when a training begins; fairseq does later, and less clearly."""

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Refuses what a checkpoint says of its task, where that does not go with this one."""

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        self.check_state(state_dict)
        super().load_state_dict(state_dict)

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> BaseFairseqModel:
        if not from_checkpoint:
            self.check_data()
        need_our_model(cfg, self.trains)
        if not from_checkpoint:
            check_ranks()
            if self.cfg.restore_file == LAST:
                mend_last_checkpoint(self.cfg.save_dir)
            end_where_finished()
            leave_memory_alone()
            look_into_mixtures()
            self._look_back()
        with fits_memory():
            return super().build_model(cfg, from_checkpoint)

    def _look_back(self) -> None:
        """Refuses to go on from a checkpoint of another training."""
        settings = as_mapping(self.cfg)
        self.trained_on = frozenset(settings.get("dataset", {}).get("train_subset", "train").split(","))
        self.before = before(settings, self.cfg.resume_changed)
        if self.before is not None:
            self.before.check_settings(settings, self.may_change)
            self.check_state(self.before.state)

    def trains_on(self, split: str) -> bool:
        """Whether this split is learnt from, and not only looked at."""
        return set(split.split(",")) <= self.trained_on

    def _note_data(self, dataset: Any) -> None:
        """What is in a split, into every checkpoint; refuses other data than the checkpoint's."""
        split = next((name for name, held in self.datasets.items() if held is dataset), None)
        known = self.state.state_dict.setdefault(DATA, {})
        if split is not None and split not in known:
            known[split] = dataset.digest()
            if self.before is not None:
                self.before.check_data(split, known[split], self.trains_on(split), dataset.digested)

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
        if self.guard.overflowed():  # of fp16, which ends an update before it comes to a step
            _discard(model)
        loss, size, logs = super().train_step(
            sample, model, criterion, optimizer, update_num, ignore_grad, **kwargs
        )
        return loss, size, self.guard.note(sample.get("utts", sample["id"]), loss, logs)

    def reduce_metrics(self, logging_outputs: List[Dict[str, Any]], criterion: Any) -> None:
        """fairseq's columns, computed where nobody waits for them; of mixtures each language's too."""
        logs = bring_logs(logging_outputs)
        super().reduce_metrics(logs, criterion)
        if (table := self._kinds.get(criterion.training)) is not None:
            table.add(logs)

    def optimizer_step(self, optimizer: Any, model: Any, update_num: int) -> None:
        """fairseq's step of the optimizer, unless the gradient was not finite."""
        if self.guard.skips():
            optimizer.zero_grad()
            _discard(model)
        else:
            self.take_step(optimizer, model, update_num)
            if self.guard.overflowed():  # of AMP, whose scaler took no step; fairseq counts none
                _discard(model)
                return
        # fairseq would say so with the next batch, after the checkpoint: too late for a codebook's upkeep
        model.set_num_updates(update_num + 1)

    def take_step(self, optimizer: Any, model: Any, update_num: int) -> None:
        """fairseq's own."""
        super().optimizer_step(optimizer, model, update_num)

    def get_batch_iterator(self, dataset: Any, *args: Any, **kwargs: Any) -> EpochBatchIterator:
        """fairseq's iterator, whose worker processes end with their epoch."""
        if self.trained_on:
            self._note_data(dataset)
        iterator = super().get_batch_iterator(dataset, *args, **kwargs)
        if isinstance(dataset, MixtureDataset) and dataset.draws and dataset not in self._told:
            self._told.append(dataset)
            logger.info(told(dataset, len(iterator), as_mapping(self.cfg)))
        # Each epoch has an iterator of its own. Persistent workers of one that is garbage-collected miss the
        # message to stop (its queues are finalized first), and five seconds are waited for each of them.
        iterator.persistent_workers = False
        self._kinds[self._trains(dataset)] = KindTable.of(dataset)
        return iterator

    def begin_valid_epoch(self, epoch: int, model: Any) -> None:
        """Validation closes a stretch of training: the moment to say how many files were skipped."""
        for dataset in self.datasets.values():
            dataset.report_skipped()

    def post_validate(self, model: Any, stats: Any, agg: Any) -> None:
        """Behind the line of a validation set: fairseq says so."""
        self._tell_kinds(False)

    def end_epoch(self, num_updates: int, max_update: int) -> None:
        """Behind an epoch and its validation, the last one too: the moment to say what that tells."""
        self._tell_kinds(True)
        if line := self._pace.line(num_updates, max_update):
            logger.info(line)

    def _tell_kinds(self, training: bool) -> None:
        """Once for each epoch, or for each validation of a set."""
        table = self._kinds.pop(training, None)
        if table is not None and table.lines():
            logger.info("\n".join(table.lines()))

    def _trains(self, dataset: Any) -> bool:
        names = [name for name, held in self.datasets.items() if held is dataset]
        return any(map(self.trains_on, names))

    def get_checkpoint_dict(self) -> Dict[str, Any]:
        """What fairseq takes into a checkpoint for us, besides `state`."""
        return {type(self).__name__: {"patience": self.patience.state_dict()}}

    def set_checkpoint_dict(self, state: Dict[str, Any]) -> None:
        """The same, from the checkpoint that a training goes on from; on all ranks."""
        self.patience.load_state_dict(state.get("patience", {}))

    def max_positions(self) -> int:
        """No limit: crops and pieces fit by construction."""
        return sys.maxsize


def _discard(model: Any) -> None:
    """The batches since the last update are of none."""
    if hasattr(model, "discard_update"):
        model.discard_update()

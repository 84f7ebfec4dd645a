"""How models learn, and when that is over: a finished training is not trained on by its command's return.

fairseq looks whether a training is over only behind an update, so each restart would add one; and how long
`patience` has lasted, it forgets. Here it is looked at before the first update too.
"""

import functools
import logging
import sys
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from fairseq import checkpoint_utils

from ..common.files import copy_whole

logger = logging.getLogger(__name__)

_COMMANDS = ("fairseq_cli.train", "__main__")  # the module of `fairseq-train`, however it was started
_LOOKS_FIRST = "_vqw2v_looks_first"


def end_where_finished() -> None:
    """From here on fairseq's command asks our tasks before each epoch; safe to call twice."""
    for module in filter(None, map(sys.modules.get, _COMMANDS)):
        train = getattr(module, "train", None)
        if hasattr(module, "should_stop_early") and not hasattr(train, _LOOKS_FIRST):
            module.train = _unless_over(train, module)  # type: ignore[attr-defined]


def _unless_over(train: Any, module: Any) -> Any:
    @functools.wraps(train)
    def unless_over(cfg: Any, trainer: Any, task: Any, *args: Any, **kwargs: Any) -> Tuple[Any, bool]:
        patience = getattr(task, "patience", None)
        if isinstance(patience, Patience):
            patience.follow(module.should_stop_early)
            if reason := over(cfg, trainer, patience):
                logger.info(f"this training is finished: {reason}")
                return [None], True
        result: Tuple[Any, bool] = train(cfg, trainer, task, *args, **kwargs)
        if hasattr(task, "end_epoch"):
            task.end_epoch(trainer.get_num_updates(), cfg.optimization.max_update)
        return result

    setattr(unless_over, _LOOKS_FIRST, True)
    return unless_over


def is_first_rank(cfg: Any) -> bool:
    """Of several processes the one that saves."""
    return not getattr(getattr(cfg, "distributed_training", None), "distributed_rank", 0)


def keep_a_best(folder: Path) -> bool:
    """Where no validation chose a checkpoint, the last one is the best; says whether it was so.

    A best one that is there was chosen if fairseq knows its measure; else it is the last one of before.
    """
    best, last = (folder / f"checkpoint_{name}.pt" for name in ("best", "last"))
    chosen = hasattr(checkpoint_utils.save_checkpoint, "best")
    if (best.exists() and chosen) or not last.is_file():
        return False
    copy_whole(last, best)
    return True


class Patience:
    """For how many validations fairseq has waited for a better one; it goes into the checkpoint."""

    def __init__(self) -> None:
        self._restored: Dict[str, Any] = {}
        self._counter: Any = None  # fairseq's function, which counts in attributes of its own

    @property
    def num_runs(self) -> int:
        return int(getattr(self._counter, "num_runs", 0))

    def follow(self, counter: Any) -> None:
        """From here on this is the counter, and goes on where the checkpoint's was, or begins."""
        if self._counter is None:
            vars(counter).pop("best", None)  # of another training in this process
            vars(counter).pop("num_runs", None)
        self._counter = counter
        for name, value in self._restored.items():
            setattr(counter, name, value)
        self._restored = {}

    def state_dict(self) -> Dict[str, Any]:
        named = {name: getattr(self._counter, name, None) for name in ("best", "num_runs")}
        return {} if named["best"] is None else named

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        self._restored = {name: state[name] for name in ("best", "num_runs") if name in state}


def over(cfg: Any, trainer: Any, patience: Patience) -> Optional[str]:
    """Why there is nothing left to train; by what all ranks have read from the checkpoint alike."""
    limits, updates = cfg.optimization, trainer.get_num_updates()
    if limits.max_update and updates >= limits.max_update:
        return f"it has made {updates} updates, `max_update` is {limits.max_update}; raise it to train on"
    hours = getattr(trainer, "_previous_training_time", 0) / 3600
    if 0 < limits.stop_time_hours < hours:
        return (
            f"it took {hours:.3g} hours, `stop_time_hours` is {limits.stop_time_hours}; raise it to train on"
        )
    if 0 < cfg.checkpoint.patience <= patience.num_runs:
        return (
            f"the last {patience.num_runs} validations were no better, `patience` is "
            f"{cfg.checkpoint.patience}; raise it to train on"
        )
    return None

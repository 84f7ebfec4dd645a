"""How a killed training goes on: whether it is still the same one, and what has changed where it is not.

fairseq restores weights and optimizer and asks for no more, so another seed, other negatives or
another corpus would go on under the old numbers without a word.
"""

import ast
import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional

from omegaconf import OmegaConf

from ..checkpoints.files import CheckpointError, read_pickle
from ..common.words import shortened
from .restart import LAST

logger = logging.getLogger(__name__)

DATA = "data"  # in a checkpoint's `task_state`: of each split, a digest of what was in it

_PARTING = ("model", "criterion", "task")  # whose settings make another training, and besides them these
_PARTS = {"common.seed", "optimizer._name", "lr_scheduler._name"}
_TELLING = ("optimizer", "lr_scheduler")  # whose settings change how it goes on, and besides them these
_TOLD = {
    *(f"optimization.{name}" for name in ("lr", "clip_norm", "update_freq", "sentence_avg")),
    *(f"dataset.{name}" for name in ("max_tokens", "batch_size", "required_batch_size_multiple")),
    *("common.fp16", "common.bf16", "common.amp", "distributed_training.distributed_world_size"),
    *("criterion.loss_weights", "model.vq_temp", "model.freeze_updates"),
    *("model.freeze_finetune_updates", "model.w2v_path"),  # whose weights are in the checkpoint
    *(f"model.{name}" for name in ("dropout", "dropout_features", "dropout_agg")),
    *(f"model.{name}" for name in ("attention_dropout", "activation_dropout")),
    *("model.front", "model.front_bert", "model.front_pieces", "model.front_pca"),  # known by their bytes
    *("task.init_from", "task.init_codebook"),  # of which it began: they are in the checkpoint too
}
_FREE = {
    *(f"model.{name}" for name in ("max_update", "compile", "collapse_share", "stop_on_collapse")),
    *("optimizer.lr", "optimizer.tpu", "lr_scheduler.lr", "criterion.sentence_avg"),  # told elsewhere
}


class ResumeError(ValueError):
    """A checkpoint of another training than the one that is asked for."""


class Change(NamedTuple):
    name: str
    was: Any
    value: Any
    parts: bool  # whether it makes another training

    def __str__(self) -> str:
        return f"`{self.name}` was {shortened(str(self.was))} and is {shortened(str(self.value))}"


@dataclass(frozen=True)
class Before:
    """What the checkpoint that a training goes on from says of it."""

    path: Path
    cfg: Mapping[str, Any]
    state: Mapping[str, Any]  # the task's
    may_change: bool  # the user has asked for it
    new_data: bool  # or for this, by fairseq's `reset_dataloader`

    def check_settings(self, now: Mapping[str, Any], free: Collection[str]) -> None:
        """Names what has changed, and refuses what makes it another training; the task's `free` ones may."""
        let = {"lr_scheduler._name"} if now["checkpoint"].get("reset_lr_scheduler") else set()
        self._judge(list(changes(self.cfg, now, free, let)))

    def check_data(self, split: str, digest: str, trains: bool, what: str = "its content") -> None:
        """The same for what is in a split; `trains`: it is trained on."""
        data = self.state.get(DATA)
        was = data.get(split, digest) if isinstance(data, Mapping) else digest
        if was != digest:
            self._judge([Change(f"{split} ({what})", was[:12], digest[:12], trains and not self.new_data)])

    def _judge(self, changed: List[Change]) -> None:
        parting = [str(change) for change in changed if change.parts]
        if parting and not self.may_change:
            raise ResumeError(
                f"{self.path} is of another training: {'; '.join(parting)}; go on with what it had, begin "
                "anew in another `save_dir`, or say `resume_changed` to go on all the same"
            )
        for change in changed:
            logger.warning(f"going on from {self.path.name} with a change: {change}")


def before(now: Mapping[str, Any], may_change: bool) -> Optional[Before]:
    """Of the checkpoint that fairseq will restore with its optimizer; None where a training begins."""
    checkpoint = now.get("checkpoint") or {}
    path = restored_file(checkpoint)
    if path is None or checkpoint.get("reset_optimizer"):  # who forgets its optimizer begins another training
        return None
    state = read_pickle(path)
    cfg, task = (state.get(name) for name in ("cfg", "task_state"))
    cfg, task = (content if isinstance(content, Mapping) else {} for content in (cfg, task))
    return Before(path, cfg, task, may_change, bool(now["checkpoint"].get("reset_dataloader")))


def restored_file(checkpoint: Mapping[str, Any]) -> Optional[Path]:
    """Whose weights fairseq's `load_checkpoint` will take; None: there is no such file yet."""
    if not checkpoint:
        return None
    suffix, named = checkpoint.get("checkpoint_suffix") or "", str(checkpoint["restore_file"])
    path, own = Path(named.replace(".pt", f"{suffix}.pt")), Path(checkpoint["save_dir"])
    if named == LAST:
        path = own / path
        if not path.exists() and checkpoint.get("continue_once"):
            path = Path(checkpoint["continue_once"])
    elif not path.exists() and path.parent.resolve() != own.resolve():  # fairseq would begin without a word
        raise CheckpointError(f"checkpoint.restore_file: {path} is not there; expected a checkpoint")
    return path if path.is_file() else None


def changes(
    was: Mapping[str, Any], now: Mapping[str, Any], free: Collection[str], let: Collection[str] = ()
) -> Iterator[Change]:
    """Settings that both name, with different values, but for those that may change freely."""
    for group in (name for name in now if isinstance(now[name], Mapping)):
        held = was.get(group)
        old: Mapping[str, Any] = held if isinstance(held, Mapping) else {}
        for key in now[group]:
            name = f"{group}.{key}"
            parts = name in _PARTS or (group in _PARTING and name not in _TOLD)
            told = parts or name in _TOLD or group in _TELLING
            if not told or name in _FREE or (group == "task" and key in free) or key not in old:
                continue
            if _plain(old[key]) != _plain(now[group][key]):
                yield Change(name, old[key], now[group][key], parts and name not in let)


def _plain(value: Any) -> Any:
    """One spelling of what a command line, a yaml and a checkpoint spell differently."""
    if isinstance(value, str):
        text = value.strip()
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        try:
            return _plain(ast.literal_eval(text))
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            return "".join(text.split())  # of layers, `[(512, 1, 1)] * 3`
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value


def as_mapping(cfg: Any) -> Dict[str, Any]:
    """All settings of the training that a task's are part of; none for a task that stands alone."""
    root = cfg._get_root() if OmegaConf.is_config(cfg) else None
    if root is None or root is cfg:
        return {}
    found = OmegaConf.to_container(root, resolve=True, enum_to_str=True)
    return {str(key): value for key, value in found.items()} if isinstance(found, dict) else {}

"""The last lines of a training: where its checkpoint lies, and the commands that go on from it.

fairseq has no hook at the end of a training, but two lines of its log say all that is needed: the first holds
the settings, as an object, and the last is "done training in …".
"""

import logging
import shlex
from pathlib import Path
from typing import Any, List, Optional

from ..common.loud import says_next
from ..common.on_off import is_on
from ..corpora.mixture import MixtureError
from .datasets.several import folders_of
from .finished import is_first_rank, keep_a_best
from .mixing import entries_of
from .train_log import keep_log

LOGGER = "fairseq_cli.train"
_END = "done training in "


class LastLines(logging.Filter):
    """Lets every line pass, and adds to the last one."""

    def __init__(self) -> None:
        super().__init__()
        self._cfg: Optional[Any] = None

    def filter(self, record: logging.LogRecord) -> bool:
        if hasattr(record.msg, "checkpoint"):
            self._cfg = record.msg
            keep_log(self._cfg)
        elif self._cfg is not None and str(record.msg).startswith(_END):
            record.msg = "\n".join([str(record.msg), *kept_best(self._cfg), *last_lines(self._cfg)])
            self._cfg = None
        return True


_LAST_LINES = LastLines()


def announce() -> None:
    """From here on trainings end with these lines; safe to call twice."""
    logging.getLogger(LOGGER).addFilter(_LAST_LINES)


def last_lines(cfg: Any) -> List[str]:
    """The checkpoint, and what reads it; nothing for another plugin's task, or where nothing was saved."""
    folder = Path(cfg.checkpoint.save_dir).absolute()
    names = ("checkpoint_best.pt", "checkpoint_last.pt")
    checkpoint = next((folder / name for name in names if (folder / name).is_file()), None)
    if checkpoint is None:
        return []
    commands = next_commands(cfg, shlex.quote(str(checkpoint)))
    said = [f"next: {command}" for command in commands] if says_next() else []
    return [f"checkpoint: {checkpoint}", *said] if commands else []


def kept_best(cfg: Any) -> List[str]:
    """Commands name checkpoint_best.pt: it is there though no validation has chosen one."""
    is_ours = str(getattr(cfg.task, "_name", "")).startswith("vq_")
    if is_ours and is_first_rank(cfg) and keep_a_best(Path(cfg.checkpoint.save_dir)):
        return ["no validation has chosen a checkpoint: checkpoint_best.pt is a copy of checkpoint_last.pt"]
    return []


def next_commands(cfg: Any, checkpoint: str) -> List[str]:
    """What a user would type; words in capitals are for them to fill in."""
    task = cfg.task
    data = shlex.quote(str(Path(_first_folder(task.data)).absolute()))
    if task._name == "vq_audio_pretraining" and str(getattr(cfg.model, "_name", "")).startswith(
        "vq_wav2vec2"
    ):
        return _of_wav2vec2(cfg.model, checkpoint, data)
    if task._name == "vq_audio_pretraining" and cfg.model.quantizer == "none":
        return [f"vqw2v features {checkpoint} {data}/train.tsv FEATURES --layer c"]
    if task._name == "vq_audio_pretraining":
        return [
            f"vqw2v usage {checkpoint} {data}/valid.tsv",
            f"vqw2v discretize {checkpoint} {data}/train.tsv TOKENS",
        ]
    if task._name == "vq_token_pretraining":
        return [f"vqw2v features VQ_CHECKPOINT MANIFEST FEATURES --layer bert --bert {checkpoint}"]
    if task._name == "vq_speech_pretraining":
        return [f"vqw2v cluster {checkpoint} {data}/train.tsv CLUSTERS --layer speech:N"]
    if task._name == "vq_acoustic":
        labels = shlex.quote(str(Path(task.labels or task.data).absolute()))
        return [
            f"fairseq-generate {data} --user-dir $(vqw2v path) --task vq_acoustic --labels {labels} "
            f"--path {checkpoint} --gen-subset test --results-path RESULTS",
            f"vqw2v transcribe {checkpoint} FILE",
        ]
    if task._name == "vq_unpaired":
        return [
            f"fairseq-generate {data} --user-dir $(vqw2v path) --task vq_unpaired --path {checkpoint} "
            f"--gen-subset valid --results-path RESULTS"
        ]
    if task._name == "vq_utterance":
        labels = shlex.quote(str(Path(task.labels or task.data).absolute()))
        folders = shlex.quote(":".join(str(Path(folder).absolute()) for folder in folders_of(task.data)))
        return [
            f"fairseq-generate {folders} --user-dir $(vqw2v path) --task vq_utterance --labels {labels} "
            f"--path {checkpoint} --gen-subset test --results-path RESULTS"
        ]
    return []


def _first_folder(data: str) -> str:
    """Of a mixture, whose file may be gone by now."""
    try:
        return entries_of(data)[0].data
    except MixtureError:
        return data


def _of_wav2vec2(model: Any, checkpoint: str, data: str) -> List[str]:
    commands = [f"vqw2v features {checkpoint} {data}/train.tsv FEATURES --layer w2v2:N"]
    if model.quantizer != "none" and (
        is_on("quantize_targets", model.quantize_targets) or model.quantize_input
    ):
        commands += [
            f"vqw2v usage {checkpoint} {data}/valid.tsv",
            f"vqw2v discretize {checkpoint} {data}/train.tsv TOKENS",
        ]
    return commands

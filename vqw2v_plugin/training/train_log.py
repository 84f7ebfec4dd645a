"""How models learn, written down: `fairseq-train` has a log beside its checkpoints, as hydra's command has.

What only a file needs, such as 8 kB of settings in a line, goes to that file and not to the screen.
"""

import logging
import re
from pathlib import Path
from typing import Any

from ..recipes.folder import TRAIN_LOG
from .finished import is_first_rank

TRAIN = "fairseq_cli.train"
_FORMAT = "%(asctime)s | %(levelname)s | %(name)s | %(message)s"  # of fairseq's own lines
_DATES = "%Y-%m-%d %H:%M:%S"
# By logger: what is known, of use to nobody who looks at a screen, or said by the next line.
FIRST_LINES = {
    TRAIN: r"(task|model|criterion): \w+$|training on \d+ dev|max tokens per device|begin dry-run|\w+\(\n"
    r"|Start iterating over samples|end of epoch \d+ \(average epoch stats below\)",
    "fairseq.trainer": r"Preparing to load checkpoint|No existing checkpoint|loading train data for epoch 1$"
    r"|Saving checkpoint to|Finished saving checkpoint to",
    "fairseq.checkpoint_utils": r"Preparing to save checkpoint",
    "fairseq.data.iterators": r"grouped total_num_itrs",
}


class NoFirstLines(logging.Filter):
    """Of a handler that writes to a screen: without settings, networks and what fairseq is about to do."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno > logging.INFO:
            return True
        if record.name == TRAIN and hasattr(record.msg, "checkpoint"):
            return False
        pattern = FIRST_LINES.get(record.name)
        return pattern is None or re.match(pattern, record.getMessage()) is None


_NO_FIRST_LINES = NoFirstLines()


class _TrainLog(logging.FileHandler):
    """A file that was begun here, not by hydra or the user."""


class _LaterHandlers(logging.Filter):
    """Of a logger: drops nothing, but hydra's command makes new handlers once the plugin is loaded."""

    def filter(self, record: logging.LogRecord) -> bool:
        _shorten_handlers()
        return True


_LATER_HANDLERS = _LaterHandlers()


def shorten_screen() -> None:
    """From here on the root's handlers for screens leave first lines out; safe to call twice."""
    _shorten_handlers()
    for name in FIRST_LINES:
        logging.getLogger(name).addFilter(_LATER_HANDLERS)


def _shorten_handlers() -> None:
    for handler in logging.root.handlers:
        if type(handler) is logging.StreamHandler:  # neither of files nor of whoever collects lines
            handler.addFilter(_NO_FIRST_LINES)


def keep_log(cfg: Any) -> None:
    """A file for all that is logged from here on, where no handler writes one."""
    folder = Path(cfg.checkpoint.save_dir)
    for ours in [each for each in logging.root.handlers if isinstance(each, _TrainLog)]:
        if Path(ours.baseFilename) != (folder / TRAIN_LOG).absolute():  # of another training of this process
            logging.root.removeHandler(ours)
            ours.close()
    handlers = [*logging.root.handlers, *logging.getLogger(TRAIN).handlers]
    if any(isinstance(handler, logging.FileHandler) for handler in handlers) or not is_first_rank(cfg):
        return
    if getattr(cfg.checkpoint, "no_save", False):
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handler = _TrainLog(folder / TRAIN_LOG, encoding="utf-8", errors="backslashreplace")
    except OSError:  # fairseq says it when it saves
        return
    handler.setFormatter(logging.Formatter(_FORMAT, _DATES))
    logging.root.addHandler(handler)

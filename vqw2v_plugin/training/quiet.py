"""What fairseq, hydra and torch say of their own accord, and no user can act on, is left out.

Only these messages, on screens also what is of no use there (`train_log.py`), and only from the moment the
plugin is loaded; VQW2V_LOUD=1 shows them. Errors, warnings of other code and every other line stay, and a
line that names a file in other bytes than UTF-8 is written, where `logging` would write a traceback about it.
"""

import logging
import re
import warnings
from io import TextIOWrapper
from typing import Dict, NamedTuple, Type

from ..common.loud import is_loud
from .train_log import shorten_screen


class Needless(NamedTuple):
    """A warning: how its message begins, and (a regular expression) the module that it names."""

    begins: str
    category: Type[Warning] = UserWarning
    module: str = ""


# fairseq calls hydra as hydra 1.0 wanted it, and torch as torch 1 did.
NEEDLESS = [
    Needless("hydra.experimental.initialize() is no longer experimental", module=r"hydra\."),
    Needless("hydra.experimental.compose() is no longer experimental", module=r"hydra\."),
    Needless("\nThe version_base parameter is not specified.", module=r"hydra\.|fairseq"),
    Needless("\nThe strict flag in the compose API is deprecated.", module=r"hydra\."),
    Needless("In 'config': Usage of deprecated keyword in package header", module=r"hydra\."),
    Needless("\n'config' is validated against ConfigStore schema with the same name."),
    Needless("'pin_memory' argument is set as true but no accelerator is found", module=r"torch\."),
    Needless("`torch.cuda.amp.autocast(args...)` is deprecated.", FutureWarning, r"fairseq\."),
    Needless("`torch.cuda.amp.GradScaler(args...)` is deprecated.", FutureWarning, r"fairseq\."),
    Needless("amp_C fused kernels unavailable, disabling multi_tensor_l2norm", module=r"fairseq\."),
]

# By logger: lines that say the same for every run, at every epoch.
CHATTER: Dict[str, str] = {
    "fairseq.tasks.fairseq_task": r"(can_reuse_epoch_itr|reuse_dataloader|rebuild_batches) = |creating new ",
    # convolutions without a bias: fairseq takes the same None for the same parameter
    "fairseq.trainer": r"detected shared parameter: \S+\.bias <- \S+\.bias$",
    "fairseq.checkpoint_utils": r"State of \w+ is ready to be persisted",
    "fairseq_cli.train": r"num\. expert model params: 0 ",
    # 8 kB of settings, of which our own lines name what matters, and what is true of translations
    "fairseq_cli.generate": r"\{'_name': None, 'common': |NOTE: hypothesis and |Translated [\d,]+ ",
    "hydra.core.utils": r"Setting JobRuntime:name=",
}


class NoChatter(logging.Filter):
    """Drops a logger's needless lines, none of them a warning or an error."""

    def filter(self, record: logging.LogRecord) -> bool:
        pattern = CHATTER.get(record.name)
        chatter = pattern is not None and re.match(pattern, record.getMessage())
        return record.levelno > logging.INFO or not chatter


_NO_CHATTER = NoChatter()


def leave_out_needless() -> None:
    """From here on without them, unless the user wants them; safe to call twice."""
    if is_loud():
        return
    for begins, category, module in NEEDLESS:
        warnings.filterwarnings("ignore", re.escape(begins), category, module)
    for name in CHATTER:
        logging.getLogger(name).addFilter(_NO_CHATTER)
    shorten_screen()


def log_any_name() -> None:
    """Logging writes `\\udcff` for a byte that is no UTF-8, as Python's own errors do; safe to call twice."""
    for handler in logging.root.handlers:
        stream = getattr(handler, "stream", None)
        if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")

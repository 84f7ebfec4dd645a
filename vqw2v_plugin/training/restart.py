"""How a killed training goes on: what is looked at before a run begins.

fairseq writes a checkpoint beside its name and renames it, but makes `checkpoint_last.pt` by copying that
file: a run killed during the copy leaves a piece, and the next run ends in an error about a zip archive.
"""

import logging
import os
import zipfile
from pathlib import Path
from typing import Type, Union

import torch.distributed as dist
from hydra.utils import to_absolute_path

from ..common.files import copy_whole

logger = logging.getLogger(__name__)

LAST = "checkpoint_last.pt"


def mend_last_checkpoint(save_dir: str | Path) -> None:
    """Where `checkpoint_last.pt` is only a piece, puts the newest whole checkpoint in its place."""
    last = Path(save_dir) / LAST
    if not last.is_file() or is_whole(last):
        return
    others = sorted(Path(save_dir).glob("checkpoint*.pt"), key=lambda path: path.stat().st_mtime)
    whole = next((path for path in reversed(others) if path != last and is_whole(path)), None)
    if whole is None:
        aside = last.with_name(f"{LAST}.broken")
        os.replace(last, aside)
        logger.warning(
            f"{last} breaks off (was the run killed, or the disk full?) and none of {save_dir} "
            f"is whole: training begins anew; the piece is kept as {aside.name}"
        )
        return
    copy_whole(whole, last)
    logger.warning(f"{last} breaks off (was the run killed, or the disk full?): going on from {whole.name}")


def is_whole(checkpoint: Path) -> bool:
    """A zip archive keeps its table of contents at its end, so a piece of one has none."""
    try:
        return zipfile.is_zipfile(checkpoint)
    except zipfile.BadZipFile:  # damaged, and where its table should be
        return False


def check_ranks() -> None:
    """Refuses processes that a launcher started together and fairseq runs apart, into one folder."""
    started = int(os.environ.get("WORLD_SIZE") or 1)
    if started > 1 and not (dist.is_available() and dist.is_initialized()):
        raise ValueError(
            f"WORLD_SIZE says that {started} processes were started, but fairseq runs each alone, into "
            "the same checkpoints. On CPUs start each rank R yourself with --cpu --distributed-backend gloo "
            "--ddp-backend legacy_ddp --distributed-init-method tcp://HOST:PORT --distributed-world-size "
            f"{started} --distributed-rank R --distributed-no-spawn --device-id 0; on GPUs leave out --cpu"
        )


def need_folder(
    option: str, folder: Union[str, Path], holds: str, error: Type[ValueError] = ValueError
) -> None:
    """Refuses a folder that is not there."""
    if not Path(folder).is_dir():
        remedy = remedy_for(folder, "correct the path")
        raise error(f"{option}={folder}: is no folder, expected one with {holds}; {remedy}")


def remedy_for(folder: Union[str, Path], otherwise: str) -> str:
    """What to do about a folder that is not there: hydra may have changed the working folder before us."""
    meant = Path(to_absolute_path(str(folder)))
    if meant != Path(folder).absolute() and meant.is_dir():
        return f"hydra has changed the working folder: say {meant}"
    return otherwise

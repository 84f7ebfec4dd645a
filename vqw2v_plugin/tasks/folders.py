"""Folders that a training is told: they are to be there before anything is built."""

from pathlib import Path
from typing import Type, Union

from hydra.utils import to_absolute_path


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

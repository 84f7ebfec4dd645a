"""Folders that a training is told: they are to be there before anything is built."""

from pathlib import Path

from hydra.utils import to_absolute_path


def need_folder(option: str, folder: str | Path, holds: str) -> None:
    """Refuses a folder that is not there; hydra may have changed the working folder before us."""
    path = Path(folder)
    if path.is_dir():
        return
    meant = Path(to_absolute_path(str(folder)))
    moved = meant != path.absolute() and meant.is_dir()
    remedy = f"hydra has changed the working folder: say {meant}" if moved else "correct the path"
    raise ValueError(f"{option}={folder}: is no folder, expected one with {holds}; {remedy}")

"""A folder of wavs and nothing that describes them."""

from collections.abc import Iterator

from .entry import Entry
from .folder import Folder


def fits(folder: Folder) -> bool:
    return not folder.is_file and next(folder.audio(), None) is not None


def read(folder: Folder) -> Iterator[Entry]:
    """Every file with a suffix of audio, as a whole."""
    return (Entry(path=name, unit=name) for name in folder.audio())

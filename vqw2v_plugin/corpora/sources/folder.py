"""A corpus' folder, walked once: all its files by name, the wavs among them."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from .entry import Refusal, SourceError

# What libsndfile opens without further information.
SUFFIXES = tuple("flac wav ogg oga opus mp3 aiff aif aifc au snd caf w64 rf64 sph nist voc".split())


@dataclass(frozen=True)
class Folder:
    """The files under `root`, sorted by their relative paths; hidden ones (`.name`) are left out."""

    root: str
    files: tuple[str, ...]
    refused: tuple[Refusal, ...] = ()
    suffixes: tuple[str, ...] = SUFFIXES
    is_file: bool = False  # the user named a table, not a folder
    elsewhere: tuple[str, ...] = ()  # audio that a table may name, with its folders
    columns: Mapping[str, str] = field(default_factory=dict)  # {what: a table's name of it}, as the user says

    def audio(self) -> Iterator[str]:
        """The files that are named like audio."""
        endings = tuple(f".{suffix}" for suffix in self.suffixes)
        return (name for name in self.files if name.lower().endswith(endings))

    def has(self, name: str) -> bool:
        return os.path.isfile(os.path.join(self.root, name))

    def at_top(self, *endings: str) -> list[str]:
        """The names directly under `root` with this ending."""
        return [name for name in self.files if "/" not in name and name.lower().endswith(endings)]

    def join(self, name: str) -> str:
        return os.path.join(self.root, name)


def open_folder(
    path: str, suffixes: tuple[str, ...] = SUFFIXES, tick: Callable[[int], None] = lambda _: None
) -> Folder:
    """Walks `path` and links to folders, each folder once; `tick` is told how many files were found."""
    root = os.path.abspath(path)
    if any(character in root for character in "\t\n\r"):
        raise SourceError(
            f"{root!r} has a tab or a line break in its name, which no manifest can hold; rename it"
        )
    if os.path.isfile(root):
        return Folder(os.path.dirname(root), (os.path.basename(root),), suffixes=suffixes, is_file=True)
    if not os.path.isdir(root):
        raise SourceError(f"{path}: no such folder, expected one of audio, or a corpus; correct the path")
    walk = _Walk(root, tick)
    walk.descend("")
    while walk.links:  # after all real folders, so that a folder inside `path` goes by its real name
        walk.links.sort()
        walk.descend(walk.links.pop(0), is_link=True)
    return Folder(root, tuple(sorted(walk.files)), tuple(sorted(walk.refused)), suffixes)


class _Walk:
    """Files, links to folders still to be followed, and what could not be read."""

    def __init__(self, root: str, tick: Callable[[int], None]) -> None:
        self.root, self.tick = root, tick
        self.files: list[str] = []
        self.links: list[str] = []
        self.refused: list[Refusal] = []
        self._seen: set[tuple[int, int]] = set()

    def descend(self, top: str, is_link: bool = False) -> None:
        """Walks all of `top` but what lies behind further links."""
        stack = [top]
        while stack:
            folder = stack.pop()
            try:
                state = os.stat(os.path.join(self.root, folder))
                if (state.st_dev, state.st_ino) in self._seen:
                    self._refuse_again(folder, is_link)
                    continue
                self._seen.add((state.st_dev, state.st_ino))
                stack.extend(self._list(folder))
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                self.refused.append(
                    Refusal(folder or ".", f"folder cannot be read ({reason}); what it holds is left out")
                )

    def _list(self, folder: str) -> list[str]:
        """Notes the folder's files and links and answers its real folders."""
        folders = []
        with os.scandir(os.path.join(self.root, folder)) as items:
            found = [item for item in items if not item.name.startswith(".")]
        for item in found:
            name = f"{folder}/{item.name}" if folder else item.name
            if item.is_dir(follow_symlinks=False):
                folders.append(name)
            elif item.is_symlink() and os.path.isdir(os.path.join(self.root, name)):
                self.links.append(name)
            else:
                self.files.append(name)
        self.tick(len(found) - len(folders))
        return folders

    def _refuse_again(self, folder: str, is_link: bool) -> None:
        if is_link:
            target = os.path.realpath(os.path.join(self.root, folder))
            self.refused.append(Refusal(folder, f"is a link to a folder that is walked already ({target})"))

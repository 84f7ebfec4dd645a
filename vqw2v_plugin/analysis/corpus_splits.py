"""A run's wavs: its manifests, with the times of phones and words beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..corpora.ctm import Segments, read_ctm
from ..corpora.manifest import Manifest, ManifestError, Utterance
from ..recipes.folder import RunFolder
from ..stores.folder import StoreError
from ..stores.labels import read_words

_HELD_OUT = ("test", "dev", "valid")  # beginnings of their names


@dataclass(frozen=True)
class Split:
    """One manifest; `phones` and `words` are empty if no times are known."""

    name: str
    manifest: Manifest

    @cached_property
    def phones(self) -> dict[str, Segments]:
        return self._times("phones")

    @cached_property
    def words(self) -> dict[str, Segments]:
        return self._times("words")

    @property
    def is_held_out(self) -> bool:
        return self.name.startswith(_HELD_OUT)

    @cached_property
    def utterances(self) -> dict[str, Utterance]:
        return {row.utt: row for row in (self.manifest[i] for i in range(len(self.manifest)))}

    def times_file(self, unit: str) -> Path:
        """SPLIT.phones.ctm or SPLIT.words.ctm."""
        return Path(self.manifest.path).with_name(f"{self.name}.{unit}.ctm")

    def _times(self, unit: str) -> dict[str, Segments]:
        path = self.times_file(unit)
        try:
            return read_ctm(path) if path.is_file() else {}
        except ValueError:  # half a file, left by a killed run
            return {}


def find_splits(run: RunFolder, corpus: str | None = None) -> list[Split]:
    """The manifests of the folder `corpus`, else of the run, else of the folders that its commands name."""
    if corpus is not None:
        found = _splits(sorted(Path(corpus).glob("*.tsv")))
        if not found:
            raise ManifestError(
                f"{corpus}: holds no manifest; expected SPLIT.tsv, as `vqw2v manifest` writes"
            )
        return found
    own = _splits(path for _, path in run.find("*.tsv"))
    return own or _splits(_named_in_commands(run))


def label_words(run: RunFolder, split: str) -> dict[str, str]:
    """Text by utterance, as the run's label folders have normalized it."""
    found: dict[str, str] = {}
    for _, path in run.find("*.wrd"):
        if path.stem != split:
            continue
        try:
            labels = read_words(path)
        except (StoreError, OSError, UnicodeDecodeError):  # half a folder, left by a killed run
            continue
        for utt, text in zip(labels.utts, labels.words or (), strict=False):
            found.setdefault(utt, text)
    return found


def _splits(paths: Iterable[Path]) -> list[Split]:
    """The manifests among these files, each file once."""
    found: dict[str, Split] = {}
    for path in dict.fromkeys(paths):
        if path.name.endswith("refused.tsv") or path.stem in found:
            continue
        try:
            manifest = Manifest(path)
        except (ManifestError, OSError):
            continue
        if len(manifest):
            found[path.stem] = Split(path.stem, manifest)
    return list(found.values())


def _named_in_commands(run: RunFolder) -> Iterator[Path]:
    """The manifests that a stage's command names, and those in folders that it names (`task.data=FOLDER`)."""
    for stage in run.stages:
        for word in stage.arguments():
            path = Path(word.rpartition("=")[2])
            if path.suffix == ".tsv" and path.is_file():
                yield path
            elif path.is_absolute() and path.is_dir():
                yield from sorted(path.glob("*.tsv"))

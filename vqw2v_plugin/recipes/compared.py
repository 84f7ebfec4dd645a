"""Comparisons: the features that a recipe holds against each other, as its command line names them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_NAMED = re.compile(r"([\w.-]+)=([\w:,-]+)(?:/(\d+))?(?:@([^+]+)(?:\+(.+))?)?")


@dataclass(frozen=True)
class Features:
    """What a model hears: `NAME=LAYER`, of spectra, or `NAME=LAYER@CHECKPOINT[+BERT]`.

    `LAYER/D` are D principal components of it.
    """

    name: str
    layer: str
    checkpoint: Path | None = None
    bert: Path | None = None
    components: int | None = None

    @classmethod
    def parse(cls, text: str, several: bool = False) -> Features:
        """`several`: layers by commas are mixed."""
        found = _NAMED.fullmatch(text)
        if not found or ("," in found[2] and not several) or (found[3] and several):
            layers = "LAYER[,LAYER…]" if several else "LAYER[/COMPONENTS]"
            raise ValueError(
                f"`--features` has {text!r}; expected NAME={layers} or NAME={layers}@CHECKPOINT[+BERT]"
            )
        name, layer, components, *files = found.groups()
        checkpoint, bert = (Path(file).resolve() if file else None for file in files)
        return cls(name, layer, checkpoint, bert, int(components) if components else None)

    @property
    def options(self) -> list[str]:
        """Of `vqw2v features`, beside its layer and files."""
        return [] if self.components is None else ["--pca", str(self.components)]

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(self.layer.split(","))


def parse_features(texts: list[str], several: bool = False) -> list[Features]:
    """All of a command line."""
    found = [Features.parse(text, several) for text in texts]
    if len({each.name for each in found}) < len(found):
        raise ValueError("`--features` has a name twice")
    return found

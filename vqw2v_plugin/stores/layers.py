"""wav → features, by name: which layers there are, what each is made of, and what its number counts.

Help texts, features.json and acoustic checkpoints name layers without building them, so torch is not needed
here; `features/registry.py` says what builds each.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerKind:
    """One layer that may be asked for."""

    needs: tuple[str, ...] = ("checkpoint",)  # files without which there is no such layer
    takes: tuple[str, ...] = ()  # files that it can do without
    number: int | None = None  # where none is given; None: the layer has no number
    counts: str = ""  # what a number N says
    title: str = ""  # what it is, where its name does not tell
    checkpoint: str = "vq_wav2vec"  # the model whose layer it is


LAYERS = {
    "z": LayerKind(),
    "c": LayerKind(title="context"),
    "q": LayerKind(title="quantized"),
    "logmel": LayerKind(needs=()),
    "mfcc": LayerKind(needs=(), number=13, counts="N cepstra"),
    "bert": LayerKind(
        ("checkpoint", "bert"), ("pieces",), -1, counts="its N-th layer", title="0: embeddings, -1: last"
    ),
    "speech": LayerKind(
        number=-1,
        counts="the N-th layer of a BERT over speech",
        title="0: projection, -1: last",
        checkpoint="vq_speech_bert",
    ),
    "w2v2": LayerKind(
        number=-1,
        counts="the N-th layer of a wav2vec 2.0",
        title="0: what the first hears, -1: last",
        checkpoint="vq_wav2vec2",
    ),
}


def layer_names(titles: bool = False) -> str:
    """For a help text: `z, c, …, bert:N`, or with what each is behind it."""
    found = []
    for name, kind in LAYERS.items():
        numbered = kind.number is not None
        said = [kind.counts, f"{name}: {kind.number}"] if numbered else []
        told = f" ({'; '.join([*said, *([kind.title] if kind.title else [])])})" if said or kind.title else ""
        found.append((f"{name}:N" if numbered else name) + (told if titles else ""))
    return f"{', '.join(found[:-1])} or {found[-1]}"


def spectral_names() -> str:
    """Those that need no file."""
    return " and ".join(name for name, kind in LAYERS.items() if not kind.needs)


def whole_name(layer: str) -> str:
    """With its number, which users may leave out."""
    kind = LAYERS.get(layer)
    return layer if kind is None or kind.number is None else f"{layer}:{kind.number}"

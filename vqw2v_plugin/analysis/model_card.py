"""Any model of the picture, exported: the page beside it, what it was trained on, how, and how to load it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..checkpoints.kinds import Restored
from ..corpora.manifest import Manifest
from ..corpora.sizes import DEFAULT_RATE, sizes_at
from ..recipes.folder import HYDRA_LOG, LOG, TRAIN_LOG, read_text
from .curves import Curves, best_log

CARD = "README.md"
_LOGS = (HYDRA_LOG, TRAIN_LOG, LOG)
_ROWS, _COLUMNS = 10, 6  # of the curve, at most
_CODES = ("code_perplexity", "codes_used")
_TOKENIZER = (
    'from vqw2v_plugin import Tokenizer\n\ncodes = Tokenizer.load("{out}").encode_file("speech.flac")'
)
_FEATURES = (
    'from vqw2v_plugin import load_features\n\nframes = load_features("{layer}", "{out}").of("speech.flac")'
)
_WORDS = 'from vqw2v_plugin import Transcriber\n\ntext = Transcriber.load("{out}")("speech.flac").text'
_LOADING = {
    "vq_wav2letter": _WORDS,
    "vq_wav2vec2_ctc": _WORDS,
    "vq_clusters": _TOKENIZER,
    "vq_wav2vec2": _FEATURES.replace("{layer}", "w2v2:-1"),
    "vq_speech_bert": _FEATURES.replace("{layer}", "speech:-1"),
    "vq_bert": "from vqw2v_plugin import load_features\n\n"
    'states = load_features("bert", "VQ_WAV2VEC.pt", bert="{out}").of("speech.flac")',
}
_COMMANDS = {
    "vq_utterance": "vqw2v import {out} HEAD.pt\n"
    'fairseq-generate FEATURES --user-dir "$(vqw2v path)" --task vq_utterance \\\n'
    "    --labels LABELS --path HEAD.pt --gen-subset test --results-path ANSWERS",
    "vq_wav2vec_u": "vqw2v import {out} GENERATOR.pt\n"
    'fairseq-generate SEGMENTS --user-dir "$(vqw2v path)" --task vq_unpaired \\\n'
    "    --path GENERATOR.pt --gen-subset test --results-path PHONES",
}


def model_card(restored: Restored[Any], source: Path, out: Path) -> str:
    """Of what was read from `source` and is exported to `out`; what nobody knows any more is left out."""
    header, curves = restored.header, _curves(source)
    parameters = sum(p.numel() for p in restored.network.parameters())
    rows = [("model", header.model), ("what it is", restored.summary), ("numbers", f"{parameters:,}")]
    if header.audio is not None:
        rows.append(("audio", f"{header.audio.sample_rate:,} Hz, mono"))
    if updates := header.num_updates or curves.updates:
        rows.append(("updates", f"{updates:,}"))
    rows += _codes(curves)
    parts = [
        f"# {out.name}",
        _table(("", ""), rows),
        *_trained_on(curves),
        *_curve(curves),
        "## How to load it",
        _loading(header.model, header.settings).format(out=out.name),
        "`config.json` has all settings, `model.safetensors` the weights; nothing in them is run. "
        "Made by `vqw2v export` of vqw2v_plugin.",
    ]
    return "\n\n".join(parts) + "\n"


def _loading(model: str, settings: Mapping[str, Any]) -> str:
    """A block of Python, or of commands for what Python has no face for."""
    if model in _COMMANDS:
        return f"```sh\n{_COMMANDS[model]}\n```"
    code = _LOADING.get(model, _TOKENIZER)
    if model == "vq_wav2vec" and settings.get("quantizer") == "none":
        code = _FEATURES.replace("{layer}", "c")
    return f"```python\n{code}\n```"


def _curves(source: Path) -> Curves:
    """Of the training's log beside the checkpoint."""
    folder = source if source.is_dir() else source.parent
    return best_log(read_text(folder / name) for name in _LOGS if (folder / name).is_file())


def _codes(curves: Curves) -> list[tuple[str, str]]:
    """How the codes were in use at the last look."""
    found = []
    for name in _CODES:
        if series := curves.series(name):
            subset = "valid" if "valid" in series else next(iter(series))
            found.append((f"{name} at the end", f"{series[subset][-1][1]:g}"))
    return found


def _trained_on(curves: Curves) -> list[str]:
    """The splits' names and sizes; folders of the machine it was trained on are nobody's business."""
    data = curves.section("task").get("data")
    if not isinstance(data, str):
        return []
    lines = []
    for split in ("train", "valid"):
        try:
            manifest = Manifest(Path(data) / f"{split}.tsv")
            hours = float(sizes_at(manifest, DEFAULT_RATE).sum()) / DEFAULT_RATE / 3600
            speakers = set(manifest.column("speaker")) - {""} if "speaker" in manifest.columns else set()
        except (ValueError, OSError):
            continue  # tokens or features, or no longer there
        said = f", {len(speakers):,} speakers" if speakers else ""
        lines.append(f"- {split}: {len(manifest):,} utterances, {hours:.2f} h{said}")
    return ["## What it was trained on", f"`{Path(data).name}`" + "".join(f"\n{line}" for line in lines)]


def _curve(curves: Curves) -> list[str]:
    """What the validations said, evenly over the training."""
    subset = next((name for name in curves.points if name != "training"), None)
    if subset is None:
        return []
    points = curves.points[subset]
    places = {round(i * (len(points) - 1) / (_ROWS - 1)) for i in range(_ROWS)}
    names = [name for name in curves.metrics if name in points[-1].values][:_COLUMNS]
    rows = [
        (f"{p.updates:,}", *(f"{p.values[name]:g}" if name in p.values else "" for name in names))
        for p in map(points.__getitem__, sorted(places))
    ]
    return ["## How it learnt", f"On `{subset}`:", _table(("updates", *names), rows)]


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)

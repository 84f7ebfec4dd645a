"""wav → features for an acoustic model: a front as its options ask for it, or as its checkpoint tells."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ..checkpoints.acoustic import Acoustic
from ..checkpoints.checks import load_weights
from ..checkpoints.files import CheckpointError
from ..checkpoints.travel import comes_from
from ..stores.feature_spec import FeatureSpec, FileId
from ..stores.layers import LAYERS, whole_name
from ..stores.pieces import MODEL
from .base import DEFAULT_BANDS, FeatureOptions, parse_layer
from .front import AudioFront
from .principal import PrincipalFeatures, read_principal
from .registry import FILES, OptionNames, build_features, make_features
from .speakers import RowVoices

NAMES = OptionNames(
    "front_layer", "front", "front_bert", "front_pieces", "front_pca", "dtype", nothing=None, overrides=True
)
_ASKED = {
    "checkpoint": "--front FILE",
    "bert": "--bert FILE",
    "pieces": "--pieces FOLDER",
    "pca": "--pca FILE",
}
_SAME = ("sample_rate", "stride", "receptive_field", "dim", "normalize")  # what the files themselves say


def make_front(options: FeatureOptions, freeze_updates: int = -1) -> AudioFront:
    """For audio of `options.sample_rate`; it says in its spec where its files lie."""
    fine_tuned = freeze_updates >= 0
    if options.standardize == "speaker" and fine_tuned:
        raise ValueError(
            f"`front_standardize` is speaker and `freeze_updates` {freeze_updates}: the mean and scale of "
            "all that a speaker says are of features that stay; take utterance, or leave `freeze_updates` out"
        )
    features = make_features(options, NAMES, places=True)
    features.know(RowVoices())
    layer = whole_name(str(features.spec.layer))
    features.spec = dataclasses.replace(  # on no disk
        features.spec, layer=layer, store="fp32", fine_tuned=fine_tuned
    )
    if features.sample_rate != options.sample_rate:
        raise ValueError(
            f"`sample_rate` is {options.sample_rate}; {options.checkpoint} expects audio of "
            f"{features.sample_rate} Hz: set `sample_rate` to that"
        )
    return AudioFront(features, freeze_updates)


def rebuild_front(
    acoustic: Acoustic,
    checkpoint: str | None = None,
    bert: str | None = None,
    pieces: str | None = None,
    pca: str | None = None,
) -> AudioFront:
    """Audio → the features that `acoustic` was trained on, frozen; what it has learnt of them is in it.

    The arguments say where their files lie now. Those not given are looked for where they lay in training,
    then by their names beside the acoustic model and in this folder.
    """
    spec, given = acoustic.spec, {"checkpoint": checkpoint, "bert": bert, "pieces": pieces, "pca": pca}
    _check_layer(spec, given)
    beside = acoustic.path.parent
    paths = [_find(name, getattr(spec, name), place, beside) for name, place in given.items()]
    checkpoint, bert, pieces, pca = (None if path is None else str(path) for path in paths)
    options = FeatureOptions(
        str(spec.layer),
        checkpoint,
        bert,
        pieces,
        run_length=bool(spec.run_length),
        bands=spec.meaning("bands") or DEFAULT_BANDS,
        sample_rate=spec.sample_rate or 0,
        dtype=spec.meaning("dtype"),
        deltas=spec.meaning("deltas"),
        standardize=spec.meaning("standardize"),
    )
    features = build_features(options, NAMES)
    if pca is not None:
        features = PrincipalFeatures(features, read_principal(Path(pca)))
    for name in _SAME:
        before, now = spec.meaning(name), features.spec.meaning(name)
        if None not in (before, now) and before != now:
            raise CheckpointError(
                f"the acoustic model was trained on features whose `{name}` is {before!r}; those of "
                f"{checkpoint or spec.layer} have {now!r}: it is not what made them"
            )
    features.spec = spec
    front = AudioFront(features).eval()
    if acoustic.front_weights:
        load_weights(front, acoustic.front_weights, f"{acoustic.path}: what its front has learnt")
    return front


def _check_layer(spec: FeatureSpec, given: dict[str, str | None]) -> None:
    """Refuses features that only whoever made them can make."""
    name = str(spec.layer).partition(":")[0]
    if name not in LAYERS or spec.sample_rate is None:
        raise CheckpointError(
            f"the acoustic model says its features are layer {spec.layer!r} at {spec.sample_rate!r} Hz; "
            f"expected a layer and a rate, as features.json of `vqw2v features` has them: make its features "
            f"and decode these"
        )
    if not spec.has_times:
        raise CheckpointError(
            "the acoustic model's features are segments, or without the audio's silence, as `vqw2v segment` "
            "makes them: make them of this audio and decode these with fairseq-generate"
        )
    if not LAYERS[parse_layer(str(spec.layer)).name].needs and any(given[name] for name in FILES):
        raise CheckpointError(
            f"the acoustic model's features are of the layer {spec.layer}; leave out the checkpoints"
        )


def _find(what: str, held: FileId | None, given: str | None, beside: Path) -> Path | None:
    """Where the file lies that the spec holds: it is known by its hash. For pieces it is their folder."""
    if held is None:
        if given is not None:
            raise CheckpointError(f"the acoustic model's features need no {what}; leave out {given}")
        return None
    inner = MODEL if what == "pieces" else ""
    if given is not None:
        places = [Path(given) / inner]
    else:
        places = [Path(held.path or held.name), beside / held.name, Path(held.name)]
    there = [place for place in places if place.exists()]
    for place in there:
        if comes_from(place, held.sha256):
            return place.parent if inner else place
    if given is not None:
        fault = "is another file" if there else "is not there"
        raise CheckpointError(
            f"{places[0]}: {fault}; the acoustic model's features were made with the {what} {held.name!r} of "
            f"sha256 {held.sha256[:12]}…: say where that one is now"
        )
    raise CheckpointError(
        f"the acoustic model was trained on features of {held.name!r} (sha256 {held.sha256[:12]}…), which is "
        f"neither in {beside} nor in this folder; say where it is: `{_ASKED[what]}`"
    )

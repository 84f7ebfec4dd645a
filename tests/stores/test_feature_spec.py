"""What features are, in words: written and read back, old files understood, differences named."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from vqw2v_plugin.features.base import parse_layer
from vqw2v_plugin.features.builders import BUILDERS
from vqw2v_plugin.stores.feature_spec import FeatureSpec, FileId, first_difference, read_spec
from vqw2v_plugin.stores.features import FeatureError
from vqw2v_plugin.stores.layers import LAYERS, layer_names, spectral_names, whole_name

FILE = FileId("a.pt", "aa" * 32, "/runs/a.pt")
WHOLE = FeatureSpec(
    layer="bert:3",
    checkpoint=FILE,
    bert=FileId("b.pt", "bb" * 32),
    pieces=FileId("pieces.model", "cc" * 32),
    run_length=False,
    sample_rate=16_000,
    stride=160,
    receptive_field=465,
    dim=768,
    dtype="bf16",
    normalize=True,
    deltas=1,
    standardize="speaker",
    silence="energy",
    segments="runs",
    clusters=FileId("clusters", "ee" * 32),
    pca=FileId("pca.safetensors", "ff" * 32),
    pooled=2,
    store="fp16",
    device="cuda",
)
OTHER: dict[str, Any] = {
    "layer": "bert:2",
    "checkpoint": FileId("a.pt", "dd" * 32),
    "bert": FileId("b.pt", "dd" * 32),
    "pieces": None,
    "sample_rate": 8000,
    "stride": 320,
    "receptive_field": 400,
    "dim": 12,
    "dtype": "fp32",
    "normalize": False,
    "deltas": 2,
    "standardize": None,
    "silence": None,
    "segments": "spans",
    "clusters": FileId("clusters", "dd" * 32),
    "pca": None,
    "pooled": None,
}


def test_it_comes_back_as_it_was_written() -> None:
    assert FeatureSpec.from_json(json.loads(json.dumps(WHOLE.to_json()))) == WHOLE
    assert FeatureSpec.from_json(WHOLE.to_json()).checkpoint.path == "/runs/a.pt"  # type: ignore[union-attr]
    assert FeatureSpec().to_json() == {}


@pytest.mark.parametrize("name", OTHER)
def test_each_field_that_differs_is_named(name: str) -> None:
    other = replace(WHOLE, **{name: OTHER[name]})
    found = first_difference(WHOLE, other)
    assert found == (name, WHOLE.meaning(name), other.meaning(name))


def test_bands_and_run_length_are_compared_where_they_count() -> None:
    mel = FeatureSpec("mfcc:13", bands=40, sample_rate=16_000, stride=160, dim=13)
    assert first_difference(mel, replace(mel, bands=80)) == ("bands", 40, 80)
    runs = replace(WHOLE, pieces=None, run_length=True)
    assert first_difference(runs, replace(runs, run_length=False)) == ("run_length", True, False)
    assert first_difference(WHOLE, replace(WHOLE, run_length=True)) is None  # pieces join runs anyway


def test_the_same_features_are_the_same_wherever_files_lie() -> None:
    moved = FileId("c.pt", FILE.sha256, "/elsewhere/c.pt")
    assert first_difference(WHOLE, replace(WHOLE, checkpoint=moved, device="cpu", store="fp32")) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"layer": "bert"}, {"layer": "bert:-1", "dtype": "fp32", "store": "fp32", "run_length": False}),
        ({"layer": "mfcc", "dim": 13}, {"layer": "mfcc:13", "dim": 13, "bands": 80}),
        ({"layer": "logmel", "dim": 20}, {"layer": "logmel", "dim": 20, "bands": 20, "dtype": "bf16"}),
        ({"layer": "z"}, {"layer": "z", "normalize": True, "receptive_field": 465, "fine_tuned": False}),
        ({"layer": "z", "stride": 160.0, "splits": {}, "own": 3}, {"layer": "z", "stride": 160}),
        ({"layer": "z"}, {"layer": "z", "deltas": 0, "standardize": "none", "silence": "keep", "pooled": 1}),
    ],
)
def test_what_old_files_do_not_say_is_what_was_so_then(old: dict[str, Any], new: dict[str, Any]) -> None:
    for pair in ((old, new), (new, old)):
        assert first_difference(*map(FeatureSpec.from_json, pair)) is None


def test_a_front_may_begin_and_stop_to_learn_but_a_folder_has_nothing_of_it() -> None:
    frozen = replace(WHOLE, fine_tuned=False)
    learning = replace(frozen, fine_tuned=True, dtype="fp32")
    assert first_difference(frozen, learning) is None
    assert first_difference(learning, replace(learning, fine_tuned=False)) is None
    assert first_difference(learning, frozen) == ("dtype", "fp32", "bf16")
    assert first_difference(learning, replace(learning, fine_tuned=None)) == ("fine_tuned", True, False)
    assert first_difference(frozen, replace(learning, dim=3)) == ("dim", 768, 3)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"sample_rate": "16k"}, "`sample_rate` is '16k'; expected a whole number"),
        ({"stride": 1.5}, "`stride` is 1.5"),
        ({"dim": True}, "`dim` is True"),
        ({"run_length": 1}, "`run_length` is 1; expected true or false"),
        ({"layer": True}, "`layer` is True; expected a text"),
        ({"layer": "\ud800"}, r"`layer` is '\\ud800'; expected a text"),
        ({"pieces": 3}, "`pieces` is 3; expected its name and sha256"),
        ({"deltas": 3}, "`deltas` is 3; expected 0 to 2"),
        ({"deltas": -1}, "`deltas` is -1; expected 0 to 2"),
        ({"standardize": "clip"}, "`standardize` is 'clip'; expected one of none, utterance, speaker"),
        ({"checkpoint": {"name": "a.pt"}}, "`checkpoint` is {'name': 'a.pt'}; expected its name and sha256"),
    ],
)
def test_a_field_of_another_type_is_named(tmp_path: Path, content: dict[str, Any], says: str) -> None:
    (tmp_path / "features.json").write_text(json.dumps(content))
    with pytest.raises(FeatureError, match=f"features.json: {says}"):
        read_spec(tmp_path)


def test_what_was_written_by_hand_is_told_apart_by_its_name() -> None:
    mine = FeatureSpec.from_json({"layer": 3, "checkpoint": "mine.pt"})
    assert (mine.layer, mine.checkpoint) == ("3", FileId("mine.pt", "named mine.pt"))
    other = FeatureSpec.from_json({"layer": 3, "checkpoint": "other.pt"})
    assert first_difference(mine, other) == ("checkpoint", "named mine.pt", "named other.pt")


def test_a_frame_s_length_is_known_or_asked_for() -> None:
    assert WHOLE.frame_seconds == 0.01
    with pytest.raises(ValueError, match=r"features\.json says `stride` None and `sample_rate` 16000"):
        _ = replace(WHOLE, stride=None).frame_seconds
    with pytest.raises(ValueError, match=r"`stride` 160 and `sample_rate` None; expected samples from frame"):
        _ = replace(WHOLE, sample_rate=None).frame_seconds


def test_rows_of_segments_and_of_audio_without_silence_have_no_even_times() -> None:
    assert FeatureSpec("z").has_times and FeatureSpec("z", silence="keep").has_times
    assert (
        not FeatureSpec("z", silence="energy").has_times and not FeatureSpec("z", segments="runs").has_times
    )


def test_every_layer_has_a_builder_and_a_usual_number_if_any() -> None:
    assert LAYERS.keys() == BUILDERS.keys()
    for name, kind in LAYERS.items():
        layer = parse_layer(name)
        assert (str(layer), layer.number) == (whole_name(name), kind.number)
        assert FeatureSpec(layer=name).meaning("layer") == FeatureSpec(layer=str(layer)).meaning("layer")


def test_help_texts_name_every_layer() -> None:
    for text in (layer_names(), layer_names(titles=True)):
        assert all(name in text for name in LAYERS)
    assert layer_names() == "z, c, q, logmel, mfcc:N, bert:N, speech:N or w2v2:N"
    assert layer_names(titles=True) == (
        "z, c (context), q (quantized), logmel, mfcc:N (N cepstra; mfcc: 13), "
        "bert:N (its N-th layer; bert: -1; 0: embeddings, -1: last), "
        "speech:N (the N-th layer of a BERT over speech; speech: -1; 0: projection, -1: last) or "
        "w2v2:N (the N-th layer of a wav2vec 2.0; w2v2: -1; 0: what the first hears, -1: last)"
    )
    assert spectral_names() == "logmel and mfcc"


def test_every_field_is_compared_but_how_it_is_stored_and_the_device() -> None:
    """Whoever adds a field says here what two values of it mean."""
    tried = {*OTHER, "bands", "run_length", "fine_tuned", "store", "device"}
    assert tried == {f.name for f in fields(FeatureSpec)}

"""The options of a model's front: each reaches what makes its features, and none is taken without audio."""

from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("fairseq")

from vqw2v_plugin.features.base import FeatureOptions
from vqw2v_plugin.stores.feature_spec import FeatureSpec
from vqw2v_plugin.training.front_options import FRONT, front_of, front_options, front_settings

ARRIVE = {  # option: a value that is no default, and where it goes
    "front": ("vq.pt", "checkpoint"),
    "front_layer": ("bert:2", "layer"),
    "front_bert": ("bert.pt", "bert"),
    "front_pieces": ("pieces", "pieces"),
    "front_run_length": (True, "run_length"),
    "front_bands": (23, "bands"),
    "front_deltas": (2, "deltas"),
    "front_standardize": ("speaker", "standardize"),
    "front_pca": ("pca.safetensors", "pca"),
}


def options(**said: Any) -> FeatureOptions:
    return front_options({**FRONT, **said}, 8_000)


def test_every_option_is_one_of_these() -> None:
    assert FRONT.keys() == {*ARRIVE, "freeze_updates"}


def test_who_says_nothing_gets_plain_log_mels_that_do_not_learn() -> None:
    said = {"front_run_length": False, "front_bands": 80, "front_deltas": 0, "front_standardize": "none"}
    assert FRONT == {**dict.fromkeys(FRONT), **said, "freeze_updates": -1}


@pytest.mark.parametrize("name", ARRIVE)
def test_each_option_reaches_the_features_alone_and_with_all_others(name: str) -> None:
    value, field = ARRIVE[name]
    assert FRONT[name] != value
    found, plain, all_ = (
        options(**{name: value}),
        options(),
        options(**{n: v for n, (v, _) in ARRIVE.items()}),
    )
    changed = {f.name for f in fields(found) if getattr(found, f.name) != getattr(plain, f.name)}
    assert changed == ({field, "layer"} if name == "front" else {field})
    assert getattr(found, field) == getattr(all_, field) == value and all_.sample_rate == 8_000


def test_the_layer_is_c_of_a_checkpoint_and_log_mels_without() -> None:
    assert options().layer == "logmel" and options(front="vq.pt").layer == "c"


@pytest.mark.parametrize("name", FRONT)
def test_no_option_is_taken_beside_features(name: str) -> None:
    value = 5 if name == "freeze_updates" else ARRIVE[name][0]
    spec = FeatureSpec(layer="logmel")
    assert front_of(SimpleNamespace(**FRONT), 80, spec) == (None, 80, spec)
    with pytest.raises(ValueError, match=f"`{name}` is .*, but `data` holds features"):
        front_of(SimpleNamespace(**{**FRONT, name: value}), 80, spec)
    assert front_settings(SimpleNamespace(**{name: value})) == {**FRONT, name: value}

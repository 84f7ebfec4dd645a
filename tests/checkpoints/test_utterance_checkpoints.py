"""Heads for utterances: weights are for their classes in their order, and for features as in training."""

import pytest

from vqw2v_plugin.checkpoints.files import CheckpointError
from vqw2v_plugin.checkpoints.utterance import AboutUtterances, about_of
from vqw2v_plugin.modules.utterance.network import UtteranceConfig
from vqw2v_plugin.stores.feature_spec import FeatureSpec
from vqw2v_plugin.text.classes import Classes

LOGMEL, OTHER = FeatureSpec(layer="logmel", bands=80), FeatureSpec(layer="logmel", bands=40)


def about(names: str = "a b", *specs: FeatureSpec) -> AboutUtterances:
    found = specs or (LOGMEL,)
    return about_of(Classes(tuple(names.split())), UtteranceConfig(8, 2, num_layers=len(found)), found)


def test_the_same_classes_and_features_are_the_same() -> None:
    about("a b", LOGMEL, OTHER).check_same(about("a b", LOGMEL, OTHER).content)


@pytest.mark.parametrize("names", ["b a", "a c", "a b c"])
def test_other_classes_or_another_order_of_them_are_refused(names: str) -> None:
    with pytest.raises(CheckpointError, match=r"the checkpoint's classes are .*, here they are"):
        about(names).check_same(about("a b").content)


@pytest.mark.parametrize(
    ("here", "said"),
    [
        ((OTHER, OTHER), "features 1 of 2 whose `bands` is 80, here it is 40"),
        ((LOGMEL, LOGMEL), "features 2 of 2 whose `bands` is 40, here it is 80"),
        ((OTHER, LOGMEL), "features 1 of 2"),
        ((LOGMEL,), "on 2 layers, here are 1"),
    ],
)
def test_other_features_of_any_layer_are_refused(here: tuple[FeatureSpec, ...], said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        about("a b", *here).check_same(about("a b", LOGMEL, OTHER).content)

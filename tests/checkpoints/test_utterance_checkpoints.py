"""Heads for utterances: weights are for their classes in their order, and for features as in training."""

import dataclasses

import pytest

from vqw2v_plugin.checkpoints.files import CheckpointError
from vqw2v_plugin.checkpoints.kinds import Header
from vqw2v_plugin.checkpoints.utterance import KIND, AboutUtterances, about_of
from vqw2v_plugin.modules.utterance.network import UtteranceConfig, UtteranceNetwork
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


def head(**settings: object) -> tuple[Header, UtteranceNetwork]:
    config = UtteranceConfig(8, 2, **settings)  # type: ignore[arg-type]
    said = about("a b").content
    header = Header(
        KIND.model, dict(said["network"], **settings), extra={k: said[k] for k in ("classes", "features")}
    )
    return header, UtteranceNetwork(config)


@pytest.mark.parametrize("scale", [0.0, -1.0])
def test_a_scale_that_is_not_positive_is_refused(scale: float) -> None:
    header, network = head()
    assert KIND.restore(header, network.state_dict(), "x.pt").summary.startswith("2 classes of utterances")
    network.scale.flatten()[0] = scale
    with pytest.raises(CheckpointError, match=r"x\.pt: `scale` holds numbers that are not positive"):
        KIND.restore(header, network.state_dict(), "x.pt")


@pytest.mark.parametrize(
    ("option", "value"),
    [("hidden_dim", 77), ("pooling", "attentive"), ("normalize_features", "utterance"), ("dropout", 0.7)],
)
def test_a_trainer_s_options_are_those_of_its_network(option: str, value: object) -> None:
    header, _ = head()
    own = KIND.state(header)["cfg"]["model"]
    KIND.check_options(header, KIND.model, own)
    KIND.check_options(header, KIND.model, {**own, option: None})
    with pytest.raises(ValueError, match=f"`{option}` is .*; expected the same"):
        KIND.check_options(header, KIND.model, {**own, option: value})


@pytest.mark.parametrize(
    ("name", "says"), [("num_classes", "is 3; expected the 2"), ("num_layers", "is 3; expected the 1")]
)
def test_a_head_is_of_as_many_classes_and_layers_as_it_says(name: str, says: str) -> None:
    header, _ = head()
    with pytest.raises(ValueError, match=f"`{name}` {says} that it says"):
        KIND.build(dataclasses.replace(header, settings={**header.settings, name: 3}))


def test_a_front_s_options_go_with_its_head() -> None:
    header, _ = head()
    front = {"front": "a.pt", "front_layer": "z", "freeze_updates": 150}
    state = KIND.state(dataclasses.replace(header, extra={**header.extra, "front": front}))
    assert front.items() <= state["cfg"]["model"].items()
    again = KIND.header(state)
    assert again.extra["front"] == front and again.settings == header.settings
    assert "front" not in KIND.header(KIND.state(header)).extra

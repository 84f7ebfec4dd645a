"""An acoustic checkpoint alone is enough to hear with: network, symbols, transitions, source of features."""

import argparse
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vqw2v_plugin.checkpoints.about import About, describe
from vqw2v_plugin.checkpoints.acoustic import KIND, load_acoustic, make_network
from vqw2v_plugin.checkpoints.bert import build_bert, save_bert
from vqw2v_plugin.checkpoints.files import CheckpointError
from vqw2v_plugin.checkpoints.format import load_any
from vqw2v_plugin.checkpoints.wav2vec import Imported, Loaded, save_checkpoint
from vqw2v_plugin.features import acoustic_front
from vqw2v_plugin.features.acoustic_front import make_front, rebuild_front
from vqw2v_plugin.features.base import FeatureOptions, Features
from vqw2v_plugin.features.front import AudioFront
from vqw2v_plugin.features.registry import OptionNames
from vqw2v_plugin.modules.acoustic.network import AcousticConfig
from vqw2v_plugin.modules.bert.vocabulary import Symbols
from vqw2v_plugin.modules.layers.masks import SpecMasks
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.stores.feature_spec import FeatureSpec
from vqw2v_plugin.text.units import Units, asg_units, ctc_units

LETTERS = list("abcé'|")
SPEC = FeatureSpec("logmel", sample_rate=16_000, stride=160, dim=12)
Tiny = Callable[..., VqWav2Vec]


class Model(nn.Module):
    """As fairseq's trainer sees it."""

    def __init__(self, units: Units, spec: FeatureSpec, dim: int, front: AudioFront | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        masks = SpecMasks(time_masks=2)
        config = AcousticConfig(dim, len(units), "[(16, 5, 2), (16, 3)]", "prelu", "weight", 0.2, masks=masks)
        self.network, self.front = make_network(config, units), front
        self.about = About(describe(units, config, 0.02, spec))
        with torch.no_grad():
            for p in self.network.parameters():
                p.add_(torch.randn_like(p) * 0.1)


def saved(path: Path, model: nn.Module, **more: Any) -> Path:
    state = {"cfg": {"model": {"_name": "vq_wav2letter_tiny"}}, "args": None, "extra_state": {"epoch": 3}}
    torch.save({**state, "model": model.state_dict(), **more}, path)
    return path


@pytest.fixture
def vq(tiny: Tiny, tmp_path: Path) -> str:
    loaded = Loaded(tiny(quantizer="gumbel").eval(), 16_000, False)
    save_checkpoint(Imported(loaded, False, 0, []), tmp_path / "vq.pt")
    return str(tmp_path / "vq.pt")


@pytest.fixture
def bert(tmp_path: Path) -> str:
    sizes = {"encoder_layers": 2, "encoder_embed_dim": 16, "encoder_ffn_embed_dim": 32}
    torch.manual_seed(1)
    symbols = Symbols(tuple(f"{i}-{j}" for i in range(8) for j in range(8)))
    save_bert(tmp_path / "bert.pt", build_bert({**sizes, "encoder_attention_heads": 2}, symbols))
    return str(tmp_path / "bert.pt")


def wav() -> tuple[Tensor, Tensor]:
    return 0.1 * torch.randn(1, 4000, generator=torch.Generator().manual_seed(4)), torch.tensor([4000])


@pytest.mark.parametrize("units", [ctc_units(LETTERS), asg_units(LETTERS, "phones")], ids=["ctc", "asg"])
def test_it_comes_back_as_it_was_saved(units: Units, tmp_path: Path) -> None:
    model = Model(units, SPEC, 12).eval()
    before = torch.random.get_rng_state()
    acoustic = load_acoustic(saved(tmp_path / "a.pt", model))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert acoustic.units == units and acoustic.spec == SPEC and acoustic.frame_seconds == 0.02
    assert acoustic.network.config == model.network.config and not acoustic.network.training
    x, lengths = torch.randn(2, 30, 12), torch.tensor([30, 21])
    with torch.no_grad():
        assert torch.equal(acoustic.network(x, lengths).emissions, model.network(x, lengths).emissions)
    if not units.loss.has_transitions:
        assert acoustic.transitions is None
    else:
        assert torch.equal(acoustic.transitions, model.network.transitions)


def test_a_halved_checkpoint_is_read_in_float32(tmp_path: Path) -> None:
    model = Model(asg_units(LETTERS), SPEC, 12).bfloat16()
    acoustic = load_acoustic(saved(tmp_path / "a.pt", model))
    assert {p.dtype for p in acoustic.network.parameters()} == {torch.float32}
    assert torch.equal(acoustic.transitions, model.network.transitions.float())


def front_of(vq: str, bert: str | None, layer: str, freeze_updates: int = -1) -> AudioFront:
    return make_front(FeatureOptions(layer, vq, bert, run_length=True), freeze_updates)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("layer", ["z", "c", "q", "bert:1"])
def test_its_front_gives_the_features_of_training(
    vq: str, bert: str, tmp_path: Path, layer: str, dtype: str
) -> None:
    files = (layer, vq, bert if layer.startswith("bert") else None)
    front = make_front(FeatureOptions(*files, run_length=True, dtype=dtype))
    model = Model(ctc_units(LETTERS), front.spec, 16, front)
    made = rebuild_front(load_acoustic(saved(tmp_path / "a.pt", model)))
    assert not made.training and torch.equal(made(*wav())[0], front(*wav())[0])


@pytest.mark.parametrize(("layer", "dim"), [("logmel", 12), ("mfcc:7", 7)])
def test_spectra_need_no_file(layer: str, dim: int, tmp_path: Path) -> None:
    front = make_front(FeatureOptions(layer, bands=12))
    assert front.spec.dim == dim
    acoustic = load_acoustic(saved(tmp_path / "a.pt", Model(ctc_units(LETTERS), front.spec, dim, front)))
    rebuilt = rebuild_front(acoustic)
    assert torch.equal(rebuilt(*wav())[0], front(*wav())[0]) and rebuilt.spec is acoustic.spec
    with pytest.raises(CheckpointError, match=f"are of the layer {layer}; leave out the checkpoints"):
        rebuild_front(acoustic, "vq.pt")


def test_spectra_are_made_again_of_audio_of_their_rate(tmp_path: Path) -> None:
    front = make_front(
        FeatureOptions("logmel", bands=12, sample_rate=8_000, deltas=1, standardize="utterance")
    )
    acoustic = load_acoustic(saved(tmp_path / "a.pt", Model(ctc_units(LETTERS), front.spec, 24, front)))
    rebuilt = rebuild_front(acoustic)
    assert rebuilt.features.sample_rate == 8_000 and rebuilt.features.stride == 80
    assert torch.equal(rebuilt(*wav())[0], front(*wav())[0])


def test_a_layer_is_kept_with_the_number_that_was_left_out() -> None:
    spec = make_front(FeatureOptions("mfcc")).spec
    assert (spec.layer, spec.store, spec.fine_tuned) == ("mfcc:13", "fp32", False)  # and that none is rounded


@pytest.mark.parametrize(("freeze_updates", "learns"), [(-1, False), (0, True), (1, True)])
def test_features_that_learn_from_some_update_on_are_said_to(
    vq: str, freeze_updates: int, learns: bool
) -> None:
    assert front_of(vq, None, "z", freeze_updates).spec.fine_tuned == learns


def test_moved_files_are_found_or_asked_for_and_known_by_their_hash(
    vq: str, bert: str, tiny: Tiny, tmp_path: Path
) -> None:
    front = front_of(vq, bert, "bert")
    expected = front(*wav())[0]
    path = saved(tmp_path / "a.pt", Model(ctc_units(LETTERS), front.spec, 16, front))
    (tmp_path / "new").mkdir()
    moved = {name: shutil.move(tmp_path / name, tmp_path / "new" / name) for name in ("vq.pt", "bert.pt")}
    acoustic = load_acoustic(path)
    with pytest.raises(CheckpointError, match=r"trained on features of 'vq.pt' .*: `--front FILE`"):
        rebuild_front(acoustic)
    with pytest.raises(CheckpointError, match=r"trained on features of 'bert.pt' .*: `--bert FILE`"):
        rebuild_front(acoustic, moved["vq.pt"])
    with pytest.raises(CheckpointError, match=r"nowhere.pt: is not there; .* the bert 'bert.pt' of sha256"):
        rebuild_front(acoustic, moved["vq.pt"], str(tmp_path / "nowhere.pt"))
    with pytest.raises(CheckpointError, match=r"bert.pt: is another file; .* checkpoint 'vq.pt'"):
        rebuild_front(acoustic, moved["bert.pt"], moved["bert.pt"])
    assert torch.equal(rebuild_front(acoustic, moved["vq.pt"], moved["bert.pt"])(*wav())[0], expected)
    beside = load_acoustic(shutil.move(path, tmp_path / "new" / "a.pt"))  # with all three in one folder
    assert torch.equal(rebuild_front(beside)(*wav())[0], expected)
    no_bert = replace(acoustic, spec=replace(front.spec, layer="z", bert=None))
    with pytest.raises(CheckpointError, match="features need no bert; leave out"):
        rebuild_front(no_bert, moved["vq.pt"], moved["bert.pt"])


def test_a_front_is_looked_for_where_it_lay_then_beside_the_model_then_here(
    vq: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("model", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    path = saved(tmp_path / "model/a.pt", Model(ctc_units(LETTERS), front_of(vq, None, "z").spec, 16))
    acoustic = load_acoustic(path)
    built: list[str] = []
    build = acoustic_front.build_features

    def noted(options: FeatureOptions, names: OptionNames) -> Features:
        built.append(str(Path(str(options.checkpoint)).resolve()))
        return build(options, names)

    monkeypatch.setattr(acoustic_front, "build_features", noted)
    places = [Path(vq), tmp_path / "model/vq.pt", tmp_path / "here/vq.pt"]
    for place in places[1:]:
        shutil.copy(vq, place)
    for place in places:
        rebuild_front(acoustic)
        place.write_bytes(b"another file of that name")  # a name alone says nothing
    assert built == [str(place) for place in places]
    with pytest.raises(CheckpointError, match=r"neither in .*model nor in this folder"):
        rebuild_front(acoustic)


@pytest.mark.parametrize(
    ("name", "other"),
    [("sample_rate", 8_000), ("stride", 7), ("receptive_field", 7), ("dim", 7), ("normalize", True)],
)
def test_features_that_are_not_those_of_training_are_refused_by_what_differs(
    vq: str, tmp_path: Path, name: str, other: object
) -> None:
    acoustic = load_acoustic(
        saved(tmp_path / "a.pt", Model(ctc_units(LETTERS), front_of(vq, None, "z").spec, 16))
    )
    now = getattr(acoustic.spec, name)
    wrong = replace(acoustic, spec=replace(acoustic.spec, **{name: other}))
    with pytest.raises(
        CheckpointError, match=rf"whose `{name}` is {other!r}; those of .*vq\.pt have {now!r}"
    ):
        rebuild_front(wrong)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"layer": "mine"}, "its features are layer 'mine' at 16000 Hz; expected a layer and a rate"),
        ({"layer": None}, "its features are layer None at 16000 Hz; expected a layer and a rate"),
        ({"sample_rate": None}, "its features are layer 'logmel' at None Hz; expected a layer and a rate"),
    ],
)
def test_features_of_a_layer_that_there_is_not_cannot_be_made(
    changes: dict[str, Any], says: str, tmp_path: Path
) -> None:
    acoustic = load_acoustic(saved(tmp_path / "a.pt", Model(ctc_units(LETTERS), SPEC, 12)))
    with pytest.raises(CheckpointError, match=says):
        rebuild_front(replace(acoustic, spec=replace(acoustic.spec, **changes)))


def test_a_front_that_has_learnt_is_in_the_checkpoint(vq: str, tmp_path: Path) -> None:
    front = front_of(vq, None, "z", freeze_updates=0)
    with torch.no_grad():
        for p in front.parameters():
            p.mul_(1.3)
    acoustic = load_acoustic(saved(tmp_path / "a.pt", Model(ctc_units(LETTERS), front.spec, 16, front)))
    learnt, first = rebuild_front(acoustic), front_of(vq, None, "z")
    assert not torch.allclose(learnt(*wav())[0], first(*wav())[0], atol=1e-3)
    torch.testing.assert_close(learnt(*wav())[0], front.eval()(*wav())[0].detach(), atol=2e-4, rtol=1e-3)


class Stranger:
    pass


def test_wrong_files_are_refused_by_name(vq: str, tmp_path: Path) -> None:
    model = Model(ctc_units(LETTERS), SPEC, 12)
    path = tmp_path / "a.pt"

    def says(text: str) -> None:
        with pytest.raises(CheckpointError, match=text):
            load_acoustic(path)

    says("a.pt is no file")
    path.write_bytes(b"hello")
    says("cannot be read as a checkpoint")
    shutil.copy(vq, path)
    says("a.pt holds the model 'vq_wav2vec'; expected an acoustic model")
    saved(path, model, extra=Stranger())
    says("is refused and nothing in it was run: it carries the Python object `.*Stranger`")
    saved(path, model, args=argparse.Namespace(arch="x"))
    says("holds `args` as argparse.Namespace")


def test_what_is_damaged_is_named(tmp_path: Path) -> None:
    def says(text: str, change: Callable[[dict[str, Any]], object]) -> None:
        state = Model(ctc_units(LETTERS), SPEC, 12).state_dict()
        change(state)
        torch.save({"model": state}, tmp_path / "a.pt")
        with pytest.raises(CheckpointError, match=text):
            load_acoustic(tmp_path / "a.pt")

    def words(text: str) -> Callable[[dict[str, Any]], object]:
        return lambda state: state.update({"about.version_1": torch.tensor(list(text.encode()))})

    says(r"a\.pt: what the checkpoint says of its model is no json", words("{"))
    says("expected an object", words("[]"))
    says("its `network` is None; expected the network's settings", words("{}"))
    says("`symbols` is missing; expected tuple", words('{"network": {}}'))
    says("is no json", lambda state: state.update({"about.version_1": torch.tensor([999])}))
    weight = "network.stack.blocks.0.conv.bias"
    own = weight.removeprefix("network.")
    says(f"do not fit: `{own}` is missing", lambda state: state.pop(weight))
    says(
        rf"do not fit: `{own}` has the shape \[3\], expected",
        lambda state: state.update({weight: torch.zeros(3)}),
    )
    says("holds NaN or infinity", lambda state: state[weight].fill_(torch.nan))


@pytest.mark.parametrize("units", [ctc_units(LETTERS), asg_units(LETTERS)], ids=["ctc", "asg"])
def test_weights_for_other_words_are_refused_by_what_differs(units: Units) -> None:
    config = AcousticConfig(12, len(units))
    content = describe(units, config, 0.02, SPEC)
    held, own = About(content).state_dict(), About(content)
    own.load_state_dict(held)
    other = {
        "loss": "dtw",
        "kind": "phones",
        "symbols": [*units.symbols[1:], units.symbols[0]],
        "repeats": ["7"],
    }
    for name, value in other.items():
        with pytest.raises(CheckpointError, match=f"the checkpoint's `{name}` are .*, here they are "):
            own.load_state_dict(About({**content, name: value}).state_dict())
        unsaid = {key: said for key, said in content.items() if key != name}
        with pytest.raises(CheckpointError, match=f"the checkpoint's `{name}` are None, here they are "):
            own.load_state_dict(About(unsaid).state_dict())
    features = {**SPEC.to_json(), "dim": 13}
    with pytest.raises(CheckpointError, match="trained on features whose `bands` is 13, here it is 12"):
        own.load_state_dict(About({**content, "features": features}).state_dict())
    with pytest.raises(RuntimeError, match=r"version_1"):
        own.load_state_dict({})
    reordered = About(dict(reversed(content.items()))).state_dict()
    assert torch.equal(reordered["version_1"], held["version_1"])  # so averaging finds the same words


@pytest.mark.parametrize("units", [ctc_units(LETTERS), asg_units(LETTERS)], ids=["ctc", "asg"])
def test_a_trainer_s_file_says_again_what_its_task_and_criterion_are(units: Units, tmp_path: Path) -> None:
    restored = load_any(saved(tmp_path / "a.pt", Model(units, SPEC, 12)))
    state = KIND.state(restored.header)
    assert state["task_state"]["acoustic"] == {
        "symbols": sorted(LETTERS, key=units.symbols.index),
        "kind": units.kind,
        "loss": units.loss.name,
        "repeats": len(units.repeats),
    }
    assert state["cfg"]["criterion"] == {"_name": units.loss.criterion}
    model = state["cfg"]["model"]
    assert (model["time_masks"], model["conv_layers"]) == (2, "[(16, 5, 2), (16, 3)]")
    assert (model["normalize_features"], model["dropout"]) == ("utterance", 0.2)
    network = load_acoustic(tmp_path / "a.pt").network
    assert not any(p.requires_grad for p in network.parameters())


def test_words_tell_an_acoustic_model_without_a_name(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", Model(ctc_units(LETTERS), SPEC, 12), cfg=None)
    assert load_acoustic(path).units == ctc_units(LETTERS)


def test_options_are_the_network_s_and_those_not_given_the_arch_s(tmp_path: Path) -> None:
    """fairseq builds from the options; what these do not say its arch does."""
    header = load_any(saved(tmp_path / "a.pt", Model(ctc_units(LETTERS), SPEC, 12))).header
    said = {"conv_layers": "[(16, 5, 2), (16, 3)]", "activation": "prelu", "norm": "weight", "dropout": 0.2}
    name = "vq_wav2letter_tiny"
    KIND.check_options(header, name, said)
    KIND.check_options(header, name, {**said, "normalize_features": "utterance", "other": 3})
    KIND.check_options(header, name, {**said, "normalize_features": None})
    for option, value in {"normalize_features": "none", "dropout": 0.0, "norm": "none"}.items():
        with pytest.raises(ValueError, match=f"`{option}` is {value!r}, and the network has"):
            KIND.check_options(header, name, {**said, option: value})
    for option in said:
        with pytest.raises(ValueError, match=f"`{option}` is .*, and the network has"):
            KIND.check_options(header, name, {**said, option: None})
    with pytest.raises(ValueError, match="the model is 'vq_wav2letter_big'; expected one of vq_wav2letter,"):
        KIND.check_options(header, "vq_wav2letter_big", said)
    other = replace(header, settings={**header.settings, "normalize": "none"})
    with pytest.raises(ValueError, match="`normalize_features` is 'utterance', and the network has 'none'"):
        KIND.check_options(other, name, said)


def test_the_first_column_behind_the_last_is_no_blank(tmp_path: Path) -> None:
    model = Model(ctc_units(LETTERS), SPEC, 12)
    model.about.content["blank"] = len(ctc_units(LETTERS))
    with pytest.raises(CheckpointError, match=r"`blank` is 7; expected one of the 7 columns"):
        load_acoustic(saved(tmp_path / "a.pt", model))

"""What fairseq sees of the acoustic model: archs, options, features at hand or made on the fly, its state."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("fairseq")
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import OmegaConf

import vqw2v_plugin
from vqw2v_plugin.audio.clip import Clip
from vqw2v_plugin.checkpoints.wav2vec import Imported, Loaded, save_checkpoint
from vqw2v_plugin.features.base import FeatureOptions
from vqw2v_plugin.modules.layers.masks import SpecMasks
from vqw2v_plugin.modules.layers.spectrum import LogMel
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.stores.feature_spec import FeatureSpec
from vqw2v_plugin.text.units import Units, asg_units, ctc_units

vqw2v_plugin.register()
from vqw2v_plugin.models.vq_wav2letter import VqWav2LetterConfig, VqWav2LetterModel
from vqw2v_plugin.training.front_options import front_options, front_settings

LETTERS = list("abc'|")
LOGMEL = {"layer": "logmel", "stride": 160, "sample_rate": 16_000, "dim": 20, "splits": {"train": {}}}
SMALL = {"conv_layers": "[(16, 5, 2), (16, 3)]"}
Tiny = Callable[..., VqWav2Vec]


def build(
    units: Units | None = None, dim: int = 20, stamp: dict[str, Any] | None = None, **given: Any
) -> VqWav2LetterModel:
    torch.manual_seed(0)
    cfg = VqWav2LetterConfig(**{"_name": "vq_wav2letter_tiny", **SMALL, **given})
    units = units or ctc_units(LETTERS)
    spec = FeatureSpec.from_json(stamp or LOGMEL)
    return VqWav2LetterModel.build_model(
        cfg, SimpleNamespace(units=units, feature_dim=dim, feature_spec=spec)
    )


@pytest.fixture
def front(tiny: Tiny, tmp_path: Path) -> str:
    loaded = Loaded(tiny(quantizer="gumbel").eval(), 16_000, False)
    save_checkpoint(Imported(loaded, False, 0, []), tmp_path / "vq.pt")
    return str(tmp_path / "vq.pt")


def parsed(*arguments: str) -> Any:
    parser = options.get_training_parser()
    given = ["data", "--task", "vq_acoustic", "--criterion", "vq_ctc", *arguments]
    return convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, given)).model


def test_archs_and_options_reach_the_model_from_the_command_line() -> None:
    cfg = parsed("--arch", "vq_wav2letter_timit", "--time-masks", "2", "--front-layer", "bert:3")
    assert (cfg._name, cfg.time_masks, cfg.front_layer, cfg.dropout) == (
        "vq_wav2letter_timit",
        2,
        "bert:3",
        None,
    )
    task = SimpleNamespace(
        units=asg_units(LETTERS), feature_dim=20, feature_spec=FeatureSpec.from_json(LOGMEL)
    )
    cfg = parsed("--arch", "vq_wav2letter_tiny", "--dropout", "0.25", "--norm", "none", "--time-masks", "2")
    network = VqWav2LetterModel.build_model(cfg, task).network
    assert (network.config.dropout, network.config.norm, network.config.masks.time_masks) == (0.25, "none", 2)
    assert network.stride == 2 and network.stack.blocks[0].layer.dropout == 0.25


@pytest.mark.parametrize(
    ("arch", "blocks", "stride", "activation"),
    [("timit", 7, 1, "prelu"), ("wsj", 18, 1, "glu"), ("tiny", 5, 2, "gelu")],
)
def test_an_arch_is_the_stack_of_its_name(arch: str, blocks: int, stride: int, activation: str) -> None:
    with torch.device("meta"):
        model = build(conv_layers=None, _name=f"vq_wav2letter_{arch}")
    assert len(model.network.stack.blocks) == blocks and model.network.config.activation == activation
    assert model.network.stride == stride and model.frame_seconds == pytest.approx(0.01 * stride)


@pytest.mark.parametrize("units", [ctc_units(LETTERS), asg_units(LETTERS)], ids=["ctc", "asg"])
def test_features_at_hand(units: Units) -> None:
    model = build(units).eval()
    out = model(source=torch.randn(2, 31, 20), lengths=torch.tensor([31, 20]))
    assert out.emissions.shape == (2, 16, len(units)) and out.lengths.tolist() == [16, 10]
    assert model.frames(31) == 16 and model.units is units and model.max_positions() > 10**9
    assert (model.network.transitions is not None) == units.loss.has_transitions
    assert "splits" not in model.about.content["features"]


def test_audio_without_a_front_is_heard_as_log_mels() -> None:
    model = build(dim=0, stamp={"sample_rate": 8000}, front_bands=23).eval()
    wav = torch.randn(2, 4000)
    out = model(source=wav, lengths=torch.tensor([4000, 2500]))
    mel = LogMel(8000, 23)
    alone = model.network(mel(wav[1, :2500])[None], torch.tensor([mel.frames(2500)]))
    assert out.lengths.tolist() == [model.frames(4000), model.frames(2500)]
    torch.testing.assert_close(out.emissions[1, : out.lengths[1]], alone.emissions[0], atol=1e-5, rtol=0)
    assert model.frame_seconds == 0.02 and not [k for k in model.state_dict() if k.startswith("front")]


@pytest.mark.parametrize("layer", ["z", "c", "q", None])
def test_a_checkpoint_s_features_are_made_on_the_fly(front: str, layer: str | None) -> None:
    model = build(dim=0, stamp={"sample_rate": 16_000}, front=front, front_layer=layer).train()
    out = model(source=torch.randn(2, 4000), lengths=torch.tensor([4000, 2500]))
    loss = model.network.sequence_loss(
        out.emissions, out.lengths, torch.tensor([[1, 2], [3, 0]]), torch.tensor([2, 1])
    )
    loss.sum().backward()
    graded = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert graded == {"network"} and model.network.config.in_dim == 16
    stamp = model.about.content["features"]
    assert (stamp["layer"], stamp["stride"], len(stamp["checkpoint"]["sha256"])) == (layer or "c", 40, 64)
    assert model.frame_seconds == pytest.approx(2 * 40 / 16_000)


def test_fine_tuning_begins_when_fairseq_says_the_update(front: str) -> None:
    model = build(dim=0, stamp={"sample_rate": 16_000}, front=front, freeze_updates=3).train()
    assert any(name.startswith("front.") for name in model.state_dict())
    for update, learns in ((2, False), (3, True)):
        model.set_num_updates(update)
        model.zero_grad()
        out = model(source=torch.randn(1, 4000), lengths=torch.tensor([4000]))
        out.emissions.square().sum().backward()
        grads = [p.grad for name, p in model.named_parameters() if "front.features.network.context" in name]
        assert all((grad is not None) == learns for grad in grads)


def test_bf16_reaches_the_network_and_leaves_the_front(front: str) -> None:
    model = build(asg_units(LETTERS), dim=0, stamp={"sample_rate": 16_000}, front=front).bfloat16()
    assert {p.dtype for p in model.network.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in model.front.parameters()} == {torch.float32}
    out = model(source=torch.randn(1, 4000).double(), lengths=torch.tensor([4000]))
    assert out.emissions.dtype == torch.float32


def test_weights_for_other_symbols_or_features_are_refused() -> None:
    state = build().state_dict()
    build().load_state_dict(state)
    with pytest.raises(ValueError, match=r"the checkpoint's `symbols` are .*use the labels"):
        build(ctc_units(list("abd'|"))).load_state_dict(state)
    with pytest.raises(ValueError, match="the checkpoint's `loss` are 'ctc', here they are 'asg'"):
        build(asg_units(LETTERS)).load_state_dict(state)
    with pytest.raises(ValueError, match="features whose `layer` is 'logmel', here it is 'z'"):
        build(stamp={**LOGMEL, "layer": "z"}).load_state_dict(state)
    del state["about.version_1"]
    with pytest.raises(RuntimeError, match=r"Missing key.*about\.version_1"):
        build().load_state_dict(state)


FILES = {name: {"name": f"{name}.pt", "sha256": 64 * "a"} for name in ("checkpoint", "bert", "pieces")}
BERT = {**LOGMEL, **FILES, "layer": "bert:2", "dtype": "fp32", "store": "fp16", "normalize": False}
OTHER = {name: {"name": f"{name}.pt", "sha256": 64 * "b"} for name in FILES}
OTHERS = [*OTHER.items(), ("pieces", None), ("layer", "bert:1"), ("dtype", "bf16")]


@pytest.mark.parametrize(("name", "value"), [*OTHERS, ("normalize", True), ("stride", 80)])
def test_a_training_is_not_resumed_on_features_that_differ_in_any_field(name: str, value: Any) -> None:
    state = build(stamp=BERT).state_dict()
    moved = {**BERT, "checkpoint": {**FILES["checkpoint"], "name": "moved.pt", "path": "/elsewhere/moved.pt"}}
    build(stamp=moved).load_state_dict(state)
    with pytest.raises(ValueError, match=f"trained on features whose `{name}` is .*, here it is "):
        build(stamp={**BERT, name: value}).load_state_dict(state)


def test_a_training_on_mel_bands_is_not_resumed_on_fewer_of_them() -> None:
    mfcc = {**LOGMEL, "layer": "mfcc:20", "bands": 80}
    state = build(stamp=mfcc).state_dict()
    with pytest.raises(ValueError, match="features whose `bands` is 80, here it is 40"):
        build(stamp={**mfcc, "bands": 40}).load_state_dict(state)


def test_fine_tuning_begins_with_a_model_of_stored_features(front: str, tmp_path: Path) -> None:
    """Stored ones were rounded to fp16; the front's are about to change anyway."""
    audio = {"sample_rate": 16_000}
    about = build(dim=0, stamp=audio, front=front).about.content["features"]
    stored = build(dim=16, stamp={**about, "store": "fp16", "fine_tuned": None})
    learning = build(dim=0, stamp=audio, front=front, freeze_updates=0)
    learning.load_state_dict(stored.state_dict())
    with pytest.raises(ValueError, match="features whose `fine_tuned` is True, here it is False"):
        build(dim=16, stamp={**about, "fine_tuned": None}).load_state_dict(learning.state_dict())
    build(dim=0, stamp=audio, front=front).load_state_dict(stored.state_dict())


def test_averaged_states_still_tell_what_they_are() -> None:
    """fairseq's script adds up the tensors of all checkpoints, and divides whole ones without a rest."""
    state = build().state_dict()
    total = {name: value.clone() for name, value in state.items()}
    for _ in range(9):
        for name, value in state.items():
            total[name] += value
    mean = {k: v.div(10) if v.is_floating_point() else v // 10 for k, v in total.items()}
    build().load_state_dict(mean)


@pytest.mark.parametrize("dim", [0, 20])
def test_checkpoints_from_before_an_option_are_built(dim: int) -> None:
    """fairseq-generate gives the settings of the file as they are."""
    cfg = OmegaConf.create(dataclasses.asdict(VqWav2LetterConfig(**{"_name": "vq_wav2letter_tiny", **SMALL})))
    del cfg.front_pieces
    spec = FeatureSpec.from_json(LOGMEL if dim else {"sample_rate": 16_000})
    task = SimpleNamespace(units=ctc_units(LETTERS), feature_dim=dim, feature_spec=spec)
    assert VqWav2LetterModel.build_model(cfg, task).about.content["features"]["layer"] == "logmel"


def test_what_does_not_go_together_is_named(front: str, tmp_path: Path) -> None:
    def says(text: str, **given: Any) -> None:
        with pytest.raises(ValueError, match=text):
            build(**{"dim": 0, "stamp": {"sample_rate": 16_000}, **given})

    says("`front` is .*vq.pt', but `data` holds features", dim=20, stamp=LOGMEL, front=front)
    says("`freeze_updates` is 3, but `data` holds features", dim=20, stamp=LOGMEL, freeze_updates=3)
    says(
        "`front` is None and `front_layer` is 'z'; expected a vq_wav2vec checkpoint; none is for logmel",
        front_layer="z",
    )
    says("`front_layer` is 'logmel'; expected", front=front, front_layer="logmel")
    says("`front_layer` is 'y'; expected z, c, q", front=front, front_layer="y")
    says("`front_layer` is 'bert:-1'; .*`front_bert`", front=front, front_layer="bert")
    says("`front_bert` is 'b.pt' and `front_layer` is 'z'", front=front, front_layer="z", front_bert="b.pt")
    says("`sample_rate` is 8000; .* expects audio of 16000 Hz", front=front, stamp={"sample_rate": 8000})
    says(
        r"`front` is .*nowhere.pt, which is not there; .*{'front': 'FILE'}",
        front=str(tmp_path / "nowhere.pt"),
    )
    says("log-mels and cepstra have nothing to learn", freeze_updates=0)
    says("features.json says `stride` None", dim=20, stamp={"layer": "own", "sample_rate": 16_000})


def test_every_option_of_a_front_reaches_its_features() -> None:
    cfg = VqWav2LetterConfig(
        front="vq.pt",
        front_layer="bert:2",
        front_bert="bert.pt",
        front_pieces="pieces",
        front_run_length=True,
        front_bands=23,
    )
    expected = FeatureOptions(
        layer="bert:2",
        checkpoint="vq.pt",
        bert="bert.pt",
        pieces="pieces",
        run_length=True,
        bands=23,
        sample_rate=8000,
    )
    assert front_options(front_settings(cfg), 8000) == expected


@pytest.mark.parametrize(
    ("by", "again"),
    [("speaker", "utterance"), ("speaker", "none"), ("none", "utterance"), ("utterance", "utterance")],
)
def test_who_takes_away_by_utterance_what_speakers_differ_in_is_warned(
    by: str, again: str, caplog: pytest.LogCaptureFixture
) -> None:
    build(stamp={**LOGMEL, "standardize": by}, normalize_features=again)
    warned = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == (by == "speaker" and again == "utterance")
    assert all("`normalize_features` does so by utterance again" in text for text in warned)


def test_it_says_what_it_is_made_of_and_how_often_it_answers(caplog: pytest.LogCaptureFixture) -> None:
    """Convolutions of 20 features to 16 channels and of these to 16, their norms, and six columns."""
    with caplog.at_level("INFO"):
        build()
    parameters = 16 * 20 * 5 + 16 * 16 * 3 + 2 * 3 * 16 + 6 * 17
    said = f"2 layers over 20 features (logmel), 6 symbols with CTC, {parameters:,} parameters"
    assert caplog.messages[-1] == f"vq_wav2letter: {said}; a frame of emissions every 20 ms"


def test_it_asks_whose_clips_it_hears_only_where_speakers_count() -> None:
    audio = {"dim": 0, "stamp": {"sample_rate": 16_000}}
    found = [build(**audio, front_standardize=by).wants_clips for by in ("speaker", "utterance", "none")]
    assert found == [True, False, False] and not build().wants_clips


def test_the_front_hears_of_which_clips_its_audio_is() -> None:
    model, told = build(dim=0, stamp={"sample_rate": 16_000}).eval(), list[Any]()
    front = model.front.forward

    def noted(source: torch.Tensor, lengths: torch.Tensor, clips: Any = None) -> Any:
        told.append(clips)
        return front(source, lengths)

    model.front.forward = noted
    clips = [Clip("a.flac", 4000)]
    model(source=torch.randn(1, 4000), lengths=torch.tensor([4000]), clips=clips)
    assert told == [clips]


def test_who_says_nothing_masks_nothing_and_each_mask_is_the_option_s() -> None:
    assert build().network.config.masks == SpecMasks() and build().network.config.normalize == "utterance"
    given = {"time_masks": 2, "time_mask_width": 7, "time_mask_share": 0.3}
    given |= {"feature_masks": 1, "feature_mask_width": 5}
    assert build(**given).network.config.masks == SpecMasks(2, 7, 0.3, 1, 5)
    assert build(normalize_features="none").network.config.normalize == "none"
    assert build(conv_layers=None).network.config.layers == "[(192, 7, 2)] + [(192, 7)] * 4"

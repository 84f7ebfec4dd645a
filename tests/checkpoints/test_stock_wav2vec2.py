"""Stock fairseq's pretrained wav2vec 2.0 becomes ours: today's `cfg` and the `args` of 2020, nothing run."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from wav2vec2s import LARGE_STYLE, TINY, noise

pytest.importorskip("fairseq")
from fairseq.models.wav2vec.wav2vec2 import Wav2Vec2Config, Wav2Vec2Model
from omegaconf import OmegaConf

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.checkpoints.files import CheckpointError
from vqw2v_plugin.checkpoints.format import load
from vqw2v_plugin.checkpoints.kinds import Audio
from vqw2v_plugin.checkpoints.stock_wav2vec2 import wav2vec2_settings_of_stock
from vqw2v_plugin.checkpoints.travel import import_checkpoint
from vqw2v_plugin.checkpoints.wav2vec2 import KIND
from vqw2v_plugin.modules.layers.conv_spec import parse_conv_layers
from vqw2v_plugin.modules.wav2vec2.config import Wav2Vec2Config as OurConfig
from vqw2v_plugin.stores.features import FeatureStore

DEFAULTS = {"quantize_targets": True, "latent_temp": (2.0, 0.5, 0.9)}


def stock(**options: Any) -> tuple[Wav2Vec2Model, dict[str, Any]]:
    torch.manual_seed(4)
    config = Wav2Vec2Config()
    for name, value in {**TINY, **DEFAULTS, **options}.items():
        setattr(config, name, value)
    return Wav2Vec2Model(config).eval(), {**vars(config), "_name": "wav2vec2"}


def write(path: Path, way: str, **options: Any) -> Wav2Vec2Model:
    """As stock's trainer does, now or in 2020."""
    model, said = stock(**options)
    state: dict[str, Any] = {"model": model.state_dict(), "optimizer_history": [{"num_updates": 40}]}
    if way == "cfg":
        cfg = {
            "model": said,
            "task": {"_name": "audio_pretraining", "data": "/data", "normalize": True},
            "optimization": {"max_update": 1000},
        }
        cfg = OmegaConf.create(cfg, flags={"allow_objects": True})
        state |= {"args": None, "cfg": OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)}
    else:
        args = {name: value for name, value in said.items() if not name.startswith("_")}
        args |= {"latent_temp": "(2,0.5,0.9)", "extractor_mode": str(said["extractor_mode"])}
        for young in (
            "quantizer_depth",
            "quantizer_factor",
            "layer_type",
            "conv_pos_batch_norm",
            "pos_conv_depth",
        ):
            args.pop(young, None)
        args |= {"arch": "wav2vec2", "normalize": True, "max_update": 1000, "lr": [0.1], "log_keys": ["temp"]}
        state["args"] = argparse.Namespace(**args)
    torch.save(state, path)
    return model


@pytest.mark.parametrize("style", [{}, LARGE_STYLE], ids=["BASE", "LARGE"])
@pytest.mark.parametrize("way", ["cfg", "args"])
@torch.no_grad()
def test_codes_and_layers_are_stock_s(
    way: str, style: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write(tmp_path / "stock.pt", way, **style)
    assert main(["import", str(tmp_path / "stock.pt"), str(tmp_path / "ours.pt")]) == 0
    said = capsys.readouterr()
    assert "2 layers of 24, quantizer gumbel, 2 × 9 codes, 16000 Hz" in said.out
    assert "unknown" not in said.out + said.err and "ignored" not in said.out + said.err
    ours = load(tmp_path / "ours.pt", KIND)
    assert ours.header.audio is not None and ours.header.audio.normalize
    assert ours.header.num_updates == 40 and ours.network.config.max_update == 1000
    assert ours.header.made_from["kind"] == f"stock wav2vec2, {'cfg' if way == 'cfg' else 'args of 2020'}"
    wav = noise(900)[None]
    assert torch.equal(ours.network.encode(wav), model.quantize(wav)[1])
    wanted = model.extract_features(wav, None)["x"][0]
    torch.testing.assert_close(ours.network.states(wav)[0][-1], wanted, rtol=1e-4, atol=1e-5)
    assert ours.network.config.latent_temp == [2.0, 0.5, 0.9]
    assert (ours.network.config.extractor_mode == "layer_norm") == bool(style)


@pytest.mark.parametrize("same", [False, True])
@torch.no_grad()
def test_one_that_hears_codes_hears_stock_s(same: bool, tmp_path: Path) -> None:
    model = write(tmp_path / "stock.pt", "cfg", quantize_input=True, same_quantizer=same, latent_dim=12)
    network = import_checkpoint(tmp_path / "stock.pt").network
    wav = noise(900)[None]
    assert torch.equal(network.encode(wav), model.quantize(wav)[1])
    wanted = model.extract_features(wav, None)["x"][0]
    torch.testing.assert_close(network.states(wav)[0][-1], wanted, rtol=1e-4, atol=1e-5)


def test_a_continuous_one_has_no_codes(tmp_path: Path) -> None:
    write(tmp_path / "stock.pt", "cfg", quantize_targets=False)
    restored = import_checkpoint(tmp_path / "stock.pt")
    assert restored.network.config.quantizer == "none" and not restored.network.has_codes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer_type": "conformer"}, "`layer_type` is 'conformer'; only a network of 'transformer'"),
        ({"pos_conv_depth": 5}, "`pos_conv_depth` is 5; only a network of 1"),
        ({"target_glu": True}, "`target_glu` is True; only a network of False"),
        ({"conv_pos_batch_norm": True}, "`conv_pos_batch_norm` is True; only a network of False"),
        ({"latent_temp": 3}, "`latent_temp` is 3; expected numbers"),
        ({"conv_feature_layers": "__import__('os').abort()"}, "`conv_feature_layers`"),
        ({"latent_temp": "open('x')"}, "`latent_temp` is "),
        ({"encoder_layers": 3}, "is missing"),
        ({"encoder_layers": 10**9}, "its settings give no network"),
        ({"latent_groups": 0}, "`latent_groups` is 0; expected at least 1"),
        ({"latent_groups": 7}, "must be divisible by `latent_groups` (7)"),
    ],
)
def test_another_network_is_refused_by_name(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    write(tmp_path / "a.pt", "cfg")
    state = torch.load(tmp_path / "a.pt", weights_only=True)
    state["cfg"]["model"] |= change
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(CheckpointError) as error:
        import_checkpoint(tmp_path / "a.pt")
    assert str(tmp_path / "a.pt") in str(error.value) and message in str(error.value), error.value


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("encoder.layers.0.self_attn.q_proj.weight", None, "layer 0 has no weight of all three"),
        ("encoder.layers.0.self_attn.q_proj.weight", torch.zeros(3), "a.pt: "),
        ("w2v_encoder.proj.weight", torch.zeros(3, 3), "has no place in vq_wav2vec2; is it a pretrained"),
        ("quantizer.vars", torch.zeros(1, 17, 6), "a.pt: "),
        ("mask_emb", torch.full((24,), float("nan")), "`mask` holds NaN or infinity"),
    ],
)
def test_weights_that_do_not_fit_are_named(
    name: str, change: torch.Tensor | None, message: str, tmp_path: Path
) -> None:
    write(tmp_path / "a.pt", "cfg")
    state = torch.load(tmp_path / "a.pt", weights_only=True)
    if change is None:
        del state["model"][name]
    else:
        state["model"][name] = change
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(CheckpointError) as error:
        import_checkpoint(tmp_path / "a.pt")
    assert message in str(error.value)


def test_what_neither_knows_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "a.pt", "cfg")
    state = torch.load(tmp_path / "a.pt", weights_only=True)
    state["cfg"]["model"]["of_a_fork"] = 3
    torch.save(state, tmp_path / "a.pt")
    assert list(import_checkpoint(tmp_path / "a.pt").ignored) == ["of_a_fork"]


def test_features_of_an_imported_one_are_stock_s(tmp_path: Path) -> None:
    import soundfile
    from torch.nn.functional import layer_norm

    from vqw2v_plugin.corpora.manifest import write_manifest

    model = write(tmp_path / "stock.pt", "cfg")
    soundfile.write(tmp_path / "a.wav", noise(2000).numpy(), 16_000, subtype="FLOAT")
    write_manifest(tmp_path / "m.tsv", tmp_path, [{"path": "a.wav", "samples": 2000}])
    main(["import", str(tmp_path / "stock.pt"), str(tmp_path / "ours.pt")])
    words = ["features", str(tmp_path / "ours.pt"), str(tmp_path / "m.tsv"), str(tmp_path / "f")]
    assert main([*words, "--layer", "w2v2:1", "--store", "fp32"]) == 0
    found = torch.from_numpy(FeatureStore(tmp_path / "f", "m")[0].copy())
    wav = noise(2000)[None]
    wanted = model.extract_features(layer_norm(wav, wav.shape), None, layer=0)["x"][0].detach()
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)


def test_what_a_file_does_not_say_is_stock_s_default() -> None:
    """Files of earlier versions lack what was new later; ours begins elsewhere."""
    held, known = Wav2Vec2Config(), vars(OurConfig())
    ours = vars(OurConfig(**wav2vec2_settings_of_stock({})))
    shared = {
        name: value for name, value in vars(held).items() if name in known and name != "conv_feature_layers"
    }
    assert len(shared) > 25
    assert {name: ours[name] for name in shared} == {
        **shared,
        "extractor_mode": "default",
        "activation_fn": "gelu",
        "latent_temp": [2, 0.5, 0.999995],
    }
    assert parse_conv_layers(ours["conv_feature_layers"]) == parse_conv_layers(held.conv_feature_layers)
    assert (ours["quantizer"], ours["quantizer_args"]) == ("none", "{}")
    nothing = dict.fromkeys(["final_dim", "latent_temp", "quantize_targets", "target_glu"])  # as args have it
    assert vars(OurConfig(**wav2vec2_settings_of_stock(nothing))) == ours


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, 3 * 512),
        ({"quantizer_factor": 2}, 2 * 512),
        ({"quantizer_factor": 2, "conv_feature_layers": "[(8, 10, 5), (24, 3, 2)]"}, 2 * 24),
    ],
)
def test_a_deep_head_is_as_wide_as_stock_s_factor_says(options: dict[str, Any], size: int) -> None:
    deep = {"quantizer_depth": 2, "quantize_targets": True, **options}
    assert json.loads(wav2vec2_settings_of_stock(deep)["quantizer_args"]) == {"head_dim": size}


def test_one_quantizer_for_both_where_there_is_one_is_that_one() -> None:
    """Stock asks for nothing more, and ours would refuse it."""
    for one in ("quantize_targets", "quantize_input"):
        settings = wav2vec2_settings_of_stock({"same_quantizer": True, one: True})
        assert not OurConfig(**settings).same_quantizer and settings["quantizer"] == "gumbel"
    both = {"same_quantizer": True, "quantize_targets": True, "quantize_input": True}
    assert OurConfig(**wav2vec2_settings_of_stock(both)).same_quantizer


def test_a_dictionary_is_for_another_model(tmp_path: Path) -> None:
    write(tmp_path / "a.pt", "cfg")
    with pytest.raises(
        CheckpointError, match=r"`--dict` goes with roberta or wav2vec_ctc; .*a\.pt is a wav2vec2"
    ):
        import_checkpoint(tmp_path / "a.pt", tmp_path / "dict.txt")


def test_weights_that_only_stock_s_training_uses_are_left_out(tmp_path: Path) -> None:
    write(tmp_path / "a.pt", "cfg")
    state = torch.load(tmp_path / "a.pt", weights_only=True)
    state["model"] |= {name: torch.zeros(2) for name in ("_ema.x", "target_proj.weight", "decoder.bias")}
    torch.save(state, tmp_path / "b.pt")
    there, without = (import_checkpoint(tmp_path / name) for name in ("b.pt", "a.pt"))
    assert there.weights.keys() == without.weights.keys()


@torch.no_grad()
def test_codes_of_a_deep_head_are_stock_s(tmp_path: Path) -> None:
    model = write(tmp_path / "stock.pt", "cfg", quantizer_depth=3, quantizer_factor=2)
    network, wav = import_checkpoint(tmp_path / "stock.pt").network, noise(2000)[None]
    assert torch.equal(network.encode(wav), model.quantize(wav)[1])


@pytest.mark.parametrize("way", ["cfg", "args"])
def test_audio_of_which_a_file_says_nothing_is_as_usual(way: str, tmp_path: Path) -> None:
    write(tmp_path / "a.pt", way)
    with torch.serialization.safe_globals([argparse.Namespace]):
        state = torch.load(tmp_path / "a.pt", weights_only=True)
    task = state["cfg"]["task"] if way == "cfg" else vars(state["args"])
    task.update(sample_rate=None, normalize=None)
    torch.save(state, tmp_path / "a.pt")
    assert import_checkpoint(tmp_path / "a.pt").header.audio == Audio(16_000, False)

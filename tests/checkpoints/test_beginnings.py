"""A training begins with another's weights as they were, or says in a sentence what does not fit."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import wav2vec2s
from stock_files import SMALL, stock_model, write_today

from vqw2v_plugin.checkpoints import wav2vec, wav2vec2
from vqw2v_plugin.checkpoints.beginnings import Part, check_audio, table, take_weights
from vqw2v_plugin.checkpoints.bert import KIND as BERT
from vqw2v_plugin.checkpoints.bert import build_bert, save_bert
from vqw2v_plugin.checkpoints.files import CheckpointError
from vqw2v_plugin.checkpoints.format import load
from vqw2v_plugin.checkpoints.kinds import Audio, Kind
from vqw2v_plugin.checkpoints.travel import export_folder, load_or_import
from vqw2v_plugin.checkpoints.wav2vec import Imported, Loaded, save_checkpoint
from vqw2v_plugin.modules.bert.vocabulary import Symbols
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec

WAV = 0.1 * torch.randn(1, 4_000, generator=torch.Generator().manual_seed(5))
KIND: Kind[Any] = wav2vec.KIND
CARED = '{"start": "frames", "ema_decay": 0.9, "revive_after": 5}'
KMEANS = {"quantizer": "kmeans", "quantizer_args": CARED}
Build = Callable[..., VqWav2Vec]


def trained(network: VqWav2Vec) -> VqWav2Vec:
    """As after two updates of some training: nothing in it is as it began, and its codes were counted."""
    network.train()
    network.objective(WAV.repeat(2, 1)).loss.backward()
    network.set_num_updates(2)
    for number, parameter in enumerate(network.parameters()):
        drawn = torch.Generator().manual_seed(number)
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=drawn)
    return network.eval()


@pytest.fixture
def saved(tiny: Build, tmp_path: Path) -> Callable[..., tuple[VqWav2Vec, Path]]:
    def save(**settings: Any) -> tuple[VqWav2Vec, Path]:
        network = trained(tiny(**settings))
        save_checkpoint(Imported(Loaded(network, 16_000, False), False, 7, []), tmp_path / "old.pt", True)
        return network, tmp_path / "old.pt"

    return save


def take(network: Any, path: Path, kind: Kind[Any] = KIND, reseed: bool = False) -> list[Any]:
    return take_weights(network, kind, load_or_import(path, kind), "old.pt", reseed)


@pytest.mark.parametrize(
    "settings", [KMEANS, {"quantizer": "kmeans"}, {"quantizer": "gumbel"}, {"quantizer": "fsq"}, {}]
)
def test_before_the_first_update_it_says_what_the_other_said(
    saved: Any, tiny: Build, settings: dict[str, Any]
) -> None:
    old, path = saved(**settings)
    new = tiny(**settings, dropout=0.3, num_negatives=2, max_update=9)  # how it learns is its own
    assert not torch.equal(new.eval().features(WAV).c, old.features(WAV).c)
    parts = take(new, path)
    before, after = old.features(WAV), new.eval().features(WAV)
    assert torch.equal(before.z, after.z) and torch.equal(before.c, after.c)
    assert torch.equal(before.quantized.codes, after.quantized.codes)
    assert torch.equal(old.predictor.weight, new.predictor.weight)
    assert not new.health.window.any()
    assert sum(part.taken for part in parts) == sum(p.numel() for p in new.parameters())
    assert not any(part.anew for part in parts)
    assert {"encoder", "context", "predictor"} <= {part.name for part in parts}


def test_a_codebook_s_moving_averages_go_on(saved: Any, tiny: Build) -> None:
    old, path = saved(**KMEANS)
    new = tiny(**KMEANS)
    take(new, path)
    held = {name: value for name, value in old.quantizer.state_dict().items() if "upkeep" in name}
    assert held and all(torch.equal(new.quantizer.state_dict()[name], held[name]) for name in held)
    assert held["upkeep.begun"]  # or the first batch would make other codes


def test_a_wav2vec_2_and_a_bert_begin_so_too(tmp_path: Path) -> None:
    old = wav2vec2s.saved(tmp_path / "w.pt")
    new = wav2vec2s.tiny_wav2vec2(mask_prob=0.5, num_negatives=7, max_update=3)
    take(new, tmp_path / "w.pt", wav2vec2.KIND)
    assert torch.equal(old.states(WAV)[0][-1], new.eval().states(WAV)[0][-1])
    assert torch.equal(old.encode(WAV), new.encode(WAV))

    symbols = Symbols(tuple(f"{i}-{i}" for i in range(6)))
    sizes = {"encoder_layers": 1, "encoder_embed_dim": 16, "encoder_ffn_embed_dim": 16}
    bert = build_bert({**sizes, "encoder_attention_heads": 2}, symbols)
    save_bert(tmp_path / "b.pt", bert)
    other = build_bert({**sizes, "encoder_attention_heads": 2, "dropout": 0.5}, symbols)
    take(other, tmp_path / "b.pt", BERT)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in bert.state_dict().items())
    exchanged = (*symbols.lines[:2], symbols.lines[3], symbols.lines[2], *symbols.lines[4:])
    for lines, at in ((symbols.lines[::-1], 1), (symbols.lines[:4], 5), (exchanged, 3)):
        less = build_bert({**sizes, "encoder_attention_heads": 2}, Symbols(lines))
        with pytest.raises(CheckpointError, match=rf"differ from line {at} of dict\.txt.*vqw2v discretize"):
            take(less, tmp_path / "b.pt", BERT)


def test_a_stock_file_and_an_exported_folder_are_begun_with(tmp_path: Path, saved: Any, tiny: Build) -> None:
    write_today(tmp_path / "stock.pt", *stock_model(vq_type="kmeans"))
    restored = load_or_import(tmp_path / "stock.pt", KIND)
    assert restored.network.config.vq_vars == SMALL["vq_vars"]
    new = KIND.build(restored.header)
    take(new, tmp_path / "stock.pt")
    assert torch.equal(restored.network.encode(WAV), new.eval().encode(WAV))

    old, path = saved(**KMEANS)
    export_folder(path, tmp_path / "out")
    other = tiny(**KMEANS)
    take(other, tmp_path / "out")
    assert torch.equal(old.encode(WAV), other.eval().encode(WAV))
    with pytest.raises(CheckpointError, match=r"'vq_wav2vec'.*expected 'vq_wav2vec2'"):
        load_or_import(tmp_path / "out", wav2vec2.KIND)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"vq_vars": 16}, r"\[2, 8, 8\], expected \[2, 16, 8\];.* `vq_vars` is 16 here and 8 there"),
        ({"prediction_steps": 5}, r"`predictor\.weight`.*`prediction_steps` is 5 here and 3 there"),
        ({"activation": "gelu"}, "`activation` is gelu here and relu there; say them as there$"),
        ({"conv_feature_layers": "[(16, 10, 5), (16, 8, 4), (16, 4, 1)]"}, r"`conv_feature_layers` is"),
        ({"quantizer": "gumbel", "quantizer_args": "{}"}, "`quantizer` is gumbel here.*init_codebook=reseed"),
        ({"quantizer_args": "{}"}, "`quantizer_args` is {} here.*init_codebook=reseed"),
    ],
)
def test_another_network_is_refused_with_both_values(
    saved: Any, tiny: Build, settings: dict[str, Any], says: str
) -> None:
    _, path = saved(**KMEANS)
    new = tiny(**{**KMEANS, **settings})
    before = {name: value.clone() for name, value in new.state_dict().items()}
    with pytest.raises(CheckpointError, match=rf"^old\.pt.*{says}"):
        take(new, path)
    if "expected" not in says and "predictor" not in says:
        assert all(torch.equal(before[name], value) for name, value in new.state_dict().items())


def test_another_spelling_is_no_other_network(saved: Any, tiny: Build) -> None:
    old, path = saved(**KMEANS)
    layers = "[(16, 10, 5)] + [(16, 8, 4), (16, 4, 2)]"
    new = tiny(**{**KMEANS, "quantizer_args": CARED.replace(" ", "")}, conv_feature_layers=layers, vq_depth=3)
    take(new, path)
    assert torch.equal(old.encode(WAV), new.eval().encode(WAV))


def test_codes_that_begin_anew_leave_the_rest_as_it_was(saved: Any, tiny: Build) -> None:
    old, path = saved(**KMEANS)
    new = tiny(**{**KMEANS, "vq_vars": 16})
    (part,) = (part for part in take(new, path, reseed=True) if part.name == "quantizer")
    assert part.anew == 2 * 16 * 8 and part.taken > 0
    new.seed_codes([WAV], 1, known=True)
    new.eval()
    assert torch.equal(old.encoder(WAV), new.encoder(WAV))
    assert torch.equal(
        old.quantizer.project(WAV[..., None] + torch.zeros(16)),
        new.quantizer.project(WAV[..., None] + torch.zeros(16)),
    )
    assert torch.equal(old.predictor.weight, new.predictor.weight)
    other = tiny(quantizer="gumbel")
    (part,) = (part for part in take(other, path, reseed=True) if part.name == "quantizer")
    assert not part.taken and torch.equal(old.encoder(WAV), other.eval().encoder(WAV))


def test_what_is_taken_is_a_table(saved: Any, tiny: Build) -> None:
    _, path = saved(**KMEANS)
    lines = table(take(tiny(**{**KMEANS, "vq_vars": 16}), path, reseed=True))
    assert lines[0].split() == ["part", "parameters"] and lines[1].split() == ["encoder", "3,328", "taken"]
    assert any("160 taken, 256 anew" in line for line in lines)
    rows = [line.split() for line in table([Part("a", 3, 0), Part("b", 0, 1_234), Part("c", 2, 1)])]
    assert rows[1:] == [["a", "3", "taken"], ["b", "1,234", "anew"], ["c", "3", "2", "taken,", "1", "anew"]]


def test_other_audio_is_refused(saved: Any) -> None:
    _, path = saved()
    restored = load(path, KIND)
    check_audio(Audio(16_000, False), restored, "old.pt")
    for audio, says in ((Audio(8_000), "`sample_rate` 16000"), (Audio(16_000, True), "`normalize` False")):
        with pytest.raises(CheckpointError, match=f"old.pt hears audio with {says}.*say it as there"):
            check_audio(audio, restored, "old.pt")


def test_how_a_network_learns_is_its_own(saved: Any, tiny: Build, tmp_path: Path) -> None:
    """Whatever it was in the training before."""
    free: dict[str, Any] = {
        "dropout_agg": 0.2,
        "dropout_features": 0.1,
        "sample_distance": 9,
        "cross_sample_negatives": 3,
        "balanced_classes": True,
        "vq_temp": [1.0, 0.1],
        "vq_gamma": 0.7,
        "prediction_gain": 0.5,
        "centred": True,
    }
    old, path = saved(**KMEANS)
    new = tiny(**KMEANS, **free)
    take(new, path)
    assert torch.equal(old.encode(WAV), new.eval().encode(WAV))
    free = {
        "attention_dropout": 0.3,
        "activation_dropout": 0.2,
        "dropout_input": 0.4,
        "mask_length": 3,
        "mask_channel_prob": 0.2,
        "mask_channel_length": 2,
        "feature_grad_mult": 0.5,
        "logit_temp": 0.2,
        "latent_temp": [1.0, 0.1, 0.9],
        "encoder_layerdrop": 0.1,
        "dropout_features": 0.3,
    }
    first, second = wav2vec2s.saved(tmp_path / "w.pt"), wav2vec2s.tiny_wav2vec2(**free)
    take(second, tmp_path / "w.pt", wav2vec2.KIND)
    assert torch.equal(first.encode(WAV), second.eval().encode(WAV))


def test_four_settings_that_differ_are_named_and_the_others_counted(saved: Any, tiny: Build) -> None:
    _, path = saved(**KMEANS)
    others = {"log_compression": False, "residual_scale": 0.4, "offset": "3", "activation": "gelu"}
    for more, said in (({}, "there; say"), ({"no_conv_bias": True}, "there, and 1 more; say them as there")):
        with pytest.raises(CheckpointError, match=said) as error:
            take(tiny(**KMEANS, **others, **more), path)
        assert str(error.value).count(" here and ") == 4


def test_what_hears_no_audio_goes_with_any(saved: Any) -> None:
    _, path = saved()
    restored = load(path, KIND)
    silent = dataclasses.replace(restored, header=dataclasses.replace(restored.header, audio=None))
    check_audio(Audio(8_000, True), silent, "old.pt")


def test_codes_that_lack_a_part_of_their_quantizer_are_refused(saved: Any, tiny: Build) -> None:
    _, path = saved(quantizer="gumbel", vq_depth=1)
    says = r"`quantizer\.head\.\S+` of the quantizer; `vq_depth` is 2 here and 1 there: .*reseed`$"
    with pytest.raises(CheckpointError, match=rf"^old\.pt lacks {says}"):
        take(tiny(quantizer="gumbel", vq_depth=2), path)


def test_codes_of_the_input_begin_anew_with_those_of_the_targets(tmp_path: Path) -> None:
    both = {"quantize_input": True, "quantize_targets": True}
    old = wav2vec2s.saved(tmp_path / "w.pt", **both)
    new = wav2vec2s.tiny_wav2vec2(**both, latent_vars=5)
    parts = {part.name: part for part in take(new, tmp_path / "w.pt", wav2vec2.KIND, reseed=True)}
    for name in ("quantizer", "input_quantizer"):
        assert parts[name].anew > 0
    assert not parts["encoder"].anew and torch.equal(old.encoder(WAV)[0], new.eval().encoder(WAV)[0])

"""A folder of Hugging Face as others write it: what it leaves out, what was called otherwise earlier."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from wav2vec2s import saved

from vqw2v_plugin.checkpoints.huggingface_names import our_settings, what_is_read
from vqw2v_plugin.checkpoints.kinds import Audio
from vqw2v_plugin.checkpoints.travel import export_folder, import_checkpoint
from vqw2v_plugin.modules.layers.conv_spec import parse_conv_layers
from vqw2v_plugin.modules.wav2vec2.config import Wav2Vec2Config

THEIRS: dict[str, Any] = {  # what transformers' documents say of their Wav2Vec2Config's defaults
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "hidden_dropout": 0.1,
    "activation_dropout": 0.1,
    "attention_dropout": 0.1,
    "feat_proj_dropout": 0.0,
    "feat_quantizer_dropout": 0.0,
    "layerdrop": 0.1,
    "conv_bias": False,
    "conv_dim": (512,) * 7,
    "conv_stride": (5, 2, 2, 2, 2, 2, 2),
    "conv_kernel": (10, 3, 3, 3, 3, 2, 2),
    "feat_extract_norm": "group",
    "feat_extract_activation": "gelu",
    "do_stable_layer_norm": False,
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
    "mask_time_prob": 0.05,
    "mask_time_length": 10,
    "mask_feature_prob": 0.0,
    "mask_feature_length": 10,
    "num_negatives": 100,
    "num_codevectors_per_group": 320,
    "num_codevector_groups": 2,
    "contrastive_logits_temperature": 0.1,
    "codevector_dim": 256,
    "proj_codevector_dim": 256,
    "final_dropout": 0.1,
    "apply_spec_augment": True,
    "pad_token_id": 0,
    "layer_norm_eps": 1e-5,
}


def test_what_their_folder_does_not_say_is_their_default() -> None:
    config = what_is_read({"architectures": ["Wav2Vec2ForPreTraining"]})
    assert {name: value for name, value in vars(config).items() if name != "architectures"} == THEIRS
    ours = Wav2Vec2Config(**our_settings(config))
    assert (ours.extractor_mode, ours.quantizer, ours.feature_grad_mult) == ("default", "gumbel", 1.0)
    assert parse_conv_layers(ours.conv_feature_layers) == parse_conv_layers(
        Wav2Vec2Config().conv_feature_layers
    )


def test_the_defaults_are_transformers_own(transformers: Any) -> None:
    theirs = transformers.Wav2Vec2Config()
    lists = {name for name, value in THEIRS.items() if isinstance(value, tuple)}
    held = {name: getattr(theirs, name) for name in THEIRS}
    assert {name: tuple(v) if name in lists else v for name, v in held.items()} == THEIRS


def test_norms_that_ours_has_not_are_refused() -> None:
    with pytest.raises(ValueError, match="`layer_norm_eps` is 1e-12; expected 1e-05"):
        our_settings(what_is_read({"architectures": ["Wav2Vec2ForPreTraining"], "layer_norm_eps": 1e-12}))


def test_audio_is_as_their_extractor_has_it_where_its_file_says_nothing(tmp_path: Path) -> None:
    saved(tmp_path / "a.pt")
    export_folder(tmp_path / "a.pt", tmp_path / "hf", to="huggingface")
    (tmp_path / "hf" / "preprocessor_config.json").write_text("{}")
    assert import_checkpoint(tmp_path / "hf").header.audio == Audio(16_000, True)
    weights = tmp_path / "hf" / "model.safetensors"
    assert import_checkpoint(weights).header.audio == Audio(16_000, True)  # a file in it is it


def test_weights_under_earlier_versions_names_are_the_same(tmp_path: Path) -> None:
    """torch called the parts of a weight of a norm otherwise before it had parametrizations."""
    from safetensors.torch import load_file, save_file

    network = saved(tmp_path / "a.pt")
    export_folder(tmp_path / "a.pt", tmp_path / "hf", to="huggingface")
    path, stem = tmp_path / "hf" / "model.safetensors", "wav2vec2.encoder.pos_conv_embed.conv."
    held = load_file(path)
    for earlier, number in (("weight_g", 0), ("weight_v", 1)):
        held[stem + earlier] = held.pop(f"{stem}parametrizations.weight.original{number}")
    save_file(held, path, metadata={"format": "pt"})
    config = tmp_path / "hf" / "config.json"  # theirs knows no digest of the weights
    said = json.loads(config.read_text())
    config.write_text(json.dumps({name: said[name] for name in said if name != "weights_sha256"}))
    positions = import_checkpoint(tmp_path / "hf").network.transformer.positions
    for name, value in network.transformer.positions.named_parameters():
        assert torch.equal(positions.get_parameter(name), value), name


@pytest.mark.parametrize(
    ("sizes", "codes", "compared"),
    [({"latent_dim": 8}, 8, 12), ({}, 12, 12), ({"latent_dim": 8, "final_dim": 0}, 8, 24)],
)
def test_sizes_of_codes_and_of_what_is_compared_are_two(
    sizes: dict[str, int], codes: int, compared: int, tmp_path: Path
) -> None:
    saved(tmp_path / "a.pt", rate=8_000, **sizes)
    export_folder(tmp_path / "a.pt", tmp_path / "hf", to="huggingface")
    said = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert (said["codevector_dim"], said["proj_codevector_dim"]) == (codes, compared)
    heard = json.loads((tmp_path / "hf" / "preprocessor_config.json").read_text())
    found = import_checkpoint(tmp_path / "hf")
    assert heard["sampling_rate"] == 8_000 and found.header.audio == Audio(8_000, False)
    config = found.network.config
    assert (config.latent_dim, config.target_dim) == (codes, compared)

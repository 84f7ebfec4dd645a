"""wav2vec 2.0 goes to Hugging Face's transformers and comes back, with the same numbers there and here."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from wav2vec2s import LARGE_STYLE, config_of, even_draws, noise, saved

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.checkpoints.files import CheckpointError
from vqw2v_plugin.checkpoints.format import load
from vqw2v_plugin.checkpoints.huggingface_names import their_config
from vqw2v_plugin.checkpoints.kinds import KINDS, Audio
from vqw2v_plugin.checkpoints.travel import export_folder, import_checkpoint, load_or_import
from vqw2v_plugin.checkpoints.wav2vec2 import KIND

STYLES = {"BASE": {}, "LARGE": LARGE_STYLE, "one size": {"encoder_embed_dim": 16}}


@pytest.mark.parametrize("style", STYLES)
def test_there_and_back_all_weights_are_the_same(style: str, tmp_path: Path) -> None:
    network = saved(tmp_path / "a.pt", normalize=True, **STYLES[style])
    assert main(["export", str(tmp_path / "a.pt"), str(tmp_path / "hf"), "--to", "huggingface"]) == 0
    assert {p.name for p in (tmp_path / "hf").iterdir()} == {
        "config.json",
        "preprocessor_config.json",
        "model.safetensors",
    }
    heard = json.loads((tmp_path / "hf" / "preprocessor_config.json").read_text())
    assert (heard["sampling_rate"], heard["do_normalize"]) == (16_000, True)
    said = json.loads((tmp_path / "hf" / "config.json").read_text())
    told = {
        "conv_dim": [16, 16, 16],
        "conv_kernel": [10, 3, 2],
        "conv_stride": [5, 2, 2],
        "num_feat_extract_layers": 3,
        "layer_norm_eps": 1e-5,
        "mask_time_min_masks": 2,
        "feat_extract_norm": "layer" if style == "LARGE" else "group",
        "diversity_loss_weight": 0.1,
        "apply_spec_augment": True,
        "feat_extract_activation": "gelu",
        "model_type": "wav2vec2",
    }
    assert told.items() <= said.items()
    # norms over a clip's time would take its padding in, and their padding is not masked there
    assert heard["return_attention_mask"] == (style == "LARGE")
    assert main(["import", str(tmp_path / "hf"), str(tmp_path / "b.pt")]) == 0
    found = load(tmp_path / "b.pt", KIND)
    for name, value in network.named_parameters():
        assert torch.equal(found.network.get_parameter(name), value), name
    assert found.header.audio == Audio(16_000, True)
    kept = {k: v for k, v in vars(network.config).items() if k != "feature_grad_mult"}
    assert {**vars(found.network.config), "latent_dim": 0} == {
        **kept,
        "feature_grad_mult": 1.0,
        "conv_feature_layers": found.network.config.conv_feature_layers,
    }


@pytest.mark.parametrize("style", STYLES)
@torch.no_grad()
def test_transformers_have_our_states_and_scores(style: str, tmp_path: Path, transformers: Any) -> None:
    ours = saved(tmp_path / "a.pt", **STYLES[style])
    export_folder(tmp_path / "a.pt", tmp_path / "hf", to="huggingface")
    theirs, info = transformers.Wav2Vec2ForPreTraining.from_pretrained(
        tmp_path / "hf", output_loading_info=True, attn_implementation="eager"
    )
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    theirs.eval()
    extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(tmp_path / "hf")
    assert (extractor.sampling_rate, extractor.do_normalize) == (16_000, False)
    assert extractor.return_attention_mask == (style == "LARGE")
    wav = torch.stack([noise(900, i) for i in range(2)])
    states, frames = ours.states(wav)
    there = theirs.wav2vec2(wav, output_hidden_states=True)
    assert len(there.hidden_states) == len(states)
    for mine, hidden in zip(states[:-1], there.hidden_states, strict=False):  # the last: before its norm
        torch.testing.assert_close(mine, hidden.flatten(0, 1), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(states[-1], there.last_hidden_state.flatten(0, 1), rtol=1e-5, atol=1e-5)
    draws = even_draws(2, frames[0], 19, ours.config)
    mask = torch.zeros(2 * frames[0], dtype=torch.bool)
    mask[draws.masked.index] = True
    out = theirs(wav, mask_time_indices=mask.view(2, -1))
    predicted = out.projected_states.flatten(0, 1)[mask]
    targets = out.projected_quantized_states.flatten(0, 1)[mask]
    scores, _, _, _ = ours.scores(ours.hear(wav), draws)
    wanted = torch.cosine_similarity(predicted, targets, dim=-1) / ours.config.logit_temp
    torch.testing.assert_close(scores[:, 0], wanted, rtol=1e-4, atol=1e-4)


def test_a_folder_that_transformers_wrote_is_read(tmp_path: Path, transformers: Any) -> None:
    torch.manual_seed(1)
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    convs = {
        "conv_dim": (16, 16),
        "conv_kernel": (10, 3),
        "conv_stride": (5, 2),
        "num_feat_extract_layers": 2,
    }
    more = {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 4, "codevector_dim": 12}
    theirs = transformers.Wav2Vec2ForPreTraining(
        transformers.Wav2Vec2Config(
            **sizes, **convs, **more, num_codevectors_per_group=9, proj_codevector_dim=6
        )
    ).eval()
    theirs.save_pretrained(tmp_path / "hf")
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(tmp_path / "hf")
    ours = import_checkpoint(tmp_path / "hf")
    assert ours.header.audio == Audio(16_000, True)
    wav = noise(900)[None]
    with torch.no_grad():
        there = theirs.wav2vec2(wav).last_hidden_state[0]
        torch.testing.assert_close(ours.network.states(wav)[0][-1], there, rtol=1e-5, atol=1e-5)


def change(file: str, **values: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        said = json.loads((folder / file).read_text()) | values
        (folder / file).write_text(json.dumps(said))

    return apply


@pytest.mark.parametrize(
    ("apply", "message"),
    [
        (
            change("config.json", architectures=["Wav2Vec2Model"]),
            "`architectures` is ['Wav2Vec2Model']; expected",
        ),
        (change("config.json", architectures=[]), "`architectures` is []; expected"),
        (change("config.json", hidden_size="big"), "`hidden_size` is 'big'; expected int"),
        (change("config.json", conv_dim=[16, 16]), "have different numbers of layers"),
        (change("config.json", num_hidden_layers=10**9), "its settings give no network"),
        (change("config.json", num_hidden_layers=3), "is missing or misshapen"),
        (change("config.json", feat_extract_activation="relu"), "`feat_extract_activation` is 'relu'"),
        (change("config.json", model_type="hubert"), "holds the model 'hubert'; expected the format"),
        (
            change("preprocessor_config.json", sampling_rate="16k"),
            "preprocessor_config.json: `sample_rate` is '16k'",
        ),
        (
            lambda folder: (folder / "preprocessor_config.json").unlink(),
            "preprocessor_config.json is missing",
        ),
    ],
)
def test_a_folder_that_does_not_fit_is_one_sentence(
    apply: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    saved(tmp_path / "a.pt")
    export_folder(tmp_path / "a.pt", tmp_path / "hf", to="huggingface")
    apply(tmp_path / "hf")
    with pytest.raises(CheckpointError) as error:
        import_checkpoint(tmp_path / "hf")
    assert message in str(error.value) and str(tmp_path / "hf") in str(error.value)


def test_a_weight_that_has_no_place_here_is_refused_by_its_name_there(tmp_path: Path) -> None:
    saved(tmp_path / "a.pt")
    export_folder(tmp_path / "a.pt", tmp_path / "hf", to="huggingface")
    change("config.json", weights_sha256=None)(tmp_path / "hf")
    path = tmp_path / "hf" / "model.safetensors"
    save_file({**load_file(path), "wav2vec2.adapter.x": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match=r"`wav2vec2\.adapter\.x` has no place in the network"):
        import_checkpoint(tmp_path / "hf")


def test_a_folder_for_them_is_replaced_where_that_is_said(tmp_path: Path) -> None:
    saved(tmp_path / "a.pt")
    export_folder(tmp_path / "a.pt", tmp_path / "hf", to="huggingface")
    with pytest.raises(CheckpointError, match=r"model\.safetensors exists; name another, or say --force"):
        export_folder(tmp_path / "a.pt", tmp_path / "hf", to="huggingface")
    export_folder(tmp_path / "a.pt", tmp_path / "hf", force=True, to="huggingface")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"quantizer": "kmeans"},
            "`quantizer` is 'kmeans'; transformers' Wav2Vec2ForPreTraining knows 'gumbel'",
        ),
        ({"quantize_input": True}, "`quantize_input` is True"),
        ({"quantize_targets": False}, "`quantize_targets` is False"),
        ({"quantizer_args": '{"combine_groups": true}'}, "`quantizer_args.combine_groups` is True"),
        ({"quantizer_depth": 2}, "`quantizer_depth` is 2"),
    ],
)
def test_what_they_have_no_place_for_is_named(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    saved(tmp_path / "a.pt", **settings)
    with pytest.raises(CheckpointError) as error:
        export_folder(tmp_path / "a.pt", tmp_path / "hf", to="huggingface")
    assert message in str(error.value)


def test_other_models_go_nowhere_of_theirs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    earlier = Path(__file__).parent / "earlier" / "kmeans.pt"
    assert main(["export", str(earlier), str(tmp_path / "hf"), "--to", "huggingface"]) == 2
    assert (
        "`--to huggingface` is for 'vq_wav2vec2', pretrained or fine-tuned; this is a 'vq_wav2vec'"
        in capsys.readouterr().err
    )


def test_each_setting_goes_under_its_name_of_theirs() -> None:
    """No two values are alike, and names are those of transformers' Wav2Vec2Config."""
    said = their_config(
        config_of(
            dropout=0.11,
            attention_dropout=0.12,
            activation_dropout=0.13,
            dropout_input=0.14,
            dropout_features=0.15,
            encoder_layerdrop=0.16,
            mask_prob=0.5,
            mask_length=3,
            mask_channel_prob=0.17,
            mask_channel_length=4,
            logit_temp=0.2,
            latent_dim=6,
        ),
        "X",
    )
    assert {
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "hidden_dropout": 0.11,
        "attention_dropout": 0.12,
        "activation_dropout": 0.13,
        "layerdrop": 0.16,
        "feat_proj_dropout": 0.14,
        "feat_quantizer_dropout": 0.15,
        "hidden_act": "gelu",
        "mask_time_prob": 0.5,
        "mask_time_length": 3,
        "mask_feature_prob": 0.17,
        "mask_feature_length": 4,
        "num_codevectors_per_group": 9,
        "num_codevector_groups": 2,
        "num_negatives": 5,
        "contrastive_logits_temperature": 0.2,
        "codevector_dim": 6,
        "proj_codevector_dim": 12,
        "num_conv_pos_embeddings": 8,
        "num_conv_pos_embedding_groups": 4,
        "architectures": ["X"],
    }.items() <= said.items()


def test_a_training_begins_with_a_folder_of_theirs_too(tmp_path: Path) -> None:
    network = saved(tmp_path / "a.pt")
    export_folder(tmp_path / "a.pt", tmp_path / "hf", to="huggingface")
    restored = load_or_import(tmp_path / "hf", KIND)
    digest = hashlib.sha256((tmp_path / "hf" / "model.safetensors").read_bytes()).hexdigest()
    made_from = {"file": "model.safetensors", "sha256": digest, "kind": "Hugging Face, wav2vec2"}
    assert restored.header.made_from == made_from
    found = restored.network
    assert all(torch.equal(found.get_parameter(name), p) for name, p in network.named_parameters())
    with pytest.raises(CheckpointError, match=r"hf holds the model 'vq_wav2vec2'; expected 'vq_wav2vec'$"):
        load_or_import(tmp_path / "hf", KINDS["vq_wav2vec"])

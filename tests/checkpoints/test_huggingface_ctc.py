"""Fine-tuned wav2vec 2.0 goes to transformers' Wav2Vec2ForCTC and comes back: the same letters, numbers."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from finetuned import STILL, save_fine_tuned, tiny_fine_tuned
from safetensors.torch import load_file, save_file
from wav2vec2s import LARGE_STYLE, noise

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.checkpoints.files import CheckpointError
from vqw2v_plugin.checkpoints.finetuned import KIND, columns_of
from vqw2v_plugin.checkpoints.format import load
from vqw2v_plugin.checkpoints.kinds import Audio
from vqw2v_plugin.checkpoints.travel import export_folder, import_checkpoint
from vqw2v_plugin.modules.finetuned.config import FineTuning
from vqw2v_plugin.text.units import asg_units, ctc_units

LETTERS = ctc_units(["|", *"ABT'"])
STOCK_S = ctc_units(["<pad>", "</s>", "<unk>", "|", *"EAT"])  # columns as stock's files have them
STYLES = {"BASE": {}, "LARGE": LARGE_STYLE, "one size": {"encoder_embed_dim": 16}}
TUNING = replace(STILL, final_dropout=0.1, layerdrop=0.2, mask_prob=0.5, apply_mask=False)


@pytest.mark.parametrize("style", STYLES)
def test_there_and_back_all_weights_are_the_same(style: str, tmp_path: Path) -> None:
    network = tiny_fine_tuned(TUNING, LETTERS, **STYLES[style]).eval()
    save_fine_tuned(tmp_path / "a.pt", network, LETTERS, Audio(16_000, True))
    assert main(["export", str(tmp_path / "a.pt"), str(tmp_path / "hf"), "--to", "huggingface"]) == 0
    assert {p.name for p in (tmp_path / "hf").iterdir()} == {
        *("config.json", "preprocessor_config.json", "model.safetensors", "vocab.json"),
        *("tokenizer_config.json", "special_tokens_map.json"),
    }
    assert json.loads((tmp_path / "hf" / "vocab.json").read_text())["<pad>"] == 0
    assert main(["import", str(tmp_path / "hf"), str(tmp_path / "b.pt")]) == 0
    found = load(tmp_path / "b.pt", KIND)
    assert columns_of(found.header) == LETTERS and found.header.audio == Audio(16_000, True)
    assert found.network.config.tuning == TUNING
    own = dict(network.named_parameters())
    assert own.keys() == dict(found.network.named_parameters()).keys()
    assert all(torch.equal(found.network.get_parameter(name), value) for name, value in own.items())


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("units", [LETTERS, STOCK_S], ids=["ours", "stock's"])
@torch.no_grad()
def test_transformers_have_our_logits_and_letters(
    style: str, units: Any, tmp_path: Path, transformers: Any
) -> None:
    ours = tiny_fine_tuned(TUNING, units, **STYLES[style]).eval()
    save_fine_tuned(tmp_path / "a.pt", ours, units, Audio(16_000, True))
    export_folder(tmp_path / "a.pt", tmp_path / "hf", to="huggingface")
    theirs, info = transformers.Wav2Vec2ForCTC.from_pretrained(
        tmp_path / "hf", output_loading_info=True, attn_implementation="eager"
    )
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    processor = transformers.Wav2Vec2Processor.from_pretrained(tmp_path / "hf")
    wav = 0.1 + noise(900)
    heard = processor(wav.numpy(), sampling_rate=16_000, return_tensors="pt")
    logits = theirs.eval()(heard.input_values).logits
    # which is normed with another ε than stock's and ours
    normed = torch.nn.functional.layer_norm(wav, wav.shape)
    torch.testing.assert_close(normed[None], heard.input_values, rtol=1e-3, atol=1e-3)
    here = ours(heard.input_values, torch.tensor([900])).emissions
    torch.testing.assert_close(here, logits, rtol=1e-5, atol=1e-5)
    # of columns that a reader could have said: letters, blanks, a word's end
    said = units.columns(["A", "T", "|", "T"])
    path = torch.tensor([0, said[0], said[0], 0, said[1], said[1], said[2], 0, said[3]])
    assert processor.batch_decode(path[None]) == ["AT T"]


@torch.no_grad()
def test_a_folder_that_transformers_wrote_is_read(tmp_path: Path, transformers: Any) -> None:
    """With its blank behind other columns, a delimiter of its own, and nothing masked."""
    torch.manual_seed(1)
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    convs = {
        "conv_dim": (16, 16),
        "conv_kernel": (10, 3),
        "conv_stride": (5, 2),
        "num_feat_extract_layers": 2,
    }
    more = {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 4, "mask_time_prob": 0.0}
    vocabulary = {"A": 0, "B": 1, " ": 2, "<unk>": 3, "<pad>": 4}
    config = transformers.Wav2Vec2Config(**sizes, **convs, **more, vocab_size=5, pad_token_id=4)
    theirs = transformers.Wav2Vec2ForCTC(config).eval()
    torch.nn.init.normal_(theirs.lm_head.bias)
    theirs.save_pretrained(tmp_path / "hf")
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    transformers.Wav2Vec2Processor(
        transformers.Wav2Vec2FeatureExtractor(do_normalize=False),
        transformers.Wav2Vec2CTCTokenizer(tmp_path / "vocab.json", word_delimiter_token=" "),
    ).save_pretrained(tmp_path / "hf")
    if not (tmp_path / "hf" / "preprocessor_config.json").is_file():  # newer ones keep it elsewhere
        transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(tmp_path / "hf")
    ours = import_checkpoint(tmp_path / "hf")
    assert columns_of(ours.header).symbols == ("<blank>", "A", "B", "|", "<unk>")
    assert ours.header.audio == Audio(16_000, False) and not ours.network.config.tuning.apply_mask
    wav = noise(900)[None]
    here = ours.network(wav, torch.tensor([900])).emissions
    torch.testing.assert_close(here, theirs(wav).logits[..., [4, 0, 1, 2, 3]], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pad", [1, 5])
def test_a_blank_behind_other_columns_comes_first_with_its_weights(pad: int, tmp_path: Path) -> None:
    network = tiny_fine_tuned(units=LETTERS)
    save_fine_tuned(tmp_path / "a.pt", network, LETTERS)
    export_folder(tmp_path / "a.pt", tmp_path / "hf", to="huggingface")
    symbols = ["|", *"ABT'"]
    symbols.insert(pad, "<pad>")
    change("config.json", pad_token_id=pad)(tmp_path / "hf")
    (tmp_path / "hf" / "vocab.json").write_text(json.dumps({name: i for i, name in enumerate(symbols)}))
    found = import_checkpoint(tmp_path / "hf")
    assert columns_of(found.header) == LETTERS
    others = [column for column in range(6) if column != pad]
    for name, own in network.projection.named_parameters():
        theirs = found.network.projection.get_parameter(name)
        assert torch.equal(theirs[0], own[pad]) and torch.equal(theirs[1:], own[others]), name


def change(file: str, **values: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        said = json.loads((folder / file).read_text()) | values
        (folder / file).write_text(json.dumps(said))

    return apply


def weigh(weights: dict[str, torch.Tensor | None]) -> Callable[[Path], None]:
    """Other weights, or none."""

    def apply(folder: Path) -> None:
        change("config.json", weights_sha256=None)(folder)
        held = {**load_file(folder / "model.safetensors"), **weights}
        save_file({k: v for k, v in held.items() if v is not None}, folder / "model.safetensors")

    return apply


@pytest.mark.parametrize(
    ("apply", "message"),
    [
        (change("config.json", pad_token_id=9), "`pad_token_id` is 9; expected one of the 6 columns"),
        (change("config.json", pad_token_id=None), "`pad_token_id` is None"),
        (change("config.json", pad_token_id=-1), "`pad_token_id` is -1"),
        (change("config.json", pad_token_id=6), "`pad_token_id` is 6"),
        (weigh({"lm_head.weight": None}), "lacks `lm_head`, by which letters are told"),
        (weigh({"lm_head.bias": None}), "lacks `lm_head`, by which letters are told"),
        (weigh({"lm_head.weight": torch.zeros(6)}), "lacks `lm_head`, by which letters are told"),
        (change("vocab.json", A=-1), "'A' is -1; expected a column of its own"),
        (change("config.json", final_dropout=2.0), "`final_dropout` is 2.0"),
        (change("config.json", num_hidden_layers=10**9), "its settings give no network"),
        (change("config.json", num_hidden_layers=3), "is missing or misshapen"),
        (change("vocab.json", A=0), "'A' is 0; expected a column of its own"),
        (change("vocab.json", A="x"), "'A' is 'x'; expected a column of its own"),
        (change("vocab.json", A=7), "vocab.json: names not all of the 6 columns"),
        (lambda folder: (folder / "vocab.json").unlink(), "vocab.json is missing"),
        (change("tokenizer_config.json", word_delimiter_token="T"), "the symbol '|' is there twice"),
    ],
)
def test_a_folder_that_does_not_fit_is_one_sentence(
    apply: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    save_fine_tuned(tmp_path / "a.pt", tiny_fine_tuned(units=LETTERS), LETTERS)
    export_folder(tmp_path / "a.pt", tmp_path / "hf", to="huggingface")
    apply(tmp_path / "hf")
    with pytest.raises(CheckpointError) as error:
        import_checkpoint(tmp_path / "hf")
    assert message in str(error.value) and str(tmp_path / "hf") in str(error.value), error.value


def test_what_they_have_no_place_for_is_named(tmp_path: Path) -> None:
    asg = asg_units(["|", *"ab"])
    both = {"quantize_input": True}
    for name, network, units in (
        ("ASG", tiny_fine_tuned(units=asg), asg),
        ("quantized input", tiny_fine_tuned(units=LETTERS, **both), LETTERS),
    ):
        save_fine_tuned(tmp_path / f"{name}.pt", network, units)
        with pytest.raises(
            CheckpointError, match=f"this model is one of {name}; transformers' Wav2Vec2ForCTC"
        ):
            export_folder(tmp_path / f"{name}.pt", tmp_path / "hf", to="huggingface")


def test_how_it_was_tuned_goes_under_their_names_and_comes_back(tmp_path: Path) -> None:
    """No two values are alike, and names are those of transformers' Wav2Vec2Config."""
    theirs = {
        "hidden_dropout": 0.11,
        "attention_dropout": 0.12,
        "activation_dropout": 0.13,
        "layerdrop": 0.14,
        "feat_proj_dropout": 0.15,
        "final_dropout": 0.16,
        "mask_time_prob": 0.5,
        "mask_time_length": 3,
        "mask_feature_prob": 0.17,
        "mask_feature_length": 4,
        "apply_spec_augment": True,
    }
    tuning = FineTuning(
        *(True, 0.5, 3, 0.17, 4),
        layerdrop=0.14,
        dropout=0.11,
        attention_dropout=0.12,
        activation_dropout=0.13,
        dropout_input=0.15,
        final_dropout=0.16,
    )
    save_fine_tuned(tmp_path / "a.pt", tiny_fine_tuned(tuning, LETTERS), LETTERS)
    export_folder(tmp_path / "a.pt", tmp_path / "hf", to="huggingface")
    said = json.loads((tmp_path / "hf" / "config.json").read_text())
    fixed = {"ctc_loss_reduction": "sum", "ctc_zero_infinity": True, "vocab_size": 6, "pad_token_id": 0}
    assert {**theirs, **fixed, "bos_token_id": None, "eos_token_id": None}.items() <= said.items()
    told = json.loads((tmp_path / "hf" / "tokenizer_config.json").read_text())
    assert (told["word_delimiter_token"], told["do_lower_case"], told["pad_token"]) == ("|", False, "<pad>")
    assert import_checkpoint(tmp_path / "hf").network.config.tuning == tuning


def test_of_stock_s_blank_and_theirs_there_is_one(tmp_path: Path) -> None:
    units = ctc_units(["<pad>", "<s>", "|", "a"])
    save_fine_tuned(tmp_path / "a.pt", tiny_fine_tuned(units=units), units)
    with pytest.raises(
        CheckpointError, match="its symbols hold both <pad> and <s>; transformers have a place"
    ):
        export_folder(tmp_path / "a.pt", tmp_path / "hf", to="huggingface")
    save_fine_tuned(tmp_path / "b.pt", tiny_fine_tuned(units=STOCK_S), STOCK_S)
    export_folder(tmp_path / "b.pt", tmp_path / "hf", to="huggingface")
    vocabulary = json.loads((tmp_path / "hf" / "vocab.json").read_text())
    assert list(vocabulary) == ["<pad>", "<s>", "</s>", "<unk>", "|", *"EAT"] and vocabulary["T"] == 7


def test_one_that_masked_nothing_has_no_mask_and_masks_nothing(tmp_path: Path) -> None:
    network = tiny_fine_tuned(units=LETTERS)
    save_fine_tuned(tmp_path / "a.pt", network, LETTERS)
    export_folder(tmp_path / "a.pt", tmp_path / "hf", to="huggingface")
    change("config.json", mask_time_prob=0.0, apply_spec_augment=True)(tmp_path / "hf")
    weigh({"wav2vec2.masked_spec_embed": None})(tmp_path / "hf")
    found = import_checkpoint(tmp_path / "hf").network
    assert not found.config.tuning.apply_mask and found.config.tuning.mask_prob == FineTuning.mask_prob
    assert not found.wav2vec2.mask.any() and torch.equal(found.projection.weight, network.projection.weight)


@pytest.mark.parametrize("said", [None, {}, {"word_delimiter_token": {"content": "T"}}])
def test_words_end_with_a_bar_where_their_tokenizer_does_not_say(said: Any, tmp_path: Path) -> None:
    save_fine_tuned(tmp_path / "a.pt", tiny_fine_tuned(units=LETTERS), LETTERS)
    export_folder(tmp_path / "a.pt", tmp_path / "hf", to="huggingface")
    path = tmp_path / "hf" / "tokenizer_config.json"
    path.unlink() if said is None else path.write_text(json.dumps(said))
    assert columns_of(import_checkpoint(tmp_path / "hf").header) == LETTERS

"""Stock fairseq's fine-tuned wav2vec 2.0 becomes ours: today's `cfg` and the `args` of 2020, nothing run."""

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from finetuned import SYMBOLS, stock_ctc
from wav2vec2s import LARGE_STYLE, noise

pytest.importorskip("fairseq")
from fairseq.models.wav2vec.wav2vec2_asr import Wav2Vec2CtcConfig
from omegaconf import OmegaConf

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.checkpoints.files import CheckpointError
from vqw2v_plugin.checkpoints.finetuned import KIND, columns_of
from vqw2v_plugin.checkpoints.format import load
from vqw2v_plugin.checkpoints.kinds import Audio
from vqw2v_plugin.checkpoints.stock_wav2vec_ctc import tuning_of_stock
from vqw2v_plugin.checkpoints.travel import import_checkpoint
from vqw2v_plugin.modules.finetuned.config import FineTuning
from vqw2v_plugin.stores.labels import LabelError
from vqw2v_plugin.training.acoustic_data import check_same_labels

TUNING = FineTuning(mask_prob=0.75, mask_channel_length=8, layerdrop=0.2, final_dropout=0.1)


def write(path: Path, way: str = "cfg", labels: list[str] | None = None, **settings: Any) -> Any:
    """As stock's trainer does, now or in 2020, with its dictionary beside it."""
    model, pretrained = stock_ctc(len(SYMBOLS), TUNING, **settings)
    state: dict[str, Any] = {"model": model.state_dict(), "optimizer_history": [{"num_updates": 40}]}
    tuned = {**vars(TUNING), "normalize": True}
    inner = OmegaConf.to_container(pretrained, enum_to_str=True)
    if way == "cfg":
        said = {
            "_name": "wav2vec_ctc",
            "w2v_path": "/gone.pt",
            "blank_weight": 0.0,
            **tuned,
            "w2v_args": inner,
        }
        task = {"_name": "audio_finetuning", "data": "/data", "normalize": True, "labels": "ltr"}
        state |= {"args": None, "cfg": {"model": said, "task": task}}
    else:
        flat = {name: value for name, value in inner["model"].items() if not name.startswith("_")}
        flat |= {"arch": "wav2vec2", "normalize": True, "data": "/data", "latent_temp": "(2,0.5,0.9)"}
        held = argparse.Namespace(**flat)
        state["args"] = argparse.Namespace(arch="wav2vec_ctc", w2v_path="/gone.pt", w2v_args=held, **tuned)
    torch.save(state, path)
    lines = "".join(f"{label} 7\n" for label in (SYMBOLS[4:] if labels is None else labels))
    (path.parent / "dict.ltr.txt").write_text(lines)
    return model.eval()


@pytest.mark.parametrize("style", [{}, LARGE_STYLE], ids=["BASE", "LARGE"])
@pytest.mark.parametrize("way", ["cfg", "args"])
def test_emissions_are_stock_s(
    way: str, style: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write(tmp_path / "stock.pt", way, **style)
    assert main(["import", str(tmp_path / "stock.pt"), str(tmp_path / "ours.pt")]) == 0
    said = capsys.readouterr()
    assert "2 layers of 24, ctc, 9 columns of letters, 16000 Hz" in said.out and "ignored" not in said.err
    ours = load(tmp_path / "ours.pt", KIND)
    assert ours.header.audio == Audio(16_000, True) and ours.header.num_updates == 40
    assert ours.header.made_from["kind"] == f"stock wav2vec_ctc, {'cfg' if way == 'cfg' else 'args of 2020'}"
    assert ours.network.config.tuning == TUNING
    units = columns_of(ours.header)
    assert units.symbols == ("<blank>", *SYMBOLS[1:]) and units.blank == 0
    wav = noise(900)[None]
    with torch.no_grad():
        there = model(source=wav, padding_mask=torch.zeros_like(wav, dtype=torch.bool))["encoder_out"][:, 0]
        here = ours.network(wav, torch.tensor([900])).emissions[0]
    torch.testing.assert_close(here, there, rtol=1e-4, atol=1e-5)


def test_labels_of_stock_s_dictionary_go_with_it(tmp_path: Path) -> None:
    write(tmp_path / "stock.pt")
    units = columns_of(import_checkpoint(tmp_path / "stock.pt").header)
    said = {"kind": units.kind, "symbols": units.symbols[1:]}
    check_same_labels(tmp_path, said)  # which holds the letters alone
    (tmp_path / "dict.ltr.txt").write_text("| 1\nA 1\n")
    with pytest.raises(LabelError, match="differs from the dictionary"):
        check_same_labels(tmp_path, said)


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (["|", "E", "A", "T", "'"], "letters"),
        (["|", "AA", "B", "CH", "S"], "phones"),
        (["▁a", "b", "c", "▁", "d"], "pieces"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_its_columns_are_is_seen(labels: list[str], kind: str, tmp_path: Path) -> None:
    write(tmp_path / "stock.pt", labels=labels)
    assert columns_of(import_checkpoint(tmp_path / "stock.pt").header).kind == kind


def test_its_dictionary_may_lie_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "stock.pt")
    (tmp_path / "dict.ltr.txt").rename(tmp_path / "letters.txt")
    words = ["import", str(tmp_path / "stock.pt"), str(tmp_path / "ours.pt")]
    assert main(words) == 2
    assert "put the dictionary of stock.pt's letters beside it" in capsys.readouterr().err
    assert main([*words, "--dict", str(tmp_path / "letters.txt")]) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["cfg"]["model"].update(w2v_args=None), "`w2v_args` is None; expected the settings"),
        (lambda s: s["cfg"]["model"]["w2v_args"].update(model=3), "`w2v_args` holds no settings"),
        (
            lambda s: s["cfg"]["model"]["w2v_args"]["model"].update(_name="data2vec_audio"),
            "names the model 'data2vec_audio'; expected 'wav2vec2'",
        ),
        (lambda s: s["cfg"]["model"]["w2v_args"]["model"].update(pos_conv_depth=5), "`pos_conv_depth` is 5"),
        (lambda s: s["cfg"]["model"]["w2v_args"]["model"].update(encoder_layers=3), "is missing"),
        (
            lambda s: s["cfg"]["model"]["w2v_args"]["model"].update(encoder_layers=10**9),
            "its settings give no network",
        ),
        (
            lambda s: s["cfg"]["model"]["w2v_args"]["model"].update(conv_feature_layers="__import__('os')"),
            "`conv_feature_layers`",
        ),
        (lambda s: s["cfg"]["model"].update(layerdrop="x"), "`layerdrop` is 'x'"),
        (lambda s: s["cfg"]["task"].update(normalize="x"), "`normalize` is 'x'; expected true or false"),
        (lambda s: s["model"].pop("w2v_encoder.proj.bias"), "lacks `w2v_encoder.proj.bias`"),
        (lambda s: s["model"].update({"w2v_encoder.proj.bias": torch.zeros(5)}), "names 5 labels, and"),
        (
            lambda s: s["model"].update({"w2v_encoder.proj.bias": torch.zeros(9, 1)}),
            "lacks `w2v_encoder.proj.bias`, a number for each letter",
        ),
        (lambda s: s["model"].update({"decoder.x": torch.zeros(5)}), "stock weight 'decoder.x' has no place"),
    ],
)
def test_what_does_not_fit_is_one_sentence(change: Any, message: str, tmp_path: Path) -> None:
    write(tmp_path / "a.pt")
    state = torch.load(tmp_path / "a.pt", weights_only=True)
    change(state)
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(CheckpointError) as error:
        import_checkpoint(tmp_path / "a.pt")
    assert str(tmp_path) in str(error.value) and message in str(error.value), error.value


def test_one_that_masked_nothing_masks_nothing(tmp_path: Path) -> None:
    write(tmp_path / "a.pt")
    state = torch.load(tmp_path / "a.pt", weights_only=True)
    del state["cfg"]["model"]["apply_mask"]
    state["cfg"]["model"]["mask_prob"] = 0.0
    torch.save(state, tmp_path / "a.pt")
    found = import_checkpoint(tmp_path / "a.pt").network.config.tuning
    assert not found.apply_mask and found.mask_prob == 0.5


def test_what_a_file_does_not_say_is_stock_s_default() -> None:
    held = vars(Wav2Vec2CtcConfig())
    found = vars(tuning_of_stock(dict.fromkeys(["layerdrop", "mask_prob", "dropout"])))  # None says nothing
    shared = found.keys() & held.keys()
    assert len(shared) > 9 and {name: found[name] for name in shared} == {n: held[n] for n in shared}


def test_audio_is_as_it_was_tuned_with_and_else_as_it_was_pretrained_with(tmp_path: Path) -> None:
    write(tmp_path / "a.pt")
    state = torch.load(tmp_path / "a.pt", weights_only=True)
    state["cfg"]["task"] = {"normalize": True}
    state["cfg"]["model"]["w2v_args"]["task"] = {"normalize": False, "sample_rate": 8_000}
    state["cfg"]["model"]["w2v_args"]["model"]["of_a_fork"] = 3
    torch.save(state, tmp_path / "a.pt")
    found = import_checkpoint(tmp_path / "a.pt")
    assert found.header.audio == Audio(8_000, True) and list(found.ignored) == ["of_a_fork"]

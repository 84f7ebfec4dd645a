"""The page of an exported model: what is known of its training, and code that loads it."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from finetuned import save_fine_tuned, tiny_fine_tuned

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.analysis.curves import parse_log
from vqw2v_plugin.analysis.model_card import _codes, _curve, _curves, _loading, _table
from vqw2v_plugin.checkpoints.kinds import KINDS
from vqw2v_plugin.checkpoints.wav2vec import Imported, Loaded, save_checkpoint
from vqw2v_plugin.corpora.manifest import write_manifest
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec

LOG = """[2026-01-01 10:00:00,000][fairseq_cli.train][INFO] - {settings}
[2026-01-01 10:00:01,000][train_inner][INFO] - epoch 001: 2 / 4 loss=3, accuracy=0.2, num_updates=2, lr=1
[2026-01-01 10:00:02,000][valid][INFO] - epoch 001 | valid on 'valid' subset | loss 2.5 | accuracy 0.4 | \
code_perplexity 11.5 | num_updates 4
[2026-01-01 10:00:03,000][valid][INFO] - epoch 002 | valid on 'valid' subset | loss 1.5 | accuracy 0.6 | \
code_perplexity 12.5 | num_updates 8
"""

TOKENIZERS = {"vq_wav2vec", "vq_clusters"}
FACES = {
    "Transcriber": {"vq_wav2letter", "vq_wav2vec2_ctc"},
    "load_features": {"vq_wav2vec2", "vq_speech_bert", "vq_bert"},
    "fairseq-generate": {"vq_utterance", "vq_wav2vec_u"},
}


@pytest.fixture
def checkpoint(tiny: Callable[..., VqWav2Vec], tmp_path: Path) -> Path:
    path = tmp_path / "run" / "checkpoint_best.pt"
    path.parent.mkdir()
    loaded = Loaded(tiny(quantizer="kmeans"), 16_000, False)
    save_checkpoint(Imported(loaded, False, 0, []), path)
    return path


def exported(checkpoint: Path, out: Path, *more: str) -> str:
    assert main(["export", str(checkpoint), str(out), *more]) == 0
    return (out / "README.md").read_text()


def test_it_says_what_is_known_of_the_training(checkpoint: Path, tmp_path: Path) -> None:
    rows = [
        {"path": "a.wav", "samples": 16_000 * 1800, "rate": 16_000, "speaker": name} for name in ("x", "y")
    ]
    write_manifest(tmp_path / "corpus" / "train.tsv", tmp_path, rows, ("path", "samples", "rate", "speaker"))
    settings = {"task": {"data": str(tmp_path / "corpus")}, "optimization": {"max_update": 8}}
    (checkpoint.parent / "hydra_train.log").write_text(LOG.format(settings=settings))
    card = exported(checkpoint, tmp_path / "out")
    assert "- train: 2 utterances, 1.00 h, 2 speakers" in card and str(tmp_path) not in card
    assert "| updates | loss | accuracy |" in card and "| 8 | 1.5 | 0.6 |" in card
    assert "code_perplexity at the end | 12.5" in card and "16,000 Hz" in card


def test_each_split_that_is_there_has_its_size_and_its_speakers_where_they_are_named(
    checkpoint: Path, tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus"
    rows = [{"path": "a.wav", "samples": 8_000 * 900, "rate": 8_000, "speaker": name} for name in ("x", "")]
    settings = {"task": {"data": str(corpus)}}
    (checkpoint.parent / "hydra_train.log").write_text(LOG.format(settings=settings))
    assert "## What it was trained on\n\n`corpus`\n\n" in exported(checkpoint, tmp_path / "tokens")
    write_manifest(corpus / "train.tsv", corpus, rows, ("path", "samples", "rate"))
    write_manifest(corpus / "valid.tsv", corpus, rows, ("path", "samples", "rate", "speaker"))
    card = exported(checkpoint, tmp_path / "out")
    assert "`corpus`\n- train: 2 utterances, 0.50 h\n- valid: 2 utterances, 0.50 h, 1 speakers\n" in card


def test_a_validation_that_lacks_a_metric_has_an_empty_cell() -> None:
    curves = parse_log(LOG.format(settings={}).replace("loss 2.5 | accuracy 0.4", "loss 2.5"))
    (*_, table) = _curve(curves)
    assert table.splitlines() == [
        "| updates | loss | accuracy |",
        "| --- | --- | --- |",
        "| 4 | 2.5 |  |",
        "| 8 | 1.5 | 0.6 |",
    ]
    assert _curve(parse_log("")) == [] and _table(("a|b",), [("c",)]).startswith("| a\\|b |")


def test_what_nobody_knows_is_left_out_and_a_page_of_one_s_own_stays(
    checkpoint: Path, tmp_path: Path
) -> None:
    card = exported(checkpoint, tmp_path / "out")
    assert "trained on" not in card and "How it learnt" not in card and "vq_wav2vec" in card
    for name in ("model.safetensors", "config.json"):
        (tmp_path / "out" / name).unlink()
    (tmp_path / "out" / "README.md").write_text("mine")
    assert exported(checkpoint, tmp_path / "out") == "mine"
    assert exported(checkpoint, tmp_path / "out", "--force") == card


def test_the_code_that_it_shows_loads_it(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = exported(checkpoint, tmp_path / "out")
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    soundfile.write(tmp_path / "speech.flac", np.zeros(8000), 16_000)
    monkeypatch.chdir(tmp_path)
    found: dict[str, object] = {}
    exec(code, found)
    assert found["codes"].shape[1] == 2  # type: ignore[attr-defined]


def test_each_kind_of_model_is_loaded_by_what_reads_it() -> None:
    assert len(KINDS) >= 8
    for model in KINDS:
        shown = _loading(model, {"quantizer": "gumbel"})
        by = next(name for name in (*FACES, "Tokenizer") if name in shown)
        assert model in FACES.get(by, TOKENIZERS), model
    assert "Tokenizer" not in _loading("vq_wav2vec", {"quantizer": "none"})


def test_the_words_of_a_fine_tuned_model_are_said_by_its_page_s_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = tiny_fine_tuned()
    network.projection.bias.data[2] += 100.0  # `a` it says, whatever it hears
    card = exported(save_fine_tuned(tmp_path / "a.pt", network), tmp_path / "out")
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    soundfile.write(tmp_path / "speech.flac", np.zeros(8000), 16_000)
    monkeypatch.chdir(tmp_path)
    found: dict[str, object] = {}
    exec(code, found)
    assert found["text"] == "a"


def test_of_a_long_training_ten_looks_and_six_metrics_are_shown(checkpoint: Path, tmp_path: Path) -> None:
    names = ("loss", "accuracy", "uer", "wer", "lr", "gnorm", "zeal")
    said = [
        f"[now][valid][INFO] - epoch 1 | valid on 'valid' subset | code_perplexity {n} | num_updates {n} | "
        + " | ".join(f"{name} {n + i}" for i, name in enumerate(names))
        for n in range(1000, 29_000, 1000)
    ]
    inner = "[now][train_inner][INFO] - epoch 1: 1 / 9 loss=1, code_perplexity=7, num_updates=28000"
    (checkpoint.parent / "train.log").write_text("\n".join([*said, inner]))
    card = exported(checkpoint, tmp_path / "out")
    head, _, *rows = card.partition("On `valid`:\n\n")[2].partition("\n\n")[0].splitlines()
    assert head == "| updates | loss | accuracy | uer | wer | lr | gnorm |"
    assert [row.split(" | ")[0] for row in rows] == [f"| {n},000" for n in range(1, 29, 3)]
    assert rows[-1] == "| 28,000 | 28000 | 28001 | 28002 | 28003 | 28004 | 28005 |"
    assert "| updates | 28,000 |" in card and "code_perplexity at the end | 28000" in card


def test_updates_are_the_checkpoint_s_own_where_it_counts_them(
    tiny: Callable[..., VqWav2Vec], tmp_path: Path
) -> None:
    path = tmp_path / "run" / "checkpoint_best.pt"
    path.parent.mkdir()
    loaded = Loaded(tiny(quantizer="kmeans"), 16_000, False)
    save_checkpoint(Imported(loaded, False, 1_234, []), path)
    (path.parent / "hydra_train.log").write_text(LOG.format(settings={}))  # which went on to 8, or anew
    assert "| updates | 1,234 |" in exported(path, tmp_path / "out")


@pytest.mark.parametrize("name", ["hydra_train.log", "train.log", "log.txt"])
def test_a_training_s_log_lies_beside_its_checkpoint_or_in_its_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(LOG.format(settings={}))
    for source in (tmp_path, tmp_path / "checkpoint_best.pt"):
        assert _curves(source).updates == 8


def test_the_code_that_it_shows_asks_for_the_model_s_own_layer() -> None:
    shown = {model: _loading(model, {}) for model in ("vq_wav2vec2", "vq_speech_bert", "vq_bert")}
    for model, asked in (("vq_wav2vec2", "w2v2:-1"), ("vq_speech_bert", "speech:-1"), ("vq_bert", "bert")):
        assert f'load_features("{asked}", ' in shown[model]
    assert 'load_features("c", ' in _loading("vq_wav2vec", {"quantizer": "none"})


def test_codes_at_the_end_are_those_of_validation_or_of_the_training_where_there_is_none() -> None:
    line = "[now][{}][INFO] - epoch 1: 1 / 9 code_perplexity={}, codes_used={}, num_updates={}\n"
    log = line.format("train_inner", 3, 20, 2) + line.format("train_inner", 4, 30, 4)
    assert _codes(parse_log(log)) == [("code_perplexity at the end", "4"), ("codes_used at the end", "30")]
    valid = "[now][valid][INFO] - epoch 1 | valid | code_perplexity {} | codes_used {} | num_updates {}\n"
    both = parse_log(log + valid.format(5, 40, 4) + valid.format(6, 50, 8))
    assert _codes(both) == [("code_perplexity at the end", "6"), ("codes_used at the end", "50")]

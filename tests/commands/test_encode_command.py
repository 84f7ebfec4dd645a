"""`encode`, `import` and `export` as they are typed."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from wav2vec2s import saved as saved_wav2vec2

from vqw2v_plugin import Tokenizer
from vqw2v_plugin.__main__ import main
from vqw2v_plugin.checkpoints.wav2vec import Imported, Loaded, save_checkpoint
from vqw2v_plugin.modules.kernels import devices, launching
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkpoint(tiny: Callable[..., VqWav2Vec], tmp_path: Path) -> str:
    loaded = Loaded(tiny(quantizer="kmeans").eval(), 16_000, False)
    save_checkpoint(Imported(loaded, False, 0, []), tmp_path / "ours.pt")
    return str(tmp_path / "ours.pt")


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """A file at 16 kHz, one at 44.1 kHz in stereo, one that is too short and one that is none."""
    rng = np.random.default_rng(0)
    sf.write(tmp_path / "a.wav", rng.normal(0, 0.1, 4000), 16_000)
    sf.write(tmp_path / "b.flac", rng.normal(0, 0.1, (20_000, 2)), 44_100)
    sf.write(tmp_path / "short.wav", rng.normal(0, 0.1, 50), 16_000)
    (tmp_path / "text.wav").write_text("hello")
    return [str(tmp_path / name) for name in ("a.wav", "text.wav", "short.wav", "missing.wav", "b.flac")]


def test_encode_prints_a_line_a_file(
    checkpoint: str, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    good = [files[0], files[4]]
    assert main(["encode", checkpoint, *good]) == 0
    lines = capsys.readouterr().out.splitlines()
    tokenizer = Tokenizer.load(checkpoint)
    assert [line.split("\t")[0] for line in lines] == good
    assert {line.count("\t") for line in lines} == {1}
    for path, line in zip(good, lines, strict=True):
        assert torch.equal(tokenizer.parse(line.split("\t")[1]), tokenizer.encode_file(path))
    wav, rate = sf.read(files[4], dtype="float32")
    assert lines[1].split("\t")[1] == tokenizer.tokens(tokenizer.encode(wav.mean(1), rate))


def test_encode_prints_the_same_beside_a_gpu(
    checkpoint: str, files: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where files go together; torch's forms stand in for the kernels."""
    said = []
    for on_gpu in (False, True):
        monkeypatch.setattr(devices, "is_gpu", lambda x, on_gpu=on_gpu: on_gpu)
        monkeypatch.setattr(launching, "have_triton", lambda: False)
        assert main(["encode", checkpoint, *files, "--times"]) == 1
        said.append(capsys.readouterr())
    assert said[0] == said[1] and said[0].out.count("\n") == 2


def test_encode_names_what_it_cannot_read_and_goes_on(
    checkpoint: str, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["encode", checkpoint, *files]) == 1
    out, err = capsys.readouterr()
    assert [line.split("\t")[0] for line in out.splitlines()] == [files[0], files[4]]
    assert [line.split(":")[2].strip() for line in err.splitlines()[:3]] == files[1:4]
    assert err.splitlines()[3] == "vqw2v: 3 of 5 files gave no codes"
    assert main(["encode", checkpoint, "--strict", *files]) == 2
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1 and err.startswith(f"vqw2v: error: {files[1]}")


def test_encode_prints_times(checkpoint: str, files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["encode", checkpoint, "--times", "--dtype", "bf16", files[0]]) == 0
    _, tokens, times = capsys.readouterr().out.rstrip("\n").split("\t")
    assert times.startswith("0.0000 0.0025 0.0050 ") and len(times.split()) == len(tokens.split()) == 98


def test_encode_says_what_the_caller_got_wrong(
    checkpoint: str, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, says in [
        ([checkpoint, files[0], "--dtype", "fp8"], "dtype is 'fp8'"),
        ([checkpoint, files[0], "--device", "tpu9"], "device 'tpu9' cannot be used"),
        ([files[0], files[0]], "a.wav cannot be read as a checkpoint"),
        (["none.pt", files[0]], "none.pt is no file"),
    ]:
        assert main(["encode", *arguments]) == 2
        err = capsys.readouterr().err
        assert says in err and len(err.splitlines()) == 1


def test_export_and_encode_from_the_folder(
    checkpoint: str, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "exported")
    assert main(["export", checkpoint, folder]) == 0
    assert capsys.readouterr().out.startswith(f"{folder}: model.safetensors, config.json, quantizer kmeans")
    assert sorted(os.listdir(folder)) == ["README.md", "config.json", "model.safetensors"]
    assert main(["encode", checkpoint, files[0]]) == 0 == main(["encode", folder, files[0]])
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    assert main(["export", checkpoint, folder]) == 2
    assert "exists; name another, or say --force" in capsys.readouterr().err
    assert main(["export", checkpoint, folder, "--force"]) == 0


def test_import_and_encode_in_a_process_without_fairseq(files: list[str], tmp_path: Path) -> None:
    pytest.importorskip("fairseq")
    from fairseq.models.wav2vec.wav2vec import Wav2VecConfig, Wav2VecModel

    config = Wav2VecConfig()
    config.conv_feature_layers, config.conv_aggregator_layers = "[(16, 10, 5), (16, 8, 4)]", "[(16, 2, 1)]"
    config.vq_type, config.vq_vars, config.infonce = "gumbel", 8, False
    options = {**vars(config), "_name": "wav2vec", "frobnicate": 1}
    model = Wav2VecModel(config)
    torch.save({"cfg": {"model": options, "task": {}}, "model": model.state_dict()}, tmp_path / "stock.pt")
    code = f"""
import sys
from vqw2v_plugin.__main__ import main
stock, ours = {str(tmp_path / "stock.pt")!r}, {str(tmp_path / "new.pt")!r}
assert main(["encode", stock, {files[0]!r}]) == 2
assert main(["import", stock, ours]) == 0
assert main(["import", stock, ours]) == 2
assert main(["encode", ours, {files[0]!r}]) == 0
assert "fairseq" not in sys.modules
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "new.pt: stock fairseq, cfg; quantizer gumbel, 2 × 8 codes, " in done.stdout
    assert "option `frobnicate` is not stock's; ignored" in done.stderr
    assert f"vqw2v import {tmp_path / 'stock.pt'} OUT.pt" in done.stderr and "new.pt exists" in done.stderr


def test_names_with_tabs_and_line_breaks_stay_in_their_column(
    checkpoint: str, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["a\tb.wav", "a\nb.wav", "a\u2028b.wav", "a\\tb.wav", os.fsdecode(b"a\xffb.wav")]
    shown = ["a\\tb.wav", "a\\nb.wav", "a\\u2028b.wav", "a\\\\tb.wav", "a\\xffb.wav"]
    paths = [str(tmp_path / name) for name in names]
    for path in paths:
        shutil.copyfile(files[0], path)
    assert main(["encode", checkpoint, files[0], *paths]) == 0
    first, *rows = (line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert rows == [[str(tmp_path / name), first[1]] for name in shown]
    assert main(["encode", checkpoint, str(tmp_path / "no\nfile.wav")]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and "no\\nfile.wav" in said[0]


def test_a_page_about_the_model_that_is_there_stays_unless_all_is_replaced(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "exported" / "README.md"
    page.parent.mkdir()
    page.write_text("mine")
    for more, kept in (([], True), (["--force"], False)):
        assert main(["export", checkpoint, str(page.parent), *more]) == 0
        assert (page.read_text() == "mine") == kept
        assert (f"{page}: what it was trained on" in capsys.readouterr().out) != kept


def test_what_is_written_for_transformers_has_no_page_of_ours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved_wav2vec2(tmp_path / "w.pt")
    assert main(["export", str(tmp_path / "w.pt"), str(tmp_path / "hf"), "--to", "huggingface"]) == 0
    assert "README.md" not in capsys.readouterr().out and not (tmp_path / "hf" / "README.md").exists()
    assert {"config.json", "model.safetensors"} <= {path.name for path in (tmp_path / "hf").iterdir()}


def test_an_exported_folder_becomes_a_checkpoint_again_and_replaces_none_unasked(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, again = str(tmp_path / "exported"), tmp_path / "again.pt"
    assert main(["export", checkpoint, folder]) == 0 == main(["import", folder, str(again)])
    weights = sum(p.numel() for p in Tokenizer.load(again).coder.module.parameters())
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith(f"{again}: ") and said.endswith(f", {weights:,} parameters")
    assert main(["import", folder, str(again)]) == 2 and "exists" in capsys.readouterr().err
    assert main(["import", folder, str(again), "--force"]) == 0

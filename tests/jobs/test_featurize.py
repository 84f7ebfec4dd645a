"""`vqw2v features`: each layer's frames are those of the file alone, whatever is killed or shared out."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from corpus_runs import FEW, content, corpus

from vqw2v_plugin import load_features
from vqw2v_plugin.__main__ import main
from vqw2v_plugin.audio.reading import AudioError, read_audio
from vqw2v_plugin.checkpoints.wav2vec import Imported, Loaded, load_network, save_checkpoint
from vqw2v_plugin.features.spectral import SpectralFeatures
from vqw2v_plugin.modules.layers.spectrum import LogMel
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.stores.feature_spec import FeatureSpec
from vqw2v_plugin.stores.features import FeatureStore

Tiny = Callable[..., VqWav2Vec]


@pytest.fixture
def save(tiny: Tiny, tmp_path: Path) -> Callable[..., str]:
    def write(**settings: object) -> str:
        loaded = Loaded(tiny(**settings).eval(), 16_000, False)
        save_checkpoint(Imported(loaded, False, 0, []), tmp_path / "m.pt", force=True)
        return str(tmp_path / "m.pt")

    return write


@pytest.fixture
def manifest(tmp_path: Path) -> str:
    return str(corpus(tmp_path, files=6))


def features(*arguments: object, **environ: str) -> int:
    """In a process of its own, as a rank perhaps, or to be killed."""
    child = os.fork()
    if not child:
        status = 70
        try:
            torch.set_num_threads(1)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.environ.update(environ)
            status = main(["features", *map(str, arguments)])
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("layer", ["z", "c", "q"])
@pytest.mark.parametrize(
    "settings",
    [
        {"quantizer": "gumbel"},
        {"quantizer": "kmeans"},
        {"quantizer": "gumbel", "quantizer_position": "context"},
        {"quantizer": "kmeans", "skip_connections_feat": True},
        {"quantizer": "none"},
    ],
    ids=["gumbel", "kmeans", "context", "skips", "none"],
)
def test_frames_are_the_network_s(
    save: Callable[..., str], manifest: str, tmp_path: Path, layer: str, settings: dict[str, object]
) -> None:
    checkpoint, out = save(**settings), tmp_path / "out"
    status = main(["features", checkpoint, manifest, str(out), "--layer", layer, "--store", "fp32"])
    if layer == "q" and settings["quantizer"] == "none":
        assert status == 2
        return
    assert status == 0
    network, store = load_network(checkpoint).network, FeatureStore(out, "train")
    assert len(store) == 6
    for i, (utt, frames) in enumerate(store.rows):
        wav = torch.from_numpy(read_audio(tmp_path / "audio-train" / f"{utt}.flac", 16_000))
        with torch.no_grad():
            states = network.features(wav[None])
        expected = {"z": states.z, "c": states.c, "q": getattr(states.quantized, "x", None)}[layer][0]
        assert frames == len(store[i]) == len(expected)
        torch.testing.assert_close(torch.from_numpy(store[i].copy()), expected, atol=3e-4, rtol=1e-4)


@pytest.mark.parametrize(("layer", "cepstra"), [("logmel", None), ("mfcc", 13), ("mfcc:5", 5)])
def test_spectra_need_no_checkpoint(layer: str, cepstra: int | None, manifest: str, tmp_path: Path) -> None:
    assert main(["features", "-", manifest, str(tmp_path / "out"), "--layer", layer, "--bands", "23"]) == 0
    store = FeatureStore(tmp_path / "out", "train")
    assert store.dim == (cepstra or 23) and store.frames.dtype == np.float16
    wav = torch.from_numpy(read_audio(tmp_path / "audio-train" / "train1.flac", 16_000))
    expected = LogMel(16_000, 23, num_cepstra=cepstra)(wav).half()
    assert torch.equal(torch.from_numpy(store[1].copy()), expected)


def test_kills_and_ranks_change_nothing(
    save: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, checkpoint = corpus(tmp_path, files=8), save(quantizer="kmeans")
    arguments = [checkpoint, manifest]
    assert features(*arguments, tmp_path / "whole", "--layer", "z", *FEW) == 0
    whole, kept = content(tmp_path / "whole"), {"replace": os.replace, "unlink": os.unlink}
    for rank in ("1", "0"):
        assert features(*arguments, tmp_path / "r", "--layer", "z", *FEW, RANK=rank, WORLD_SIZE="2") == 0
    assert content(tmp_path / "r") == whole
    for name in ("replace", "unlink"):
        for step in range(1, 12, 3):
            out, calls = tmp_path / f"{name}{step}", []

            def cut(*names: object, step: int = step, calls: list[int] = calls, name: str = name) -> None:
                calls.append(1)
                if len(calls) > step:
                    os.kill(os.getpid(), signal.SIGKILL)
                kept[name](*names)

            with monkeypatch.context() as patch:
                patch.setattr(os, name, cut)
                features(*arguments, out, "--layer", "z", *FEW)
            assert features(*arguments, out, "--layer", "z", *FEW) == 0
            assert content(out) == whole


def test_missing_files_are_tried_again(
    save: Callable[..., str], manifest: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, out, lost = save(quantizer="none"), tmp_path / "out", tmp_path / "audio-train" / "train3.flac"
    arguments = ["features", checkpoint, manifest, str(out), "--layer", "c", *FEW]
    os.rename(lost, tmp_path / "elsewhere.flac")
    assert main(arguments) == 1
    assert f"{lost}: no such file" in capsys.readouterr().err and len(FeatureStore(out, "train")) == 5
    row = json.loads((out / "features.json").read_text())["splits"]["train"]
    frames = int(FeatureStore(out, "train").sizes.sum())
    assert (row["utterances"], row["refused"], row["frames"]) == (5, 1, frames)
    os.rename(tmp_path / "elsewhere.flac", lost)
    assert main(arguments) == 0
    assert main(["features", checkpoint, manifest, str(tmp_path / "one"), "--layer", "c", *FEW]) == 0
    assert content(out) == content(tmp_path / "one")
    about = json.loads((out / "features.json").read_text())
    assert (
        about["layer"] == "c"
        and about["device"] == "cpu"
        and about["store"] == "fp16"
        and about["normalize"] is False
        and about["dim"] == 16
        and about["splits"]["train"]["utterances"] == 6
    )
    assert main([*arguments, "--store", "fp32"]) == 2
    assert main([*arguments, "--store", "fp32", "--refresh"]) == 0


def test_a_folder_of_before_goes_on(
    save: Callable[..., str], manifest: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its features.json does not say whether its network normalizes; a killed run's settings neither."""
    checkpoint, out = save(quantizer="kmeans"), tmp_path / "out"
    arguments = ["features", checkpoint, manifest, str(out), "--layer", "c", *FEW]
    assert main(arguments) == 0
    about = json.loads((out / "features.json").read_text())
    assert about.pop("normalize") is False
    (out / "features.json").write_text(json.dumps(about))
    assert main(arguments) == 0 and "is there" in capsys.readouterr().out
    valid = str(corpus(tmp_path, "valid", files=3))
    lost = tmp_path / "audio-valid" / "valid1.flac"
    os.rename(lost, tmp_path / "elsewhere.flac")
    assert main(["features", checkpoint, valid, *arguments[3:]]) == 1
    settings = json.loads((out / ".valid.parts" / "settings.json").read_text())
    assert "normalize" not in settings
    os.rename(tmp_path / "elsewhere.flac", lost)
    assert main(["features", checkpoint, valid, *arguments[3:]]) == 0
    assert len(FeatureStore(out, "valid")) == 3


def test_features_from_python_are_those_of_the_command(
    save: Callable[..., str], manifest: str, tmp_path: Path
) -> None:
    checkpoint, path = save(quantizer="kmeans"), tmp_path / "audio-train" / "train2.flac"
    command = ["features", checkpoint, manifest, str(tmp_path / "out"), "--layer", "c", "--store", "fp32"]
    assert main(command) == 0
    features = load_features("c", checkpoint)
    assert np.array_equal(features.of(path).numpy(), FeatureStore(tmp_path / "out", "train")[2])
    assert (features.dim, features.stride, features.sample_rate) == (16, 40, 16_000)
    about = json.loads((tmp_path / "out" / "features.json").read_text())
    assert features.spec == FeatureSpec.from_json({**about, "store": None, "device": None})
    with pytest.raises(AudioError, match=r"short.wav: 50 samples .* are too short for a frame"):
        soundfile.write(tmp_path / "short.wav", np.zeros(50), 16_000)
        features.of(tmp_path / "short.wav")


def test_what_does_not_fit_into_fp16_is_said(
    save: Callable[..., str], manifest: str, tmp_path: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    network = tiny(quantizer="none", non_affine_group_norm=False).eval()
    with torch.no_grad():
        for layer in network.context.layers:
            layer.norm.weight.fill_(1e5)
    save_checkpoint(Imported(Loaded(network, 16_000, False), False, 0, []), tmp_path / "big.pt")
    arguments = ["features", str(tmp_path / "big.pt"), manifest, str(tmp_path / "out"), "--layer", "c"]
    assert main(arguments) == 2
    assert "beyond the range of fp16; say `--store fp32`" in capsys.readouterr().err


def test_the_sum_of_many_large_numbers_may_be_larger_than_fp16_holds(
    manifest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SpectralFeatures, "of", lambda *_: torch.full((40, 80), 60_000.0))
    assert main(["features", "-", manifest, str(tmp_path / "out"), "--layer", "logmel"]) == 0
    assert (FeatureStore(tmp_path / "out", "train")[0] == np.float16(60_000)).all()


def test_a_file_that_fails_for_another_reason_is_said_to(manifest: str, tmp_path: Path) -> None:
    path = tmp_path / "audio-train" / "train3.flac"
    arguments = ["features", "-", manifest, str(tmp_path / "out"), "--layer", "logmel", *FEW]
    for spoil, reason in ((path.unlink, "no such file"), (path.touch, "is empty, 0 bytes")):
        spoil()
        assert main(arguments) == 1
        (line,) = (tmp_path / "out" / "train.refused.tsv").read_text().splitlines()[1:]
        assert line.startswith(f"train3\t{path}\t{path}: {reason}")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--layer", "y"], "`--layer` is 'y'; expected z, c, q, logmel, mfcc, mfcc:N"),
        (["--layer", "z:3"], "`--layer` is 'z:3'"),
        (["--layer", "logmel"], "expected - for logmel"),
        (["--layer", "bert"], "give `--bert BERT.pt`"),
        (["--layer", "z", "--bert", "x.pt"], "`--bert` goes with `--layer bert`"),
        (["--layer", "z", "--store", "fp8"], "`--store` is 'fp8'; expected fp16 or fp32"),
        (["--layer", "z", "--dtype", "fp8"], "`--dtype` is 'fp8'"),
        (["--layer", "z", "--workers", "0"], "`--workers` is 0"),
        (["--layer", "z", "--shard-minutes", "0"], "`--shard-minutes` is 0;"),
    ],
)
def test_wrong_wishes_are_named(
    save: Callable[..., str],
    manifest: str,
    tmp_path: Path,
    options: list[str],
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["features", save(quantizer="gumbel"), manifest, str(tmp_path / "out"), *options]) == 2
    assert says in capsys.readouterr().err

"""Features in principal components: found of the first split, the same for all that hear by them."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transcribing import by_hand, save

from vqw2v_plugin import load_features
from vqw2v_plugin.__main__ import main
from vqw2v_plugin.checkpoints.acoustic import load_acoustic
from vqw2v_plugin.checkpoints.files import CheckpointError
from vqw2v_plugin.corpora.manifest import write_manifest
from vqw2v_plugin.features import principal as principal_module
from vqw2v_plugin.features.acoustic_front import make_front, rebuild_front
from vqw2v_plugin.features.base import FeatureOptions
from vqw2v_plugin.features.principal import PrincipalError, read_principal, write_principal
from vqw2v_plugin.modules.layers.principal import Principal
from vqw2v_plugin.stores.feature_spec import FeatureSpec, read_spec
from vqw2v_plugin.stores.features import FeatureStore

MFCC = ["--layer", "mfcc:6", "--store", "fp32"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("corpus"), np.random.default_rng(0)
    for split, clips in (("train", 5), ("valid", 2)):
        rows = []
        for i in range(clips):
            wav = 0.05 * rng.normal(0, 1, 6_000 + 500 * i).cumsum() * np.hanning(6_000 + 500 * i)
            soundfile.write(folder / f"{split}{i}.wav", wav.clip(-1, 1), 16_000, "FLOAT")
            rows.append({"path": f"{split}{i}.wav", "samples": len(wav)})
        write_manifest(folder / f"{split}.tsv", folder, rows)
    return folder


def make(corpus: Path, out: Path, *options: object, split: str = "train") -> int:
    return main(["features", "-", str(corpus / f"{split}.tsv"), str(out), *MFCC, *map(str, options)])


def rows_of(out: Path, split: str = "train") -> torch.Tensor:
    store = FeatureStore(out, split)
    return torch.from_numpy(np.concatenate([store[i] for i in range(len(store.rows))]))


@pytest.fixture(scope="module")
def made(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made")
    for split in ("train", "valid"):
        assert make(corpus, out, "--pca", 4, split=split) == 0
    return out


def test_frames_are_in_the_components_of_the_first_split(corpus: Path, made: Path, tmp_path: Path) -> None:
    """Held to a singular value decomposition of all frames, up to each direction's sign."""
    for split in ("train", "valid"):
        assert make(corpus, tmp_path / "plain", split=split) == 0
    train, valid = (rows_of(tmp_path / "plain", split).double() for split in ("train", "valid"))
    _, _, axes = torch.linalg.svd(train - train.mean(0), full_matrices=False)
    for split, x in (("train", train), ("valid", valid)):
        expected = (x - train.mean(0)) @ axes[:4].T
        found = rows_of(made, split).double()
        signs = (found * expected).sum(0).sign()
        torch.testing.assert_close(found, expected * signs, atol=1e-2, rtol=1e-3)
    seen = rows_of(made)
    spread = (seen.T @ seen / len(seen)).double()
    assert bool((spread.diag().diff() < 0).all())  # the widest first, and none goes with another
    assert float((spread - spread.diag().diag()).abs().max()) < 1e-3 * float(spread.max())
    spec = read_spec(made)
    assert spec.dim == 4 and spec.pca is not None and spec.pca.name == "pca.safetensors" and spec.has_times


def test_what_was_found_of_other_features_is_refused(
    corpus: Path, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pca = made / "pca.safetensors"
    assert make(corpus, tmp_path / "o", "--pca", pca, split="valid") == 0
    assert torch.equal(rows_of(tmp_path / "o", "valid"), rows_of(made, "valid"))
    for options, message in (
        (["--pca", 3], "has 4 components, `--pca` is 3"),
        (["--pca", 0], "`--pca` is 0; expected 1 to 6"),
        (["--pca", pca, "--deltas", 1], "are of features whose `dim` is 6, and these have 12"),
        (["--pca", pca, "--bands", 70], "are of features whose `bands` is 80, and these have 70"),
        (["--pca", "none"], "expected components that `vqw2v features --pca D` has found"),
        (["--pca", 2, "--frames", 0], "`--frames` is 0"),
        (["--frames", 90], "`--frames` is for finding components, and none is asked for"),
        (["--pca", pca, "--seed", 2], "`--seed` is for finding components, and those of"),
    ):
        out = made if options == ["--pca", 3] else tmp_path / "p"
        assert make(corpus, out, *options) == 2, options
        assert message in capsys.readouterr().err
    features = load_features("mfcc:6", pca=str(pca))
    with pytest.raises(PrincipalError, match="`layer` is 'mfcc:6', and these have 'mfcc:5'"):
        load_features("mfcc:5", pca=str(pca))
    assert torch.equal(
        features.of(corpus / "valid0.wav"), rows_of(made, "valid")[: len(features.of(corpus / "valid0.wav"))]
    )


def test_slopes_and_speakers_are_taken_before_components(corpus: Path, tmp_path: Path) -> None:
    prepared = ["--deltas", 1, "--standardize", "utterance"]
    assert make(corpus, tmp_path / "o", *prepared, "--pca", 5) == 0
    assert make(corpus, tmp_path / "plain", *prepared) == 0
    x = rows_of(tmp_path / "plain").double()
    _, wide, _ = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    found = rows_of(tmp_path / "o").double()
    torch.testing.assert_close(found.std(0, correction=0), wide[:5] / len(x) ** 0.5, atol=1e-4, rtol=1e-3)


def test_a_front_and_transcribe_hear_in_the_components_of_training(
    corpus: Path, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pca, clip = made / "pca.safetensors", str(corpus / "valid1.wav")
    front = make_front(FeatureOptions("mfcc:6", pca=str(pca)))
    wav = torch.from_numpy(soundfile.read(clip, dtype="float32")[0])[None]
    expected = load_features("mfcc:6", pca=str(pca)).of(clip)
    assert torch.equal(front(wav, torch.tensor([wav.size(1)]))[0][0], expected)
    model = save(tmp_path / "placed.pt", front.spec.to_json())
    assert torch.equal(rebuild_front(load_acoustic(model)).features.of(clip), expected)
    store = {**load_features("mfcc:6", pca=str(pca)).spec.to_json(), "store": "fp32"}
    moved = save(tmp_path / "moved.pt", store)  # of features in a folder: only the name is told
    assert main(["transcribe", moved, clip]) == 2
    error = capsys.readouterr().err
    assert "features of 'pca.safetensors' (sha256" in error and "`--pca FILE`" in error
    assert main(["transcribe", moved, clip, "--pca", str(pca)]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    heard = by_hand(moved, load_features("mfcc:6", pca=str(pca)).of, clip)
    assert [(row[3], float(row[1]), float(row[2])) for row in rows] == heard
    assert main(["transcribe", model, clip]) == 0  # it lies where it lay in training
    assert [line.split("\t") for line in capsys.readouterr().out.splitlines()] == rows
    (tmp_path / "other.safetensors").write_bytes(pca.read_bytes() + b" ")
    with pytest.raises(CheckpointError, match=r"other\.safetensors: is another file; .* the pca"):
        rebuild_front(load_acoustic(moved), pca=str(tmp_path / "other.safetensors"))
    plain = save(tmp_path / "plain.pt", load_features("mfcc:4").spec.to_json())
    assert main(["transcribe", plain, clip, "--pca", str(pca)]) == 2
    assert "the acoustic model's features need no pca" in capsys.readouterr().err


def written(path: Path, mean: torch.Tensor, axes: torch.Tensor, **spec: object) -> Path:
    network = Principal(torch.zeros(3), torch.eye(3)[:2])
    network.mean, network.axes = mean, axes
    write_principal(path, network, FeatureSpec("mfcc:3", dim=3, **spec), {"frames": 7})  # type: ignore[arg-type]
    return path


def test_components_are_those_of_any_device(tmp_path: Path) -> None:
    paths = [
        written(tmp_path / device, torch.ones(3), torch.eye(3)[:2], device=device)
        for device in ("cpu", "cuda")
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    found = read_principal(paths[1])
    assert found.of == FeatureSpec("mfcc:3", dim=3) and found.about["frames"] == 7
    assert found.network(torch.tensor([[3.0, 5.0, 9.0]])).tolist() == [[2, 4]]


@pytest.mark.parametrize(
    ("mean", "axes", "says"),
    [
        (torch.full((3,), torch.nan), torch.eye(3), "holds numbers that are not finite, or not of 32 bits"),
        (torch.zeros(3), torch.eye(3) * torch.inf, "holds numbers that are not finite"),
        (torch.tensor([0.0, torch.nan, 0.0]), torch.eye(3), "holds numbers that are not finite"),
        (torch.zeros(3), torch.eye(3).double(), "holds numbers that are not finite, or not of 32 bits"),
        (torch.zeros(2), torch.eye(3), r"`axes` are \[3, 3\] and the mean is \[2\]"),
    ],
)
def test_a_file_of_other_numbers_is_none_of_components(
    mean: torch.Tensor, axes: torch.Tensor, says: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "pca.safetensors", mean, axes)
    with pytest.raises(PrincipalError, match=rf"pca\.safetensors: is no file of components \(.*{says}"):
        read_principal(path)


def test_a_file_of_components_has_a_quarter_of_a_gigabyte_at_most(tmp_path: Path) -> None:
    with open(tmp_path / "pca.safetensors", "wb") as file:
        file.truncate(2**28 + 1)
    with pytest.raises(PrincipalError, match="has 268,435,457 bytes, expected 268,435,456 at most"):
        read_principal(tmp_path / "pca.safetensors")


def test_a_file_of_components_may_be_as_large_as_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pca.safetensors"
    write_principal(path, Principal(torch.zeros(3), torch.eye(2, 3)), FeatureSpec(layer="z", dim=3), {})
    size = path.stat().st_size
    monkeypatch.setattr(principal_module, "_MOST", size)
    assert read_principal(path).network.axes.shape == (2, 3)
    monkeypatch.setattr(principal_module, "_MOST", size - 1)
    with pytest.raises(PrincipalError, match=rf"has {size:,} bytes, expected {size - 1:,} at most"):
        read_principal(path)

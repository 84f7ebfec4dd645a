"""What `vqw2v transcribe` hears is made as its model was trained on it, of files known by their hash."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from transcribing import by_hand, save, save_with_front, write_files

from vqw2v_plugin import Transcriber
from vqw2v_plugin.__main__ import main
from vqw2v_plugin.checkpoints import travel
from vqw2v_plugin.checkpoints.files import checkpoint_hash
from vqw2v_plugin.features import registry
from vqw2v_plugin.features.acoustic_front import make_front
from vqw2v_plugin.features.base import FeatureOptions, Features
from vqw2v_plugin.features.registry import load_features
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    return write_files(tmp_path)


@pytest.fixture
def fronts(tiny: Callable[..., VqWav2Vec], tmp_path: Path) -> tuple[str, str]:
    return save_with_front(tiny(quantizer="kmeans"), tmp_path)


def test_features_come_from_the_checkpoint_beside_or_given(
    fronts: tuple[str, str], files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    model, front = fronts
    assert main(["transcribe", model, files[0]]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    expected = by_hand(model, load_features("q", front).of, files[0])
    assert [(row[3], float(row[1]), float(row[2])) for row in rows] == expected
    os.rename(front, moved := front + ".moved")
    assert main(["transcribe", model, files[0]]) == 2
    assert "trained on features of 'front.pt'" in (err := capsys.readouterr().err) and "--front FILE" in err
    assert main(["transcribe", model, files[0], "--front", moved]) == 0
    assert [line.split("\t") for line in capsys.readouterr().out.splitlines()] == rows


def spec_of(features: Features, **more: str) -> dict[str, object]:
    """What features.json says of features that were stored in fp32."""
    return {**features.spec.to_json(), "store": "fp32", **more}


def shown(
    model: str, path: str, capsys: pytest.CaptureFixture[str], *options: str
) -> list[tuple[object, ...]]:
    assert main(["transcribe", model, path, *options]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    return [(row[3], float(row[1]), float(row[2])) for row in rows]


def test_features_of_pieces_are_made_of_pieces(
    tiny: Callable[..., VqWav2Vec], tmp_path: Path, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sentencepiece")
    from bert_of_pieces import make

    front, _ = make(tiny(quantizer="gumbel"), tmp_path)
    bert, pieces = str(tmp_path / "bert.pt"), tmp_path / "pieces"
    features = load_features("bert", front, bert=bert, pieces=str(pieces))
    (tmp_path / "models").mkdir()
    model = save(tmp_path / "models" / "acoustic.pt", spec_of(features))
    given = ["--front", front, "--bert", bert]
    expected = by_hand(model, features.of, files[0])
    assert shown(model, files[0], capsys, *given, "--pieces", str(pieces)) == expected
    on_the_fly = make_front(FeatureOptions("bert", front, bert, str(pieces)))
    placed = save(tmp_path / "models" / "placed.pt", spec_of(on_the_fly.features))
    assert shown(placed, files[0], capsys) == expected  # found where they lay in training
    assert main(["transcribe", model, files[0], *given]) == 2
    error = capsys.readouterr().err
    assert "trained on features of 'pieces.model' (sha256" in error and "`--pieces FOLDER`" in error
    for file in ("pieces.model", "pieces.codes.txt"):
        os.rename(pieces / file, tmp_path / "models" / file)
    assert shown(model, files[0], capsys, *given) == expected
    (pieces / "pieces.model").write_bytes(b"other")
    assert main(["transcribe", model, files[0], *given, "--pieces", str(pieces)]) == 2
    assert "pieces.model: is another file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("layer", "options"),
    [("logmel", {"bands": 30}), ("mfcc:7", {"bands": 30}), ("mfcc", {}), ("c", {"dtype": "bf16"})],
)
def test_features_are_rebuilt_as_they_were_made(
    fronts: tuple[str, str],
    tmp_path: Path,
    files: list[str],
    layer: str,
    options: dict[str, int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    features = load_features(layer, fronts[1] if layer == "c" else None, **options)
    model = save(tmp_path / "rebuilt.pt", spec_of(features))
    assert shown(model, files[0], capsys) == by_hand(model, features.of, files[0])


@pytest.mark.parametrize(
    ("field", "value"), [("stride", 160), ("dim", 12), ("sample_rate", 8000), ("normalize", True)]
)
def test_a_file_that_gives_other_features_than_it_says_is_refused(
    fronts: tuple[str, str],
    tmp_path: Path,
    files: list[str],
    field: str,
    value: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The folder of an export is known by its weights, and config.json beside them may have been edited."""
    spec = {**spec_of(load_features("q", fronts[1])), field: value}
    model = save(tmp_path / "edited.pt", spec)
    assert main(["transcribe", model, files[0]]) == 2
    assert f"trained on features whose `{field}` is {value!r}; those of" in capsys.readouterr().err


def test_each_file_is_hashed_once(fronts: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    for room in (travel, registry):
        monkeypatch.setattr(
            room, "checkpoint_hash", lambda path: hashed.append(path.name) or checkpoint_hash(path)
        )
    Transcriber.load(fronts[0])
    assert hashed == ["front.pt"]


def test_whose_files_they_are_is_what_is_said_or_told_to_be_unknown(
    tmp_path: Path, files: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save(tmp_path / "by_speaker.pt", spec_of(load_features("mfcc:4", standardize="speaker")))
    told: list[object] = []
    monkeypatch.setattr(Transcriber, "know", lambda _, who=(): told.append(who))
    assert main(["transcribe", model, *files, "--speaker", "all"]) == 1
    assert files in told and "who speaks in" not in capsys.readouterr().err
    assert main(["transcribe", model, *files]) == 1
    assert (
        "nobody says who speaks in 2 files: " in capsys.readouterr().err
    )  # of five, three of which are none
    assert main(["transcribe", model, *files[1:4]]) == 1
    assert "who speaks in" not in capsys.readouterr().err

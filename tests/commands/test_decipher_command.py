"""`vqw2v decipher`: segments of a made-up language become phones; labels are read for measuring alone."""

import json
from pathlib import Path

import numpy as np
import pytest
from feature_folders import write_frames

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.stores.labels import Labels, write_labels

PHONES = ("a", "b", "c", "d", "e")


def lines(count: int, seed: int) -> list[list[int]]:
    """Sentences of a language whose phones have few followers."""
    rng, found = np.random.default_rng(seed), []
    moves = np.array([[0, 6, 1, 1, 0], [0, 0, 8, 0, 1], [1, 0, 0, 7, 1], [2, 0, 0, 0, 6], [5, 3, 0, 0, 0]])
    for _ in range(count):
        line = [int(rng.integers(3))]
        while len(line) < 9:
            line.append(int(rng.choice(5, p=moves[line[-1]] / moves[line[-1]].sum())))
        found.append(line)
    return found


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text(
        "".join(" ".join(PHONES[i] for i in line) + "\n" for line in lines(300, 0))
    )
    assert (
        main(["phones", str(tmp_path / "text.txt"), "--save-dir", str(tmp_path / "text"), "--sil-prob", "0"])
        == 0
    )
    rng, vectors = np.random.default_rng(3), np.random.default_rng(4).normal(size=(5, 6)) * 4
    for split, count, seed in (("train", 200, 1), ("valid", 20, 2)):
        spoken = {f"{split}{i}": line for i, line in enumerate(lines(count, seed))}
        rows = {
            u: (vectors[line] + rng.normal(0, 0.3, (len(line), 6))).astype("f") for u, line in spoken.items()
        }
        write_frames(tmp_path / "segments", split, rows, {"layer": "z", "segments": "runs"})
        labels = Labels(tuple(spoken), tuple(tuple(PHONES[i] for i in line) for line in spoken.values()))
        write_labels(tmp_path / "labels", "phones", {split: labels}, [(p, 1) for p in PHONES], {})
    return tmp_path


def decipher(corpus: Path, *options: str) -> int:
    words = ["decipher", corpus / "segments", corpus / "text", corpus / "out", "--restarts", "40", *options]
    return main([*map(str, words)])


def test_a_language_is_read_and_beats_the_guess(
    corpus: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (
        decipher(corpus, "--codes", "6", "--read", "train", "valid", "--measure", str(corpus / "labels")) == 0
    )
    shown = capsys.readouterr().out
    about = json.loads((corpus / "out" / "decipher.json").read_text())
    rows = about["splits"]["valid"]
    assert rows["decipherment"]["per"] < 5 < rows["unigram guess"]["per"]
    assert about["gain"] > 0.2 and f"explains {about['gain']:.3f} bits a segment" in shown
    assert "valid, decipherment: PER " in shown and about["codes"] == 6
    said = (corpus / "out" / "valid.phn").read_text().splitlines()
    assert len(said) == 20 and (corpus / "out" / "valid.utt").read_text().splitlines()[3] == "valid3"
    true = [" ".join(PHONES[i] for i in line) for line in lines(20, 2)]
    guessed = (corpus / "out" / "valid.guess.phn").read_text().splitlines()
    right = [sum(a == b for a, b in zip(way, true, strict=True)) for way in (said, guessed)]
    assert right[0] > 10 > right[1]  # each way's phones lie under its own name

    def no_labels(*_: object) -> None:
        raise AssertionError("labels are read")

    monkeypatch.setattr("vqw2v_plugin.analysis.decipherment.read_labels", no_labels)
    assert decipher(corpus, "--codes", "6", "--read", "valid") == 0
    assert (corpus / "out" / "valid.phn").read_text().splitlines() == said


def test_what_is_learnt_from_is_read_where_nothing_else_is_named(corpus: Path) -> None:
    assert decipher(corpus, "--codes", "6", "--split", "valid") == 0
    assert sorted(path.name for path in (corpus / "out").glob("*.phn")) == ["valid.guess.phn", "valid.phn"]
    assert set(json.loads((corpus / "out" / "decipher.json").read_text())["splits"]) == {"valid"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--codes", "5000"], "has 1,800 rows, expected at least as many as clusters (5,000)"),
        (["--codes", "1"], "`--codes` is 1; expected 2 to 100,000"),
        (["--seed", "-1"], "`--seed` is -1; expected 0 to"),
        (["--restarts", "0"], "`--restarts` is 0; expected 1 to 100,000"),
        (["--split", "test"], "test.npy: is missing; the splits in"),
    ],
)
def test_wrong_wishes_are_named(
    corpus: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert decipher(corpus, *options) == 2
    assert message in capsys.readouterr().err

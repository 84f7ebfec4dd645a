"""What a checkpoint says of its labels, held against a folder's."""

from pathlib import Path

import pytest

pytest.importorskip("fairseq")
from vqw2v_plugin.checkpoints.about import units_of
from vqw2v_plugin.stores.labels import LabelError, Labels, write_labels
from vqw2v_plugin.training.acoustic_data import check_same_labels, describe_labels


def folder(path: Path, *symbols: str, kind: str = "letters") -> Path:
    made = {"train": Labels(("u",), ((symbols[-1],),))}
    write_labels(path, kind, made, [(symbol, 1) for symbol in symbols], {})
    return path


def test_labels_of_another_meaning_are_refused_and_none_are_no_trouble(tmp_path: Path) -> None:
    trained_on = {"kind": "letters", "symbols": ["|", "a", "b"]}
    check_same_labels(folder(tmp_path / "same", "|", "a", "b"), trained_on)
    check_same_labels(folder(tmp_path / "phones", "AH", kind="phones"), trained_on)
    for name, symbols in (("order", "|ba"), ("other", "|ac"), ("fewer", "|a"), ("more", "|abc")):
        with pytest.raises(LabelError, match=r"dict\.ltr\.txt: differs from the dictionary .*\(\| a b\)"):
            check_same_labels(folder(tmp_path / name, *symbols), trained_on)
    with pytest.raises(LabelError, match="the checkpoint is of another task"):
        check_same_labels(tmp_path / "same", None)


def test_a_description_makes_the_units_it_is_of(tmp_path: Path) -> None:
    labels = folder(tmp_path, "|", "a", "b")
    asg = describe_labels(labels, None, "asg", 3)
    assert asg == {"symbols": ["|", "a", "b"], "kind": "letters", "loss": "asg", "repeats": 3}
    assert units_of(asg).symbols == ("|", "a", "b", "1", "2", "3")
    ctc = describe_labels(labels, "letters", "vq_ctc", 0)  # which needs no repetition symbols
    assert ctc["repeats"] == 0 and units_of(ctc).symbols == ("<blank>", "|", "a", "b")

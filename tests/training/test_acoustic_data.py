"""What a checkpoint says of its labels, held against a folder's."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fairseq")
from omegaconf import OmegaConf

from vqw2v_plugin.checkpoints.about import units_of
from vqw2v_plugin.checkpoints.stock_wav2vec_ctc import NO_LABELS
from vqw2v_plugin.stores.labels import LabelError, Labels, write_labels
from vqw2v_plugin.text.units import ctc_units
from vqw2v_plugin.training.acoustic_data import (
    Decoding,
    Learning,
    check_same_labels,
    counted_unit,
    describe_labels,
)


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
    imported = {"kind": "letters", "symbols": [*NO_LABELS, "|", "a", "b"]}  # a transcript has none of these
    check_same_labels(tmp_path / "same", imported)
    with pytest.raises(LabelError, match=r"dict\.ltr\.txt: differs"):
        check_same_labels(tmp_path / "order", imported)


def test_a_description_makes_the_units_it_is_of(tmp_path: Path) -> None:
    labels = folder(tmp_path, "|", "a", "b")
    asg = describe_labels(labels, None, "asg", 3)
    assert asg == {"symbols": ["|", "a", "b"], "kind": "letters", "loss": "asg", "repeats": 3}
    assert units_of(asg).symbols == ("|", "a", "b", "1", "2", "3")
    for asked in (0, 3):
        ctc = describe_labels(labels, "letters", "vq_ctc", asked)  # which needs no repetition symbols
        assert ctc["repeats"] == 0 and units_of(ctc).symbols == ("<blank>", "|", "a", "b")


def test_a_share_of_labels_is_drawn_of_what_is_trained_on_alone(tmp_path: Path) -> None:
    labels = Labels(tuple(f"u{i}" for i in range(10)), (("a",),) * 10, seconds=(360.0,) * 10)

    def chosen(split: str, **given: Any) -> int | None:
        said = {"label_fraction": 0.5, "label_hours": None, "label_seed": 1, "train_subset": "train,more"}
        learning = Learning(SimpleNamespace(**{**said, **given}), tmp_path, ctc_units(["a"]), int)
        found = learning.chosen(split, labels)
        return None if found is None else len(found)

    assert [chosen(split) for split in ("train", "more", "more,train")] == [5, 5, 5]
    assert [chosen(split) for split in ("valid", "train,valid")] == [None, None]
    assert chosen("train", label_fraction=1.0) is None and chosen("train", label_fraction=3.0) == 3
    assert chosen("train", label_fraction=1.0, label_hours=0.45) == 4


def test_frames_of_emissions_are_counted_as_the_model_does(tmp_path: Path) -> None:
    learning = Learning(SimpleNamespace(), tmp_path, ctc_units(["a"]), lambda size: size // 3)
    assert learning._emission_frames(np.array([10, 21, 10, 4])).tolist() == [3, 7, 3, 1]


def test_which_labels_are_meant_is_asked_where_there_are_several(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"holds no dictionary \(dict\.\*\.txt\); `vqw2v labels` writes"):
        describe_labels(tmp_path, None, "vq_ctc", 0)
    folder(tmp_path, "|", "a")
    folder(tmp_path, "AH", kind="phones")
    with pytest.raises(LabelError, match="holds dictionaries of letters and phones: say `unit`"):
        describe_labels(tmp_path, None, "vq_ctc", 0)
    assert describe_labels(tmp_path, "phones", "vq_ctc", 0)["symbols"] == ["AH"]
    with pytest.raises(LabelError, match="`criterion` is adam; expected one of "):
        describe_labels(tmp_path, "phones", "adam", 0)


def test_words_are_counted_unless_the_scorer_says_otherwise() -> None:
    whole = OmegaConf.create({"task": {"x": 1}, "scoring": {"_name": "vq_error", "error_unit": "phones"}})
    assert counted_unit(whole.task) == "phones"
    assert counted_unit(OmegaConf.create({"task": {}, "scoring": {"_name": "wer"}}).task) == "words"
    assert counted_unit(SimpleNamespace()) == "words"


@pytest.mark.parametrize(("unit", "words"), [("phones", False), ("words", True)])
def test_words_are_no_answers_where_phones_are_counted(tmp_path: Path, unit: str, words: bool) -> None:
    task = {"answer": "auto", "decoder": "lexicon", "lexicon": None}
    whole = OmegaConf.create({"task": task, "scoring": {"_name": "vq_error", "error_unit": unit}})
    decoding = Decoding(whole.task, tmp_path)
    for phone in ("HH", "AY"):
        decoding.dictionary.add_symbol(phone)
    (row,) = decoding.targets("test", Labels(("u",), (("HH", "AY"),), ("hi",)), "phones")
    assert decoding.answers.words is words and row is not None and len(row) == (2 if words else 3)


def test_of_dev_and_valid_the_labels_that_are_there_are_scored(tmp_path: Path) -> None:
    write_labels(tmp_path, "letters", {"dev": Labels(("u",), (("a",),))}, [("a", 1)], {})
    cfg = SimpleNamespace(answer="auto", decoder="greedy", lexicon=None, strict_audio=False)
    heard: Any = SimpleNamespace(name="valid", utts=["u", "v"], sizes=np.array([5, 6]))
    decoding = Decoding(cfg, tmp_path)
    decoding.dictionary.add_symbol("a")
    printed = decoding.dataset("valid", heard, "letters").printed
    assert printed is not None and [row is None for row in printed] == [False, True]


@pytest.mark.parametrize(("seed", "draws"), [(7, True), (None, False)])
def test_masks_of_an_utterance_are_drawn_by_the_seed_that_is_given(
    tmp_path: Path, seed: int | None, draws: bool
) -> None:
    write_labels(tmp_path, "letters", {"train": Labels(("u",), (("a",),))}, [("a", 1)], {})
    said = {"label_fraction": 1.0, "label_hours": None, "label_seed": 1, "train_subset": "train"}
    said |= {"strict_labels": False, "strict_audio": False, "min_frames": 1, "max_frames": None}
    learning = Learning(SimpleNamespace(**said), tmp_path, ctc_units(["a"]), int, seed)
    heard: Any = SimpleNamespace(name="train", utts=["u"], sizes=np.array([5]))
    dataset = learning.dataset("train", heard)
    assert dataset.draws is draws and (seed is None or dataset.seed == seed)

"""Classes of utterances: what a log says of answers, what a head is told at first, and what it answers."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("fairseq")
from fairseq.data import Dictionary
from fairseq.logging import metrics

from vqw2v_plugin.audio.reading import AudioError
from vqw2v_plugin.stores.labels import CLASS, LabelError, Labels, write_labels
from vqw2v_plugin.training import class_data
from vqw2v_plugin.training.class_generator import ClassGenerator
from vqw2v_plugin.training.class_metrics import class_logs, log_classes


def answers(*columns: int, of: int = 3) -> torch.Tensor:
    return 5.0 * torch.eye(of)[list(columns)]


def test_recalls_of_batches_are_one_mean_over_the_classes_that_are_there() -> None:
    """Of class 0 three of four are right, of class 1 none of one; nobody is of class 2."""
    batches = [((0, 0, 2), (0, 0, 0)), ((0, 0), (0, 1))]  # answered, true
    with metrics.aggregate(new_root=True) as found:
        for number, (said, true) in enumerate(batches):
            logs = class_logs(answers(*said), torch.tensor(true), True)
            logs |= {"loss": 3.0 + number, "sample_size": len(true), "nsentences": len(true), "ntokens": 7}
            log_classes([logs])
    shown = found.get_smoothed_values()
    assert float(shown["accuracy"]) == pytest.approx(3 / 5) and float(shown["uar"]) == pytest.approx(0.375)
    assert float(shown["loss"]) == pytest.approx(7 / 5 / math.log(2), abs=1e-3)
    assert (shown["ntokens"], shown["nsentences"]) == (7, 2.5)
    assert found["_confusion"].sum.tolist() == [[3, 0, 1], [1, 0, 0], [0, 0, 0]]  # a row a true class


@pytest.mark.parametrize(("classes", "there"), [(200, True), (201, False)])
def test_a_table_is_kept_of_few_classes_and_only_where_it_is_asked_for(classes: int, there: bool) -> None:
    logits, true = answers(1, of=classes), torch.tensor([1])
    assert ("confusion" in class_logs(logits, true, True)) == there
    assert "confusion" not in class_logs(logits, true, False)


class Clips:
    """Utterances of which each is a frame of its number, or cannot be read."""

    def __init__(self, count: int, broken: int = -1) -> None:
        self.utts, self.heard, self.broken = [str(i) for i in range(count)], list[int](), broken

    def read(self, index: int) -> np.ndarray:
        if index == self.broken:
            raise AudioError("broken")
        self.heard.append(index)
        return np.array([[index, 0.0]] * (index + 1), np.float32)


def fitted(clips: Clips) -> tuple[torch.Tensor, torch.Tensor]:
    told: list[Any] = []
    network = SimpleNamespace(fit=lambda *given: told.append(given))
    class_data.fit(SimpleNamespace(heard=lambda x, lengths: (x, lengths), network=network), clips)  # type: ignore[arg-type]
    ((mean, variance),) = told
    return mean, variance


def test_a_head_is_told_mean_and_variance_of_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    mean, variance = fitted(Clips(4, broken=1))
    frames = [0.0, 2, 2, 2, 3, 3, 3, 3]
    torch.testing.assert_close(mean, torch.tensor([np.mean(frames), 0]).float())
    torch.testing.assert_close(variance, torch.tensor([np.var(frames), 0]).float())
    monkeypatch.setattr(class_data, "_MOST_HEARD", 3)
    fitted(many := Clips(9))
    assert many.heard == [0, 4, 8]  # from all over


def test_a_folder_without_classes_says_what_makes_them(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"holds no dict\.cls\.txt; `vqw2v labels … --unit class"):
        class_data.describe_classes(tmp_path)
    with pytest.raises(LabelError, match="the checkpoint is of another task"):
        class_data.check_same_classes(tmp_path, None)
    class_data.check_same_classes(tmp_path, {"classes": ["a", "b"]})  # it has no say in what is answered


def test_classes_in_another_order_are_others(tmp_path: Path) -> None:
    write_labels(tmp_path, CLASS, {"train": Labels(("u",), (("a",),))}, [("a", 1), ("b", 1)], {})
    class_data.check_same_classes(tmp_path, {"classes": ["a", "b"]})
    with pytest.raises(LabelError, match=r"has 2 classes \(a, b\), .* trained with 2 \(b, a\)"):
        class_data.check_same_classes(tmp_path, {"classes": ["b", "a"]})


def test_answers_stand_in_the_split_s_order_once_all_are_there_the_most_probable_first(
    tmp_path: Path,
) -> None:
    dictionary = Dictionary()
    names = ("calm", "glad", "sad")
    for name in names:
        dictionary.add_symbol(name)
    rows = {0: [0.25, 0.5, 0.25], 1: [0.0, 0.125, 0.875], 2: [0.75, 0.25, 0.0]}
    told: list[str] = []
    model = SimpleNamespace(
        eval=lambda: told.append("eval"),
        classes=SimpleNamespace(names=names),
        probabilities=lambda ids: torch.tensor([rows[i] for i in ids]),
    )
    cfg = SimpleNamespace(results_path=str(tmp_path), gen_subset="dev")
    made = ClassGenerator([model], cfg, 3, dictionary, {"u1": "sad"})
    assert told == ["eval"]
    path = tmp_path / "classes-dev.tsv"

    def answered(*ids: int) -> list[list[dict[str, Any]]]:
        sample = {"id": torch.tensor(ids), "utts": [f"u{i}" for i in ids], "net_input": {"ids": ids}}
        return made.generate(None, sample)

    (first, _), _ = answered(2, 1), path.exists()
    assert [dictionary.string(each["tokens"]) for each in first] == ["calm", "glad", "sad"]
    assert [each["score"] for each in first[:2]] == pytest.approx([math.log(0.75), math.log(0.25)])
    assert first[2]["score"] < -20 and not path.exists()  # of no probability, and still a number
    answered(0)
    assert [line.split("\t") for line in path.read_text().splitlines()[1:]] == [
        ["u0", "glad", "0.5000", ""],
        ["u1", "sad", "0.8750", "sad"],
        ["u2", "calm", "0.7500", ""],
    ]

"""Task `vq_utterance`: one class an utterance is learnt, and `fairseq-generate` says which and how sure."""

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

pytest.importorskip("fairseq")
from fake_classes import MOODS, generate, train, write_moods
from omegaconf import OmegaConf

import vqw2v_plugin
from vqw2v_plugin.corpora.manifest import write_manifest
from vqw2v_plugin.stores.labels import CLASS, LabelError, Labels, write_labels
from vqw2v_plugin.tasks import vq_utterance as module
from vqw2v_plugin.tasks.vq_utterance import VqUtteranceConfig, VqUtteranceTask
from vqw2v_plugin.training.class_data import ClassLearning
from vqw2v_plugin.training.class_metrics import CONFUSION
from vqw2v_plugin.training.resumed import changes
from vqw2v_plugin.training.task import TrainingTask

vqw2v_plugin.register()
SIZES = {"train": 60, "valid": 9, "test": 12}
COUNTS = [(mood, 1) for mood in MOODS]


@pytest.fixture(scope="module")
def moods(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_moods(tmp_path_factory.mktemp("moods"), SIZES)


@pytest.fixture(scope="module")
def both(moods: tuple[Path, Path]) -> str:
    """Two layers: the second one holds the moods in other places."""
    data, _ = moods
    return f"{data}:{write_moods(data.parent, SIZES, layer='z', shift=3)[0]}"


@pytest.fixture(scope="module")
def trained(moods: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    few = ["--max-update", "70", "--validate-interval", "9"]
    return train(*moods, tmp_path_factory.mktemp("ck"), *few)


def task_of(data: Path | str, labels: Path | None, **given: object) -> VqUtteranceTask:
    known = {"train_subset": "train", "seed": 1, "save_dir": "", "restore_file": ""}
    known |= {"gen_subset": "test", "results_path": None}
    known |= {"data": str(data), "labels": None if labels is None else str(labels)}
    cfg = OmegaConf.structured(VqUtteranceConfig(**{**known, **given}))
    return VqUtteranceTask.setup_task(cfg)


def rows_of(out: Path) -> list[list[str]]:
    return [line.split("\t") for line in (out / "classes-test.tsv").read_text().splitlines()]


def test_it_learns_and_says_what_and_how_sure(
    moods: tuple[Path, Path], trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = generate(*moods, trained, tmp_path)
    head, *rows = rows_of(tmp_path)
    assert head == ["utt", "answer", "probability", "class"]
    assert [row[0] for row in rows] == [f"test{i}" for i in range(12)]  # in the split's order
    right = sum(answer == true for _, answer, _, true in rows)
    about = json.loads((tmp_path / "classes-test.json").read_text())
    assert right >= 10 and about["correct"] == right and about["utterances"] == 12
    assert {row["class"]: row["utterances"] for row in about["classes"]} == dict.fromkeys(MOODS, 4)
    assert all(1 / 3 < float(row[2]) <= 1 for row in rows)
    said = f"accuracy {100 * right / 12:.2f} % (33.33 by one answer to all)"
    shown = capsys.readouterr().out
    assert f"test: {said}" in shown and "class  calm  glad  sad   recall" in shown
    assert f"Generate test with beam=1: {said}" in text and "T-3\tcalm" in text


def test_layers_of_several_folders_are_mixed(moods: tuple[Path, Path], both: str, tmp_path: Path) -> None:
    few = [
        "--max-update",
        "50",
        "--pooling",
        "attention",
        "--class-weights",
        "balanced",
        "--disable-validation",
    ]
    checkpoint = train(both, moods[1], tmp_path / "ck", *few)
    state = torch.load(checkpoint, weights_only=True)["model"]
    assert state["network.mix"].shape == (2,) and bool(state["network.mix"].abs().sum() > 0)
    torch.testing.assert_close(state["network.mean"], torch.full((2, 8), 5.2), atol=0.4, rtol=0)
    generate(both, moods[1], checkpoint, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "classes-test.json").read_text())["accuracy"] > 60
    turned = ":".join(reversed(both.split(":")))
    with pytest.raises(ValueError, match="on features 1 of 2 whose `layer` is 'logmel', here it is 'z'"):
        generate(turned, moods[1], checkpoint, tmp_path / "out")
    with pytest.raises(ValueError, match="was trained on 2 layers, here are 1"):
        generate(*moods, checkpoint, tmp_path / "out")


def test_a_resumed_training_equals_a_whole_one(moods: tuple[Path, Path], both: str, tmp_path: Path) -> None:
    few = ["--save-interval-updates", "4", "--label-fraction", "0.5", "--pooling", "attention"]
    few += ["--disable-validation", "--dropout", "0.3", "--max-update"]
    whole = train(both, moods[1], tmp_path / "whole", *few, "9")
    train(both, moods[1], tmp_path / "parts", *few, "4")
    parts = train(both, moods[1], tmp_path / "parts", *few, "9")
    states = [torch.load(path, weights_only=True)["model"] for path in (whole, parts)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_what_is_not_known_is_answered_and_not_scored(
    moods: tuple[Path, Path], trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data, _ = moods
    text = generate(data, tmp_path, trained, tmp_path / "none")
    assert "Generate test" not in text and not (tmp_path / "none" / "classes-test.json").exists()
    assert [row[3] for row in rows_of(tmp_path / "none")[1:]] == [""] * 12
    assert "has no test.cls: test is answered, not scored" in caplog.text

    said = Labels(("test0", "test1", "test2"), (("calm",), ("angry",), ("calm",)))
    write_labels(tmp_path / "few", CLASS, {"test": said}, COUNTS, {})
    generate(data, tmp_path / "few", trained, tmp_path / "out")
    assert "1 utterances are of classes that the model has not learnt" in caplog.text
    assert "9 utterances have no labels, so they are answered but not scored" in caplog.text
    rows = rows_of(tmp_path / "out")[1:]
    assert len(rows) == 12 and [row[3] for row in rows[:4]] == ["calm", "angry", "calm", ""]
    about = json.loads((tmp_path / "out" / "classes-test.json").read_text())
    of_calm = next(row for row in about["classes"] if row["class"] == "calm")
    assert about["utterances"] == 2 and about["uar"] == of_calm["recall"]  # of the others there is no recall


def test_a_class_that_training_lacks_stops_it(moods: tuple[Path, Path], tmp_path: Path) -> None:
    data, _ = moods
    made = {
        "train": Labels(("train0", "train1"), (("calm",), ("sad",))),
        "valid": Labels(("valid0", "valid1"), (("calm",), ("angry",))),
    }
    write_labels(tmp_path, CLASS, made, COUNTS, {})
    with pytest.raises(
        LabelError, match=r"valid\.cls: has classes that dict\.cls\.txt.*lacks: angry 1 times"
    ):
        train(data, tmp_path, tmp_path / "ck", "--max-update", "1")


def test_other_classes_than_the_checkpoint_s_are_refused(
    moods: tuple[Path, Path], trained: Path, tmp_path: Path
) -> None:
    write_labels(tmp_path, CLASS, {"test": Labels(("test0",), (("a",),))}, [("a", 1), ("b", 1)], {})
    with pytest.raises(LabelError, match=r"has 2 classes \(a, b\), the checkpoint was trained with 3"):
        generate(moods[0], tmp_path, trained, tmp_path / "out")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--scoring", "vq_error"], "`scoring` is vq_error; expected vq_recall"),
        (["--path", "A:B"], "`path` names 2 models; expected one"),
    ],
)
def test_what_cannot_be_judged_is_explained(
    more: list[str], message: str, moods: tuple[Path, Path], trained: Path, tmp_path: Path
) -> None:
    more = [word.replace("A", str(trained)).replace("B", str(trained)) for word in more]
    with pytest.raises(ValueError, match=message):
        generate(*moods, trained, tmp_path / "out", *more)


def test_folders_that_do_not_go_together_are_refused(moods: tuple[Path, Path], tmp_path: Path) -> None:
    data, labels = moods
    fewer, _ = write_moods(tmp_path, {"train": 59}, layer="fewer")
    longer, _ = write_moods(tmp_path, {"train": 60}, layer="longer")
    frames = np.load(longer / "train.ends.npy")
    (longer / "train.ids").write_text(
        (longer / "train.ids").read_text().replace(f"\t{frames[0]}\n", f"\t{frames[0] + 1}\n", 1)
    )
    with pytest.raises(ValueError, match="its utterances are not those of"):
        task_of(f"{data}:{fewer}", labels).source("train")
    with pytest.raises(ValueError, match=r"data=.*labels: holds no features; of several folders"):
        _ = task_of(f"{data}:{labels}", labels).layer_specs
    assert task_of(data, labels).feature_dim == 8
    with pytest.raises(ValueError, match=r"data=.*none: is no folder"):
        task_of(f"{data}:{tmp_path / 'none'}", labels).build_model(None)
    with pytest.raises(LabelError, match=r"holds no dict\.cls\.txt"):
        _ = task_of(data, data).classes


def test_rare_classes_weigh_more_and_absent_ones_nothing(moods: tuple[Path, Path], tmp_path: Path) -> None:
    names = tuple(f"train{i}" for i in range(8))
    made = {"train": Labels(names, (("calm",),) * 6 + (("sad",),) * 2)}
    write_labels(tmp_path, CLASS, made, COUNTS, {})
    task = task_of(moods[0], tmp_path)
    weights = ClassLearning(task.cfg, tmp_path, task.classes, int).weights()
    torch.testing.assert_close(weights, torch.tensor([8 / 12, 0.0, 2.0]))
    half = task_of(moods[0], tmp_path, label_fraction=4.0)
    assert sum(ClassLearning(half.cfg, tmp_path, half.classes, int).counts()) == 4


def test_validation_shows_what_is_taken_for_what(
    moods: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        train(*moods, tmp_path, "--max-update", "1")
    assert "of 9 utterances right, 3 classes\nclass  calm  glad  sad" in caplog.text
    assert "| accuracy 0." in caplog.text and "| uar 0." in caplog.text


def test_audio_goes_in_where_the_model_has_a_front(tmp_path: Path) -> None:
    made, rng = {}, np.random.default_rng(0)
    for split, count in (("train", 8), ("valid", 2), ("test", 4)):
        names = [f"{split}{i}" for i in range(count)]
        rows = []
        for i, name in enumerate(names):
            wave = np.sin(np.arange(rng.integers(4000, 9000)) * (0.2 if i % 2 else 1.0)) * 0.3
            soundfile.write(tmp_path / f"{name}.flac", wave + rng.normal(0, 0.01, len(wave)), 16_000)
            rows.append({"path": f"{name}.flac", "samples": len(wave)})
        write_manifest(tmp_path / f"{split}.tsv", tmp_path, rows)
        made[split] = Labels(tuple(names), tuple((("high", "low")[i % 2],) for i in range(count)))
    write_labels(tmp_path / "labels", CLASS, made, [("high", 1), ("low", 1)], {})
    few = ["--max-update", "20", "--front-bands", "20", "--batch-size", "4", "--disable-validation"]
    checkpoint = train(tmp_path, tmp_path / "labels", tmp_path / "ck", *few)
    generate(tmp_path, tmp_path / "labels", checkpoint, tmp_path / "out", "--batch-size", "3")
    assert json.loads((tmp_path / "out" / "classes-test.json").read_text())["accuracy"] == 100


def test_several_splits_are_trained_on_as_one(moods: tuple[Path, Path]) -> None:
    """So folds are made once, and none of their audio twice."""
    task = task_of(*moods, train_subset="valid,test", label_fraction=4.0)
    task.learning = ClassLearning(task.cfg, task.labels, task.classes, int)
    task.load_dataset("valid,test")
    task.load_dataset("train")
    assert len(task.datasets["valid,test"]) == 4 and len(task.datasets["train"]) == 60
    source, parts = task.source("valid,test"), [task.source(split) for split in ("valid", "test")]
    assert source.utts == [*parts[0].utts, *parts[1].utts] and len(source.sizes) == 21
    for index in (0, 8, 9, 20):
        expected = parts[index > 8].read(index - 9 * (index > 8))
        np.testing.assert_array_equal(source.read(index), expected)


@pytest.mark.parametrize(
    ("normalize", "from_checkpoint", "hears"),
    [("corpus", False, 21), ("corpus", True, 0), ("none", False, 0)],
)
def test_a_new_head_hears_what_features_are_like_where_it_is_trained(
    moods: tuple[Path, Path],
    normalize: str,
    from_checkpoint: bool,
    hears: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list[int] = []
    network = SimpleNamespace(config=SimpleNamespace(normalize=normalize))
    model: Any = SimpleNamespace(frames=int, network=network)
    monkeypatch.setattr(TrainingTask, "build_model", lambda *_: model)
    monkeypatch.setattr(module, "fit", lambda of, source: heard.append(len(source.utts)))
    task = task_of(*moods, train_subset="valid,test")
    assert task.build_model(None, from_checkpoint) is model
    task.build_criterion(OmegaConf.create({"_name": "vq_utterance"}))
    assert heard == ([hears] if hears else [])


@pytest.mark.parametrize(("rank", "lines"), [(0, 1), (1, 0)])
def test_one_rank_shows_what_was_taken_for_what_where_it_was_counted(
    moods: tuple[Path, Path],
    rank: int,
    lines: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "rank", lambda: rank)
    task, table = task_of(*moods), torch.tensor([[3, 0, 0], [1, 2, 0], [0, 0, 3]])
    with caplog.at_level(logging.INFO):
        task.post_validate(None, None, {})  # of a training alone nothing was counted
        task.post_validate(None, None, {CONFUSION: SimpleNamespace(sum=table)})
    assert [m.splitlines()[0][:18] for m in caplog.messages] == ["accuracy 88.89 % ("] * lines


def test_without_a_label_folder_that_of_the_first_features_has_the_labels(
    moods: tuple[Path, Path], both: str
) -> None:
    for data in (str(moods[0]), both):
        assert task_of(data, labels=None).labels == moods[0]


@pytest.mark.parametrize("name", ["gen_subset", "results_path", "labels"])
def test_what_is_of_answering_alone_may_change(name: str) -> None:
    then, now = ({"task": {name: value}} for value in (1, 2))
    assert not list(changes(then, now, VqUtteranceTask.may_change))

"""A made-up language is heard in one folder and read in another; of several seeds the score chooses."""

import math
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from program_runs import call, checked_settings
from recipe_files import EXAMPLES, scripts_of

from vqw2v_plugin.analysis.curves import Curves, Point
from vqw2v_plugin.stores.features import FeatureStore
from vqw2v_plugin.stores.labels import read_labels
from vqw2v_plugin.stores.phone_text import read_phone_lines
from vqw2v_plugin.text.ngram_score import TextModel


@pytest.fixture(scope="module")
def scripts() -> Iterator[tuple[ModuleType, ModuleType]]:
    with scripts_of("wav2vec_u", "language", "ladder") as (language, ladder):
        yield language, ladder


def test_what_is_heard_is_what_the_labels_say_and_nothing_of_it_is_in_the_text(
    scripts: tuple[ModuleType, ModuleType], tmp_path: Path
) -> None:
    language, _ = scripts
    language.make(tmp_path, "L0", 3, {"train": 30, "valid": 5})
    store, labels = (
        FeatureStore(tmp_path / "features", "train"),
        read_labels(tmp_path / "labels", "train", "phones"),
    )
    assert [utt for utt, _ in store.rows] == list(labels.utts) and len(store) == 30
    sounds: dict[str, list[np.ndarray]] = {}
    for rows, said in zip(store, labels.labels, strict=True):
        assert len(rows) == len(said)
        for row, phone in zip(rows, said, strict=True):
            sounds.setdefault(phone, []).append(row)
    place = {phone: int(np.mean(rows, 0).argmax()) for phone, rows in sounds.items()}
    assert len({*place.values()}) == len(place) > 5
    text = {tuple(line) for line in read_phone_lines(tmp_path / "text", "train")}
    assert len(text) == 30 and not text & {*labels.labels}


def test_phones_last_and_follow_each_other_in_few_ways_but_for_the_flat_language(
    scripts: tuple[ModuleType, ModuleType], tmp_path: Path
) -> None:
    language, ladder = scripts
    tells = {}
    for rung in ("L1", "flat"):
        language.make(tmp_path / rung, rung, 1, {"train": 300, "valid": 60})
        store = FeatureStore(tmp_path / rung / "features", "train")
        said = read_labels(tmp_path / rung / "labels", "train", "phones").labels
        assert 1.8 < len(store.frames) / sum(map(len, said)) < 2.2
        tells[rung] = ladder.text_model(tmp_path / rung / "text").tells
    assert tells == {"L1": True, "flat": False}


def test_the_score_alone_chooses(scripts: tuple[ModuleType, ModuleType]) -> None:
    _, ladder = scripts

    def curves(*scores: float) -> Curves:
        points = (
            Point(100 * (i + 1), {"weighted_lm_ppl": score, "vocab_seen_pct": 1.0, "uer": 10.0 * i})
            for i, score in enumerate(scores)
        )
        return Curves({"valid": tuple(points)})

    first, second = ladder.chosen(curves(9, 4, 5), 1, 3.0), ladder.chosen(curves(8, math.inf), 2, 3.0)
    assert (first.score, first.updates, first.error) == (4, 200, 10) and second.updates == 100
    text = TextModel(lambda words: 0.0, 3.0, 9.0)
    shown = ladder.table("L1", [second, first], text)
    assert shown[2].startswith("→     1     4.00      200") and shown[3].startswith("      2     8.00")
    assert shown[-2].endswith("seed 1, error 10.0 %; the score says that it is text")
    assert "NOT learnt" in ladder.table("L1", [second], text)[-2]
    assert "NOT learnt" in ladder.table("flat", [first], TextModel(lambda words: 0.0, 8.5, 9.0))[-2]
    with pytest.raises(ValueError, match="seed 3: was never validated"):
        ladder.chosen(Curves({}), 3, 1.0)


@pytest.mark.parametrize("name", ["toy", "w2vu", "w2vu2"])
def test_yamls_hold_settings_that_are_known(name: str) -> None:
    pytest.importorskip("fairseq")
    import vqw2v_plugin
    from vqw2v_plugin.models.vq_wav2vec_u import VqWav2VecUConfig, network_config
    from vqw2v_plugin.tasks.vq_unpaired import VqUnpairedConfig
    from vqw2v_plugin.training.two_adams import TwoAdamsConfig

    vqw2v_plugin.register()
    known = {"model": VqWav2VecUConfig, "task": VqUnpairedConfig, "optimizer": TwoAdamsConfig}
    said = checked_settings(EXAMPLES / "wav2vec_u" / f"{name}.yaml", **known)
    config = network_config(Namespace(**said["model"]), 512, 40)
    assert config.generator_stride == (3 if name == "w2vu2" else 1)
    assert bool(config.mmi_weight) == (said["task"]["aux"] is not None)


@pytest.mark.slow
def test_a_rung_is_trained_told_and_not_trained_anew(tmp_path: Path) -> None:
    pytest.importorskip("fairseq")
    small = ["checkpoint.save_interval_updates=1", "dataset.validate_interval_updates=1"]
    command = [sys.executable, EXAMPLES / "wav2vec_u" / "ladder.py", tmp_path / "out", "--rungs", "L1"]
    command += [
        "--seeds",
        "3",
        "--jobs",
        "2",
        "--utterances",
        "60",
        "--settings",
        "optimization.max_update=2",
    ]
    said = call([*command, *small], tmp_path)
    assert "chosen by its score: seed" in said
    times = {path: path.read_text() for path in tmp_path.glob("out/L1/seed*/done")}
    assert len(times) == 3
    assert call([*command, *small], tmp_path).endswith(said[said.index("L1: ") :])
    assert times == {path: path.read_text() for path in times}

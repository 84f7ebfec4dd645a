"""A made-up language is heard in one folder and read in another; of several seeds the score chooses."""

import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from program_runs import call, checked_settings
from recipe_files import EXAMPLES, scripts_of

from vqw2v_plugin.stores.features import FEATURES, FeatureStore
from vqw2v_plugin.stores.labels import read_labels
from vqw2v_plugin.stores.phone_text import read_phone_lines


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
    command += ["--seeds", "3", "--jobs", "2", "--utterances", "60", "--updates", "2", "--settings", *small]
    said = call(command, tmp_path)
    told = said[said.index("L1: ") :]
    assert "Gaussians in runs" in told and "Chosen without a label: seed" in told and "error, %" in told
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/L1/grid/seed*/2/done")}
    assert len(times) == 3
    assert call(command, tmp_path).endswith(told)
    assert times == {path: path.stat().st_mtime_ns for path in times}
    assert json.loads((tmp_path / "out/L1/grid/grid.json").read_text())["chosen"] in told


@pytest.mark.parametrize("option", ["--seeds", "--jobs", "--utterances", "--updates"])
def test_numbers_that_make_no_rung_are_told(
    option: str,
    scripts: tuple[ModuleType, ModuleType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, ladder = scripts
    monkeypatch.setattr(sys, "argv", ["ladder.py", str(tmp_path / "out"), option, "0"])
    assert ladder.main() == 1
    assert f"`{option}`" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_rung_s_trainings_are_its_seeds_and_all_go_to_the_end(
    scripts: tuple[ModuleType, ModuleType], tmp_path: Path
) -> None:
    _, ladder = scripts
    asked = {"out": tmp_path, "seeds": 3, "settings": ["model.x=1"], "updates": None}
    for rung, updates in (("L0", 800), ("L1", 500), ("flat", 500)):
        grid = ladder.grid_of(rung, Namespace(**asked))
        assert [trial.name for trial in grid.trials] == ["seed1", "seed2", "seed3"]
        assert (grid.updates, grid.rounds, grid.run) == (updates, 1, tmp_path / rung)
        folders = {"data": "features", "text": "text", "measure": "labels"}
        assert grid.settings[:3] == tuple(f"task.{k}={tmp_path}/{rung}/{v}" for k, v in folders.items())
        own = ("model.segments=none", "optimization.lr=[0.01]") if rung == "L0" else ()
        assert grid.settings[3:] == (*own, "model.x=1")
    assert ladder.grid_of("L0", Namespace(**{**asked, "updates": 60})).updates == 60


def test_lines_have_eight_to_sixteen_phones_none_of_which_is_rare(
    scripts: tuple[ModuleType, ModuleType],
) -> None:
    language, _ = scripts
    made, rng = language.language_of("L1", 1), np.random.default_rng(0)
    said = [made.line(rng) for _ in range(400)]
    assert {len(line) for line in said} == set(range(8, 17)) and len({int(line[0]) for line in said}) == 1
    assert (np.count_nonzero(made.follows, axis=1) == 2).all() and not made.follows.diagonal().any()
    for seed in range(20):
        assert np.linalg.matrix_power(language.language_of("L1", seed).follows, 100).min() > 0.03
    lasts = {len(made.frames(line[:1], rng)) for line in said}
    flat = language.language_of("flat", 1)
    assert lasts == {1, 2, 3} and len({int(flat.line(rng)[0]) for _ in range(200)}) == 10
    noise = made.frames(np.zeros(3000, int), rng) - made.sounds[0]
    assert noise.std() == pytest.approx(0.3, rel=0.02)


def test_a_symbol_stands_out_at_a_place_that_its_number_does_not_tell(
    scripts: tuple[ModuleType, ModuleType],
) -> None:
    language, _ = scripts
    made = language.language_of("L0", 1)
    places = made.sounds.argmax(1).tolist()
    assert sorted(places) == list(range(10)) != places and made.longest == 1
    assert made.sounds.max(1).tolist() == [1.5] * 10 and np.count_nonzero(made.sounds) == 10
    assert language.language_of("L0", 2).sounds.argmax(1).tolist() != places


def test_both_splits_are_listed_and_say_other_things(
    scripts: tuple[ModuleType, ModuleType], tmp_path: Path
) -> None:
    language, _ = scripts
    language.make(tmp_path, "L1", 3, {"train": 20, "valid": 20})
    store = {split: FeatureStore(tmp_path / "features", split) for split in ("train", "valid")}
    assert FEATURES.read_about(tmp_path / "features")["splits"] == {
        split: {"utterances": 20, "frames": len(store[split].frames)} for split in store
    }
    said = {split: read_labels(tmp_path / "labels", split, "phones") for split in store}
    assert said["train"].labels != said["valid"].labels
    assert said["valid"].utts == tuple(f"valid{i}" for i in range(20))
    read = {split: read_phone_lines(tmp_path / "text", split) for split in store}
    assert read["train"] != read["valid"] and len(read["valid"]) == 20


@pytest.mark.parametrize(
    ("script", "words"),
    [("ladder", ["--language", "-1"]), ("language", ["--seed", "-1"]), ("language", ["--utterances", "0"])],
)
def test_a_language_s_seed_is_no_number_below_zero(
    script: str,
    words: list[str],
    scripts: tuple[ModuleType, ModuleType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module = scripts[script == "ladder"]
    monkeypatch.setattr(sys, "argv", [f"{script}.py", str(tmp_path / "out"), *words])
    assert module.main() in (1, 2)
    assert "numbers from 1" in capsys.readouterr().err and not (tmp_path / "out").exists()

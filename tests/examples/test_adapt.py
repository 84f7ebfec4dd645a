"""A model carried to a new language: what is drawn, what each start is given, and what the table holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import OmegaConf
from recipe_files import EXAMPLES, scripts_of, value_of, words_of

from vqw2v_plugin.checkpoints.wav2vec import Imported, Loaded, save_checkpoint
from vqw2v_plugin.corpora.manifest import Manifest
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec


@pytest.fixture(scope="module")
def scripts() -> Iterator[Any]:
    with scripts_of("multilingual", "draw", "adapt") as (draw, adapt):
        yield SimpleNamespace(draw=draw, adapt=adapt)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Forty clips of six seconds: four minutes, three of them German."""
    rows = [f"{i}.wav\t96000\ts{i % 3}\t{'de' if i % 4 else 'en'}" for i in range(40)]
    path = tmp_path / "corpora" / "all.tsv"
    path.parent.mkdir()
    path.write_text("\n".join(["path\tn_samples\tspeaker\tlang", *rows]) + "\n")
    return path


def test_less_is_a_part_of_more_and_a_seed_s_own(scripts: Any, table: Path, tmp_path: Path) -> None:
    scripts.draw.prepare(tmp_path / "out", [table], "de", (1, 2), (1, 2))
    drawn = {}
    for minutes, clips in ((1, 10), (2, 20)):
        for seed in (1, 2):
            held = Manifest(tmp_path / "out" / scripts.draw.draw_name(minutes, seed) / "train.tsv")
            rows = [held[i] for i in range(len(held))]
            assert len(rows) == clips and {row.lang for row in rows} == {"de"}
            assert rows[0].path.startswith(str(table.parent))
            drawn[minutes, seed] = {row.utt for row in rows}
            valid = Manifest(tmp_path / "out" / scripts.draw.draw_name(minutes, seed) / "valid.tsv")
            assert not drawn[minutes, seed] & {valid[i].utt for i in range(len(valid))}
    assert drawn[1, 1] < drawn[2, 1] and drawn[1, 2] < drawn[2, 2] and drawn[2, 1] != drawn[2, 2]
    for lang, minutes, says in (("fr", 1, "no clip with `lang` fr; it has de, en"), ("de", 9, "3.0 in all")):
        with pytest.raises(ValueError, match=says):
            scripts.draw.prepare(tmp_path / "other", [table], lang, (minutes,), (1,))


def plan(scripts: Any, monkeypatch: pytest.MonkeyPatch, run: Path, table: Path, *more: str) -> Any:
    given = [
        "adapt.py",
        str(run),
        "DATA",
        "--audio",
        str(table),
        "--lang",
        "de",
        "--minutes",
        "1",
        "2",
        *more,
    ]
    monkeypatch.setattr("sys.argv", given)
    return scripts.adapt.Plan.of(scripts.adapt.parse_args())


def test_starts_differ_by_weights_and_rate_alone(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, table: Path, tiny: Callable[..., VqWav2Vec]
) -> None:
    network = tiny(quantizer="kmeans", quantizer_args='{"start": "frames"}', log_compression=False)
    save_checkpoint(Imported(Loaded(network, 8_000, True), True, 0, []), tmp_path / "en.pt")
    run, more = tmp_path / "run", ("--checkpoints", f"en={tmp_path}/en.pt", "--updates", "30")
    made = plan(scripts, monkeypatch, run, table, *more)
    stages = list(scripts.adapt.stages(made))
    keep, reseed, nothing = (set(words_of(stages, f"en_{s}_2_1")) for s in scripts.adapt.STARTS)
    assert f"+task.init_from={tmp_path}/en.pt" in keep & reseed and "+task.init_codebook=reseed" in reseed
    assert not any("init_" in word for word in nothing)
    assert keep - reseed and {w.partition("=")[0] for w in nothing - keep} == {
        *("checkpoint.save_dir", "hydra.run.dir", "optimization.lr"),
    }
    scored = words_of(stages, "scores_en_keep_2_1")
    assert value_of(scored, "--tokenizers") == f"en_keep_2_1={run}/en_keep_2_1/checkpoint_last.pt"
    assert value_of(words_of(stages, "scores_en_before"), "--tokenizers") == f"en_before={tmp_path}/en.pt"
    settings = OmegaConf.load(run / "settings/en.yaml")
    assert (settings.model.vq_vars, settings.model.log_compression) == (8, "false")
    assert (settings.task.sample_rate, settings.task.normalize) == (8_000, True)
    assert settings.model.quantizer_args == '{"start": "frames"}' and "max_update" not in settings.model
    with pytest.raises(ValueError, match="expected NAME=CHECKPOINT"):
        plan(scripts, monkeypatch, run, table, "--checkpoints", "en.pt")


def test_the_table_has_what_is_finished(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, table: Path
) -> None:
    more = ("--checkpoints", "en=en.pt", "--seeds", "1", "2", "--starts", "keep")
    made = plan(scripts, monkeypatch, tmp_path, table, *more)
    for name, across, pnmi in (
        ("en_before", "31.0", "0.5"),
        ("en_keep_1_1", "30.0", ""),
        ("en_keep_1_2", "20", ""),
    ):
        (tmp_path / f"scores_{name}").mkdir()
        rows = [{"ABX across": across, "within": "", "PNMI": pnmi}]
        (tmp_path / f"scores_{name}/codes.json").write_text(json.dumps(rows))
    scripts.adapt.write_table(made, {"scores_en_before", "scores_en_keep_1_1", "scores_en_keep_1_2"})
    lines = (tmp_path / "results.md").read_text().splitlines()
    assert lines[2:] == [
        "| en | as it is |  | 31.0 |  | 0.500 |",
        "| en | adapted, codes kept | 1 | 25.0 (2) |  |  |",
        "| en | adapted, codes kept | 2 |  |  |  |",
    ]


def test_what_is_learnt_anew_learns_four_times_as_fast_as_what_is_adapted(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, table: Path
) -> None:
    made = plan(scripts, monkeypatch, tmp_path, table, "--checkpoints", "en=en.pt", "--seeds", "1", "2")
    yaml = EXAMPLES / "vq_wav2vec/kmeans.yaml"
    rates = {"keep": "5e-05", "reseed": "5e-05", "nothing": "0.0002"}
    for start, rate in rates.items():
        row = scripts.adapt.Row("en", start, 2.0, 2)
        words = words_of([scripts.adapt.training(made, row, yaml)], f"en_{start}_2_2")
        assert {f"optimization.lr=[{rate}]", "optimization.max_update=300", "common.seed=2"} <= set(words)
        assert {"lr_scheduler.warmup_updates=30", "dataset.max_tokens=192000"} <= set(words)
        assert f"task.data={tmp_path}/audio/minutes_2_2" in words
    drawn = words_of([scripts.adapt.drawn(made)], "audio")
    at = [drawn.index(option) for option in ("--minutes", "--seeds", "--lang")]
    assert drawn[2:4] == [str(tmp_path / "audio"), str(table)] and drawn[at[2] + 1 :] == ["de"]
    assert (drawn[at[0] + 1 : at[1]], drawn[at[1] + 1 : at[2]]) == (["1", "2"], ["1", "2"])
    names = [row.name for row in made.rows]
    assert names[:3] == ["en_before", "en_keep_1_1", "en_reseed_1_1"] and len(names) == 1 + 3 * 2 * 2


def test_of_all_that_there_is_some_is_valid_too(scripts: Any, table: Path, tmp_path: Path) -> None:
    """Twenty clips of what is left; where nothing is, of what is learnt from."""
    for minutes, left in ((1, 20), (2, 10), (3, 20)):
        scripts.draw.prepare(tmp_path / "out", [table], "de", (minutes,), (1,))
        folder = tmp_path / "out" / f"minutes_{minutes}_1"
        train, valid = (Manifest(folder / f"{split}.tsv").column("utt") for split in ("train", "valid"))
        assert (len(train), len(valid)) == (10 * minutes, left)
        assert bool(set(train) & set(valid)) == (minutes == 3)
    with pytest.raises(ValueError, match="`--minutes` has 0; expected more than 0"):
        scripts.draw.prepare(tmp_path / "out", [table], "de", (0,), (1,))


def test_each_set_has_its_measures_beside_each_other(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, table: Path
) -> None:
    more = ("--checkpoints", "en=en.pt", "--starts", "keep", "--sets", "a/dev", "b/test")
    made = plan(scripts, monkeypatch, tmp_path, table, *more)
    rows = [
        {"ABX across": "31.0", "within": "25.5", "PNMI": "0.5"},
        {"ABX across": "40.04", "within": "", "PNMI": "0.25"},
    ]
    (tmp_path / "scores_en_before").mkdir()
    (tmp_path / "scores_en_before/codes.json").write_text(json.dumps(rows))
    scripts.adapt.write_table(made, {"scores_en_before"})
    lines = [line.strip("| ").split(" | ") for line in (tmp_path / "results.md").read_text().splitlines()]
    measures = ("ABX across", "ABX within", "PNMI")
    assert lines[0][3:] == [f"{each}, {measure}" for each in ("a/dev", "b/test") for measure in measures]
    assert lines[2][3:] == ["31.0", "25.5", "0.500", "40.0", "", "0.250"]


def test_what_is_asked_for_reaches_draws_trainings_and_scores(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = f"adapt.py {tmp_path} DATA --audio a.tsv b.tsv --checkpoints en=en.pt --sets a/dev b/test --bf16"
    monkeypatch.setattr("sys.argv", [*words.split(), "--updates", "5", "--lr", "0.01", "--adapt-lr", "0.02"])
    made = scripts.adapt.Plan.of(scripts.adapt.parse_args())
    assert made.jobs == 1 and {row.minutes for row in made.rows[1:]} == {10.0, 60.0}
    drawn = words_of([scripts.adapt.drawn(made)], "audio")
    tables = [str(Path(name).resolve()) for name in ("a.tsv", "b.tsv")]
    assert drawn[3:] == [*tables, "--minutes", "10", "60", "--seeds", "1"]  # of all languages
    for start, rate in (("keep", "0.02"), ("nothing", "0.01")):
        row = scripts.adapt.Row("en", start, 10.0, 1)
        trained = words_of([scripts.adapt.training(made, row, EXAMPLES / "vq_wav2vec/kmeans.yaml")], row.name)
        wanted = {"common.bf16=true", "lr_scheduler.warmup_updates=1", f"optimization.lr=[{rate}]"}
        assert wanted <= set(trained)
    scored = words_of([scripts.adapt.scores(made, made.rows[0])], "scores_en_before")
    assert scored[2] == str(Path("DATA").resolve())
    assert scored[scored.index("--sets") + 1 : scored.index("--workers")] == ["a/dev", "b/test"]
    assert value_of(scored, "--out") == str(tmp_path / "scores_en_before/codes.json")


def test_settings_are_the_checkpoint_s_where_they_are_usual_ones_too(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, table: Path, tiny: Callable[..., VqWav2Vec]
) -> None:
    """What the yaml of its quantizer says otherwise is not meant; and each quantizer needs a yaml."""
    network = tiny(quantizer="kmeans", centred=False, prediction_gain=1.0)
    save_checkpoint(Imported(Loaded(network, 16_000, False), True, 0, []), tmp_path / "en.pt")
    made = plan(scripts, monkeypatch, tmp_path, table, "--checkpoints", f"en={tmp_path}/en.pt")
    model = OmegaConf.load(scripts.adapt.write_settings(made, "en")).model
    assert (model.centred, model.prediction_gain, model.quantizer_args) == (False, 1.0, "{}")
    save_checkpoint(Imported(Loaded(tiny(), 16_000, False), True, 0, []), tmp_path / "none.pt")
    made = plan(scripts, monkeypatch, tmp_path, table, "--checkpoints", f"no={tmp_path}/none.pt")
    with pytest.raises(ValueError, match=r"none\.pt: there are no settings for the quantizer 'none'"):
        scripts.adapt.write_settings(made, "no")


def test_clips_of_one_name_in_two_folders_are_two(
    scripts: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, speaker in (("one", "s1"), ("two", "s2")):
        (tmp_path / name).mkdir()
        rows = [f"{i}.wav\t960000\t{speaker}\n" for i in range(3)]
        (tmp_path / name / "all.tsv").write_text("path\tn_samples\tspeaker\n" + "".join(rows))
    tables = [tmp_path / name / "all.tsv" for name in ("one", "two")]
    scripts.draw.prepare(tmp_path / "out", tables, None, (6,), (1,))
    held = Manifest(tmp_path / "out/minutes_6_1/train.tsv")
    found = {row.utt: (row.path, row.speaker) for row in map(held.__getitem__, range(len(held)))}
    assert found == {
        f"{name}-{i}": (str(tmp_path / name / f"{i}.wav"), speaker)
        for name, speaker in (("one", "s1"), ("two", "s2"))
        for i in range(3)
    }
    assert capsys.readouterr().out == "6 minutes, seed 1: 6 clips, 2 speakers\n"

"""The recipe of recognition without labels: stages in order, and no labels but for measuring."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from recipe_files import check_order, scripts_of, value_of, words_of

from vqw2v_plugin.analysis.grid import Grid, all_trials
from vqw2v_plugin.recipes.runner import Stage
from vqw2v_plugin.stores.labels import Labels, write_labels

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "wav2vec_u"


@pytest.fixture(scope="module")
def scripts() -> Iterator[list[ModuleType]]:
    with scripts_of("wav2vec_u", "parts", "recipe", "pseudo", "rungs", "spoken") as found:
        yield found


def listed(parts: ModuleType, inputs: object, updates: int = 100) -> list[Stage]:
    """All stages, those of two trials among them."""
    before = parts.going_in(inputs)
    grid = Grid(inputs.run, FOLDER / "toy.yaml", tuple(parts.settings(inputs)), all_trials((1, 2), {}), 8, 2)
    trials = [stage for trial in grid.trials for stage in grid.stages(trial, 2, [s.name for s in before])]
    chosen = inputs.run / grid.stage_name(grid.trials[0], 2) / "checkpoint_best.pt"
    return [
        *before,
        *trials,
        *parts.coming_out(inputs, chosen, str(chosen.parent.relative_to(inputs.run)), updates),
    ]


def inputs_of(parts: ModuleType, run: Path, **more: object) -> object:
    return parts.Inputs(
        *(run, Path("/manifests"), Path("/text.txt"), "/w2v2.pt", ("--layer", "w2v2:15"), ("--deltas", "1")),
        *(("--lexicon", "/l.txt"),),
        **more,
    )


def test_stages_read_only_what_they_wait_for(scripts: list[ModuleType], tmp_path: Path) -> None:
    parts, run = scripts[0], tmp_path / "run"
    for more in ({}, {"spans": "/spans/{split}.ctm"}, {"pca": 64, "silence": "keep"}):
        stages = listed(parts, inputs_of(parts, run, **more))
        check_order(stages, run)
    assert words_of(stages, "segments")[2:4] == ["/w2v2.pt", "/manifests/train.tsv"]
    assert "clusters" not in {s.name for s in listed(parts, inputs_of(parts, run, spans="/{split}.ctm"))}
    assert "taught" not in {stage.name for stage in listed(parts, inputs_of(parts, run), 0)}


def test_no_label_is_named_but_for_measuring(scripts: list[ModuleType], tmp_path: Path) -> None:
    """What nothing names, nothing opens; with `measure` it stands where errors are counted alone."""
    parts, run = scripts[0], tmp_path / "run"
    words = [w for s in listed(parts, inputs_of(parts, run)) for command in s.commands for w in command]
    assert not [w for w in words if "measure" in w]
    stages = listed(parts, inputs_of(parts, run, measure=Path("/true")))
    naming = {s.name for s in stages for command in s.commands if any("/true" in w for w in command)}
    assert naming == {"decipher", *(s.name for s in stages if s.name.startswith("grid/"))}
    assert all("task.measure=/true" in words_of(stages, name) for name in naming if name != "decipher")


def hypotheses(path: Path, said: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"utt": u, "text": t}) + "\n" for u, t in said.items()))


def test_what_was_said_becomes_labels_without_silence(scripts: list[ModuleType], tmp_path: Path) -> None:
    pseudo = scripts[2]
    hypotheses(tmp_path / "a.jsonl", {"u1": "<SIL> a b <SIL>", "u2": "<SIL>", "u3": "c"})
    assert pseudo.write(tmp_path / "o.txt", [tmp_path / "a.jsonl"]) == 2
    assert (tmp_path / "o.txt").read_text() == "u1\ta b\nu3\tc\n"
    hypotheses(tmp_path / "b.jsonl", {"u2": ""})
    with pytest.raises(ValueError, match="nothing was said in any utterance"):
        pseudo.write(tmp_path / "o.txt", [tmp_path / "b.jsonl"])


def test_errors_are_counted_of_what_is_there(scripts: list[ModuleType], tmp_path: Path) -> None:
    parts, run = scripts[0], tmp_path / "run"
    labels = Labels(("u1", "u2"), (("a", "b"), ("c", "d")))
    write_labels(tmp_path / "true", "phones", {"valid": labels}, [(p, 1) for p in "abcd"], {})
    hypotheses(run / "greedy" / "hypotheses-valid.jsonl", {"u1": "a b", "u2": "<SIL> c c"})
    inputs = inputs_of(parts, run, measure=tmp_path / "true")
    assert parts.errors(inputs) == {"wav2vec-U, greedy": 25.0}
    assert parts.errors(inputs_of(parts, run)) == {}


def test_the_recipe_s_options_reach_the_stages(
    scripts: list[ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, recipe = scripts[:2]
    words = f"recipe.py {tmp_path}/run m t.txt --layer mfcc:13 --prepare deltas=1 standardize=speaker"
    more = "--espeak en-us --clusters 7 --pca 4 --silence keep --min-count 3 --sil-prob 0.5 --seeds 2"
    monkeypatch.setattr("sys.argv", f"{words} {more}".split())
    stages = parts.going_in(recipe.inputs_of(recipe.arguments()))
    said = {stage.name: " ".join(words_of(stages, stage.name)) for stage in stages}
    assert "--layer mfcc:13 --codes 7" in said["clusters"]
    assert "--layer mfcc:13 --deltas 1 --standardize speaker --pca 4 --silence keep" in said["segments"]
    assert "--min-count 3 --sil-prob 0.5 --fold none --espeak en-us" in said["phones"]


def test_the_toy_halves_know_nothing_of_each_other(scripts: list[ModuleType], tmp_path: Path) -> None:
    spoken = scripts[4]
    spoken.write_text(tmp_path / "a.txt", "es", 20, 7)
    spoken.write_text(tmp_path / "b.txt", "es", 20, 7)
    lines = (tmp_path / "a.txt").read_text().splitlines()
    assert len(lines) == 20 and "," not in "".join(lines)
    assert (tmp_path / "a.txt").read_bytes() == (tmp_path / "b.txt").read_bytes()
    rungs, args = scripts[3], argparse.Namespace(minutes=2, language="es")
    check_order(rungs.made(tmp_path / "run", args), tmp_path / "run")
    (tmp_path / "train.phones.ctm").write_text("u 1 0 0.1 SIL\nu 1 0.1 0.2 a\nu 1 0.3 0.1 b\n")
    spoken.write_spoken(tmp_path, tmp_path, "train")
    assert (tmp_path / "train.ctm").read_text() == "u 1 0.10000 0.20000 a\nu 1 0.30000 0.10000 b\n"
    assert (tmp_path / "train.txt").read_text() == "u\ta b\n"


def asked(recipe: ModuleType, words: str = "") -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    recipe.add_grid_arguments(parser)
    return parser.parse_args(words.split())


def test_a_grid_is_every_seed_with_every_choice_of_weights(scripts: list[ModuleType], tmp_path: Path) -> None:
    recipe = scripts[1]
    words = "--config toy --seeds 2 --gradient-penalty 1.5 2 --code-penalty 4 --settings a.b=c"
    grid = recipe.grid_of(asked(recipe, words), tmp_path, ["task.data=x"])
    assert sorted(trial.name for trial in grid.trials) == [
        f"gp{weight}_cp4_seed{seed}" for weight in ("1.5", "2") for seed in (1, 2)
    ]
    assert (grid.settings, grid.updates, grid.rounds) == (("task.data=x", "a.b=c"), 500, 3)
    plain = recipe.grid_of(asked(recipe), tmp_path, [])
    assert [trial.name for trial in plain.trials] == [f"seed{seed}" for seed in range(1, 9)]
    assert plain.config == FOLDER / "w2vu.yaml" and plain.updates == 150_000
    short = recipe.grid_of(asked(recipe, "--updates 64 --rounds 2"), tmp_path, [])
    assert (short.updates, short.rounds) == (64, 2)
    with pytest.raises(ValueError, match="`--config` is none, and there is no "):
        recipe.grid_of(asked(recipe, "--config none"), tmp_path, [])


def test_each_way_is_decoded_as_it_is_called(scripts: list[ModuleType], tmp_path: Path) -> None:
    parts, run = scripts[0], tmp_path / "run"
    stages = listed(parts, inputs_of(parts, run, measured="valid"), updates=70)
    for name, decoder in (("greedy", "greedy"), ("searched", "free"), ("words", "lexicon")):
        words = words_of(stages, name)
        assert value_of(words, "--decoder") == decoder and ("--beam" in words) == (decoder != "greedy")
        taught = words_of(stages, f"taught_{name}" if name != "words" else "words")
        assert value_of(taught, "--path") == str(run / "taught/checkpoint_best.pt")
        assert (value_of(taught, "--task"), value_of(taught, "--gen-subset")) == ("vq_acoustic", "valid")
        assert value_of(taught, "--labels") == str(run / "pseudo/unscored")
        if decoder == "free":
            assert value_of(words, "--lm") == value_of(taught, "--lm") == str(run / "phone_lm/search.arpa")
    assert value_of(words, "--lm") == str(run / "word_lm/lm.arpa")
    assert value_of(words, "--lexicon") == str(run / "phones/data/lexicon.phn.txt")
    assert value_of(words_of(stages, "greedy"), "--path").endswith("/checkpoint_best.pt")
    assert "optimization.max_update=70" in words_of(stages, "taught")
    said = words_of(stages, "pseudo", 0)
    assert said[3:] == [str(run / f"searched/hypotheses-{split}.jsonl") for split in ("train", "valid")]
    for number, out, splits in ((1, "labels", ["train", "valid"]), (2, "unscored", ["train"])):
        said = words_of(stages, "pseudo", number)
        assert value_of(said, "--dict") == str(run / "phones/data/dict.phn.txt")
        *manifests, folder = said[said.index("labels") + 1 : said.index("--unit")]
        assert [Path(path).stem for path in manifests] == splits and folder == str(run / "pseudo" / out)
    assert value_of(words_of(stages, "word_lm"), "--order") == "3"


def test_the_errors_of_guess_and_decipherment_are_those_that_stand_in_their_file(
    scripts: list[ModuleType], tmp_path: Path
) -> None:
    parts, recipe = scripts[:2]
    write_labels(
        tmp_path / "true",
        "phones",
        {"valid": Labels(("u",), (("a", "<SIL>", "b"),))},
        [("a", 1), ("b", 1)],
        {},
    )
    rows = {"unigram guess": {"per": 80.5}, "decipherment": {"per": 20.25}}
    folder = tmp_path / "run/decipher/data"
    folder.mkdir(parents=True)
    (folder / "decipher.json").write_text(json.dumps({"splits": {"valid": rows}}))
    hypotheses(tmp_path / "run/taught_searched/hypotheses-valid.jsonl", {"u": "a <SIL> b"})
    found = parts.errors(inputs_of(parts, tmp_path / "run", measure=tmp_path / "true"))
    assert found == {"unigram guess": 80.5, "decipherment": 20.25, "self-trained, phone LM": 0.0}
    assert recipe.error_table(found).splitlines()[2:4] == [
        "| unigram guess | 80.5 |",
        "| decipherment | 20.2 |",
    ]


def test_rungs_differ_in_their_segments_and_what_learns_from_one_is_the_fourth(
    scripts: list[ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rungs, halves, measured = scripts[3], tmp_path / "halves/data", list[object]()
    second, third = (rungs.inputs_of(tmp_path, rung) for rung in ("L2", "L3"))
    assert (second.spans, third.spans) == (str(halves / "{split}.ctm"), None)
    for inputs in (second, third):
        assert (inputs.text, inputs.measure) == (halves / "text.txt", halves / "labels")
        assert inputs.layer == ("--layer", "mfcc:13") and inputs.clusters == 64
        assert inputs.phones[:2] == ("--lexicon", str(tmp_path / "corpus/data/lexicon.txt"))
    assert third.run == tmp_path / "L3"

    def run_all(args: argparse.Namespace, inputs: object) -> dict[str, float]:
        measured.append(args.measure)
        return {"wav2vec-U, greedy": 30.0, "self-trained, greedy": 20.04}

    monkeypatch.setattr(rungs, "run_recipe", lambda *_, **__: None)
    monkeypatch.setattr(rungs, "run_all", run_all)
    rungs.climb(argparse.Namespace(run=tmp_path, rungs=("L3",), minutes=2, language="es", jobs=1))
    assert measured == [halves / "labels"] and (tmp_path / "rungs.md").read_text().splitlines()[2:] == [
        "| L3 | wav2vec-U, greedy | 30.0 |",
        "| L3→L4 | self-trained, greedy | 20.0 |",
    ]


def test_a_text_is_another_with_another_seed(scripts: list[ModuleType], tmp_path: Path) -> None:
    for seed in (7, 8):
        scripts[4].write_text(tmp_path / f"{seed}", "es", 20, seed)
    first, second = (set((tmp_path / name).read_text().splitlines()) for name in ("7", "8"))
    assert len(first & second) < 5


def test_what_goes_in_is_prepared_alike_for_trials_and_for_what_they_teach(
    scripts: list[ModuleType], tmp_path: Path
) -> None:
    parts, run = scripts[0], tmp_path / "run"
    inputs = inputs_of(parts, run, clusters=9, clustered=("--standardize", "utterance"), measured="train")
    stages = listed(parts, inputs, 30)
    assert " ".join(words_of(stages, "clusters")).endswith(
        "--layer w2v2:15 --codes 9 --standardize utterance"
    )
    for number, split in enumerate(("train", "valid")):
        taught = words_of(stages, "features", number)
        assert taught[2:4] == ["/w2v2.pt", f"/manifests/{split}.tsv"]
        assert (value_of(taught, "--layer"), value_of(taught, "--deltas")) == ("w2v2:15", "1")
    trained = words_of(stages, "taught")
    assert {f"task.data={run}/features/data", f"task.labels={run}/pseudo/labels"} <= set(trained)
    assert value_of(trained, "--config-name") == "acoustic"
    heard = [f"task.data={run}/segments/data", f"task.text={run}/phones/data"]
    assert parts.settings(inputs) == [*heard, f"task.lm={run}/phone_lm/score.arpa"]
    assert value_of(words_of(stages, "taught_greedy"), "--gen-subset") == "train"
    for name in ("greedy", "searched"):
        read = [value_of(words_of(stages, name, number), "--gen-subset") for number in (0, 1)]
        assert read == ["train", "valid"]


@pytest.mark.parametrize(
    ("phones", "has"),
    [(("--lexicon", "l.txt"), True), (("--espeak", "es"), True), (("--fold", "none"), False)],
)
def test_words_are_decoded_where_the_text_was_words(
    phones: tuple[str, ...], has: bool, scripts: list[ModuleType], tmp_path: Path
) -> None:
    parts, run = scripts[0], tmp_path / "run"
    given = (run, Path("/manifests"), Path("/text.txt"), "-", ("--layer", "mfcc"), (), phones)
    names = {stage.name for stage in listed(parts, parts.Inputs(*given))}
    assert {"word_lm", "words"} & names == ({"word_lm", "words"} if has else set())


def test_what_the_recipe_is_not_told_is_as_its_page_says(
    scripts: list[ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = scripts[1]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", "recipe.py run m t.txt --layer logmel".split())
    args = recipe.arguments()
    assert (args.taught_updates, args.config, args.rounds, args.jobs) == (1400, "w2vu", 3, 2)
    plain = recipe.inputs_of(args)
    assert (plain.run, plain.data, plain.text) == (tmp_path / "run", tmp_path / "m", tmp_path / "t.txt")
    assert (plain.checkpoint, plain.clusters, plain.pca, plain.silence, plain.measure) == (
        "-",
        128,
        *[None] * 3,
    )
    assert plain.phones == ("--min-count", "1", "--sil-prob", "0.25", "--fold", "none")
    more = "--checkpoint x.pt --measure true --fold 39 --min-count 5"
    monkeypatch.setattr("sys.argv", f"recipe.py run m t.txt --layer w2v2 {more}".split())
    told = recipe.inputs_of(recipe.arguments())
    assert (told.checkpoint, told.measure) == (str(tmp_path / "x.pt"), tmp_path / "true")
    assert told.phones == ("--min-count", "5", "--sil-prob", "0.25", "--fold", "39")


def test_a_rung_s_speech_is_of_two_speakers_and_its_segments_of_what_is_prepared(
    scripts: list[ModuleType], tmp_path: Path
) -> None:
    parts, rungs = scripts[0], scripts[3]
    made = rungs.made(tmp_path, argparse.Namespace(minutes=2.5, language="fr"))
    spoken, halves = words_of(made, "corpus"), words_of(made, "halves")
    asked = [value_of(spoken, f"--{name}") for name in ("minutes", "speakers", "languages")]
    assert asked == ["2.5", "2", "fr"]
    assert halves[2:4] == [str(tmp_path / "halves/data"), str(tmp_path / "corpus/data")]
    assert value_of(halves, "--language") == "fr"
    going_in = parts.going_in(rungs.inputs_of(tmp_path, "L3"))
    said = {stage.name: " ".join(words_of(going_in, stage.name)) for stage in going_in}
    assert said["clusters"].endswith("--layer mfcc:13 --codes 64 --deltas 1 --standardize utterance")
    assert "--layer mfcc:13 --deltas 1 --standardize speaker" in said["segments"]
    assert "--sil-prob 0 --valid 0.05" in said["phones"]

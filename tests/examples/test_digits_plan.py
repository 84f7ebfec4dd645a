"""The plans of the comparison and the sweep: their rows, what each is trained on, and their tables."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from recipe_files import check_order, scripts_of, value_of, words_of
from small_run import make_tokens

from vqw2v_plugin.recipes import table

NAMES = ("plan", "stages", "compare", "sweep")


@pytest.fixture(scope="module")
def digits() -> Iterator[Any]:
    with scripts_of("digits", *NAMES) as modules:
        yield SimpleNamespace(**dict(zip(NAMES, modules, strict=True)))


@pytest.fixture
def plan_of(digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The plan of compare.py's arguments; a folder of other speech has a dev split."""
    speech = tmp_path / "speech"
    speech.mkdir()
    for split in ("train", "dev", "test"):
        (speech / f"{split}.tsv").touch()

    def make(*options: str, with_speech: bool = False) -> Any:
        more = ["--speech", str(speech)] if with_speech else []
        monkeypatch.setattr("sys.argv", ["compare.py", "fsdd", str(tmp_path / "run"), *more, *options])
        return digits.compare.make_plan(digits.compare.parse_arguments())

    return make


def test_every_features_has_a_row_of_each_share_and_seed_and_speech_one_seed(plan_of: Any) -> None:
    names = "logmel mfcc wav2vec_c gumbel_q kmeans_q gumbel_bert kmeans_bert".split()
    rows = plan_of(with_speech=True).rows
    found = [(row.corpus, row.features, row.fraction, row.seed) for row in rows]
    wanted = [
        (corpus, name, share, seed)
        for seed in (1, 2, 3)
        for corpus in ("digits", "speech")[: 2 if seed == 1 else 1]
        for share in (1.0, 0.1)
        for name in names
    ]
    assert found == wanted and len({row.name for row in rows}) == len(rows)
    some = plan_of("--features", "logmel_ctc", "mfcc", "--seeds", "1", "--fractions", "0.5", with_speech=True)
    assert [row.name for row in some.rows] == [
        "digits_logmel_ctc_0.5_1",
        "digits_mfcc_0.5_1",
        "speech_mfcc_0.5_1",
    ]


def test_each_stage_reads_what_the_stages_that_it_needs_have_made(digits: Any, plan_of: Any) -> None:
    for with_speech in (False, True):
        plan = plan_of("--seeds", "1", "--fractions", "0.1", with_speech=with_speech)
        listed = list(digits.stages.stages(plan))
        check_order(listed, plan.run)
        assert len({stage.name for stage in listed}) == len(listed)
        scores = [stage.name for stage in listed if stage.name.startswith("scores_")]
        assert scores == [f"scores_{row.name}" for row in plan.rows]


def test_a_share_of_the_digits_is_one_of_strings_and_of_speech_one_of_labels(
    digits: Any, plan_of: Any
) -> None:
    plan = plan_of("--features", "mfcc", "--seeds", "2", with_speech=True)
    listed, data = list(digits.stages.stages(plan)), plan.run / "digits/data"
    assert words_of(listed, "labels_digits_0.1")[2:5] == [
        str(data / name) for name in ("share_0.1/train.tsv", "valid.tsv", "test.tsv")
    ]
    assert words_of(listed, "labels_digits")[2] == str(data / "train.tsv")
    speech = words_of(listed, "labels_speech")
    assert speech[2:5] == [str(plan.speech / f"{split}.tsv") for split in ("train", "dev", "test")]
    assert value_of(speech, "--unit") == "phones" and "--no-boundary" in speech
    few = words_of(listed, "digits_mfcc_0.1_2")
    assert {"common.seed=2", "+task.label_seed=2", "+task.label_fraction=1", "criterion._name=asg"} <= set(
        few
    )
    assert {"dataset.valid_subset=valid", "model.feature_masks=1", "model.feature_mask_width=3"} <= set(few)
    assert f"task.labels={plan.run}/labels_digits_0.1/data" in few
    spoken = words_of(listed, "speech_mfcc_0.1_1")
    assert {"+task.label_fraction=0.1", "dataset.valid_subset=dev"} <= set(spoken)
    assert not any(word.startswith("criterion.") for word in spoken)
    assert (value_of(few, "--config-name"), value_of(spoken, "--config-name")) == ("acoustic", "phones")


def test_the_digits_are_made_with_faster_copies_the_shares_and_other_speech(
    digits: Any, plan_of: Any
) -> None:
    plan = plan_of("--fractions", "0.5", "1", "0.25", "--unlabelled", "a.tsv", "b.tsv")
    words = words_of([digits.stages.prepare(plan)], "digits")
    assert words[2:4] == [str(Path("fsdd").resolve()), str(plan.run / "digits/data")]
    at = [words.index(option) for option in ("--speeds", "--shares", "--unlabelled")]
    assert words[at[0] + 1 : at[1]] == ["0.8", "0.9", "1.12", "1.25"]
    assert words[at[1] + 1 : at[2]] == ["0.1", "0.25", "0.5"]  # the tenth is always there
    assert words[at[2] + 1 :] == [str(Path(name).resolve()) for name in ("a.tsv", "b.tsv")]
    assert "--unlabelled" not in words_of([digits.stages.prepare(plan_of())], "digits")


def test_features_come_from_their_model_or_from_spectra_at_8_khz(digits: Any, plan_of: Any) -> None:
    plan = plan_of("--features", "logmel", "kmeans_bert", "--updates", "50")
    listed, last = list(digits.stages.stages(plan)), "checkpoint_last.pt"
    spectra, bert = (words_of(listed, f"features_digits_{name}") for name in ("logmel", "kmeans_bert"))
    assert (
        spectra[2] == "-"
        and value_of(spectra, "--sample-rate") == "8000"
        and value_of(spectra, "--bands") == "40"
    )
    assert bert[2] == str(plan.run / "kmeans" / last) and value_of(bert, "--layer") == "bert"
    assert value_of(bert, "--bert") == str(plan.run / "kmeans_bert" / last) and "--bands" not in bert
    trained = words_of(listed, "kmeans")
    assert {"model.quantizer=kmeans", "+criterion.loss_weights=[1.0]"} <= set(trained)
    assert f"task.data={plan.run}/digits/data/pretrain" in trained
    for name in ("kmeans", "kmeans_bert", "digits_logmel_1_1"):
        short = {"optimization.max_update=50", "lr_scheduler.warmup_updates=5"}
        assert short <= set(words_of(listed, name))
    assert digits.plan.shortened(plan_of()) == []


def test_the_test_set_is_decoded_with_and_without_words(digits: Any, plan_of: Any) -> None:
    plan = plan_of("--features", "mfcc", "--seeds", "1", "--fractions", "0.1", with_speech=True)
    listed = list(digits.stages.stages(plan))
    for number, decoder in ((0, "greedy"), (2, "lexicon")):
        words = words_of(listed, "scores_digits_mfcc_0.1_1", number)
        assert value_of(words, "--results-path") == str(plan.run / "scores_digits_mfcc_0.1_1" / decoder)
        assert value_of(words, "--path") == str(plan.run / "digits_mfcc_0.1_1/checkpoint_best.pt")
        assert (value_of(words, "--decoder"), value_of(words, "--gen-subset")) == (decoder, "test")
    assert value_of(words, "--lm") == str(plan.run / "lm/lm.arpa")
    assert value_of(words, "--lexicon") == str(plan.run / "labels_digits_0.1/data/lexicon.ltr.txt")
    assert value_of(words_of(listed, "scores_speech_mfcc_0.1_1"), "--error-unit") == "phones"
    assert digits.stages.decoders(plan, plan.rows[-1]).keys() == {"greedy"}


def scored(plan: Any, name: str, decoder: str, rate: float) -> str:
    folder = plan.run / f"scores_{name}" / decoder
    folder.mkdir(parents=True)
    (folder / "errors-test.json").write_text(json.dumps({"rate": rate}))
    return f"scores_{name}"


def test_the_table_has_means_of_finished_rows_with_their_spread(digits: Any, plan_of: Any) -> None:
    plan = plan_of("--features", "logmel", "mfcc", "--fractions", "1", "0.1", with_speech=True)
    done = {
        scored(plan, f"digits_mfcc_1_{seed}", "greedy", rate) for seed, rate in ((1, 10), (2, 14), (3, 12))
    }
    scored(plan, "digits_mfcc_0.1_1", "greedy", 50)  # of another command than today's
    for rate in (8, 9):
        done.add(scored(plan, f"digits_mfcc_1_{rate - 7}", "lexicon", rate))
    done.add(scored(plan, "speech_logmel_0.1_1", "greedy", 30.26))
    digits.compare.write_table(plan, done)
    lines = (plan.run / "results.md").read_text().splitlines()
    assert lines[0].count("|") == lines[1].count("|") == 7
    assert lines[2:] == [
        "| connected digits, words | MFCC | 100% | 3 | 12.0 ± 2.0 | 8.5 ± 0.7 |",
        "| read speech, phones | log-mel | 10% | 1 | 30.3 |  |",
    ]


def test_a_size_is_groups_by_variables_after_the_context_network(digits: Any, tmp_path: Path) -> None:
    asked = SimpleNamespace(
        sizes=["2x40", "1x4"], run=tmp_path / "run", fsdd=tmp_path, unlabelled=[], updates=None, jobs=1
    )
    plan = digits.sweep.make_plan(asked)
    assert [row.name for row in plan.rows] == ["digits_2x40_1_1", "digits_1x4_1_1"]
    listed = list(digits.sweep.with_codes(plan))
    check_order(listed, plan.run)
    trained = set(words_of(listed, "context_2x40"))
    assert {"+model.vq_groups=2", "model.vq_vars=40", "+model.quantizer_position=context"} <= trained
    codes = words_of(listed, "context_2x40_test_codes")
    assert codes[2:4] == [
        str(plan.run / "context_2x40/checkpoint_last.pt"),
        str(plan.run / "digits/data/test.tsv"),
    ]
    make_tokens(plan.run / "context_1x4_test_codes/data", ["a", "b"], 16_000)
    done = set()
    for name, rate in (("greedy", 20.04), ("lexicon", 10.0)):
        done.add(scored(plan, "digits_1x4_1_1", name, rate))
    scored(plan, "digits_2x40_1_1", "greedy", 1.0)  # no lexicon's yet
    digits.sweep.write_table(plan, done | {"scores_digits_2x40_1_1"})
    (row,) = (plan.run / "sweep.md").read_text().splitlines()[2:]
    cells = row.split(" | ")
    # two groups of four codes, of which 4 and 2 are in use, a hundred times a second
    assert cells[:2] == ["| 1x4", "0.40"] and cells[3:] == ["75%", "20.0", "10.0 |"]
    assert 0.15 < float(cells[2]) < 0.20  # half an utterance is one token, two quarters one each


def test_the_table_is_there_at_once_and_anew_behind_each_stage(
    plan_of: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, written, asked = plan_of("--jobs", "3"), [], []
    monkeypatch.setattr(table, "finished", lambda run, wanted: {stage for stage in wanted if run})

    def ran(run: Path, wanted: list[Any], after: Any, **how: Any) -> None:
        asked.append((run, wanted, how, len(written)))
        for stage in wanted:
            after(stage)

    def write(of: Any, done: set[str]) -> None:
        written.append(done)
        of.run.mkdir(exist_ok=True)
        (of.run / "t.md").write_text(f"table {len(written)}")

    monkeypatch.setattr(table, "run_recipe", ran)
    assert table.finish("x.py", "t.md", lambda: plan, lambda of: iter(("a", "b")), write) == 0
    assert asked == [(plan.run, ["a", "b"], {"jobs": 3, "threads": 1}, 1)]
    assert written == [{"a", "b"}] * 3 and capsys.readouterr().out == "table 3\n"


def test_features_of_a_model_that_was_trained_elsewhere_stand_beside_the_others(
    digits: Any, plan_of: Any
) -> None:
    plan = plan_of(
        "--features", "mfcc", "--given", "c64=c/64@/pre.pt", "r2=bert:3@/vq.pt+/b.pt", "--seeds", "1"
    )
    assert [row.name for row in plan.rows] == [
        f"digits_{name}_{share}_1" for share in ("1", "0.1") for name in ("mfcc", "c64", "r2")
    ]
    listed = list(digits.stages.stages(plan))
    check_order(listed, plan.run)
    heard, states = (words_of(listed, f"features_digits_{name}") for name in ("c64", "r2"))
    assert (heard[2], value_of(heard, "--layer"), value_of(heard, "--pca")) == ("/pre.pt", "c", "64")
    assert (states[2], value_of(states, "--bert"), "--pca" in states) == ("/vq.pt", "/b.pt", False)
    assert (
        "--sample-rate" not in heard and value_of(words_of(listed, "features_digits_mfcc"), "--bands") == "40"
    )
    assert f"task.data={plan.run}/features_digits_c64/data" in words_of(listed, "digits_c64_0.1_1")
    assert not [stage for stage in listed if "pretrain" in stage.title.lower()][1:]  # only the audio for it
    with pytest.raises(ValueError, match="`--given` has mfcc"):
        plan_of("--given", "mfcc=c@/pre.pt")


def test_each_input_is_trained_as_its_paper_has_it(digits: Any, plan_of: Any) -> None:
    features = ("wav2vec_c", "gumbel_q", "logmel_ctc")
    plan = plan_of("--features", *features, "--seeds", "1", "--fractions", "1")
    listed = list(digits.stages.stages(plan))
    check_order(listed, plan.run)
    plain, codes = (set(words_of(listed, name)) for name in ("wav2vec", "gumbel"))
    assert "model.quantizer=none" in plain and not [w for w in plain if "loss_weights" in w]
    assert {"model.quantizer=gumbel", "+criterion.loss_weights=[0.1]"} <= codes
    assert f"+task.audio_cache={plan.run}/digits/cache" in plain & codes
    for name, layer in (("wav2vec_c", "c"), ("gumbel_q", "q"), ("logmel", "logmel")):
        assert value_of(words_of(listed, f"features_digits_{name}"), "--layer") == layer
    spectra = set(words_of(listed, "digits_logmel_ctc_1_1"))
    assert {"criterion._name=vq_ctc", f"task.data={plan.run}/features_digits_logmel/data"} <= spectra
    assert "criterion._name=asg" in words_of(listed, "digits_gumbel_q_1_1")
    sizes = digits.sweep.SIZES
    assert sizes == ("1x16", "1x64", "1x320", "2x16", "2x40", "2x160", "4x40")


@pytest.mark.parametrize("size", ["2y40", "0x4", "2x", "x40", "2x40x"])
def test_a_size_that_is_none_is_refused(digits: Any, size: str) -> None:
    with pytest.raises(ValueError, match=f"`--sizes` has '{size}'; expected GROUPSxVARIABLES, such as 2x40"):
        digits.sweep.quantized(size)


def test_read_speech_is_held_against_its_valid_split_or_its_dev(digits: Any, plan_of: Any) -> None:
    plan = plan_of(with_speech=True)
    assert digits.plan.corpus_splits(plan, "speech") == ("train", "dev", "test")
    (plan.speech / "valid.tsv").touch()
    assert digits.plan.corpus_splits(plan, "speech") == ("train", "valid", "test")


@pytest.mark.parametrize(("name", "weight"), [("gumbel", "0.1"), ("kmeans", "1.0")])
def test_vectors_and_states_are_of_one_pretraining(digits: Any, name: str, weight: str) -> None:
    inputs = digits.compare.INPUTS
    for layer in ("q", "bert"):
        found = inputs[f"{name}_{layer}"]
        assert (found.model, found.layer, found.criterion, found.training) == (name, layer, "asg", ())
        assert found.settings[:2] == (f"model.quantizer={name}", f"+criterion.loss_weights=[{weight}]")
    assert inputs["mfcc"].training == inputs["mfcc_ctc"].training != () == inputs["logmel_ctc"].training
    assert (inputs["mfcc_ctc"].layer, inputs["mfcc_ctc"].criterion) == ("mfcc", "vq_ctc")


def test_each_stage_is_told_which_audio_text_and_tokens_are_its_own(digits: Any, plan_of: Any) -> None:
    plan = plan_of("--features", "gumbel_bert", "--seeds", "1", "--fractions", "1", with_speech=True)
    listed, data = list(digits.stages.stages(plan)), plan.run / "digits/data"
    model = words_of(listed, "lm")
    assert model[2] == str(data / "lm.txt") and value_of(model, "--order") == "4"
    letters, phones = (words_of(listed, f"labels_{name}") for name in ("digits", "speech"))
    assert (value_of(letters, "--text"), value_of(letters, "--unit")) == ("text", "letters")
    assert "--no-boundary" not in letters and value_of(phones, "--text") == "phones"
    for number, split in enumerate(("train", "valid")):
        read = [str(plan.run / "gumbel/checkpoint_last.pt"), str(data / f"pretrain/{split}.tsv")]
        assert words_of(listed, "gumbel_tokens", number)[2:4] == read
    bert = words_of(listed, "gumbel_bert")
    assert f"task.data={plan.run}/gumbel_tokens/data" in bert and value_of(bert, "--config-name") == "bert"
    for number, split in enumerate(("train", "dev", "test")):
        heard = words_of(listed, "features_speech_gumbel_bert", number)
        assert heard[3] == str(plan.speech / f"{split}.tsv")

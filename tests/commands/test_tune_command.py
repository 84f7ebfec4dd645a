"""`vqw2v tune` as it is typed: from saved emissions to options that make fewer errors."""

import argparse
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from fake_emissions import SENTENCES, UNITS, fake_emissions

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.commands import tune as tune_module
from vqw2v_plugin.commands.decoder_arguments import WEIGHTS
from vqw2v_plugin.decoding import trials
from vqw2v_plugin.decoding.scoring import Errors, ErrorScore, Judge
from vqw2v_plugin.decoding.settings import Range, Weights
from vqw2v_plugin.stores.emissions import EmissionWriter
from vqw2v_plugin.stores.labels import Labels, write_labels
from vqw2v_plugin.text.ngram import train_ngram, write_arpa
from vqw2v_plugin.text.ngram_counts import read_text
from vqw2v_plugin.text.units import Units, asg_units, ctc_units


def save(
    folder: Path,
    units: Units = UNITS,
    noise: float = 2.2,
    steps: np.ndarray | None = None,
    split: str = "dev",
) -> None:
    with EmissionWriter(folder / "e", split, units.to_json(), 0.01, steps) as writer:
        for i, text in reversed(list(enumerate(SENTENCES))):
            writer.add(f"utt{i}", fake_emissions(text, units, i, noise))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Emissions e/, labels l/ with a lexicon, and lm.arpa."""
    pytest.importorskip("flashlight.lib.text.decoder.kenlm")
    save(tmp_path)
    letters = tuple(tuple(text.replace(" ", "|") + "|") for text in SENTENCES)
    utts = tuple(f"utt{i}" for i in range(len(SENTENCES)))
    symbols = [(symbol, 1) for symbol in UNITS.symbols[1:]]
    words = sorted(set(" ".join(SENTENCES).split()))
    lexicon = "".join(f"{word}\t{' '.join(word)}\n" for word in words)
    write_labels(
        tmp_path / "l",
        "letters",
        {
            "dev": Labels(utts, letters, tuple(SENTENCES)),
            "test": Labels(utts[:-2], letters[:-2], tuple(SENTENCES[:-2])),
        },
        symbols,
        {},
        {"lexicon.ltr.txt": lexicon.encode()},
    )
    (tmp_path / "text").write_text("\n".join(SENTENCES) + "\n")
    write_arpa(train_ngram(read_text(str(tmp_path / "text")), 3), tmp_path / "lm.arpa")
    return tmp_path


def tune(corpus: Path, *arguments: object) -> int:
    fixed = ("tune", corpus / "e", "--labels", corpus / "l", "--beam", 20, "--workers", 1)
    return main([*map(str, fixed), *map(str, arguments)])


def test_it_prints_options_that_make_fewer_errors(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--lm", corpus / "lm.arpa", "--points", 8, "--rounds", 2, "--keep", 3)
    assert tune(corpus, *arguments) == 0
    shown = capsys.readouterr()
    found = json.loads((corpus / "e" / "tuned-dev.json").read_text())
    assert found["best"][0]["rate"] < min(found["others"]["greedy"], found["others"]["at the start"] + 0.01)
    assert [row["rate"] for row in found["best"]] == sorted(row["rate"] for row in found["best"])
    lines = shown.out.splitlines()
    assert lines[0].endswith("lexicon.ltr.txt: taken as the lexicon")
    assert lines[1].startswith("dev: 8 utterances under ") and "given up early" in lines[1]
    assert lines[2].split() == ["WER", "%", "CER", "%", "lm_weight", "word_score", "sil_score"]
    assert float(lines[3].split()[0]) == pytest.approx(found["best"][0]["rate"], abs=0.006)
    assert lines[-2] == "options: " + " ".join(found["options"])
    assert "the start: WER" in shown.err and "round 2: WER" in shown.err
    best = found["best"][0]
    weights = ("--lm-weight", best["lm_weight"], "--word-score", best["word_score"])
    again = ("--lm", corpus / "lm.arpa", *weights, "--sil-score", best["sil_score"] - 0.01, best["sil_score"])
    assert tune(corpus, *again, "--points", 1, "--rounds", 1, "--out", corpus / "o.json") == 0
    second = json.loads((corpus / "o.json").read_text())
    assert second["best"][0]["rate"] <= best["rate"]


def test_another_seed_tries_other_points(corpus: Path) -> None:
    arguments = ("--lm", corpus / "lm.arpa", "--points", 3, "--rounds", 0, "--keep", 4)
    points = {}
    for seed in (1, 2):
        assert tune(corpus, *arguments, "--seed", seed, "--out", corpus / "o.json") == 0
        found = json.loads((corpus / "o.json").read_text())
        points[seed] = {row["lm_weight"] for row in found["best"]}
    assert points[1] != points[2]


def test_what_is_asked_of_the_search_reaches_it(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun: list[trials.Trials] = []

    class Seen(trials.Trials):
        def __enter__(self) -> trials.Trials:
            begun.append(self)
            return super().__enter__()

    monkeypatch.setattr(trials, "Trials", Seen)
    save(corpus, split="test")
    for seed in (1, 2):
        effort = ("--points", 5, "--rounds", 0, "--keep", 2, "--seed", seed, "--workers", 1)
        assert tune(corpus, "--lm", corpus / "lm.arpa", "--split", "test", *effort) == 0
    one, other = begun
    assert (one.keep, one.workers) == (2, 1) and one.parts != other.parts
    assert sorted(one.work.dev_set.references) == sorted(SENTENCES[:-2])  # not those of dev
    assert len(json.loads((corpus / "e/tuned-test.json").read_text())["best"]) == 2
    lost = [len(each.given_up) for each in begun]
    told = re.findall(
        r"test: 6 utterances under (\d+) points, (\d+) of them given up", capsys.readouterr().out
    )
    assert told == [("6", str(number)) for number in lost] and max(lost) > 0  # the start, and five points


def test_two_processes_write_the_same(corpus: Path) -> None:
    arguments = ("--lm", corpus / "lm.arpa", "--points", 4, "--rounds", 1)
    assert tune(corpus, *arguments, "--out", corpus / "1") == 0
    assert tune(corpus, *arguments, "--out", corpus / "2", "--workers", 2) == 0
    assert (corpus / "1").read_bytes() == (corpus / "2").read_bytes()


def test_asg_is_tuned_with_its_transitions(corpus: Path) -> None:
    units = asg_units(UNITS.symbols[1:], num_repeats=1)
    steps = np.random.default_rng(0).normal(size=(len(units), len(units)))
    save(corpus, units, 1.0, steps)
    assert tune(corpus, "--decoder", "free", "--points", 2, "--rounds", 1) == 0
    found = json.loads((corpus / "e" / "tuned-dev.json").read_text())
    assert all(row["word_score"] == row["lm_weight"] == 0 for row in found["best"])
    assert len({row["sil_score"] for row in found["best"]}) > 1


def test_who_has_no_partner_is_named(corpus: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = (corpus / "e" / "dev.ids").read_text().replace("utt3\t", "other\t")
    (corpus / "e" / "dev.ids").write_text(lines)
    assert tune(corpus, "--points", 1, "--rounds", 0) == 0
    assert "dev: 1 utterances have no labels and are left out (other)" in caplog.text
    assert "dev: 1 utterances have no emissions and are left out (utt3)" in caplog.text
    assert json.loads((corpus / "e" / "tuned-dev.json").read_text())["utterances"] == 7


def test_mistakes_are_one_sentence(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (corpus / "names").mkdir()
    for name in ("dev.ltr", "dev.wrd"):
        (corpus / "names" / name).write_text((corpus / "l" / name).read_text())
    (corpus / "names" / "dev.utt").write_text("".join(f"x{i}\n" for i in range(8)))
    for arguments, message in (
        (("--split", "test"), "has no emissions of the split 'test' (there are: dev)"),
        (("--labels", corpus / "none"), "names no file"),
        (("--labels", corpus / "none", "--decoder", "free"), "dev.utt: no such file"),
        (("--labels", corpus / "names", "--decoder", "free"), "has labels of none of the 8 utterances"),
        (("--lm-weight", 1, 2), "`--lm-weight` is of no use to the decoder 'lexicon' without an LM"),
        (("--decoder", "free", "--word-score", 1, 2), "`--word-score` is of no use to the decoder 'free'"),
        (("--sil-score", 1, 2, 3), "`--sil-score` has 3 numbers"),
        (("--sil-score", 1, "--word-score", 2), "nothing is left to tune"),
        (("--sil-score", 3, 1), "3 1 is no range"),
        (("--points", -1), "`points` is -1"),
        (("--workers", 0), "`--workers` is 0"),
        (("--error-unit", "phones"), "the model says letters"),
        (("--error-unit", "word"), "expected one of words, characters, phones"),
        (("--lm", corpus / "none.arpa"), "no such file"),
    ):
        assert tune(corpus, *arguments) == 2
        shown = capsys.readouterr().err
        assert message in shown and len(shown.splitlines()) == 1, shown


def asked(words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    tune_module.add_arguments(parser)
    return parser.parse_args(["e", *words.split()])


def test_what_follows_from_the_model_is_filled_in_where_it_was_not_said(corpus: Path) -> None:
    phones = ctc_units(["a", "b"], "phones")
    fixed = f"--labels {corpus / 'l'}"
    for words, units, lexicon, unit in (
        ("", UNITS, str(corpus / "l/lexicon.ltr.txt"), "words"),
        ("--lexicon mine", UNITS, "mine", "words"),
        ("--decoder free", UNITS, None, "words"),
        ("--decoder free", phones, None, "phones"),
        ("", phones, None, "words"),  # there is no lexicon of phones
        ("--decoder free --error-unit characters", phones, None, "characters"),
    ):
        args = asked(f"{fixed} {words}")
        tune_module._fill_in(args, units)
        assert (args.lexicon, args.error_unit) == (lexicon, unit)
        assert args.workers == len(os.sched_getaffinity(0))
    args = asked(f"{fixed} --workers 3")
    tune_module._fill_in(args, UNITS)
    assert args.workers == 3


def test_only_weights_that_are_heard_are_searched() -> None:
    silent, loud = ctc_units(["a", "b"], "phones"), UNITS
    assert silent.silence < 0 <= loud.silence
    for words, units, free in (
        ("--lm x", loud, {"lm_weight", "word_score", "sil_score"}),
        ("", loud, {"word_score", "sil_score"}),
        ("--lm x --decoder free", loud, {"lm_weight", "sil_score"}),
        ("--lm x", silent, {"lm_weight", "word_score"}),
        ("--lm x --lm-weight 2 --word-score 1 3", loud, {"word_score", "sil_score"}),
    ):
        space = tune_module._space(asked(f"--labels l {words}"), units)
        assert {WEIGHTS[place] for place in space.free} == free
    space = tune_module._space(asked("--labels l --lm x --lm-weight 1 3 --word-score 2"), loud)
    assert (space.lm_weight, space.word_score) == (Range(1, 3), Range(2, 2))
    with pytest.raises(ValueError, match="`--sil-score` is of no use"):
        tune_module._space(asked("--labels l --sil-score 1"), silent)


def test_options_are_those_of_the_search_with_the_weights_found() -> None:
    args = asked("--labels l --lexicon x --lm y --beam 9 --beam-threshold 7.5 --beam-tokens 3 --log-add")
    search = "--decoder lexicon --lexicon x --lm y --beam 9 --beam-threshold 7.5 --beam-tokens 3"
    weights = "--lm-weight 1.25 --word-score -2 --sil-score 0"
    assert tune_module._options(args, Weights(1.25, -2.0, 0.0)) == f"{search} {weights} --log-add".split()
    args = asked("--labels l --decoder free")
    search = "--decoder free --beam 500 --beam-threshold 50"
    assert tune_module._options(args, Weights(1.25, -2.0, 0.0)) == f"{search} {weights}".split()


def test_the_file_says_each_point_s_errors_and_the_start_s_own(corpus: Path) -> None:
    options = ("--lm", corpus / "lm.arpa", "--points", 6, "--rounds", 1, "--keep", 4)
    assert tune(corpus, *options, "--out", corpus / "o.json") == 0
    assert not (corpus / "e/tuned-dev.json").exists()
    found = json.loads((corpus / "o.json").read_text())
    num_words = len(" ".join(SENTENCES).split())
    for row in found["best"]:
        assert row["errors"] == pytest.approx(row["rate"] * num_words / 100)
    asked_for = {"split": "dev", "points": 6, "rounds": 1, "seed": 1, "error_unit": "words"}
    assert {name: found[name] for name in asked_for} == asked_for
    assert found["others"]["at the start"] >= found["best"][0]["rate"]
    fixed = ("--lm-weight", 0, "--word-score", -9, "--sil-score", 0, 0.001)
    assert tune(corpus, *options[:2], *fixed, "--points", 9, "--rounds", 0, "--out", corpus / "p.json") == 0
    poor = json.loads((corpus / "p.json").read_text())["others"]
    assert (
        poor["at the start"] != found["others"]["at the start"]
        and poor["greedy"] == found["others"]["greedy"]
    )


@pytest.mark.parametrize("errors", [(3, 3, 3), (3, 3, 4), (3,)])
def test_points_that_are_all_alike_are_told(
    errors: tuple[int, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    scores = [ErrorScore(Errors(9, substitutions=count), Errors(9, substitutions=count)) for count in errors]
    best = [(Weights(0.1 * i, 0.0, 0.0), score) for i, score in enumerate(scores)]
    tune_module._print_table(Judge("words", "none"), best, {})
    assert ("the best are alike" in capsys.readouterr().out) == (errors == (3, 3, 3))


def test_the_table_has_words_characters_and_weights_of_each_point(capsys: pytest.CaptureFixture[str]) -> None:
    score = ErrorScore(Errors(90, substitutions=10), Errors(398, deletions=2))
    best = [(Weights(1.25, -2.0, 0.0), score)]
    tune_module._print_table(Judge(), best, {"greedy": ErrorScore(Errors(75, 25), Errors(396, insertions=4))})
    assert capsys.readouterr().out.splitlines() == [
        "   WER %   CER %   lm_weight  word_score   sil_score",
        "   10.00    0.50        1.25          -2           0",
        "   25.00    1.01  (greedy)",
    ]
    tune_module._print_table(Judge("phones"), best, {})
    assert capsys.readouterr().out.splitlines()[:2] == [
        "   PER %   lm_weight  word_score   sil_score",
        "   10.00        1.25          -2           0",
    ]
    tune_module._say(Judge("characters"), "round 3", Weights(1.25, -2.0, 0.0), score)
    said = "round 3: CER 10.00 % at --lm-weight 1.25, --word-score -2, --sil-score 0\n"
    assert capsys.readouterr().err == said

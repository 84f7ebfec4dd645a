"""`--scoring vq_error`: built as fairseq builds it, from label strings or from text."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fairseq")
from fairseq.scoring import build_scorer
from omegaconf import OmegaConf

import vqw2v_plugin

vqw2v_plugin.register()
from vqw2v_plugin.criterions.vq_error import VqErrorConfig, VqErrorScorer


def scorer(**settings: object):
    return build_scorer(OmegaConf.create({"_name": "vq_error", **settings}), None)


def test_the_name_alone_builds_a_word_error_rate() -> None:
    built = build_scorer("vq_error", None)
    built.add_string("the cat sat", "a cat")
    assert built.score() == pytest.approx(200 / 3)
    assert built.result_string() == (
        "WER 66.67 % (2 errors in 3 words: 1 substituted, 1 deleted, 0 inserted; 1 of 1 utterances wrong)"
    )


def test_with_a_listing_in_a_file_the_screen_ends_with_the_error_rate_and_what_comes_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = OmegaConf.create(
        {
            "scoring": {"_name": "vq_error", "results_path": str(tmp_path), "gen_subset": "test"},
            "task": {"decoder": "lexicon", "labels": "/l", "emissions": "/e m"},
            "common_eval": {"path": "/c.pt"},
        }
    )
    built = build_scorer(whole.scoring, None)
    built.add_string("the cat sat", "a cat")
    assert built.result_string().startswith("WER 66.67 %")
    first, second, *after = capsys.readouterr().out.splitlines()
    assert first.startswith("test: WER 66.67 % (2 errors in 3 words") and "errors-test.json" in second
    assert after == [
        "next: vqw2v tune '/e m' --split test --labels /l --lm LM",
        "next: vqw2v transcribe /c.pt FILE --decoder lexicon",
    ]
    for decoder, emissions, hint in (
        ("greedy", None, "--decoder lexicon"),
        ("free", None, "--emissions FOLDER"),
    ):
        whole.task.decoder, whole.task.emissions = decoder, emissions
        build_scorer(whole.scoring, None).result_string()
        assert hint in capsys.readouterr().out
    assert json.loads((tmp_path / "errors-test.json").read_text())["decoded"] == {"--decoder": "free"}
    whole.task.update({"decoder": "lexicon", "lexicon": "/l x", "lm": "/a", "weights": "/t"})
    whole.task.update({"word_score": 1.5, "sil_score": 0.0})
    whole.generation = {"beam": 50, "lm_weight": 2.0}
    build_scorer(whole.scoring, None).result_string()
    assert capsys.readouterr().out.splitlines()[2:] == [  # as well as it was decoded, and nothing done before
        "next: vqw2v transcribe /c.pt FILE --decoder lexicon --lexicon '/l x' --lm /a --weights /t"
    ]
    monkeypatch.setenv("VQW2V_NEXT", "0")  # of a script, which knows
    build_scorer(whole.scoring, None).result_string()
    assert len(capsys.readouterr().out.splitlines()) == 2
    named = {"--decoder": "lexicon", "--lexicon": "/l x", "--lm": "/a"}
    told = [json.loads((tmp_path / "errors-test.json").read_text())["decoded"]]
    whole.generation.beam = 500  # not given: that of tuning counts
    build_scorer(whole.scoring, None).result_string()
    assert "--beam" not in json.loads((tmp_path / "errors-test.json").read_text())["decoded"]
    whole.generation.beam, whole.task.weights = 50, None
    build_scorer(whole.scoring, None).result_string()
    told.append(json.loads((tmp_path / "errors-test.json").read_text())["decoded"])
    numbers = {"--lm-weight": "2", "--word-score": "1.5", "--sil-score": "0", "--beam": "50"}
    assert told == [{**named, "--weights": "/t", "--beam": "50"}, {**named, **numbers}]
    capsys.readouterr()
    scorer().result_string()
    assert not capsys.readouterr().out  # fairseq prints it


def test_fairseq_s_command_line_knows_its_options() -> None:
    from fairseq import options
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf

    parser = options.get_generation_parser()
    given = [
        "data",
        "--path",
        "x.pt",
        "--scoring",
        "vq_error",
        "--error-unit",
        "phones",
        "--error-fold",
        "48",
    ]
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, given))
    built = build_scorer(cfg.scoring, None)
    assert (built.unit, built.cfg.error_fold, built.cfg.error_alignment) == ("phones", "48", None)


@pytest.mark.parametrize(
    ("reference", "hypothesis"),
    [
        ("t h e | c a t |", "t h e | h a t |"),
        ("t h e | c a t |", "| t h e | h a t"),
        ("▁the ▁c at", "▁ the ▁ha t"),
        ("the cat", "the hat"),
    ],
)
def test_labels_are_joined_to_words(reference: str, hypothesis: str) -> None:
    words, characters = scorer(), scorer(error_unit="characters")
    for built in (words, characters):
        built.add_string(reference, hypothesis)
    assert (words.errors.substitutions, words.errors.length) == (1, 2)
    assert (characters.errors.substitutions, characters.errors.length) == (1, 7)


@pytest.mark.parametrize(
    ("reference", "hypothesis"),
    [("t h e |", "t h e"), ("t h e", "t h e |"), ("▁t he", "t he"), ("t he", "▁t he")],
)
def test_either_side_tells_that_both_are_labels(reference: str, hypothesis: str) -> None:
    built = scorer()
    built.add_string(reference, hypothesis)
    assert (built.errors.total, built.errors.length) == (0, 1)


def test_without_fairseq_s_settings_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for built in (build_scorer("vq_error", None), VqErrorScorer(VqErrorConfig()), scorer()):
        built.add_string("a", "b")
        assert built.result_string().startswith("WER 100.00 %")
    assert not list(tmp_path.iterdir())


def test_errors_are_written_by_the_name_of_the_split_that_was_decoded(tmp_path: Path) -> None:
    for split in (None, "test"):
        built = scorer(results_path=str(tmp_path), gen_subset=split, error_unit="characters")
        built.add_string("é ∅", "é x")
        built.result_string()
        assert [path.name for path in tmp_path.iterdir()] == ([f"errors-{split}.json"] if split else [])
    written = (tmp_path / "errors-test.json").read_text(encoding="utf-8")
    assert "∅" in written and json.loads(written)["unit"] == "characters" and written.endswith("}\n")


def test_an_empty_hypothesis_is_all_deleted() -> None:
    built = scorer()
    built.add_string("o n e |", "")
    assert (built.errors.deletions, built.errors.length) == (1, 1)


def test_phones_are_folded_and_boundaries_do_not_count() -> None:
    built = scorer(error_unit="phones", error_fold="39")
    built.add_string("h# | sh ix q |", "sil zh ih")
    assert built.errors.total == 0 and built.errors.length == 3
    assert built.result_string().startswith("PER 0.00 % (0 errors in 3 phones")


def test_the_alignment_is_written_on_request(tmp_path: Path) -> None:
    built = scorer(error_alignment=str(tmp_path / "align.txt"))
    built.add_string("one two", "one")
    built.add_string("x", "x")
    built.result_string()
    assert (tmp_path / "align.txt").read_text() == (
        "1\nREF: one two\nHYP: one ***\n         D\n\n2\nREF: x\nHYP: x\n\n"
    )


def test_labels_that_were_only_measured_by_are_what_weights_are_found_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = OmegaConf.create(
        {
            "scoring": {"_name": "vq_error", "results_path": str(tmp_path), "gen_subset": "dev"},
            "task": {"_name": "vq_unpaired", "decoder": "greedy", "measure": "/m", "emissions": "/e"},
            "common_eval": {"path": "/c.pt"},
        }
    )
    build_scorer(whole.scoring, None).result_string()
    after = capsys.readouterr().out.splitlines()[2:]
    assert after == ["next: vqw2v tune /e --split dev --labels /m --lm LM"]  # and no `vqw2v transcribe`


def test_only_what_decodes_is_told_how_and_greedy_needs_no_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = OmegaConf.create(
        {
            "scoring": {"_name": "vq_error", "results_path": str(tmp_path), "gen_subset": "test"},
            "task": {"decoder": "greedy", "emissions": "/e", "word_score": 1.5},
            "generation": {"beam": 50, "lm_weight": 2.0},
            "common_eval": {"path": "/c.pt"},
        }
    )

    def said() -> tuple[list[str], dict[str, Any]]:
        build_scorer(whole.scoring, None).result_string()
        held = json.loads((tmp_path / "errors-test.json").read_text())
        return capsys.readouterr().out.splitlines()[2:], held

    (first, second), held = said()  # without labels there is nothing to tune weights on
    assert first.startswith("next: `--decoder lexicon") and second == "next: vqw2v transcribe /c.pt FILE"
    assert held["decoded"] == {"--decoder": "greedy"}
    whole.task = {"_name": "translation"}
    after, held = said()
    assert after == [] and "decoded" not in held

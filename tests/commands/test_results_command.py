"""`vqw2v results`: every error rate below some folders in one table; broken files are named."""

import json
from pathlib import Path

import pytest

from vqw2v_plugin import __main__ as cli
from vqw2v_plugin.recipes.folder import DONE, Stamp


def errors(path: Path, rate: float, unit: str = "words", split: str = "test") -> None:
    path.mkdir(parents=True, exist_ok=True)
    about = {"unit": unit, "rate": rate, "reference_length": 1234, "substitutions": 5, "deletions": 6}
    (path / f"errors-{split}.json").write_text(json.dumps({**about, "insertions": 7}))


def test_rates_of_all_folders_are_one_table_by_split_and_unit_the_best_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    errors(tmp_path / "a" / "greedy", 30.5)
    errors(tmp_path / "a" / "deep" / "er", 4.25)
    errors(tmp_path / "b", 9.0, "phones")
    errors(tmp_path / "b", 50.0, split="dev")
    assert cli.main(["results", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [(row[0], row[1], row[2], row[-1]) for row in rows[1:]] == [
        ("dev", "WER", "50.00", str(tmp_path / "b")),
        ("test", "PER", "9.00", str(tmp_path / "b")),
        ("test", "WER", "4.25", str(tmp_path / "a" / "deep" / "er")),
        ("test", "WER", "30.50", str(tmp_path / "a" / "greedy")),
    ]
    assert rows[1][3:8] == ["5", "6", "7", "1,234", "-"]  # which no command's decoder made
    errors(tmp_path / "b", 60.0, split="dev-other")
    assert cli.main(["results", str(tmp_path), "--split", "dev"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_right_classes_are_a_table_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """More is better there, which nobody is to take for errors."""
    from vqw2v_plugin.decoding.class_scoring import ClassCounts

    errors(tmp_path / "a", 30.5)
    for name, answered in (("worse", "b"), ("better", "a")):
        summary = ClassCounts.of_pairs([("a", "a"), ("a", answered), ("b", "c")]).summary()
        (tmp_path / name).mkdir()
        (tmp_path / name / "classes-test.json").write_text(json.dumps(summary))
    assert cli.main(["results", str(tmp_path)]) == 0
    error_rows, class_rows = capsys.readouterr().out.split("\n\n")
    assert len(error_rows.splitlines()) == 2 and "Right" not in error_rows
    title, head, *rows = class_rows.splitlines()
    assert title == "Right classes of utterances, in %: the more the better"
    assert head.split()[:3] == ["split", "recall", "by"]
    better = ["test", "50.00", "50.00", "66.67", "66.67", "3", "2", str(tmp_path / "better")]
    assert rows[0].split() == better and rows[1].split()[1] == "25.00"
    (tmp_path / "worse" / "classes-test.json").write_text('{"accuracy": 1}')
    assert cli.main(["results", str(tmp_path / "better"), str(tmp_path / "worse")]) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 3 and "is not what `--scoring vq_recall` writes" in shown.err


def test_of_classes_too_one_split_alone_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from vqw2v_plugin.decoding.class_scoring import ClassCounts

    errors(tmp_path, 30.5, split="dev")
    for split in ("dev", "test"):
        summary = ClassCounts.of_pairs([("a", "a"), ("b", "c")]).summary()
        (tmp_path / f"classes-{split}.json").write_text(json.dumps(summary))
    for split, tables in (("dev", 2), ("test", 1)):
        assert cli.main(["results", str(tmp_path), "--split", split]) == 0
        shown = capsys.readouterr().out.split("\n\n")
        assert len(shown) == tables and [row.split()[0] for row in shown[-1].splitlines()[2:]] == [split]


def test_the_decoder_is_that_of_the_stage_s_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    errors(tmp_path / "words", 3.0)
    command = "fairseq-generate x --decoder lexicon --lm y --results-path words"
    (tmp_path / "words" / DONE).write_text(Stamp((command,)).text)
    assert cli.main(["results", str(tmp_path)]) == 0
    assert "lexicon and language model" in capsys.readouterr().out


def test_without_a_command_the_decoder_is_what_the_file_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, decoded in (("a", {"--decoder": "lexicon", "--lm": "x/lm.arpa"}), ("b", [1]), ("c", {"x": 1})):
        errors(tmp_path / name, 3.0)
        path = tmp_path / name / "errors-test.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "decoded": decoded}))
    assert cli.main(["results", str(tmp_path)]) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert "lexicon and language model lm.arpa  " in rows[0] and all(" -  " in row for row in rows[1:])


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        ("20", "40", "30.5 % word errors, within the 20 to 40 % expected; why\n"),
        ("30.5", "30.5", "within the 30.5 to 30.5 % expected; why\n"),
        ("40", "80", "fewer than the 40 to 80 % expected; why\n"),
        ("0", "10", "more than the 0 to 10 % expected; hear on the report's page whether the texts are"),
    ],
)
def test_a_sentence_lays_the_rate_beside_what_was_expected(
    low: str, high: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    errors(tmp_path / "a", 30.5)
    errors(tmp_path / "worse", 60.0)
    errors(tmp_path / "phones", 3.0, "phones")
    assert cli.main(["results", str(tmp_path), "--expect", low, high, "--why", "why"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("test: 30.5 % word errors") and said in shown and shown.count("\n") == 1
    assert cli.main(["results", str(tmp_path), "--expect", low, high]) == 0
    assert capsys.readouterr().out == shown.replace("; why\n", "\n")


def test_what_was_expected_is_of_the_split_that_was_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    errors(tmp_path, 12.0, split="dev")
    errors(tmp_path, 30.5)
    for split, rate in (("test", "30.5"), ("dev", "12.0")):
        assert cli.main(["results", str(tmp_path), "--split", split, "--expect", "0", "50"]) == 0
        assert capsys.readouterr().out.startswith(f"{split}: {rate} % word errors, within")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--why", "x"], "`--why` ends the sentence of `--expect LOW HIGH`"),
        (["--expect", "9", "3"], "`--expect` is 9 3; expected two rates in %, the lower first"),
        (["--expect", "nan", "3"], "`--expect` is nan 3"),
        (["--expect", "-1", "3"], "`--expect` is -1 3"),
        (["--expect", "1", "3"], "`--expect` is about word error rates, and there are none"),
    ],
)
def test_an_expectation_that_is_none_is_refused(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    errors(tmp_path, 3.0, "phones")
    assert cli.main(["results", str(tmp_path), *options]) == 2
    assert said in capsys.readouterr().err


def test_broken_files_are_named_and_the_rest_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    errors(tmp_path / "good", 3.0)
    for name in ("bad", "stage/worse"):
        errors(tmp_path / name, 3.0)
        (tmp_path / name / "errors-test.json").write_text("[1" if name == "bad" else '{"unit": 3}')
    (tmp_path / "stage" / DONE).write_text(Stamp(("fairseq-generate x",)).text)
    assert cli.main(["results", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 2 and len(shown.err.splitlines()) == 2
    for name in ("bad", "stage/worse"):
        assert f"{tmp_path / name / 'errors-test.json'} is not what `--scoring vq_error` writes" in shown.err


def test_folders_without_rates_say_what_makes_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["results", str(tmp_path)]) == 2
    assert "no error rates (the splits there are: none); `fairseq-generate" in capsys.readouterr().err
    assert cli.main(["results", str(tmp_path / "gone")]) == 2
    assert "is no folder" in capsys.readouterr().err

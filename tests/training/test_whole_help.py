"""`fairseq-train … --help` lists the options of the task, the arch and the criterion that are named."""

import argparse

import pytest

pytest.importorskip("fairseq")
from fairseq import options

import vqw2v_plugin
from vqw2v_plugin.training.whole_help import tell_all_options

vqw2v_plugin.register()
OURS = ["--task", "vq_acoustic", "--arch", "vq_wav2letter_tiny", "--criterion", "vq_ctc"]


def helped(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        options.parse_args_and_arch(options.get_training_parser(), words)
    assert ended.value.code in (0, None)
    return capsys.readouterr().out


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help_has_the_options_of_what_is_named(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = helped([*OURS, word], capsys)
    for option in ("--label-fraction", "--conv-layers", "--sentence-avg", "--front-deltas", "--max-update"):
        assert f"  {option}" in said, option
    assert "--quantizer" not in said  # of another arch


def test_help_without_an_arch_is_fairseq_s_own(capsys: pytest.CaptureFixture[str]) -> None:
    said = helped(["--help"], capsys)
    assert "--max-update" in said and "--conv-layers" not in said


def test_without_help_nothing_changes_and_it_is_set_once() -> None:
    tell_all_options()
    before = options.parse_args_and_arch
    tell_all_options()
    assert options.parse_args_and_arch is before
    args = options.parse_args_and_arch(options.get_training_parser(), ["data", *OURS])
    assert isinstance(args, argparse.Namespace) and args.data == "data" and args.label_fraction == 1.0

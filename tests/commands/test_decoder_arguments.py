"""The decoder's options: what a command takes for granted is what the settings do."""

import argparse
import json
from pathlib import Path

import pytest

from vqw2v_plugin.commands import transcribe, tune
from vqw2v_plugin.commands.decoder_arguments import decoder_settings
from vqw2v_plugin.decoding.settings import (
    PART_SECONDS,
    BeamSettings,
    DecoderSettings,
    Effort,
    Range,
    Space,
    Weights,
)
from vqw2v_plugin.text.units import ctc_units


def test_options_left_out_are_the_settings_own() -> None:
    parser = argparse.ArgumentParser()
    transcribe.add_arguments(parser)
    args = parser.parse_args(["a.pt", "a.flac"])
    assert decoder_settings(args) == DecoderSettings() and args.limit == PART_SECONDS


def test_options_that_are_given_are_the_settings() -> None:
    parser = argparse.ArgumentParser()
    transcribe.add_arguments(parser)
    files = "a.pt a.flac --decoder lexicon --lexicon x.txt --lm y.arpa"
    beam = "--beam 7 --beam-threshold 9 --beam-tokens 5 --log-add"
    weights = "--lm-weight 1.5 --word-score -2 --sil-score 0.25"
    args = parser.parse_args(f"{files} {beam} {weights}".split())
    expected = BeamSettings(7, 9.0, 5, 1.5, -2.0, 0.25, log_add=True)
    assert decoder_settings(args) == DecoderSettings("lexicon", "x.txt", "y.arpa", expected)


def test_with_weights_of_a_file_a_beam_that_was_given_holds(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    transcribe.add_arguments(parser)
    best = {"lm_weight": 1, "word_score": 0, "sil_score": 0}
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"best": [best], "options": ["--beam", "50", "--beam-threshold", "50"]}))
    asked = f"a.pt a.flac --decoder lexicon --lexicon x.txt --weights {path}".split()
    beams = [decoder_settings(parser.parse_args(asked + more)).beam.beam for more in ([], ["--beam", "500"])]
    assert beams == [50, 500]
    with pytest.raises(ValueError, match="`beam_threshold` is 0; expected more than 0"):  # 0 is given, too
        decoder_settings(parser.parse_args([*asked, "--beam-threshold", "0"]))


def test_what_tune_finds_is_said_in_options_that_mean_the_same() -> None:
    parser, other = argparse.ArgumentParser(), argparse.ArgumentParser()
    tune.add_arguments(parser)
    transcribe.add_arguments(other)
    asked = "e --labels l --lexicon x.txt --lm y.arpa --beam 7 --beam-threshold 9 --beam-tokens 5 --log-add"
    found = tune._options(parser.parse_args(asked.split()), Weights(1.5, -2.0, 0.25))
    expected = BeamSettings(7, 9.0, 5, 1.5, -2.0, 0.25, log_add=True)
    settings = decoder_settings(other.parse_args(["a.pt", "a.flac", *found]))
    assert settings == DecoderSettings("lexicon", "x.txt", "y.arpa", expected)
    plain = tune._options(parser.parse_args(["e", "--labels", "l"]), Weights(0.0, 0.0, 0.0))
    assert "--log-add" not in plain and "--beam-tokens" not in plain


def test_errors_of_phones_are_folded_as_they_are_asked() -> None:
    parser, units = argparse.ArgumentParser(), ctc_units(["a", "b"], "phones")
    tune.add_arguments(parser)
    args = parser.parse_args("e --labels l --error-unit phones --error-fold 39".split())
    judge = tune._judge(args, units)
    assert (judge.unit, judge.fold) == ("phones", "39")


def test_the_help_of_tune_shows_the_ranges_that_are_searched() -> None:
    parser = argparse.ArgumentParser()
    tune.add_arguments(parser)
    shown, space = " ".join(parser.format_help().split()), Space()
    for name in ("lm_weight", "word_score", "sil_score"):
        found: Range = getattr(space, name)
        assert f"LOW HIGH (default: {found.low:g} {found.high:g})" in shown
    args = parser.parse_args(["e", "--labels", "l"])
    assert Effort(args.points, args.rounds, args.keep, args.seed) == Effort()

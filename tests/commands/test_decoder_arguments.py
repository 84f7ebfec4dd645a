"""The decoder's options: what a command takes for granted is what the settings do."""

import argparse

from vqw2v_plugin.commands import transcribe, tune
from vqw2v_plugin.commands.decoder_arguments import decoder_settings
from vqw2v_plugin.decoding.settings import PART_SECONDS, DecoderSettings, Effort, Range, Space


def test_options_left_out_are_the_settings_own() -> None:
    parser = argparse.ArgumentParser()
    transcribe.add_arguments(parser)
    args = parser.parse_args(["a.pt", "a.flac"])
    assert decoder_settings(args) == DecoderSettings() and args.limit == PART_SECONDS


def test_the_help_of_tune_shows_the_ranges_that_are_searched() -> None:
    parser = argparse.ArgumentParser()
    tune.add_arguments(parser)
    shown, space = " ".join(parser.format_help().split()), Space()
    for name in ("lm_weight", "word_score", "sil_score"):
        found: Range = getattr(space, name)
        assert f"LOW HIGH (default: {found.low:g} {found.high:g})" in shown
    args = parser.parse_args(["e", "--labels", "l"])
    assert Effort(args.points, args.rounds, args.keep, args.seed) == Effort()

"""letters ──decoder──▶ text: the decoder's options of the commands, under fairseq-generate's names."""

from __future__ import annotations

import argparse
from typing import Any

from ..decoding.settings import BeamSettings, DecoderSettings, Weights
from ..decoding.tuned import with_tuned

WEIGHTS = Weights._fields
SEARCH = ("beam", "beam_threshold", "beam_tokens")  # how widely; None where an option is left out


def add_decoder_arguments(parser: argparse.ArgumentParser, decoders: tuple[str, ...], default: str) -> None:
    """What is searched, by which files, and how widely."""
    beam = BeamSettings()
    parser.add_argument(
        "--decoder", choices=decoders, default=default, help="what is searched (default: %(default)s)"
    )
    parser.add_argument("--lexicon", metavar="FILE", help="spellings of words: `vqw2v labels` writes one")
    parser.add_argument("--lm", metavar="FILE", help="n-gram model, ARPA or KenLM's binary: `vqw2v lm`")
    parser.add_argument(
        "--beam",
        type=int,
        metavar="N",
        help=f"hypotheses kept a frame (default: {beam.beam})",
    )
    parser.add_argument(
        "--beam-threshold",
        type=float,
        metavar="X",
        help=f"hypotheses worse than the best by more are dropped (default: {beam.beam_threshold:g})",
    )
    parser.add_argument(
        "--beam-tokens", type=int, metavar="N", help="labels tried a frame, the best ones (default: all)"
    )
    parser.add_argument(
        "--log-add", action="store_true", help="add the paths of one text (default: take the best of them)"
    )


def add_weights(parser: argparse.ArgumentParser) -> None:
    """The weights as numbers; `vqw2v tune` finds them."""
    beam = BeamSettings()
    for name, what in (
        ("lm_weight", "weight of the LM's log10"),
        ("word_score", "added for every word"),
        ("sil_score", "added for every frame of silence"),
    ):
        help_line = f"{what} (default: %(default)g)"
        parser.add_argument(
            option(name), type=float, default=getattr(beam, name), metavar="X", help=help_line
        )
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="of `vqw2v tune`: its best weights, in place of these three, and its beam where none is given",
    )


def beam_settings(args: argparse.Namespace) -> BeamSettings:
    """The beam of the arguments; weights only where the command has them as numbers."""
    weights = {name: getattr(args, name) for name in WEIGHTS if isinstance(getattr(args, name, None), float)}
    return BeamSettings(**_given(args), log_add=args.log_add, **weights)


def decoder_settings(args: argparse.Namespace) -> DecoderSettings:
    settings = DecoderSettings(args.decoder, args.lexicon, args.lm, beam_settings(args))
    return with_tuned(settings, getattr(args, "weights", None), _given(args))


def _given(args: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(args, name) for name in SEARCH if getattr(args, name) is not None}


def option(name: str) -> str:
    """`--lm-weight` of lm_weight."""
    return "--" + name.replace("_", "-")

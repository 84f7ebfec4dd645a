"""`vqw2v abx`: how well features or tokens tell phones apart, within and across speakers."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..analysis.abx import AbxScore
    from ..analysis.abx_items import PhoneItems
    from ..stores.frames import FrameSource

HELP = "tell how well features or tokens tell phones apart (ABX)"
RESULT = "abx.json"
_MOST_ITEMS = {"triphone": 10, "none": 3}
_WORST = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from ..analysis.abx_choices import CONTEXTS, DISTANCES, SILENCES

    add = parser.add_argument
    add("folder", metavar="FEATURES-OR-TOKENS", help="folder that `features` or `discretize` wrote")
    add(
        "--phones", metavar="CTM", required=True, help="phone times: `utterance channel start duration phone`"
    )
    add("--manifest", metavar="TSV", help="manifest with a column `speaker` (default: all are one speaker's)")
    add("--split", help="of the folder (default: its only one, or the one the manifest or CTM is named for)")
    add(
        "--context",
        default="triphone",
        choices=CONTEXTS,
        help="compare phones between the same neighbours, or between any (default: %(default)s)",
    )
    add(
        "--distance",
        choices=DISTANCES,
        help="of two frames (default: angular; of tokens codes, the share of groups that differ)",
    )
    add("--checkpoint", metavar="CHECKPOINT", help="compare tokens by the vectors this model has for them")
    add(
        "--silence",
        default=",".join(SILENCES),
        metavar="NAMES",
        help="labels that are not phones (default: %(default)s)",
    )
    add(
        "--device",
        default="cpu",
        help="where stretches are compared: cpu, cuda or cuda:N (default: %(default)s)",
    )
    add("--out", metavar="FILE", help=f"where the figures go (default: {RESULT} in the folder)")
    _add_draws(parser)


def _add_draws(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--items",
        type=int,
        metavar="N",
        help="draw at most N of a phone, context and speaker (default: 10; 3 with `--context none`)",
    )
    add(
        "--speakers",
        type=int,
        default=5,
        metavar="N",
        help="other speakers for each A (default: %(default)s)",
    )
    add("--seed", type=int, default=1, help="another seed, other draws (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    from ..analysis.abx import Plan, abx
    from ..analysis.abx_items import find_items, with_vectors
    from ..common.files import write_whole
    from ..common.targets import beside_output, check_output
    from ..corpora.ctm import read_ctm
    from ..stores.frames import open_frames

    most = _MOST_ITEMS[args.context] if args.items is None else args.items
    out = Path(args.out) if args.out else Path(args.folder) / RESULT
    check_output(out)
    plan = Plan(most, args.speakers, args.seed)
    hints = [Path(args.manifest).stem] if args.manifest else []
    source = open_frames(args.folder, args.split, [*hints, Path(args.phones).name.partition(".")[0]])
    layer, distance = _compared(args, source)
    speakers = _speakers(args.manifest)
    quiet = args.silence.split(",")
    found = find_items(source, read_ctm(args.phones), speakers, args.context, quiet)
    if args.checkpoint:
        found = with_vectors(found, source, args.checkpoint)
    within, across = abx(found.items, distance, plan, _measure(args.device))
    if within is None and across is None:
        raise ValueError(
            f"{args.phones}: no two phones stand {_between(args.context)} in one speaker's utterances and a "
            f"third beside them; give more utterances, or `--context none`"
        )
    about = {"layer": layer, "distance": distance, "context": args.context, "split": source.split}
    result = about | _figures(within, across) | {"seed": args.seed, "max_items": most}
    result |= {"speakers": len(found.speakers), "max_speakers": args.speakers, "items": len(found.items)}
    write_whole(out, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    with redirect_stdout(beside_output(out)):
        _report(args, source, found, (within, across), result)
        print(f"  {out}")
    return 0


def _measure(device: str) -> Callable[..., Any]:
    """What tells how far stretches are apart: on a processor without torch."""
    from ..analysis.dtw import pair_distances

    if device == "cpu":
        return pair_distances
    from ..analysis import dtw_on_gpu
    from ..features.base import usable_device

    return partial(dtw_on_gpu.pair_distances, device=usable_device(device))


def _compared(args: argparse.Namespace, source: FrameSource) -> tuple[str, str]:
    """What the frames are called, and how they are compared."""
    is_codes = source.layer == "codes"
    if args.checkpoint and not is_codes:
        raise ValueError(
            f"`--checkpoint` gives vectors to tokens, {args.folder} holds features: leave it out"
        )
    vectors = bool(args.checkpoint) or not is_codes
    distance = args.distance or ("angular" if vectors else "codes")
    if (distance == "codes") == vectors:
        wanted = "angular, cosine or euclidean" if vectors else "codes, or give `--checkpoint`"
        raise ValueError(
            f"`--distance` is {distance!r}, {args.folder} holds {source.layer}; expected {wanted}"
        )
    return ("codewords" if args.checkpoint else source.layer), distance


def _speakers(path: str | None) -> dict[str, str] | None:
    from ..corpora.manifest import Manifest

    if path is None:
        return None
    manifest = Manifest(path)
    if "speaker" not in manifest.columns:
        raise ValueError(
            f"{path} has no column 'speaker', only {', '.join(manifest.columns)}; make it with "
            f"`vqw2v manifest --speaker-from`, or leave `--manifest` out: all are one speaker's then"
        )
    return {row.utt: row.speaker or "" for row in (manifest[i] for i in range(len(manifest)))}


def _figures(within: AbxScore | None, across: AbxScore | None) -> dict[str, Any]:
    scores = {"within": within, "across": across}
    return {
        **{name: None if score is None else score.error for name, score in scores.items()},
        **{f"triples_{name}": 0 if score is None else score.triples for name, score in scores.items()},
        "phones": len(set().union(*(score.phones for score in scores.values() if score))),
    }


def _report(
    args: argparse.Namespace,
    source: FrameSource,
    found: PhoneItems,
    scores: tuple[AbxScore | None, AbxScore | None],
    result: dict[str, Any],
) -> None:
    print(
        f"{args.folder}/{source.split}: {result['layer']}, {result['distance']} distance; phones "
        f"{_between(args.context)}; {len(found.items):,} of {len(found.phones)} phones, "
        f"{found.num_utterances:,} utterances, {len(found.speakers)} speakers"
    )
    for count, what in (
        (found.without_speaker, "utterances have no speaker in the manifest and are left out"),
        (found.without_frames, "phones are too short for the middle of a frame and are left out"),
    ):
        if count:
            print(f"  {count:,} {what}")
    for name, score in zip(("within", "across"), scores, strict=True):
        if score is None:
            print(f"  {name:<7}     -     {_why_not(name, args, found)}")
            continue
        print(
            f"  {name:<7}  {score.error:6.2%}  {score.triples:,} triples, {len(score.by_pair):,} pairs of "
            f"phones{_contexts(score, args)}; {_worst(score, found)}"
        )


def _between(context: str) -> str:
    return "between the same neighbours" if context == "triphone" else "between any neighbours"


def _contexts(score: AbxScore, args: argparse.Namespace) -> str:
    return f" in {score.contexts:,} contexts" if args.context == "triphone" else ""


def _why_not(name: str, args: argparse.Namespace, found: PhoneItems) -> str:
    if name == "across" and args.manifest is None:
        return "without `--manifest` all utterances are one speaker's"
    if name == "across" and len(found.speakers) < 2:
        return f"needs two speakers, and {found.speakers[0]} is the only one"
    return "no phone is there twice beside another; `--context none` asks for less"


def _worst(score: AbxScore, found: PhoneItems) -> str:
    """The pairs of phones that are told apart least often, in either order, of those with many triples."""
    both: dict[tuple[int, ...], list[tuple[float, int]]] = {}
    for pair, row in score.by_pair.items():
        both.setdefault(tuple(sorted(pair)), []).append(row)
    least = score.triples / len(both)
    frequent = {pair: rows for pair, rows in both.items() if sum(count for _, count in rows) >= least}
    means = {pair: sum(error for error, _ in rows) / len(rows) for pair, rows in frequent.items()}
    worst = sorted(means.items(), key=lambda item: (-item[1], item[0]))[:_WORST]
    shown = ", ".join(f"{'/'.join(found.phones[i] for i in pair)} {error:.0%}" for pair, error in worst)
    return f"of frequent pairs the worst: {shown}"

"""`vqw2v usage`: how a checkpoint's codes are used over a manifest, and what they say about phones."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..analysis.phone_codes import Codes
    from ..checkpoints.wav2vec import Loaded
    from ..tokenizer import Tokenizer

HELP = "show how a checkpoint's codes are used"
_DEAD_AFTER = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="checkpoint that fairseq-train wrote")
    parser.add_argument(
        "manifest",
        metavar="MANIFEST",
        nargs="?",
        help="manifest (tsv) of the audio to encode; without it, only what training kept",
    )
    parser.add_argument(
        "--phones", metavar="CTM", help="phone times: also print what the codes say about phones"
    )
    parser.add_argument(
        "--untrained",
        action="store_true",
        help="beside them the same network with fresh weights: what its codes say without training",
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="seed of the fresh weights (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    import dataclasses

    import torch

    from ..analysis.code_sources import encode_each
    from ..checkpoints.wav2vec import build_network, load_network
    from ..common.words import sentence
    from ..corpora.manifest import Manifest
    from ..tokenizer import Tokenizer

    trained = load_network(args.checkpoint)
    rows = {"trained": Tokenizer(trained)}
    print(f"{args.checkpoint}: {_health(trained)}")
    if args.manifest is None:
        return 0
    manifest = Manifest(args.manifest)
    if args.untrained:
        torch.manual_seed(args.seed)
        fresh = build_network(dataclasses.asdict(trained.network.config))
        rows["untrained"] = Tokenizer(dataclasses.replace(trained, network=fresh))
    print(f"{args.manifest}: {len(manifest)} utterances")
    utterances = [manifest[i] for i in range(len(manifest))]
    for name, tokenizer in rows.items():
        codes = encode_each(tokenizer, utterances, lambda reason: print(f"skipped: {sentence(reason)}"))
        if not codes:
            raise ValueError(f"{args.manifest}: none of its {len(manifest)} utterances gave a code")
        _print_usage(name, tokenizer, codes)
        if args.phones:
            _print_phones(tokenizer, codes, args.phones)
    return 0


def _health(model: Loaded) -> str:
    """How the training's last updates used the codes, as the checkpoint tells."""
    health = model.network.health
    if not health.window.any():
        return "keeps no counts of how training used its codes"
    num_codes = health.window.size(1)
    perplexity = ", ".join(f"{each:.1f}" for each in health.perplexity().tolist())
    dead = ", ".join(map(str, health.dead(_DEAD_AFTER).tolist()))
    return (
        f"at the end of training, perplexity {perplexity} of {num_codes}; {dead} codes unused for "
        f"{_DEAD_AFTER} updates (group by group)"
    )


def _print_usage(name: str, tokenizer: Tokenizer, codes: dict[str, Codes]) -> None:
    import numpy as np

    from ..analysis.phone_codes import code_usage

    usage = code_usage(np.concatenate(list(codes.values())), tokenizer.num_codes)
    print(f"{name}: {usage.num_frames:,} frames, {usage.num_groups} groups of {usage.num_codes} codes")
    for group, (used, perplexity) in enumerate(zip(usage.used, usage.perplexity, strict=True)):
        print(f"  group {group}: {used} of {usage.num_codes} codes used, perplexity {perplexity:.1f}")
    print(
        f"  together: {usage.share_used:.0%} of the codes used; {usage.joint_used:,} combinations, "
        f"perplexity {usage.joint_perplexity:.1f}"
    )


def _print_phones(tokenizer: Tokenizer, codes: dict[str, Codes], ctm: str) -> None:
    from ..analysis.phone_codes import FrameTimes, frame_phones, joint_ids, phone_information
    from ..corpora.ctm import read_ctm

    geometry = tokenizer.geometry
    times = FrameTimes(geometry.stride, geometry.receptive_field, tokenizer.sample_rate)
    kept, phones = frame_phones(codes, read_ctm(ctm), times)
    if not phones:
        raise ValueError(
            f"{ctm} has times for none of the manifest's utterances; are they of the same split?"
        )
    found = phone_information(joint_ids(kept), phones)
    print(
        f"  phones: the code tells {found.bits:.2f} of {found.phone_entropy:.2f} bits about the phone "
        f"({found.share:.0%}; {found.num_phones} phones, {found.num_frames:,} frames)"
    )

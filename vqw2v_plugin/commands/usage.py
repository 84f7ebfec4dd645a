"""`vqw2v usage`: how a checkpoint's codes are used over a manifest, and what they say about phones."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..analysis.phone_codes import Codes
    from ..checkpoints.kinds import Restored
    from ..corpora.manifest import Manifest, Utterance
    from ..tokenizer import Tokenizer

HELP = "show how a checkpoint's codes are used"
_DEAD_AFTER = 50
_CEPSTRA = 13
_RANK_CLIPS = 20
_MOST_CLIPS = 1_000_000


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
        "--mfcc",
        action="store_true",
        help="beside them as many k-means clusters of MFCC and their slopes, found on this same audio",
    )
    parser.add_argument(
        "--robust",
        type=int,
        default=0,
        metavar="N",
        help="also how many tokens of N clips change under noise, reverberation, another pitch and tempo",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=1,
        help="seed of fresh weights, clusters, noise and draws of speakers (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from ..analysis.code_sources import encode_each
    from ..checkpoints.clusters import KIND as CLUSTERS
    from ..checkpoints.format import load_one_of
    from ..checkpoints.wav2vec import KIND as WAV2VEC
    from ..common.bounds import check_between
    from ..common.words import sentence
    from ..corpora.manifest import Manifest
    from ..features.clusters import coder_of
    from ..tokenizer import Tokenizer

    check_between("--robust", args.robust, 0, _MOST_CLIPS)
    check_between("--seed", args.seed, 0, 2**63 - 1)
    trained = load_one_of(Path(args.checkpoint), (WAV2VEC, CLUSTERS))
    rows = {"trained": Tokenizer(coder_of(trained))}
    print(f"{args.checkpoint}: {_health(trained)}")
    if args.manifest is None:
        return 0
    manifest = Manifest(args.manifest)
    if args.untrained:
        rows["untrained"] = Tokenizer(coder_of(_untrained(trained, args.seed)))
    if args.mfcc:
        rows["MFCC k-means"] = _mfcc_clusters(rows["trained"], manifest, args.seed)
    print(f"{args.manifest}: {len(manifest)} utterances")
    utterances = [manifest[i] for i in range(len(manifest))]
    speakers = {row.utt: row.speaker for row in utterances if row.speaker}
    for name, tokenizer in rows.items():
        codes = encode_each(tokenizer, utterances, lambda reason: print(f"skipped: {sentence(reason)}"))
        if not codes:
            raise ValueError(f"{args.manifest}: none of its {len(manifest)} utterances gave a code")
        _print_usage(name, tokenizer, codes)
        if args.phones:
            _print_phones(tokenizer, codes, args.phones, speakers, args.seed)
        _print_voices(codes, speakers)
        chosen = [row for row in utterances if row.utt in codes]
        _print_rank(tokenizer, chosen)
        if args.robust:
            _print_robustness(tokenizer, chosen, args.robust, args.seed)
    return 0


def _mfcc_clusters(like: Tokenizer, manifest: Manifest, seed: int) -> Tokenizer:
    """As many clusters as there are codes, found on the very audio that they are asked about."""
    import tempfile
    from pathlib import Path

    from ..features.base import FeatureOptions
    from ..features.clusters import coder_of
    from ..features.registry import make_features
    from ..jobs.cluster import ClusterJob, ClusterOptions
    from ..modules.quantizers.clusters import ClustersConfig
    from ..tokenizer import Tokenizer

    groups = like.num_groups
    dim = next((n for n in range(_CEPSTRA, 0, -1) if 3 * n % groups == 0), groups)
    asked = FeatureOptions(f"mfcc:{dim}", sample_rate=like.sample_rate)
    config = ClustersConfig(like.num_codes, groups, deltas=2)
    with tempfile.TemporaryDirectory() as folder:
        options = ClusterOptions(seed=seed)
        job = ClusterJob(make_features(asked), asked, config, manifest, Path(folder) / "mfcc", options)
        return Tokenizer(coder_of(job.run().found))


def _untrained(trained: Restored[Any], seed: int) -> Restored[Any]:
    """The same network with weights that are drawn."""
    import dataclasses

    import torch

    from ..checkpoints.wav2vec import KIND

    if trained.header.model != KIND.model:
        raise ValueError(
            "`--untrained` wants a network of codes, and clusters are found without one: leave it out, or "
            "make clusters of an untrained network's layer"
        )
    torch.manual_seed(seed)
    return dataclasses.replace(trained, network=KIND.build(trained.header).eval())


def _health(trained: Restored[Any]) -> str:
    """How the training's last updates used the codes, as the checkpoint tells."""
    health = getattr(trained.network, "health", None)
    if health is None:
        return trained.summary
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


def _print_phones(
    tokenizer: Tokenizer, codes: dict[str, Codes], ctm: str, speakers: Mapping[str, str], seed: int
) -> None:
    import numpy as np

    from ..analysis.code_quality import share_over_speakers
    from ..analysis.phone_codes import frame_phones, joint_ids, phone_information
    from ..corpora.ctm import read_ctm
    from ..stores.frames import FrameTimes

    geometry, segments = tokenizer.geometry, read_ctm(ctm)
    times = FrameTimes(geometry.stride, geometry.receptive_field, tokenizer.sample_rate)
    parts = {utt: frame_phones({utt: rows}, segments, times) for utt, rows in codes.items()}
    phones = [phone for _, labels in parts.values() for phone in labels]
    if not phones:
        raise ValueError(
            f"{ctm} has times for none of the manifest's utterances; are they of the same split?"
        )
    ids = joint_ids(np.concatenate([kept for kept, _ in parts.values()]))
    found = phone_information(ids, phones)
    voices = [speakers.get(utt, utt) for utt, (_, labels) in parts.items() for _ in labels]
    sure = share_over_speakers(ids, phones, voices, seed)
    between = ""
    if sure is not None:
        kind = "speakers" if speakers else "utterances"
        between = f", 95 % of draws of {sure.speakers} {kind}: {sure.low:.1%} to {sure.high:.1%}"
    print(
        f"  phones: the code tells {found.bits:.2f} of {found.phone_entropy:.2f} bits about the phone "
        f"({found.share:.1%}{between}; {found.num_phones} phones, {found.num_frames:,} frames)"
    )


def _print_voices(codes: dict[str, Codes], speakers: Mapping[str, str]) -> None:
    from ..analysis.code_quality import probe_voices

    if (probe := probe_voices(codes, speakers)) is not None:
        print(
            f"  voices: {probe.accuracy:.1%} of {probe.clips} clips are told to be of their speaker by their "
            f"tokens alone (of {probe.speakers}; chance {probe.chance:.1%})"
        )


def _print_rank(tokenizer: Tokenizer, utterances: Sequence[Utterance]) -> None:
    import numpy as np

    from ..analysis.code_quality import effective_rank

    chosen = _spread(utterances, _RANK_CLIPS)
    rows = [tokenizer.features_of(row).cpu().numpy() for row in chosen]
    x = np.concatenate(rows)
    print(f"  rank: {effective_rank(x):.1f} of {x.shape[1]} dimensions of {tokenizer.layer} are filled")


def _print_robustness(tokenizer: Tokenizer, utterances: Sequence[Utterance], number: int, seed: int) -> None:
    import numpy as np

    from ..analysis.code_quality import unit_edits
    from ..audio.augment import CHANGES
    from ..audio.reading import read_audio

    rate, edits = tokenizer.sample_rate, {name: list[float]() for name in CHANGES}
    chosen = _spread(utterances, number)
    for i, row in enumerate(chosen):
        wav = read_audio(row, rate)
        before = tokenizer.encode(wav, rate).numpy()
        for name, change in CHANGES.items():
            after = tokenizer.encode(change(wav, np.random.default_rng([seed, i]), rate), rate).numpy()
            edits[name].append(unit_edits(before, after))
    told = ", ".join(f"{name} {np.mean(found):.0%}" for name, found in edits.items())
    print(f"  tokens that change, in {len(chosen)} clips, of those before: {told}")


def _spread(utterances: Sequence[Utterance], number: int) -> list[Utterance]:
    """So many from all over."""
    size = min(number, len(utterances))
    return [utterances[i * len(utterances) // size] for i in range(size)]

"""`vqw2v usage`: how a checkpoint's codes are used over a manifest, and what they say about phones."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..analysis.code_usage import Codes
    from ..checkpoints import Loaded
    from ..data.manifest import Manifest

HELP = "show how a checkpoint's codes are used"


def encode_manifest(model: Loaded, manifest: Manifest) -> dict[str, Codes]:
    """Codes [T, G] of every utterance, each encoded alone; what cannot be read is named and left out."""
    import torch
    import torch.nn.functional as F

    from ..data.audio import AudioError, read_audio

    codes: dict[str, Codes] = {}
    for utterance in (manifest[i] for i in range(len(manifest))):
        try:
            wav = torch.from_numpy(
                read_audio(
                    utterance.path, model.sample_rate, utterance.start, utterance.samples, rate=utterance.rate
                )
            )
        except AudioError as error:
            print(f"skipped: {error}")
            continue
        if not model.network.encoder.geometry.frames(len(wav)):
            print(f"skipped: {utterance.path}: {len(wav)} samples are too short for a frame")
            continue
        if model.normalize:
            wav = F.layer_norm(wav, wav.shape)
        with torch.inference_mode():
            codes[utterance.utt] = model.network.encode(wav[None])[0].numpy()  # [T, G]
    if not codes:
        raise ValueError(f"{manifest.path}: none of its {len(manifest)} utterances gave a code")
    return codes


def frame_phones(model: Loaded, codes: dict[str, Codes], ctm: str) -> tuple[list[Codes], list[str]]:
    """The codes of all frames whose centre lies in a phone, and these phones."""
    import numpy as np

    from ..data.ctm import read_ctm

    segments, geometry = read_ctm(ctm), model.network.encoder.geometry
    kept: list[Codes] = []
    phones: list[str] = []
    for utt, rows in codes.items():
        if utt not in segments:
            continue
        centres = (np.arange(len(rows)) * geometry.stride + geometry.receptive_field / 2) / model.sample_rate
        labels = segments[utt].at(centres)
        kept.append(rows[[label is not None for label in labels]])
        phones += [label for label in labels if label is not None]
    if not phones:
        raise ValueError(
            f"{ctm} has times for none of the manifest's utterances; are they of the same split?"
        )
    return kept, phones


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="checkpoint that fairseq-train wrote")
    parser.add_argument("manifest", metavar="MANIFEST", help="manifest (tsv) of the audio to encode")
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

    from ..checkpoints import build_network, load_network
    from ..data.manifest import Manifest

    trained, manifest = load_network(args.checkpoint), Manifest(args.manifest)
    rows = {"trained": trained}
    if args.untrained:
        torch.manual_seed(args.seed)
        fresh = build_network(dataclasses.asdict(trained.network.config)).eval()
        rows["untrained"] = dataclasses.replace(trained, network=fresh)
    print(f"{args.checkpoint} on {args.manifest}: {len(manifest)} utterances")
    for name, model in rows.items():
        codes = encode_manifest(model, manifest)
        _print_usage(name, model, codes)
        if args.phones:
            _print_phones(model, codes, args.phones)
    return 0


def _print_usage(name: str, model: Loaded, codes: dict[str, Codes]) -> None:
    import numpy as np

    from ..analysis.code_usage import code_usage

    quantizer: Any = model.network.quantizer
    usage = code_usage(np.concatenate(list(codes.values())), quantizer.num_codes)
    print(f"{name}: {usage.num_frames:,} frames, {usage.num_groups} groups of {usage.num_codes} codes")
    for group, (used, perplexity) in enumerate(zip(usage.used, usage.perplexity, strict=True)):
        print(f"  group {group}: {used} of {usage.num_codes} codes used, perplexity {perplexity:.1f}")
    print(
        f"  together: {usage.share_used:.0%} of the codes used; {usage.joint_used:,} combinations, "
        f"perplexity {usage.joint_perplexity:.1f}"
    )


def _print_phones(model: Loaded, codes: dict[str, Codes], ctm: str) -> None:
    import numpy as np

    from ..analysis.code_usage import joint_ids, phone_information

    kept, phones = frame_phones(model, codes, ctm)
    found = phone_information(joint_ids(np.concatenate(kept)), phones)
    print(
        f"  phones: the code tells {found.bits:.2f} of {found.phone_entropy:.2f} bits about the phone "
        f"({found.share:.0%}; {found.num_phones} phones, {found.num_frames:,} frames)"
    )

"""What codes tell about phones, on speakers nobody trained on: ABX, PNMI and bits a second, in a table.

A corpus is a folder with tables SPLIT.tsv (columns utt, path, speaker, n_samples) and the phones' times, as
`start:end:phone …`, in a column `phone_times_s` there or in phone_times_SPLIT.tsv. Tokenizers are checkpoints
with codes, or clusters; each is named, and `untrained:` before a checkpoint gives its network fresh weights.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402

from vqw2v_plugin.__main__ import main as vqw2v  # noqa: E402
from vqw2v_plugin.analysis.code_quality import share_over_speakers  # noqa: E402
from vqw2v_plugin.analysis.code_sources import TokenSource  # noqa: E402
from vqw2v_plugin.analysis.phone_codes import (  # noqa: E402
    Bitrate,
    code_usage,
    frame_phones,
    joint_ids,
    phone_information,
)
from vqw2v_plugin.checkpoints.format import load_any, write_checkpoint  # noqa: E402
from vqw2v_plugin.checkpoints.kinds import KINDS  # noqa: E402
from vqw2v_plugin.common.files import write_whole  # noqa: E402
from vqw2v_plugin.corpora.ctm import read_ctm  # noqa: E402
from vqw2v_plugin.corpora.manifest import Manifest, write_manifest  # noqa: E402

SILENCE = "SIL,sil,pau,sp,spn,_,.,(...)"
HEAD = ["codes", "set", "ABX across", "within", "PNMI", "95 %", "in use", "bit/s"]


def prepare(data: Path, name: str, runs: Path) -> Path:
    """The manifest of one split of one corpus, with its CTM beside it."""
    corpus, split = name.split("/")
    out = runs / "sets" / f"{corpus}.{split}"
    manifest = out / f"{split}.tsv"
    if not manifest.exists():
        table = list(rows(data / corpus / f"{split}.tsv"))
        times = {row["utt"]: row["phone_times_s"] for row in table if "phone_times_s" in row}
        if not times:
            times = {r["utt"]: r["phone_times_s"] for r in rows(data / corpus / f"phone_times_{split}.tsv")}
        out.mkdir(parents=True, exist_ok=True)
        with (out / "phones.ctm").open("w", encoding="utf-8") as file:
            for utt, said in times.items():
                for part in said.split():
                    start, end, phone = part.split(":", 2)
                    file.write(f"{utt} 1 {start} {float(end) - float(start):.4f} {phone}\n")
        kept = [
            {"path": r["path"], "samples": r["n_samples"], "utt": r["utt"], "speaker": r["speaker"]}
            for r in table
        ]
        write_manifest(manifest, (data / corpus).resolve(), kept, ("path", "samples", "utt", "speaker"))
    return manifest


def rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        yield from csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)


def tokenizer(path: str, runs: Path, seed: int) -> str:
    """The checkpoint, or its network with fresh weights."""
    kind, _, checkpoint = path.rpartition(":")
    if kind != "untrained":
        return path
    out = runs / f"untrained-{Path(checkpoint).parent.name}-{seed}.pt"
    if not out.exists():
        header = load_any(Path(checkpoint)).header
        torch.manual_seed(seed)
        write_checkpoint(out, header, KINDS[header.model].build(header).state_dict())
    return str(out)


def measure(name: str, path: str, manifest: Path, runs: Path, args: argparse.Namespace) -> list[str]:
    """One row of the table."""
    out, ctm = runs / "tokens" / name / manifest.parent.name, manifest.parent / "phones.ctm"
    quiet = contextlib.redirect_stdout(io.StringIO())
    with quiet:
        options = ["--workers", str(args.workers)]
        need(vqw2v(["discretize", path, str(manifest), str(out), *options]), name)
        need(
            vqw2v(["abx", str(out), "--phones", str(ctm), "--manifest", str(manifest), "--silence", SILENCE]),
            name,
        )
    abx = json.loads((out / "abx.json").read_text())
    source, held = TokenSource.of(name, out), Manifest(manifest)
    known = [held[i] for i in range(len(held))]
    codes = source.codes(known)
    segments, speakers = read_ctm(ctm), {row.utt: row.speaker or "" for row in known}
    parts = {utt: frame_phones({utt: c}, segments, source.times) for utt, c in codes.items()}
    quiet_ones = set(SILENCE.split(","))
    kept = [
        (c, p, speakers[utt])
        for utt, (found, labels) in parts.items()
        for c, p in zip(found, labels, strict=True)
        if p not in quiet_ones
    ]
    ids = joint_ids(np.stack([c for c, _, _ in kept]))
    phones, voices = [p for _, p, _ in kept], [v for _, _, v in kept]
    share, sure = phone_information(ids, phones).share, share_over_speakers(ids, phones, voices)
    usage = code_usage(np.concatenate(list(codes.values())), source.num_codes)
    bits = Bitrate.of(codes.values(), usage, source.times.rate)
    between = "" if sure is None else f"{sure.low:.3f}–{sure.high:.3f}"
    errors = [f"{100 * abx[side]:.1f}" if abx.get(side) is not None else "" for side in ("across", "within")]
    return [
        name,
        manifest.parent.name,
        *errors,
        f"{share:.3f}",
        between,
        f"{usage.share_used:.0%}",
        f"{bits.entropy:.0f}",
    ]


def need(status: int, name: str) -> None:
    if status:
        raise SystemExit(f"codes.py: error: {name}: a command ended with {status}")


def table(found: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in found), ""])


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    parser.add_argument("data", type=Path, help="folder of the corpora")
    parser.add_argument("--sets", nargs="+", default=["so762_more/test", "kathleen_en/dev", "emodb_de/test"])
    parser.add_argument("--tokenizers", nargs="+", required=True, metavar="NAME=PATH")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs/codes", help="where tokens are kept")
    parser.add_argument("--seed", type=int, default=1, help="of fresh weights")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, metavar="FILE", help="the rows also as json")
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    found = []
    for pair in args.tokenizers:
        name, _, path = pair.partition("=")
        for each in args.sets:
            manifest = prepare(args.data, each, args.runs)
            found.append(measure(name, tokenizer(path, args.runs, args.seed), manifest, args.runs, args))
            print("\t".join(found[-1]), flush=True)
    print(table(found))
    if args.out:
        write_whole(args.out, json.dumps([dict(zip(HEAD, row, strict=True)) for row in found], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Faster and slower copies of a corpus (wav): more voices to learn from where there are few.

    python examples/bert/copies.py MANIFEST OUT --speeds 0.85 0.92 1.08 1.18

OUT/NAME.tsv lists the utterances of NAME.tsv with its columns, each followed by its copies: FLAC files in
OUT/flac, named after utterance and factor. Pitch and formants move with the speed, as if a smaller or
larger person spoke.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import soundfile
import soxr

from vqw2v_plugin.audio.reading import read_audio
from vqw2v_plugin.corpora.manifest import Manifest, write_manifest

COLUMNS = ("path", "samples", "start", "rate", "utt")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("manifest", type=Path, metavar="MANIFEST")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--speeds", type=float, nargs="+", required=True, metavar="FACTOR")
    parser.add_argument(
        "--rate", type=int, default=16_000, help="sample rate of the copies (default: %(default)s)"
    )
    args = parser.parse_args()
    try:
        seconds = copy(args.manifest, args.out.resolve(), args.speeds, args.rate)
    except (ValueError, OSError) as error:
        print(f"copies.py: error: {error}", file=sys.stderr)
        return 2
    print(f"{args.out / args.manifest.name}: {seconds / 3600:.2f} hours, the copies among them")
    return 0


def copy(source: Path, out: Path, speeds: Sequence[float], rate: int) -> float:
    """Writes the copies and the manifest of all; returns their seconds."""
    if wrong := [speed for speed in speeds if not 0.25 <= speed <= 4 or speed == 1]:
        raise ValueError(f"`--speeds` has {wrong[0]:g}; expected factors from 0.25 to 4 other than 1")
    (out / "flac").mkdir(parents=True, exist_ok=True)
    manifest = Manifest(source)
    more = {name: manifest.column(name) for name in manifest.columns if name not in COLUMNS}
    rows = list(copied(manifest, more, out, speeds, rate))
    write_manifest(out / source.name, "/", rows, (*COLUMNS, *more))
    return sum(row["samples"] / row["rate"] for row in rows)


def copied(
    manifest: Manifest, more: Mapping[str, Sequence[str]], out: Path, speeds: Sequence[float], rate: int
) -> Iterator[dict[str, Any]]:
    """A row for each utterance and for each of its copies, which share what `more` columns say."""
    for i in range(len(manifest)):
        found, said = manifest[i], {name: column[i] for name, column in more.items()}
        own_rate = found.rate or soundfile.info(found.path).samplerate
        where = {"path": str(Path(found.path).resolve().relative_to("/")), "start": found.start}
        yield {**where, "samples": found.samples, "rate": own_rate, "utt": found.utt, **said}
        wav = read_audio(found, rate)
        for speed in speeds:
            utt = f"{found.utt}_{speed:g}"
            path = out / "flac" / f"{utt}.flac"
            faster = soxr.resample(wav, rate * speed, rate)
            soundfile.write(path, faster, rate, subtype="PCM_16")
            yield {
                "path": str(path.relative_to("/")),
                "start": 0,
                "samples": len(faster),
                "rate": rate,
                "utt": utt,
                **said,
            }


if __name__ == "__main__":
    sys.exit(main())

"""Speech as a telephone gives it: 8 kHz, 300 to 3,400 Hz, 8 bits of μ-law, noise 10 to 20 dB below.

    python examples/multilingual/telephone.py OUT MANIFEST CORPORA --share 0.1 --sets so762_more/test

OUT/manifests gets train.tsv and valid.tsv of MANIFEST, phone/train.tsv with so much of it as heard by
telephone, and mixtures without and with that; OUT/corpora each test set as it is and by telephone, with the
same phone times.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
from prepare import columns_of

from vqw2v_plugin.audio.augment import add_noise
from vqw2v_plugin.audio.reading import Samples, read_audio
from vqw2v_plugin.common.files import make_folder, write_whole
from vqw2v_plugin.corpora.manifest import Manifest, Utterance, write_manifest
from vqw2v_plugin.corpora.splits import divide, place_of

RATE = 8_000
BAND = (300, 3_400)  # Hz
NOISE = (10.0, 20.0)  # decibels below the speech
MU = 255
COLUMNS = ("path", "samples", "utt", "speaker")


def by_telephone(wav: Samples, rng: np.random.Generator) -> Samples:
    """At 8 kHz before and after."""
    spectrum = np.fft.rfft(wav)
    frequencies = np.fft.rfftfreq(len(wav), 1 / RATE)
    spectrum[(frequencies < BAND[0]) | (frequencies > BAND[1])] = 0
    narrow = np.fft.irfft(spectrum, len(wav)).astype(np.float32)
    noisy = np.clip(add_noise(narrow, rng, float(rng.uniform(*NOISE))), -1, 1)
    steps = np.round(np.log1p(MU * np.abs(noisy)) / np.log1p(MU) * 127) / 127
    heard: Samples = (np.sign(noisy) * np.expm1(steps * np.log1p(MU)) / MU).astype(np.float32)
    return heard


def write_call(source: str | Utterance, utt: str, path: Path, seed: int = 1) -> int:
    """How many samples it has; an utterance's noise depends on its name alone."""
    rng = np.random.default_rng([seed, int(place_of(utt, seed) * 2**53)])
    wav = by_telephone(read_audio(source, RATE), rng)
    make_folder(path.parent)
    soundfile.write(path, wav, RATE, subtype="PCM_16")
    return len(wav)


def prepare(
    out: Path, manifest: Path, corpora: Path, sets: Sequence[str], share: float, valid: float
) -> None:
    """Everything; the same arguments give the same bytes."""
    if not 0 < share <= 1:
        raise ValueError(f"`--share` is {share:g}; expected more than 0 and at most 1")
    held = Manifest(manifest)
    rows = [held[i] for i in range(len(held))]
    chosen = divide((row.utt for row in rows), valid, 0, 1)
    for split in ("train", "valid"):
        _write(out / "manifests", split, held.root, [row for row in rows if chosen[row.utt] == split])
    called = [row for row in rows if chosen[row.utt] == "train" and place_of(row.utt, 2) < share]
    calls = list(_calls(called, out / "manifests" / "phone"))
    write_manifest(out / "manifests" / "phone" / "train.tsv", "audio", calls, COLUMNS)
    print(f"by telephone: {len(calls):,} of {len(rows):,} utterances")
    without = "alpha: {alpha:g}\nmax_repeat: 1000\ncorpora:\n  - {{data: ., domain: read}}\n"
    added = without + "  - {{data: phone, domain: phone}}\n"
    write_whole(out / "manifests" / "without.yaml", without.format(alpha=1))
    for alpha in (1, 0.5):
        write_whole(out / "manifests" / f"with_{alpha:g}.yaml", added.format(alpha=alpha))
    for name in sets:
        _write_set(out / "corpora", corpora, *name.split("/", 1))


def _write(folder: Path, split: str, root: str, rows: Sequence[Utterance]) -> None:
    found = [
        {
            "path": str(Path(row.path).relative_to(root)),
            "samples": row.samples,
            "utt": row.utt,
            "speaker": row.speaker or "",
            "start": row.start,
            "rate": row.rate,
        }
        for row in rows
    ]
    write_manifest(folder / f"{split}.tsv", root, found, columns_of(rows, COLUMNS))


def _calls(rows: Sequence[Utterance], folder: Path) -> Iterator[dict[str, object]]:
    for number, row in enumerate(rows):
        path = folder / "audio" / f"{number:06}.wav"
        samples = write_call(row, row.utt, path)
        said = {"utt": f"phone-{row.utt}", "speaker": row.speaker or ""}
        yield {"path": path.name, "samples": samples, **said}


def _write_set(out: Path, corpora: Path, corpus: str, split: str) -> None:
    """The corpus as it is, and beside it CORPUS_phone: the same tables, other audio."""
    source, target = (corpora / corpus).resolve(), out / f"{corpus}_phone"
    make_folder(target)
    if not (out / corpus).exists():
        (out / corpus).symlink_to(source)
    times = source / f"phone_times_{split}.tsv"
    if times.is_file():
        write_whole(target / times.name, times.read_text(encoding="utf-8"))
    with (source / f"{split}.tsv").open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        names, rows = list(reader.fieldnames or ()), list(reader)
    lines = ["\t".join(names)]
    for row in rows:
        path = Path(split) / f"{row['utt']}.wav"
        samples = write_call(str(source / row["path"]), row["utt"], target / path)
        lines.append("\t".join({**row, "path": str(path), "n_samples": str(samples)}[name] for name in names))
    write_whole(target / f"{split}.tsv", "\n".join(lines) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help="the speech to learn from")
    parser.add_argument("corpora", type=Path, metavar="CORPORA", help="folder of the test corpora")
    parser.add_argument("--sets", nargs="+", default=["so762_more/test"], metavar="CORPUS/SPLIT")
    parser.add_argument("--share", type=float, default=0.1, help="of the speech, by telephone too")
    parser.add_argument("--valid", type=float, default=0.03, help="share held out (default: %(default)s)")
    args = parser.parse_args()
    try:
        prepare(args.out, args.manifest, args.corpora, args.sets, args.share, args.valid)
    except (ValueError, OSError) as error:
        print(f"telephone.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

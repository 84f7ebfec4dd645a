"""Connected digits from the Free Spoken Digit Dataset: strings of 3 to 6 clips with exact word times (wav).

    python examples/digits/prepare.py FSDD OUT

FSDD is the data set's repository, with its `recordings/`, or a folder that has `connected_SPLIT.tsv` beside
`SPLIT.tsv`: columns `utt speaker clips gaps_ms words`, and `utt path` of the clips. OUT gets manifests, word
times (`SPLIT.words.ctm`), the strings as FLAC, a lexicon, and a text for a language model.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from vqw2v_plugin.common.files import write_whole
from vqw2v_plugin.corpora.manifest import Manifest, write_manifest

WORDS = "zero one two three four five six seven eight nine".split()
# By speaker, since the data set's own split, by take, has every speaker on both sides.
SPEAKERS = {"train": ("george", "jackson", "nicolas", "theo"), "valid": ("lucas",), "test": ("yweweler",)}
STRINGS = {"train": 1200, "valid": 200, "test": 200}
GAPS_MS = (40, 200)
LEVEL = 0.1  # every string's root mean square, over full scale: some speakers are ten times louder
NOISE = 0.01  # noise over that, everywhere: the logarithm of digital silence would outweigh all speech
SAME = {"valid": "dev"}  # another name that a split may have


@dataclass(frozen=True)
class String:
    """One utterance: its clips, and the silence before each of them and after the last."""

    utt: str
    speaker: str
    clips: tuple[Path, ...]
    gaps_ms: tuple[int, ...]
    words: tuple[str, ...]
    speed: float = 1.0  # pitch and formants move with it, as if a smaller or larger person spoke


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("fsdd", type=Path, metavar="FSDD")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--seed", type=int, default=1, help="draws the strings (default: %(default)s)")
    parser.add_argument(
        "--unlabelled",
        type=Path,
        nargs="+",
        default=[],
        metavar="MANIFEST",
        help="speech to pretrain on besides the training digits; the two together are OUT/pretrain",
    )
    parser.add_argument(
        "--speeds",
        type=float,
        nargs="+",
        default=[],
        metavar="FACTOR",
        help="copies of the training strings, so much faster: four training speakers are few",
    )
    parser.add_argument(
        "--shares",
        type=float,
        nargs="+",
        default=[],
        metavar="SHARE",
        help="OUT/share_SHARE/train.tsv: so many of the strings, with all copies of each",
    )
    args = parser.parse_args()
    try:
        prepare(args.fsdd, args.out, args.seed, args.speeds, args.shares)
        join_manifests(args.out.resolve(), args.unlabelled)
    except (ValueError, OSError) as error:
        print(f"prepare.py: error: {error}", file=sys.stderr)
        return 2
    return 0


def prepare(
    fsdd: Path, out: Path, seed: int = 1, speeds: Sequence[float] = (), shares: Sequence[float] = ()
) -> None:
    """All splits, the lexicon and the text; the same arguments give the same bytes."""
    fsdd, out = fsdd.resolve(), out.resolve()
    chosen: dict[float, list[String]] = {}
    for split in SPEAKERS:
        strings = read_strings(fsdd, split) or list(draw_strings(fsdd, split, seed))
        if split == "train":
            write_whole(out / "lm.txt", "".join(f"{' '.join(string.words)}\n" for string in strings))
            takes = [replace(s, utt=f"{s.utt}_{f:g}", speed=f) for s in strings for f in speeds]
            chosen = {share: draw_share(strings, share, seed) for share in shares}
            strings += takes
        seconds = write_split(strings, split, out)
        speakers = ", ".join(sorted({string.speaker for string in strings}))
        print(f"{split}: {len(strings)} strings, {seconds / 60:.1f} minutes, of {speakers}")
    for share, wanted in chosen.items():
        write_share(out, share, wanted)
    write_whole(out / "lexicon.txt", "".join(f"{word}\t{' '.join(word)} |\n" for word in WORDS))
    print(f"made {out}: SPLIT.tsv, SPLIT.words.ctm, lexicon.txt, lm.txt")


def draw_share(strings: Sequence[String], share: float, seed: int) -> list[String]:
    """A share of the strings."""
    if not 0 < share <= 1:
        raise ValueError(f"`--shares` has {share:g}; expected more than 0 and at most 1")
    return random.Random(seed).sample(list(strings), max(1, round(share * len(strings))))


def write_share(out: Path, share: float, wanted: Sequence[String]) -> None:
    """The rows of the training manifest that are these strings, or faster copies of them."""
    names = {string.utt for string in wanted}
    manifest = Manifest(out / "train.tsv")
    texts = manifest.column("text")
    rows = [
        {"path": found.path, "samples": found.samples, "rate": found.rate, "utt": found.utt, "text": text}
        for found, text in zip((manifest[i] for i in range(len(manifest))), texts, strict=True)
        if found.utt in names or found.utt.rpartition("_")[0] in names
    ]
    write_manifest(
        out / f"share_{share:g}" / "train.tsv", str(out), rows, ("path", "samples", "rate", "utt", "text")
    )


def join_manifests(out: Path, unlabelled: Sequence[Path]) -> None:
    """The manifests for pretraining: training's digits and other speech; the digits alone for validation."""
    columns = ("path", "samples", "start", "rate", "utt")
    for split, manifests in (("train", [out / "train.tsv", *unlabelled]), ("valid", [out / "valid.tsv"])):
        rows = []
        for number, path in enumerate(manifests):
            manifest = Manifest(path)
            for found in (manifest[i] for i in range(len(manifest))):
                rate = found.rate or soundfile.info(found.path).samplerate
                where = {"path": str(Path(found.path).resolve().relative_to("/")), "start": found.start}
                rows.append({**where, "samples": found.samples, "rate": rate, "utt": f"{number}-{found.utt}"})
        write_manifest(out / "pretrain" / f"{split}.tsv", "/", rows, columns)


def read_strings(fsdd: Path, split: str) -> list[String]:
    """The strings that the folder's own tables list; none if it has no tables."""
    name = SAME.get(split, split)
    if not (fsdd / f"connected_{name}.tsv").is_file():
        return []
    paths = {row["utt"]: fsdd / row["path"] for row in _table(fsdd / f"{name}.tsv")}
    strings = []
    for row in _table(fsdd / f"connected_{name}.tsv"):
        try:
            clips = tuple(paths[clip] for clip in row["clips"].split())
        except KeyError as error:
            raise ValueError(f"{fsdd}/connected_{name}.tsv names the clip {error}, {name}.tsv not") from None
        gaps = tuple(map(int, row["gaps_ms"].split()))
        strings.append(String(row["utt"], row["speaker"], clips, gaps, tuple(row["words"].split())))
    return strings


def draw_strings(fsdd: Path, split: str, seed: int) -> Iterator[String]:
    """Strings from the repository's clips `recordings/DIGIT_SPEAKER_TAKE.wav`, drawn with a seed."""
    for speaker in SPEAKERS[split]:
        clips = sorted((fsdd / "recordings").glob(f"[0-9]_{speaker}_*.wav"))
        if not clips:
            raise ValueError(
                f"{fsdd}/recordings has no DIGIT_{speaker}_TAKE.wav; expected the repository of the Free "
                "Spoken Digit Dataset, or a folder with connected_train.tsv"
            )
        rng = random.Random(f"{seed} {speaker}")
        for number in range(STRINGS[split] // len(SPEAKERS[split])):
            drawn = tuple(rng.choices(clips, k=rng.randint(3, 6)))
            gaps = tuple(rng.randint(*GAPS_MS) for _ in range(len(drawn) + 1))
            words = tuple(WORDS[int(clip.name[0])] for clip in drawn)
            yield String(f"{speaker}_c{number:04d}", speaker, drawn, gaps, words)


def write_split(strings: list[String], split: str, out: Path) -> float:
    """The strings' audio, manifest and word times; the manifest comes last. Returns the seconds."""
    (out / "flac" / split).mkdir(parents=True, exist_ok=True)
    rows, times = [], []
    seconds = 0.0
    for string in strings:
        wav, rate, bounds = join(string)
        path = f"flac/{split}/{string.utt}.flac"
        soundfile.write(out / path, wav, rate, subtype="PCM_16")
        about = {"utt": string.utt, "speaker": string.speaker, "text": " ".join(string.words)}
        rows.append({"path": path, "samples": len(wav), "rate": rate, **about})
        for word, (start, stop) in zip(string.words, bounds, strict=True):
            times.append(f"{string.utt} 1 {start / rate:.4f} {(stop - start) / rate:.4f} {word}\n")
        seconds += len(wav) / rate
    write_whole(out / f"{split}.words.ctm", "".join(times))
    columns = ("path", "samples", "rate", "utt", "speaker", "text")
    write_manifest(out / f"{split}.tsv", str(out), rows, columns)
    return seconds


def join(string: String) -> tuple[npt.NDArray[np.int16], int, list[tuple[int, int]]]:
    """The samples of a string, their rate, and where each word begins and ends."""
    read = [soundfile.read(clip, dtype="int16") for clip in string.clips]
    rates = {rate for _, rate in read}
    if len(rates) != 1 or any(clip.ndim != 1 for clip, _ in read):
        raise ValueError(f"{string.utt}: its clips differ in rate ({rates}) or have several channels")
    rate = rates.pop()
    pieces, bounds, at = [], [], 0
    for gap, (clip, _) in zip(string.gaps_ms, read, strict=False):
        silence = gap * rate // 1000
        bounds.append((at + silence, at + silence + len(clip)))
        pieces += [np.zeros(silence, np.int16), clip]
        at = bounds[-1][1]
    pieces.append(np.zeros(string.gaps_ms[-1] * rate // 1000, np.int16))
    wav = np.concatenate(pieces).astype(np.float32)
    if string.speed != 1:
        wav = soxr.resample(wav, round(rate * string.speed), rate)
        bounds = [(round(start / string.speed), round(stop / string.speed)) for start, stop in bounds]
    wav *= LEVEL / max(float(np.sqrt(np.mean(np.square(wav)))), 1e-3)
    noise = np.random.default_rng(zlib.crc32(string.utt.encode())).standard_normal(len(wav), np.float32)
    wav += noise * LEVEL * NOISE
    return (wav * 32768).round().clip(-32768, 32767).astype(np.int16), rate, bounds


def _table(path: Path) -> list[dict[str, str]]:
    if not os.path.isfile(path):
        raise ValueError(f"{path}: no such file, expected the table of the clips")
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


if __name__ == "__main__":
    sys.exit(main())

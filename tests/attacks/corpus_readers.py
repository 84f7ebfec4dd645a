"""Every command that reads a manifest, audio, a language model or a lexicon."""

from __future__ import annotations

from pathlib import Path

import strange_lists
from attempts import Reader
from good_things import LOGMEL, train_command

_ALONE = ("--workers", "1")


def list_readers(good: Path) -> list[Reader]:
    bert = ["--layer", "bert", "--bert", f"{good}/bert.pt"]

    def train(word: str, out: str, kind: str) -> list[str]:
        command = train_command(good, "kmeans", f"{out}s", 1)
        command[1] = str(
            strange_lists.link_as_train(good, word if "\0" not in word else "nothing", Path(out))
        )
        return command

    def new(word: str, out: str, kind: str) -> list[str]:
        folder = strange_lists.link_as_train(good, word if "\0" not in word else "nothing", Path(f"{out}m"))
        return ["vqw2v", "new", out, str(folder)]

    return [
        Reader("new", new, lenient=True),
        Reader("features logmel", lambda word, out, kind: ["vqw2v", "features", "-", word, out, *LOGMEL]),
        Reader(
            "features bert",
            lambda word, out, kind: ["vqw2v", "features", f"{good}/kmeans.pt", word, out, *bert],
        ),
        Reader(
            "discretize",
            lambda word, out, kind: [
                "vqw2v",
                "discretize",
                f"{good}/kmeans.pt",
                word,
                out,
                "--text",
                "--npy",
            ],
        ),
        Reader("usage", lambda word, out, kind: ["vqw2v", "usage", f"{good}/kmeans.pt", word]),
        Reader(
            "labels",
            lambda word, out, kind: ["vqw2v", "labels", word, out, "--text", "text", "--unit", "letters"],
        ),
        Reader("fairseq-train", train),
    ]


def sound_readers(good: Path) -> list[Reader]:
    def listed(word: str, out: str) -> str:
        """A manifest of it, and of a good file."""
        table = f"/\n# path\tsamples\tutt\n{word}\t10560\tu\n{good}/clip.wav\t10560\tgood\n"
        Path(f"{out}.tsv").write_text(table, errors="surrogateescape")
        return f"{out}.tsv"

    def discretize(word: str, out: str, kind: str) -> list[str]:
        return ["vqw2v", "discretize", f"{good}/gumbel.pt", listed(word, out), out]

    def features(word: str, out: str, kind: str) -> list[str]:
        return ["vqw2v", "features", "-", listed(word, out), out, "--layer", "logmel"]

    def usage(word: str, out: str, kind: str) -> list[str]:
        return ["vqw2v", "usage", f"{good}/kmeans.pt", listed(word, out)]

    def manifest(word: str, out: str, kind: str) -> list[str]:
        return ["vqw2v", "manifest", str(Path(word).parent) if "/in/" in word else word, out]

    def trim(word: str, out: str, kind: str) -> list[str]:
        return [*manifest(word, out, kind), "--trim", "0.1"]

    return [
        Reader("encode", lambda word, out, kind: ["vqw2v", "encode", f"{good}/kmeans.pt", word]),
        Reader("transcribe", lambda word, out, kind: ["vqw2v", "transcribe", f"{good}/ctc.pt", word]),
        Reader(
            "transcribe --json",
            lambda word, out, kind: [
                *("vqw2v", "transcribe", f"{good}/asg.pt", f"{good}/clip.wav", word, "--json"),
                *("--front", f"{good}/gumbel.pt", "--limit", "1"),
            ],
        ),
        Reader("discretize", discretize),
        Reader("features", features),
        Reader("usage", usage, lenient=True),
        Reader("manifest", manifest, lenient=True),
        Reader("manifest --trim", trim, lenient=True),
    ]


def table_readers(good: Path) -> list[Reader]:
    """Strictly: of what is refused there is no manifest; and as whoever looks into a folder finds it."""

    def strictly(word: str, out: str, kind: str) -> list[str]:
        return ["vqw2v", "manifest", word, out, "--strict", *_ALONE]

    def in_its_folder(word: str, out: str, kind: str) -> list[str]:
        return ["vqw2v", "manifest", str(Path(word).parent) if "/in/" in word else word, out, *_ALONE]

    return [Reader("manifest --strict", strictly), Reader("manifest", in_its_folder, lenient=True)]


def grid_readers(good: Path) -> list[Reader]:
    def beside(word: str, out: str, kind: str) -> list[str]:
        times = ["--times", str(Path(word).parent)]
        return ["vqw2v", "manifest", f"{good}/clip.csv", out, *times, *_ALONE]

    return [Reader("manifest --times", beside, lenient=True)]


def weights_readers(good: Path) -> list[Reader]:
    search = ["--lexicon", f"{good}/labels/lexicon.ltr.txt", "--lm", f"{good}/lm.arpa"]
    spoken = [f"{good}/ctc.pt", f"{good}/clip.wav", "--decoder", "lexicon", *search]
    return [Reader("transcribe", lambda word, out, kind: ["vqw2v", "transcribe", *spoken, "--weights", word])]


def model_readers(good: Path) -> list[Reader]:
    spoken = [f"{good}/ctc.pt", f"{good}/clip.wav"]
    lexicon = ["--lexicon", f"{good}/labels/lexicon.ltr.txt"]
    return [
        Reader(
            "transcribe",
            lambda word, out, kind: ["vqw2v", "transcribe", *spoken, "--decoder", "free", "--lm", word],
        ),
        Reader(
            "transcribe lexicon",
            lambda word, out, kind: [
                *("vqw2v", "transcribe", *spoken, "--decoder", "lexicon", *lexicon, "--lm", word)
            ],
        ),
        Reader("tune", lambda word, out, kind: [*tune(good, f"{good}/em", out), *lexicon, "--lm", word]),
    ]


def tune(good: Path, emissions: str, out: str, labels: str = "") -> list[str]:
    few = ["--points", "2", "--rounds", "1", "--workers", "1", "--out", f"{out}.json"]
    return ["vqw2v", "tune", emissions, "--split", "valid", "--labels", labels or f"{good}/labels", *few]


def lexicon_readers(good: Path) -> list[Reader]:
    spoken = [f"{good}/ctc.pt", f"{good}/clip.wav"]
    phones = ["--text", "text", "--unit", "phones", "--lexicon"]
    return [
        Reader(
            "transcribe",
            lambda word, out, kind: [
                "vqw2v",
                "transcribe",
                *spoken,
                "--decoder",
                "lexicon",
                "--lexicon",
                word,
            ],
        ),
        Reader("tune", lambda word, out, kind: [*tune(good, f"{good}/em", out), "--lexicon", word]),
        Reader(
            "labels",
            lambda word, out, kind: ["vqw2v", "labels", f"{good}/data/train.tsv", out, *phones, word],
        ),
        Reader(
            "lm",
            lambda word, out, kind: ["vqw2v", "lm", word, f"{out}.arpa", "--order", "3"],
            lenient=True,  # to it this is a text, and twice the text is another
        ),
    ]

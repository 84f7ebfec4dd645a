"""Small made-up speech for tests of acoustic models: each label is a vector that lasts a few frames."""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from feature_folders import write_frames

from vqw2v_plugin.stores.labels import Labels, write_labels

PLUGIN = Path(__file__).resolve().parent.parent / "vqw2v_plugin"
SYMBOLS = ("|", "a", "b", "c", "d")
WORDS = ("abba", "cab", "bad", "dad", "add", "cc", "bc")
DIM = 8
STAMP = {"layer": "logmel", "dim": DIM, "sample_rate": 16_000, "stride": 160, "store": "fp16"}
FRAMES = (4, 7)  # of a label
OPTIONS = (
    "--task vq_acoustic --arch vq_wav2letter_tiny --conv-layers [(24,5)] --dropout 0 --cpu --num-workers 0 "
    "--optimizer adam --lr 0.02 --max-tokens 1500 --no-epoch-checkpoints --log-format simple "
    f"--best-checkpoint-metric uer --seed 3 --user-dir {PLUGIN}"
).split()


def utterance(rng: np.random.Generator, labels: str) -> np.ndarray:
    """Frames [T, D] of labels, noise among them and around them."""
    vectors = {s: np.eye(DIM)[i] * 3 for i, s in enumerate(SYMBOLS)}
    rows = [vectors[s] for s in ["|", *labels] for _ in range(rng.integers(*FRAMES))]
    return (np.array(rows) + 0.3 * rng.normal(size=(len(rows), DIM))).astype(np.float16)


def texts(seed: int, count: int) -> list[str]:
    """Sentences of one to four words."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(1, 5))) for _ in range(count)]


def write_features(
    folder: Path, split: str, utts: list[str], spoken: list[str], seed: int = 0, **stamp: Any
) -> None:
    """A feature folder's split of what is spoken; `stamp` is what its json says besides."""
    rng = np.random.default_rng(seed)
    rows = [utterance(rng, text) for text in spoken]
    write_frames(folder, split, dict(zip(utts, rows, strict=True)), {**STAMP, **stamp})


def spell(text: str) -> tuple[str, ...]:
    return tuple(text.replace(" ", "|") + "|")


def write_speech(folder: Path, sizes: dict[str, int]) -> tuple[Path, Path]:
    """(feature folder, label folder) of so many utterances a split, with a lexicon."""
    made = {}
    for seed, (split, count) in enumerate(sizes.items(), 1):
        said = texts(seed, count)
        utts = [f"{split}{i}" for i in range(count)]
        write_features(folder / "mel", split, utts, ["".join(spell(text)) for text in said], seed)
        made[split] = Labels(tuple(utts), tuple(map(spell, said)), tuple(said))
    lexicon = "".join(f"{word}\t{' '.join(word)}\n" for word in WORDS).encode()
    counts = [(symbol, 1) for symbol in SYMBOLS]
    write_labels(folder / "labels", "letters", made, counts, {}, {"lexicon.ltr.txt": lexicon})
    return folder / "mel", folder / "labels"


def called(module: str, command: list[str]) -> Any:
    """A command of fairseq's in this process, which saves its imports."""
    from importlib import import_module

    before = sys.argv
    sys.argv = command
    try:
        return import_module(module).cli_main()
    finally:
        sys.argv = before


def train(data: Path, labels: Path, out: Path, criterion: str, *options: str) -> Path:
    """`fairseq-train`; answers its last checkpoint."""
    from fairseq import checkpoint_utils

    vars(checkpoint_utils.save_checkpoint).pop("best", None)  # where fairseq keeps that of the run before
    command = ["fairseq-train", str(data), "--labels", str(labels), "--criterion", criterion, *OPTIONS]
    called("fairseq_cli.train", [*command, "--save-dir", str(out), *options])
    return out / "checkpoint_last.pt"


def generate(data: Path, labels: Path, checkpoint: Path, out: Path, *options: str) -> str:
    """`fairseq-generate`; answers what it wrote."""
    command = ["fairseq-generate", str(data), "--labels", str(labels), "--path", str(checkpoint), "--cpu"]
    command += ["--task", "vq_acoustic", "--results-path", str(out), "--num-workers", "0"]
    command += ["--gen-subset", "test", "--no-progress-bar"]
    called("fairseq_cli.generate", [*command, "--user-dir", os.fspath(PLUGIN), *options])
    return (out / "generate-test.txt").read_text()

"""A made-up language for tests of learning without labels: phones that follow each other in few ways, and
frames that sound like them.
"""

from pathlib import Path
from typing import Any

import numpy as np
from fake_speech import PLUGIN, STAMP, called
from feature_folders import write_frames
from numpy.typing import NDArray

from vqw2v_plugin.stores.labels import Labels, write_labels

PHONES = ("a", "b", "c", "d", "e")
DIM = 6
OPTIONS = (
    "--task vq_unpaired --arch vq_wav2vec_u --criterion vq_adversarial --cpu --num-workers 0 --seed 3 "
    "--optimizer two_adams --lr 0.004 --discriminator-lr 0.004 --batch-size 16 --no-epoch-checkpoints "
    "--generator-kernel 1 --generator-dropout 0.1 --discriminator-dim 8 --discriminator-kernel 3 "
    f"--log-format simple --best-checkpoint-metric weighted_lm_ppl --user-dir {PLUGIN}"
).split()
FOLLOWS = {"a": "bc", "b": "ad", "c": "ae", "d": "be", "e": "cb"}


def sentences(seed: int, count: int) -> list[list[str]]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        line = [str(rng.choice(PHONES))]
        while len(line) < rng.integers(4, 9):
            line.append(str(rng.choice(list(FOLLOWS[line[-1]]))))
        found.append(line)
    return found


def frames(rng: np.random.Generator, line: list[str]) -> NDArray[np.float16]:
    """[T, D]: a vector for each phone, in a run of one to three frames, and noise."""
    rows = [np.eye(DIM)[PHONES.index(p)] * 3 for p in line for _ in range(rng.integers(1, 4))]
    return (np.array(rows) + 0.3 * rng.normal(size=(len(rows), DIM))).astype(np.float16)


def write_language(folder: Path, sizes: dict[str, int], silence: bool = False) -> tuple[Path, Path, Path]:
    """(feature folder, text folder, label folder): nobody says the lines of the text."""
    made = {}
    for seed, (split, count) in enumerate(sizes.items(), 1):
        rng, said = np.random.default_rng(seed), sentences(seed, count)
        utts = [f"{split}{i}" for i in range(count)]
        rows = dict(zip(utts, [frames(rng, line) for line in said], strict=True))
        write_frames(folder / "features", split, rows, {**STAMP, "dim": DIM})
        made[split] = Labels(tuple(utts), tuple(map(tuple, said)))
    write_labels(folder / "labels", "phones", made, [(phone, 1) for phone in PHONES], {})
    (folder / "text").mkdir()
    for seed, split in ((101, "train"), (102, "valid")):
        lines = sentences(seed, 60)
        lines = [["<SIL>", *line, "<SIL>"] for line in lines] if silence else lines
        (folder / "text" / f"{split}.phn").write_text("".join(f"{' '.join(line)}\n" for line in lines))
    symbols = [*PHONES, "<SIL>"] if silence else PHONES
    (folder / "text" / "dict.phn.txt").write_text("".join(f"{phone} 1\n" for phone in symbols))
    return folder / "features", folder / "text", folder / "labels"


def arguments(data: Path, text: Path, out: Path, *options: str) -> list[str]:
    return [str(data), "--text", str(text), *OPTIONS, "--save-dir", str(out), *options]


def train(data: Path, text: Path, out: Path, *options: str) -> Path:
    """`fairseq-train`; answers its last checkpoint."""
    from fairseq import checkpoint_utils

    vars(checkpoint_utils.save_checkpoint).pop("best", None)  # where fairseq keeps that of the run before
    called("fairseq_cli.train", ["fairseq-train", *arguments(data, text, out, *options)])
    return out / "checkpoint_last.pt"


def generate(data: Path, checkpoint: Path, out: Path, *options: Any) -> str:
    """`fairseq-generate`; answers what it wrote."""
    command = ["fairseq-generate", str(data), "--path", str(checkpoint), "--cpu", "--num-workers", "0"]
    command += ["--task", "vq_unpaired", "--results-path", str(out), "--gen-subset", "test"]
    command += [
        "--no-progress-bar",
        "--user-dir",
        str(PLUGIN),
        "--scoring",
        "vq_error",
        "--error-unit",
        "phones",
    ]
    called("fairseq_cli.generate", [*command, *map(str, options)])
    return (out / "generate-test.txt").read_text()

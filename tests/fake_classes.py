"""Small made-up utterances of three moods for tests of heads: each mood is a vector in some of the frames."""

from pathlib import Path
from typing import Any

import numpy as np
from fake_speech import PLUGIN, STAMP, called
from feature_folders import write_frames

from vqw2v_plugin.stores.labels import CLASS, Labels, write_labels

MOODS = ("calm", "glad", "sad")
DIM = 8
OPTIONS = (
    "--task vq_utterance --arch vq_utterance --criterion vq_utterance --hidden-dim 16 --cpu --num-workers 0 "
    "--optimizer adam --lr 0.02 --batch-size 8 --no-epoch-checkpoints --log-format simple --seed 3 "
    f"--best-checkpoint-metric uar --maximize-best-checkpoint-metric --user-dir {PLUGIN}"
).split()


def utterance(rng: np.random.Generator, mood: int) -> np.ndarray:
    """Frames [T, D]: noise around 5, and the mood's vector in a third of them."""
    frames = 5 + rng.normal(size=(rng.integers(6, 20), DIM))
    frames[rng.random(len(frames)) < 0.4] += 2 * np.eye(DIM)[mood]
    return frames.astype(np.float16)


def write_moods(
    folder: Path, sizes: dict[str, int], layer: str = "logmel", shift: int = 0, **stamp: Any
) -> tuple[Path, Path]:
    """(feature folder, label folder) of so many utterances a split; a layer may hold the moods elsewhere."""
    made = {}
    for seed, (split, count) in enumerate(sizes.items(), 1):
        rng = np.random.default_rng(seed)
        moods = [i % len(MOODS) for i in range(count)]
        rows = {f"{split}{i}": np.roll(utterance(rng, mood), shift, 1) for i, mood in enumerate(moods)}
        write_frames(folder / layer, split, rows, {**STAMP, "layer": layer, **stamp})
        made[split] = Labels(tuple(rows), tuple((MOODS[mood],) for mood in moods))
    write_labels(folder / "labels", CLASS, made, [(mood, 1) for mood in MOODS], {})
    return folder / layer, folder / "labels"


def train(data: Path | str, labels: Path, out: Path, *options: str) -> Path:
    """`fairseq-train`; answers its last checkpoint."""
    from fairseq import checkpoint_utils

    vars(checkpoint_utils.save_checkpoint).pop("best", None)  # where fairseq keeps that of the run before
    command = ["fairseq-train", str(data), "--labels", str(labels), *OPTIONS, "--save-dir", str(out)]
    called("fairseq_cli.train", [*command, *options])
    return out / "checkpoint_last.pt"


def generate(data: Path | str, labels: Path, checkpoint: Path, out: Path, *options: str) -> str:
    """`fairseq-generate`; answers what it wrote."""
    command = ["fairseq-generate", str(data), "--labels", str(labels), "--path", str(checkpoint), "--cpu"]
    command += ["--task", "vq_utterance", "--results-path", str(out), "--num-workers", "0"]
    command += ["--gen-subset", "test", "--no-progress-bar", "--user-dir", str(PLUGIN)]
    called("fairseq_cli.generate", [*command, *options])
    return (out / "generate-test.txt").read_text()

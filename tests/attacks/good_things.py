"""What is attacked: a small corpus and all that commands make of it, models of every kind among them."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from unittest.mock import patch

from attempts import run
from checkpoints.earlier.make import train_options, write_clip, write_corpus, write_text
from seed_files import TRAINED
from small_run import make_run

from vqw2v_plugin.analysis.grid import FOLDER, Found, all_trials, write_table
from vqw2v_plugin.jobs.split_job import SplitJob
from vqw2v_plugin.text.ngram_score import TextModel

PLUGIN = Path(__file__).resolve().parents[2] / "vqw2v_plugin"
KINDS = ("none", "gumbel", "kmeans", "fsq", "wav2vec2", "bert", "asg", "ctc")
LOGMEL = ["--layer", "logmel", "--bands", "20"]
SEGMENTED = ["--layer", "mfcc:5", "--bands", "20", "--frames", "900", "--pca", "4"]
FEW = ["--workers", "1", "--shard-minutes", "0.02"]  # many shards


def make_good(folder: Path) -> None:
    """Everything by its name in the folder, as the commands below make it."""
    os.chdir(folder)
    write_corpus(folder / "data")  # by its whole name: manifests begin with it
    write_clip(folder)
    for kind in KINDS:
        shutil.copy(TRAINED / f"{kind}.pt", f"{kind}.pt")
        do("vqw2v", "export", f"{kind}.pt", f"x_{kind}")
    for split in ("train", "valid"):
        do("vqw2v", "features", "-", f"data/{split}.tsv", "mel", *LOGMEL)
        do("vqw2v", "discretize", "kmeans.pt", f"data/{split}.tsv", "tokens")
        do("vqw2v", "segment", "-", f"data/{split}.tsv", "segments", *SEGMENTED)
    do("vqw2v", "discretize", "gumbel.pt", "data/train.tsv", "gumbel-tokens")
    do("vqw2v", "features", "kmeans.pt", "data/valid.tsv", "bertf", "--layer", "bert", "--bert", "bert.pt")
    do("vqw2v", "labels", "data/train.tsv", "data/valid.tsv", "labels", "--text", "text", "--unit", "letters")
    spoken = [Path(f"labels/train.{kind}").read_text() for kind in ("wrd", "ltr")]
    Path("words-and-letters.txt").write_text("".join(spoken))  # a model for either kind of search
    do("vqw2v", "lm", "words-and-letters.txt", "lm.arpa", "--order", "2")
    write_text(folder / "text")
    do(*generate_command(folder, folder / "ctc.pt", folder / "generated"), "--emissions", "em")
    write_phones(folder / "train.ctm", folder / "data/train.tsv")
    make_run(folder / "run", num_utterances=1, samples=1_600)
    write_trials(folder / "run")
    killed(folder)


def do(*command: str) -> None:
    if status := run(list(command)):
        raise SystemExit(f"{' '.join(command)} ended with {status}")


def write_phones(path: Path, manifest: Path) -> None:
    """Phones of 60 ms each, drawn, so that each has any neighbours."""
    rng = random.Random(0)
    utts = [line.split("\t")[0].removesuffix(".wav") for line in manifest.read_text().splitlines()[2:]]
    rows = [(utt, i, phone) for utt in utts for i, phone in enumerate(rng.choices("abc", k=8))]
    path.write_text("".join(f"{utt} 1 {i * 0.06:.2f} 0.06 {phone}\n" for utt, i, phone in rows))


def write_trials(run: Path) -> None:
    """As a grid of trainings without labels leaves its table."""
    (run / FOLDER).mkdir()
    first, second = all_trials((1, 2), {"gradient_penalty": (0.5,)})
    found = [
        Found(first, 3.5, 300, 400, 0.9, 12.0, run / "seed1.pt"),
        Found(second, 30.0, 100, 100, 0.5, None, run / "seed2.pt"),
    ]
    write_table(run, found, TextModel(lambda words: 0.0, 3.0, 9.0))


def killed(folder: Path) -> None:
    """Runs that died with all shards written and nothing published."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with patch.object(SplitJob, "_publish", die):
        for command in (discretize_killed, features_killed):
            assert run(command(folder, f"{folder}/killed/{command.__name__}")) == 130


def discretize_killed(good: Path, out: str) -> list[str]:
    return ["vqw2v", "discretize", f"{good}/kmeans.pt", f"{good}/data/train.tsv", out, *FEW]


def features_killed(good: Path, out: str) -> list[str]:
    return ["vqw2v", "features", "-", f"{good}/data/train.tsv", out, *LOGMEL, *FEW]


def trained_for(kind: str) -> int:
    """Updates."""
    words = train_options(kind)
    return int(words[_place_of(words, "--max-update")])


def _place_of(words: list[str], name: str) -> int:
    """Where the value stands that counts: the last one."""
    return len(words) - words[::-1].index(name)


def train_command(
    good: Path, kind: str, save_dir: str, updates: int, more: list[str] | None = None
) -> list[str]:
    """As the trained model of this kind was trained, for so many updates."""
    words = train_options(kind)
    for name, value in (("--user-dir", str(PLUGIN)), ("--max-update", str(updates))):
        words[_place_of(words, name)] = value
    made = ("data", "mel", "tokens", "labels", "text", "gumbel.pt")
    words = [f"{good}/{word}" if word in made else word for word in words]
    return ["fairseq-train", *words, "--save-dir", save_dir, *(more or [])]


def generate_command(good: Path, checkpoint: Path | str, out: Path | str, kind: str = "ctc") -> list[str]:
    """Decoding of the validation set."""
    words = ["fairseq-generate", str(good / ("data" if kind == "asg" else "mel")), "--user-dir", str(PLUGIN)]
    words += ["--task", "vq_acoustic", "--labels", str(good / "labels"), "--path", str(checkpoint)]
    if kind == "asg":  # it names its front as it was when it was trained
        words += ["--model-overrides", f"{{'front': '{good}/gumbel.pt'}}"]
    words += ["--gen-subset", "valid", "--cpu", "--results-path", str(out), "--num-workers", "0"]
    return [*words, "--no-progress-bar"]

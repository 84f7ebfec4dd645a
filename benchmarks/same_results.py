"""Does this tree do what an earlier commit did: codes, features, words and losses, to the byte.

    python benchmarks/same_results.py COMMIT DATA/train.tsv DATA/test.tsv --text words

Both sides train small models of each kind with the same seed on the CPU, one thread each; then both read the
checkpoints that the earlier commit made: to codes, features and words, and to train on from them.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
UPDATES = 20
LAYERS = "[(64, 10, 5), (64, 8, 4), (64, 4, 2), (64, 4, 2), (64, 4, 2), (64, 1, 1)]"
CONTEXT = "[(64, 2, 1), (64, 3, 1), (64, 4, 1)]"
QUANTIZERS = {
    "none": [],
    "gumbel": ["--loss-weights", "[0.1]"],
    "kmeans": ["--quantizer-args", '{"ema_decay": 0.9, "revive_after": 5}'],
    "fsq": [],
}
_LOSS = re.compile(r"train_inner \|.*? loss=([\d.]+).*?num_updates=(\d+)")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("commit", help="what to compare with")
    parser.add_argument("train", type=Path, help="manifest to train on")
    parser.add_argument("test", type=Path, help="manifest to make codes and features of")
    parser.add_argument("--text", default="text", help="column of the words (default: %(default)s)")
    parser.add_argument("--keep", type=Path, help="folder for what both sides make (default: one that goes)")
    args = parser.parse_args()
    work = (args.keep or Path(tempfile.mkdtemp())).resolve()
    try:
        return compare(args.commit, work, args.train.resolve(), args.test.resolve(), args.text)
    finally:
        if args.keep is None:
            shutil.rmtree(work)


def compare(commit: str, work: Path, train: Path, test: Path, text: str) -> int:
    code = work / "earlier"
    if not code.exists():
        packed = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
        tarfile.open(fileobj=BytesIO(packed)).extractall(code, filter="data")
    before, after = Side(code, work / "before", text), Side(ROOT, work / "after", text)
    for side in (before, after):
        side.manifests(train, test)
        for quantizer in QUANTIZERS:
            side.pretrain(quantizer)
    fixed = work / "before"
    shared = work / "made_before"  # what later stages read, on both sides: the earlier commit's alone
    for side in (before, after):
        side.encode(fixed)
        if not shared.exists():
            shutil.copytree(side.out, shared)
        side.learn_tokens(shared)
        side.learn_labels(shared)
    shutil.copytree(before.out, shared, dirs_exist_ok=True)
    for side in (before, after):
        side.read(shared)
    return judge(before.out, after.out)


class Side:
    """One of the two trees, its commands run by this Python."""

    def __init__(self, code: Path, out: Path, text: str) -> None:
        self.code, self.out, self.text = code, out, text
        out.mkdir(parents=True, exist_ok=True)

    def call(self, name: str, *command: str | Path) -> None:
        """Once: what it said is in NAME.log when it has ended well."""
        log = self.out / f"{name}.log"
        if log.exists():
            return
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(self.code)}
        program = [str(BIN / command[0]), *map(str, command[1:])]
        done = subprocess.run(program, cwd=self.out, env=env, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{self.code}: {' '.join(program)}\n{done.stdout[-2000:]}{done.stderr[-3000:]}")
        log.write_text(done.stdout + done.stderr)

    def manifests(self, train: Path, test: Path) -> None:
        data = self.out / "data"
        data.mkdir(exist_ok=True)
        for name, path in (("train", train), ("valid", test), ("test", test)):
            first, *rows = path.read_text().split("\n")
            root = [] if "\t" not in first else [str(path.parent)]
            head = [f"# {first}"] if root else [first]
            (data / f"{name}.tsv").write_text("\n".join([*root, *head, *rows]))

    def train(self, name: str, data: Path, *options: str | Path, updates: int = UPDATES) -> None:
        common = (
            f"--user-dir {self.code}/vqw2v_plugin --cpu --optimizer adam --lr 1e-3 --num-workers 0 --seed 7"
        )
        common += " --log-format simple --log-interval 1 --no-epoch-checkpoints --disable-validation"
        where = ["--save-dir", self.out / name.partition(".")[0], "--max-update", str(updates)]
        self.call(name, "fairseq-train", data, *common.split(), *where, *options)

    def pretrain(self, quantizer: str, name: str = "", updates: int = UPDATES) -> None:
        task = "--task vq_audio_pretraining --arch vq_wav2vec --criterion vq_contrastive --max-tokens 64000"
        task += f" --max-sample-size 16000 --quantizer {quantizer} --vq-vars 40 --activation gelu"
        layers = ["--conv-feature-layers", LAYERS, "--conv-aggregator-layers", CONTEXT]
        name = name or f"vq_{quantizer}"
        more = QUANTIZERS[quantizer]
        self.train(name, self.out / "data", *task.split(), *layers, *more, updates=updates)

    def encode(self, fixed: Path) -> None:
        """Codes and features of the earlier commit's models."""
        data = self.out / "data"
        for quantizer in ("gumbel", "kmeans", "fsq"):
            model = fixed / f"vq_{quantizer}/checkpoint_last.pt"
            for split in ("train", "test") if quantizer == "kmeans" else ("test",):
                name = f"tokens_{quantizer}_{split}"
                self.call(name, "vqw2v", "discretize", model, data / f"{split}.tsv", f"tokens_{quantizer}")
        self.features("logmel", "-", ("train", "test"), "--layer", "logmel", "--bands", "40")
        self.features("mfcc", "-", ("test",), "--layer", "mfcc")
        model = fixed / "vq_kmeans/checkpoint_last.pt"
        for layer in ("z", "c", "q"):
            self.features(layer, model, ("test",), "--layer", layer)
        self.features("c_none", fixed / "vq_none/checkpoint_last.pt", ("test",), "--layer", "c")

    def features(self, name: str, model: str | Path, splits: Sequence[str], *options: str | Path) -> None:
        for split in splits:
            manifest = self.out / "data" / f"{split}.tsv"
            folder = f"features_{name}"
            self.call(f"{folder}_{split}", "vqw2v", "features", model, manifest, folder, *options)

    def learn_tokens(self, shared: Path) -> None:
        task = (
            "--task vq_token_pretraining --arch vq_bert_tiny --criterion vq_masked_tokens --max-tokens 4000"
        )
        self.train("bert", shared / "tokens_kmeans", *task.split(), "--tokens-per-sample", "1000")

    def learn_labels(self, shared: Path) -> None:
        data = self.out / "data"
        words = ["--text", self.text, "--unit", "letters"]
        self.call("labels", "vqw2v", "labels", data / "train.tsv", data / "test.tsv", "labels", *words)
        task = "--task vq_acoustic --arch vq_wav2letter_tiny --max-tokens 20000"
        for criterion in ("vq_ctc", "asg"):
            options = [*task.split(), "--criterion", criterion, "--labels", self.out / "labels"]
            self.train(f"acoustic_{criterion}", shared / "features_logmel", *options)

    def read(self, shared: Path) -> None:
        """What the earlier commit trained, read, decoded and trained on."""
        bert = ["--layer", "bert:2", "--bert", shared / "bert/checkpoint_last.pt"]
        self.features("bert", shared / "vq_kmeans/checkpoint_last.pt", ("test",), *bert)
        root, head, *rows = (shared / "data/test.tsv").read_text().split("\n")
        at = head.removeprefix("# ").split("\t").index("path")
        wavs = [Path(root) / row.split("\t")[at] for row in rows[:3]]
        for criterion in ("vq_ctc", "asg"):
            model = shared / f"acoustic_{criterion}/checkpoint_last.pt"
            name = f"words_{criterion}"
            where = ["--labels", shared / "labels", "--path", model, "--gen-subset", "test"]
            user_dir = ["--user-dir", self.code / "vqw2v_plugin", "--task", "vq_acoustic", "--cpu"]
            more = ["--results-path", name, "--max-tokens", "20000"]
            self.call(name, "fairseq-generate", shared / "features_logmel", *user_dir, *where, *more)
            self.call(f"heard_{criterion}", "vqw2v", "transcribe", model, *wavs)
        on = self.out / "vq_on"
        on.mkdir(exist_ok=True)
        if not (self.out / "vq_on.log").exists():
            shutil.copyfile(shared / "vq_kmeans/checkpoint_last.pt", on / "checkpoint_last.pt")
        self.pretrain("kmeans", "vq_on", UPDATES + 10)


def judge(before: Path, after: Path) -> int:
    """A line for each thing that both made."""
    same = True
    rows = []
    for path in sorted(before.rglob("*")):
        name = path.relative_to(before)
        other = after / name
        if path.suffix == ".log":
            losses = [_LOSS.findall(file.read_text()) for file in (path, other)]
            if losses[0]:
                rows.append((f"{len(losses[0])} losses of {path.stem}", losses[0] == losses[1]))
            elif path.stem.startswith("heard"):
                rows.append((f"words of {path.stem}", path.read_text() == other.read_text()))
        elif path.name == "checkpoint_last.pt":
            rows.append((f"weights of {name.parent}", weights(path) == weights(other)))
        elif path.suffix in (".bin", ".idx", ".ids", ".npy", ".jsonl", ".ctm", ".ltr", ".wrd") or (
            path.name.startswith("dict.")
        ):
            rows.append((str(name), path.read_bytes() == other.read_bytes()))
    for what, is_same in rows:
        print(f"{'same   ' if is_same else 'DIFFERS'}  {what}")
        same = same and is_same
    print(f"{sum(is_same for _, is_same in rows)} of {len(rows)} are the same, to the byte")
    return 0 if same else 1


def weights(path: Path) -> dict[str, bytes]:
    state = torch.load(path, map_location="cpu", weights_only=True)["model"]
    kept = {name: value for name, value in state.items() if not name.startswith("about.")}
    return {name: value.contiguous().numpy().tobytes() for name, value in kept.items()}


if __name__ == "__main__":
    sys.exit(main())

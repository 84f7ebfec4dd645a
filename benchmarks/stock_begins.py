"""Does stock fairseq learn at the paper's size? Its own settings, in stock and in ours, on the same audio.

Both sides are trained by fairseq-hydra-train, four crops of 3 s an update, with the binary loss; ours is the
shipped yaml without its cures. At the end their checkpoints tell how much of z's and of c's power varies over
time. Stock's perplexity is the sum of its groups', ours their mean. What is done is kept in `--runs`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from reference_curves import CROPS, METRICS, ROOT, SAMPLES, WHOLE, run_training, values

from vqw2v_plugin import load_features
from vqw2v_plugin.__main__ import main as vqw2v
from vqw2v_plugin.analysis.curves import Curves, parse_log
from vqw2v_plugin.common.files import write_whole
from vqw2v_plugin.corpora.manifest import Manifest

SETTINGS = {  # of stock's README and of the paper
    "readme": ["optimization.lr=[1e-05]", "model.activation=gelu", "model.prediction_steps=12"],
    "paper": ["optimization.lr=[0.005]", "model.activation=relu", "model.prediction_steps=8"],
}
WARMUP = {"readme": 1000, "paper": 500}
CODES = ["model.vq_groups=2", "model.vq_vars=320", "model.vq_depth=2", "model.combine_groups=true"]
STOCK = {
    "gumbel": ["model.vq_type=gumbel", "model.vq_temp=[2.0,0.5,0.999995]"],
    "kmeans": ["model.vq_type=kmeans", "criterion.loss_weights=[1]"],
}
OURS = {  # a shipped yaml without its cures
    "gumbel": ["model.vq_temp=[2.0,0.5,0.999995]", "criterion.loss_weights=[0]"],
    "kmeans": ["criterion.loss_weights=[1]"],
}
CURELESS = [
    *("criterion.infonce=false", "model.centred=false", "model.prediction_gain=1"),
    *("model.quantizer_args='{}'", "lr_scheduler.min_lr=1e-9"),
]
SIDES = ("stock", "ours")
SHOWN = ("loss", "code_perplexity")
HEARD = 20  # utterances, of which z and c are looked at


@dataclass(frozen=True)
class Row:
    """One training: who trains, with which settings, which quantizer."""

    side: str
    settings: str
    quantizer: str

    @property
    def name(self) -> str:
        return f"{self.side}-{self.settings}-{self.quantizer}"

    def command(self, folder: Path, args: argparse.Namespace) -> list[str]:
        said = [*SETTINGS[self.settings], *CODES]
        if self.side == "stock":
            groups = "task=audio_pretraining model=wav2vec criterion=wav2vec optimizer=adam"
            begin = [*groups.split(), "lr_scheduler=cosine", *said, *STOCK[self.quantizer]]
            begin += ["criterion.log_keys=[code_perplexity]", "lr_scheduler.min_lr=1e-9"]
            begin += ["lr_scheduler.warmup_init_lr=1e-7"]
        else:
            begin = ["--config-dir", str(ROOT / "examples/vq_wav2vec"), "--config-name", self.quantizer]
            begin += [each.replace("model.", "++model.") for each in said]
            begin += [*CURELESS, *OURS[self.quantizer], f"common.user_dir={ROOT / 'vqw2v_plugin'}"]
            begin += ["distributed_training.distributed_world_size=1"]
        warmup = min(WARMUP[self.settings], args.warmup or WHOLE)
        return [
            *(str(Path(sys.executable).with_name("fairseq-hydra-train")), *begin),
            *(f"task.data={args.runs / 'data'}", f"checkpoint.save_dir={folder}"),
            *(f"hydra.run.dir={folder}/hydra", f"common.seed={args.seed}", "common.cpu=true"),
            *(f"task.max_sample_size={SAMPLES}", f"dataset.max_tokens={CROPS * SAMPLES}"),
            *(f"optimization.max_update={args.updates}", f"++lr_scheduler.lr_period_updates={WHOLE}"),
            *(f"lr_scheduler.warmup_updates={warmup}", f"common.bf16={str(args.bf16).lower()}"),
            *(f"common.log_interval={args.every}", "common.log_format=json"),
            *("dataset.disable_validation=true", "dataset.num_workers=1"),
            "checkpoint.no_epoch_checkpoints=true",
        ]


def write_data(data: Path, out: Path) -> None:
    """The manifest with the two columns that stock reads."""
    whole = Manifest(data / "train.tsv")
    sizes = (f"{row.path}\t{row.samples}" for row in whole)
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "train.tsv", "\n".join([str(whole.root), *sizes]) + "\n")


def train(row: Row, args: argparse.Namespace) -> Curves:
    folder: Path = args.runs / row.name
    log = run_training(row.command(folder, args), folder, row.name, args)
    return parse_log(log.read_text(encoding="utf-8"))


def varying(row: Row, args: argparse.Namespace) -> tuple[float, float]:
    """How much of z's and of c's power varies over time within an utterance."""
    checkpoint = args.runs / row.name / "checkpoint_last.pt"
    if row.side == "stock":
        ours = checkpoint.with_name("imported.pt")
        if vqw2v(["import", str(checkpoint), str(ours), "--force"]):
            raise SystemExit(f"stock_begins.py: error: {checkpoint} cannot be imported")
        checkpoint = ours
    heard = Manifest(args.runs / "data" / "train.tsv")
    return _share("z", checkpoint, heard), _share("c", checkpoint, heard)


def _share(layer: str, checkpoint: Path, heard: Manifest) -> float:
    features = load_features(layer, str(checkpoint))
    moves = power = 0.0
    for i in range(HEARD):
        x = np.asarray(features.of(heard[i].path), np.float64)  # [T, C]
        power += float((x**2).sum())
        moves += float(((x - x.mean(0)) ** 2).sum())
    return moves / power


def rows(args: argparse.Namespace) -> Iterator[Row]:
    for settings in args.settings:
        for quantizer in args.quantizers:
            for side in args.sides:
                yield Row(side, settings, quantizer)


def line(row: Row, update: int, curves: Curves, end: str) -> str:
    cells = [f"{values(curves, metric)[update]:.3g}" for metric in SHOWN]
    return f"| {row.side} | {row.settings} | {row.quantizer} | {update} | {' | '.join(cells)} | {end} |"


def table(found: dict[Row, Curves], args: argparse.Namespace) -> str:
    heads = ["side", "settings", "quantizer", "update", *(METRICS[metric] for metric in SHOWN)]
    lines = [f"| {' | '.join([*heads, 'z varies', 'c varies'])} |", "|" + "---|" * (len(heads) + 2)]
    for row, curves in found.items():
        z, c = varying(row, args)
        updates = [update for update in args.shown if update in values(curves, "loss")]
        for update in updates:
            last = update == updates[-1]
            lines.append(line(row, update, curves, f"{z:.2%} | {c:.2%}" if last else " | "))
    return "\n".join(lines) + "\n"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    parser.add_argument("data", type=Path, help="folder with train.tsv, a manifest of recorded speech")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--quantizers", nargs="+", choices=STOCK, default=list(STOCK))
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--warmup", type=int, help="fewer updates of it than 1,000 (README), 500 (paper)")
    parser.add_argument("--shown", type=int, nargs="+", default=[20, 50, 100, 200, 500, 1000])
    parser.add_argument("--every", type=int, default=10, help="updates between two points of a curve")
    parser.add_argument("--seed", type=int, default=2, help="stock's README has 2")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bf16", action="store_true", help="not fp32")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs/stock", help="where runs are kept")
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    args.runs = args.runs.resolve()
    write_data(args.data, args.runs / "data")
    print(table({row: train(row, args) for row in rows(args)}, args))
    return 0


if __name__ == "__main__":
    sys.exit(main())

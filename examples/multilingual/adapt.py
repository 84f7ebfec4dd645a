"""A model of one language with minutes of another: adapted, beside the same model trained from nothing.

    python examples/multilingual/adapt.py RUN DATA --audio DATA/german.tsv --lang de --sets CORPUS/SPLIT \\
        --checkpoints english=CHECKPOINT.pt --minutes 10 60 --updates 300

Settings are the checkpoint's own, with the learning rate of each start; audio, updates and seeds are the same
for all starts. A set is a corpus with phone times, as benchmarks/codes.py reads it: that says what codes tell
about phones. A finished row is in RUN/results.md at once; a killed run resumes where it stopped.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Iterator, Sequence, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from draw import draw_name
from omegaconf import OmegaConf

from vqw2v_plugin.checkpoints.format import read_checkpoint
from vqw2v_plugin.checkpoints.wav2vec import KIND
from vqw2v_plugin.common.files import write_whole
from vqw2v_plugin.modules.wav2vec.config import VqWav2VecConfig
from vqw2v_plugin.recipes import stages as pipeline
from vqw2v_plugin.recipes.runner import Stage
from vqw2v_plugin.recipes.table import finish

HERE = Path(__file__).resolve().parent
CODES = HERE.parents[1] / "benchmarks" / "codes.py"
STARTS = {
    "keep": "adapted, codes kept",
    "reseed": "adapted, codes anew",
    "nothing": "from nothing",
}
AS_IT_IS = "as it is"
CROPS, SAMPLES = 4, 48_000  # of an update
MEASURES = {"ABX across": 1, "ABX within": 1, "PNMI": 3}  # and digits behind the point


@dataclass(frozen=True)
class Row:
    """One training, or a checkpoint as it is."""

    checkpoint: str
    start: str
    minutes: float = 0.0
    seed: int = 0

    @property
    def name(self) -> str:
        parts = [self.start, f"{self.minutes:g}", str(self.seed)] if self.start in STARTS else ["before"]
        return "_".join([self.checkpoint, *parts])


@dataclass(frozen=True)
class Plan:
    run: Path
    data: Path
    audio: Sequence[Path]
    lang: str | None
    sets: Sequence[str]
    checkpoints: dict[str, Path]
    rows: Sequence[Row]
    updates: int
    rates: dict[str, float]  # learning rate of each start
    bf16: bool
    jobs: int

    @classmethod
    def of(cls, args: argparse.Namespace) -> Plan:
        checkpoints = dict(_named(text) for text in args.checkpoints)
        rows = [Row(name, AS_IT_IS) for name in checkpoints]
        rows += [
            Row(name, start, minutes, seed)
            for seed in args.seeds
            for minutes in args.minutes
            for name in checkpoints
            for start in args.starts
        ]
        rates = {start: args.lr if start == "nothing" else args.adapt_lr for start in STARTS}
        audio = [table.resolve() for table in args.audio]
        return cls(
            *(args.run.resolve(), args.data.resolve(), audio, args.lang, args.sets, checkpoints),
            *(rows, args.updates, rates, args.bf16, args.jobs),
        )


def _named(text: str) -> tuple[str, Path]:
    found = re.fullmatch(r"([\w.-]+)=(.+)", text)
    if not found:
        raise ValueError(f"`--checkpoints` has {text!r}; expected NAME=CHECKPOINT")
    return found[1], Path(found[2]).resolve()


def stages(plan: Plan) -> Iterator[Stage]:
    """Each training is followed by what is said of it, so that the first rows finish early."""
    settings = {name: write_settings(plan, name) for name in plan.checkpoints}
    yield drawn(plan)
    for row in plan.rows:
        if row.start in STARTS:
            yield training(plan, row, settings[row.checkpoint])
        yield scores(plan, row)


def drawn(plan: Plan) -> Stage:
    trained = [row for row in plan.rows if row.start in STARTS]
    command = [sys.executable, str(HERE / "draw.py"), str(plan.run / "audio"), *map(str, plan.audio)]
    command += ["--minutes", *(f"{m:g}" for m in sorted({row.minutes for row in trained}))]
    command += ["--seeds", *map(str, sorted({row.seed for row in trained}))]
    command += ["--lang", plan.lang] if plan.lang else []
    return Stage("audio", [command], "What each seed draws", 0.1, reads=plan.audio, shown="minutes")


def write_settings(plan: Plan, name: str) -> Path:
    """The yaml of the checkpoint's quantizer, with the model that the checkpoint says."""
    header, _ = read_checkpoint(plan.checkpoints[name], KIND)
    quantizer = str(header.settings.get("quantizer", "none"))
    known = HERE.parent / "vq_wav2vec" / f"{quantizer}.yaml"
    if not known.is_file():
        raise ValueError(f"{plan.checkpoints[name]}: there are no settings for the quantizer {quantizer!r}")
    settings: Any = OmegaConf.load(known)
    usual = asdict(VqWav2VecConfig())
    for key, value in header.settings.items():
        if key != "max_update" and (value != usual[key] or key in settings.model):
            settings.model[key] = str(value).lower() if value is False and usual[key] is True else value
    audio = header.audio
    if audio is not None:
        settings.task.sample_rate, settings.task.normalize = audio.sample_rate, audio.normalize
    out = plan.run / "settings" / f"{name}.yaml"
    write_whole(out, OmegaConf.to_yaml(settings))
    return out


def training(plan: Plan, row: Row, settings: Path) -> Stage:
    rate, warm = plan.rates[row.start], max(1, plan.updates // 10)
    overrides = [
        f"task.data={plan.run / 'audio' / draw_name(row.minutes, row.seed)}",
        *(f"task.max_sample_size={SAMPLES}", f"dataset.max_tokens={CROPS * SAMPLES}"),
        *("dataset.num_workers=1", "dataset.disable_validation=true", "common.log_interval=20"),
        *("common.cpu=true", f"common.bf16={str(plan.bf16).lower()}", f"common.seed={row.seed}"),
        *("distributed_training.distributed_world_size=1", "optimization.update_freq=[1]"),
        *(f"optimization.max_update={plan.updates}", f"optimization.lr=[{rate:g}]"),
        *(f"lr_scheduler.warmup_updates={warm}", "checkpoint.save_interval_updates=100"),
    ]
    if row.start != "nothing":
        overrides += [f"+task.init_from={plan.checkpoints[row.checkpoint]}"]
        overrides += [f"+task.init_codebook={row.start}"]
    return pipeline.train(
        *(plan.run, row.name, settings, overrides),
        title=f"{row.checkpoint}, {row.minutes:g} minutes, {STARTS[row.start]}, seed {row.seed}",
        minutes=plan.updates / 15,
        needs=["audio"],
    )


def scores(plan: Plan, row: Row) -> Stage:
    """What its codes tell about phones."""
    trained = row.start in STARTS
    model = plan.run / row.name / "checkpoint_last.pt" if trained else plan.checkpoints[row.checkpoint]
    name = f"scores_{row.name}"
    command = [sys.executable, str(CODES), str(plan.data), "--sets", *plan.sets, "--workers", "1"]
    command += ["--tokenizers", f"{row.name}={model}", "--runs", str(plan.run / name)]
    command += ["--out", str(plan.run / name / "codes.json")]
    needs = [row.name] if trained else []
    return Stage(name, [command], f"Phones by the codes of {row.name}", 1.0, needs, shown=f"^{row.name}\t")


def write_table(plan: Plan, done: Set[str]) -> None:
    """Of the finished rows: means over seeds, and how many seeds where there are several."""
    said = [f"{each}, {measure}" for each in plan.sets for measure in MEASURES]
    lines = [f"| codes | start | minutes | {' | '.join(said)} |", "|---" * (3 + len(said)) + "|"]
    keys = dict.fromkeys((row.checkpoint, row.start, row.minutes) for row in plan.rows)
    for checkpoint, start, minutes in keys:
        rows = [r for r in plan.rows if (r.checkpoint, r.start, r.minutes) == (checkpoint, start, minutes)]
        found = [read_scores(plan, row) for row in rows if f"scores_{row.name}" in done]
        cells = [_cell([each[key] for each in found if key in each], key[1]) for key in _keys(plan)]
        lines.append(
            f"| {checkpoint} | {STARTS.get(start, start)} | {f'{minutes:g}' if minutes else ''} | "
            f"{' | '.join(cells)} |"
        )
    write_whole(plan.run / "results.md", "\n".join(lines) + "\n")


def _keys(plan: Plan) -> list[tuple[str, str]]:
    return [(each, measure) for each in plan.sets for measure in MEASURES]


def read_scores(plan: Plan, row: Row) -> dict[tuple[str, str], float]:
    """Of each set each measure that it has."""
    listed = json.loads((plan.run / f"scores_{row.name}" / "codes.json").read_text(encoding="utf-8"))
    found = {}
    for each, wanted in zip(listed, plan.sets, strict=True):
        named = {"ABX across": "ABX across", "ABX within": "within", "PNMI": "PNMI"}
        found.update({(wanted, m): float(each[key]) for m, key in named.items() if each[key]})
    return found


def _cell(values: Sequence[float], measure: str) -> str:
    if not values:
        return ""
    more = f" ({len(values)})" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{MEASURES[measure]}f}{more}"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the run")
    parser.add_argument("data", type=Path, metavar="DATA", help="folder of the corpora that sets are of")
    parser.add_argument(
        "--audio", type=Path, nargs="+", required=True, metavar="TABLE", help="of the new language"
    )
    parser.add_argument(
        "--lang", metavar="LANG", help="the rows of these tables that are meant; default: all"
    )
    parser.add_argument("--sets", nargs="+", default=["emodb_de/test"], metavar="CORPUS/SPLIT")
    parser.add_argument("--checkpoints", nargs="+", required=True, metavar="NAME=CHECKPOINT")
    parser.add_argument("--starts", nargs="+", choices=list(STARTS), default=list(STARTS))
    parser.add_argument("--minutes", type=float, nargs="+", default=[10.0, 60.0], help="of audio")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--updates", type=int, default=300, help="of each training (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=2e-4, help="from nothing (default: %(default)s)")
    parser.add_argument(
        "--adapt-lr", type=float, default=5e-5, help="of what is adapted (default: %(default)s)"
    )
    parser.add_argument("--bf16", action="store_true", help="quicker, where the processor can")
    pipeline.add_jobs(parser)
    parser.set_defaults(jobs=1)
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    return finish("adapt.py", "results.md", lambda: Plan.of(args), stages, write_table)


if __name__ == "__main__":
    sys.exit(main())

"""What compare.py and sweep.py share: arguments, rows, folders, and the error rates of finished rows."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from vqw2v_plugin.recipes import stages as pipeline
from vqw2v_plugin.recipes.compared import Features

CORPORA = {"digits": "connected digits, words", "speech": "read speech, phones"}


@dataclass(frozen=True)
class Input:
    """An acoustic model's input: a layer of a pretrained model, or spectra, which need no model.

    `given`: of a checkpoint that was trained elsewhere.
    """

    called: str
    model: str
    layer: str
    criterion: str = "asg"
    settings: tuple[str, ...] = ()  # of the pretraining
    training: tuple[str, ...] = ()  # of the acoustic model
    given: Features | None = None

    @property
    def name(self) -> str:
        if self.given is not None:
            return self.given.name
        return f"{self.model}_{self.layer}" if self.model else self.layer


@dataclass(frozen=True)
class Row:
    """One training of the acoustic model."""

    corpus: str
    features: str  # a key of the plan's inputs
    fraction: float
    seed: int

    @property
    def name(self) -> str:
        return f"{self.corpus}_{self.features}_{self.fraction:g}_{self.seed}"


@dataclass(frozen=True)
class Plan:
    """Where everything is, and what is to be made of it."""

    run: Path
    fsdd: Path
    unlabelled: tuple[Path, ...]
    speech: Path | None
    inputs: Mapping[str, Input]
    rows: tuple[Row, ...]
    updates: int | None
    jobs: int

    @classmethod
    def of(cls, args: argparse.Namespace, inputs: Mapping[str, Input], rows: Sequence[Row]) -> Plan:
        """The plan that the arguments describe, with absolute paths."""
        speech = getattr(args, "speech", None)
        return cls(
            args.run.resolve(),
            args.fsdd.resolve(),
            tuple(path.resolve() for path in args.unlabelled),
            speech.resolve() if speech else None,
            inputs,
            tuple(rows),
            args.updates,
            args.jobs,
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of both scripts."""
    parser.add_argument("fsdd", type=Path, metavar="FSDD", help="the digits, as prepare.py reads them")
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the run")
    parser.add_argument(
        "--unlabelled",
        type=Path,
        nargs="+",
        default=[],
        metavar="MANIFEST",
        help="more speech for pretraining",
    )
    parser.add_argument(
        "--updates", type=int, help="so many in every training, to try things out (default: the yaml's)"
    )
    pipeline.add_jobs(parser)


def shortened(plan: Plan) -> list[str]:
    """The overrides for a training that is only tried out."""
    if plan.updates is None:
        return []
    return [f"optimization.max_update={plan.updates}", f"lr_scheduler.warmup_updates={plan.updates // 10}"]


def corpus_data(plan: Plan, corpus: str) -> Path:
    """The folder of a corpus' manifests."""
    if corpus == "speech":
        assert plan.speech is not None
        return plan.speech
    return plan.run / "digits" / "data"


def corpus_splits(plan: Plan, corpus: str) -> tuple[str, str, str]:
    """The names of a corpus' splits: many call the second one dev."""
    valid = "valid" if (corpus_data(plan, corpus) / "valid.tsv").exists() or corpus == "digits" else "dev"
    return ("train", valid, "test")


def checkpoint(plan: Plan, name: str) -> Path:
    return plan.run / name / "checkpoint_last.pt"


def rates(plan: Plan, rows: Sequence[Row], decoder: str, done: Set[str]) -> list[float]:
    """The error rates of rows that have finished under the present settings."""
    folders = [plan.run / f"scores_{row.name}" for row in rows if f"scores_{row.name}" in done]
    files = [folder / decoder / "errors-test.json" for folder in folders]
    return [float(json.loads(file.read_text(encoding="utf-8"))["rate"]) for file in files if file.exists()]

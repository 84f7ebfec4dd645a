"""The papers' comparison at small scale: an acoustic model on log-mel, wav2vec, vq-wav2vec and BERT features.

    python examples/digits/compare.py FSDD RUN [--unlabelled MANIFEST …] [--speech DIR]

Everything is heard at 8 kHz. Pretraining has the digits of the training speakers and whatever unlabelled
speech is named. A finished row is in RUN/results.md at once; a killed run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vqw2v_plugin import pipeline
from vqw2v_plugin.data.whole import write_whole
from vqw2v_plugin.recipe import Stage, StageError, run_recipe

HERE = Path(__file__).resolve().parent
SPLITS = ("train", "valid", "test")
QUANTIZERS = {
    "wav2vec": ["model.quantizer=none"],
    "gumbel": ["model.quantizer=gumbel", "criterion.loss_weights=[0.1]"],
    "kmeans": [
        "model.quantizer=kmeans",
        "criterion.loss_weights=[1.0]",
        'model.quantizer_args={"ema_decay": 0.99, "revive_after": 20}',
    ],
}


@dataclass(frozen=True)
class Input:
    """What an acoustic model eats: a layer of a pretrained model, or log-mel energies of none."""

    called: str
    model: str
    layer: str
    criterion: str = "vq_ctc"

    @property
    def name(self) -> str:
        return f"{self.model}_{self.layer}" if self.model else self.layer


INPUTS = {
    "logmel": Input("log-mel", "", "logmel"),
    "wav2vec_c": Input("wav2vec, c", "wav2vec", "c"),
    "gumbel_q": Input("vq-wav2vec Gumbel", "gumbel", "q"),
    "kmeans_q": Input("vq-wav2vec k-means", "kmeans", "q"),
    "gumbel_bert": Input("vq-wav2vec Gumbel + BERT", "gumbel", "bert"),
    "kmeans_bert": Input("vq-wav2vec k-means + BERT", "kmeans", "bert"),
    "logmel_asg": Input("log-mel, ASG instead of CTC", "", "logmel", "asg"),
}
SPEEDS = (0.8, 0.9, 1.12, 1.25)
CORPORA = {"digits": "connected digits, words", "speech": "read speech, phones"}


@dataclass(frozen=True)
class Row:
    """One training of the acoustic model."""

    corpus: str
    features: str
    fraction: float
    seed: int

    @property
    def name(self) -> str:
        return f"{self.corpus}_{self.features}_{self.fraction:g}_{self.seed}"


@dataclass(frozen=True)
class Plan:
    """Where everything is, and how much of it is wanted."""

    run: Path
    fsdd: Path
    unlabelled: tuple[Path, ...]
    speech: Path | None
    rows: tuple[Row, ...]


def main() -> int:
    args = parse_arguments()
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    plan = make_plan(args)
    try:
        run_recipe(plan.run, list(stages(plan)), after=lambda _: write_table(plan))
    except (StageError, ValueError, OSError, KeyboardInterrupt) as error:
        print(f"compare.py: {error or 'interrupted'}; the same command goes on", file=sys.stderr)
        return 1
    print((plan.run / "results.md").read_text(encoding="utf-8"))
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
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
        "--speech",
        type=Path,
        metavar="DIR",
        help="compare on this corpus too: train.tsv, valid.tsv or dev.tsv, test.tsv, with a column phones",
    )
    parser.add_argument("--seeds", type=int, default=3, help="trainings a row, digits (default: %(default)s)")
    parser.add_argument(
        "--fractions", type=float, nargs="+", default=[1.0, 0.1], help="of the labels (default: 1 0.1)"
    )
    parser.add_argument(
        "--features", nargs="+", default=list(INPUTS), choices=list(INPUTS), help="default: all"
    )
    return parser.parse_args()


def make_plan(args: argparse.Namespace) -> Plan:
    corpora = [("digits", args.seeds), *([("speech", 1)] if args.speech else [])]
    rows = [
        Row(corpus, features, fraction, seed)
        for seed in range(1, args.seeds + 1)
        for corpus, seeds in corpora
        for fraction in args.fractions
        for features in args.features
        if seed <= seeds
    ]
    speech = args.speech.resolve() if args.speech else None
    unlabelled = tuple(path.resolve() for path in args.unlabelled)
    return Plan(args.run.resolve(), args.fsdd.resolve(), unlabelled, speech, tuple(rows))


def stages(plan: Plan) -> Iterator[Stage]:
    """Shared ones as they are first needed, so that the first rows stand in the table early."""
    yield prepare(plan)
    made: set[str] = {"digits"}
    for row in plan.rows:
        for stage in [*shared_stages(plan, row), *row_stages(plan, row)]:
            if stage.name not in made:
                made.add(stage.name)
                yield stage


def prepare(plan: Plan) -> Stage:
    command = [sys.executable, str(HERE / "prepare.py"), str(plan.fsdd), str(corpus_data(plan, "digits"))]
    command += ["--speeds", *map(str, SPEEDS)]
    if shares := sorted({row.fraction for row in plan.rows if row.fraction < 1}):
        command += ["--shares", *map(str, shares)]
    if plan.unlabelled:
        command += ["--unlabelled", *map(str, plan.unlabelled)]
    return Stage("digits", [command], "Connected digits, and all audio for pretraining", 0.2, shows=".")


def shared_stages(plan: Plan, row: Row) -> Iterator[Stage]:
    """From audio to a corpus' features and labels."""
    run, corpus = plan.run, row.corpus
    data, splits, chosen = corpus_data(plan, corpus), corpus_splits(plan, corpus), INPUTS[row.features]
    model, layer, name = chosen.model, chosen.layer, chosen.name
    needs = ["digits"]
    if model:
        yield pretraining(plan, model)
        needs.append(model)
    if layer == "bert":
        yield from bert_stages(plan, model)
        needs.append(f"{model}_bert")
    yield pipeline.features(
        run,
        f"features_{corpus}_{name}",
        layer,
        data,
        splits,
        minutes=1,
        needs=needs,
        checkpoint=checkpoint(plan, model) if model else "-",
        bert=checkpoint(plan, f"{model}_bert") if layer == "bert" else None,
        options=["--sample-rate", "8000", "--bands", "40"] if layer == "logmel" else [],
    )
    yield labels(plan, row)
    if corpus == "digits":
        yield pipeline.language_model(run, "lm", data / "lm.txt", 4, ["digits"])


def labels(plan: Plan, row: Row) -> Stage:
    """Of digits the share's own, since a string's faster copies count as one; else of the whole corpus."""
    data, splits = corpus_data(plan, row.corpus), corpus_splits(plan, row.corpus)
    name = labels_name(row)
    if row.corpus == "speech":
        return pipeline.labels(plan.run, name, data, splits, ["--text", "phones", "--unit", "phones"], [])
    stage = pipeline.labels(plan.run, name, data, splits, ["--text", "text", "--unit", "letters"], ["digits"])
    if row.fraction < 1:
        command = [*stage.commands[0]]
        command[command.index(str(data / "train.tsv"))] = str(data / f"share_{row.fraction:g}" / "train.tsv")
        stage = replace(stage, commands=[command])
    return stage


def labels_name(row: Row) -> str:
    return (
        "labels_digits" + (f"_{row.fraction:g}" if row.fraction < 1 else "")
        if row.corpus == "digits"
        else "labels_speech"
    )


def pretraining(plan: Plan, model: str) -> Stage:
    audio = plan.run / "digits" / "data" / "pretrain"
    return pipeline.train(
        plan.run,
        model,
        HERE / "pretrain.yaml",
        [f"task.data={audio}", f"+task.audio_cache={plan.run / 'digits' / 'cache'}", *QUANTIZERS[model]],
        says=f"Pretraining {model} without labels",
        minutes=5,
        needs=["digits"],
    )


def bert_stages(plan: Plan, model: str) -> Iterator[Stage]:
    audio = plan.run / "digits" / "data" / "pretrain"
    splits = ("train", "valid")
    yield pipeline.tokens(
        plan.run, f"{model}_tokens", checkpoint(plan, model), audio, splits, minutes=1, needs=[model]
    )
    yield pipeline.train(
        plan.run,
        f"{model}_bert",
        HERE / "bert.yaml",
        [f"task.data={plan.run / f'{model}_tokens' / 'data'}"],
        says=f"Training BERT on the tokens of {model}",
        minutes=5,
        needs=[f"{model}_tokens"],
    )


def row_stages(plan: Plan, row: Row) -> Iterator[Stage]:
    """One training, and the words or phones of the test set by it."""
    chosen = INPUTS[row.features]
    data = plan.run / f"features_{row.corpus}_{chosen.name}" / "data"
    labels = plan.run / labels_name(row) / "data"
    needs = [f"features_{row.corpus}_{chosen.name}", labels_name(row)]
    seeds = [f"common.seed={row.seed}", f"+task.label_seed={row.seed}"]
    fraction = row.fraction if row.corpus == "speech" else 1
    says = f"{CORPORA[row.corpus]}: {chosen.called}, {row.fraction:.0%} of labels, seed {row.seed}"
    yield pipeline.train(
        plan.run,
        row.name,
        HERE / "acoustic.yaml",
        [
            *(f"task.data={data}", f"task.labels={labels}", f"+task.label_fraction={fraction:g}", *seeds),
            f"criterion._name={chosen.criterion}",
            f"dataset.valid_subset={corpus_splits(plan, row.corpus)[1]}",
        ],
        says=says,
        minutes=3,
        needs=needs,
    )
    commands: list[Sequence[str]] = []
    for name, decoder in decoders(plan, row.corpus).items():
        stage = pipeline.decode(
            plan.run,
            f"scores_{row.name}/{name}",
            plan.run / row.name / "checkpoint_best.pt",
            data,
            labels,
            "test",
            decoder,
            says="",
            minutes=0,
            needs=[],
        )
        commands += stage.commands
    more = ["lm"] if row.corpus == "digits" else []
    needs = [row.name, *more]
    yield Stage(f"scores_{row.name}", commands, "Its errors on the test set", 0.4, needs, shows="^Generate ")


def decoders(plan: Plan, corpus: str) -> dict[str, list[str]]:
    """By name: the options of fairseq-generate."""
    if corpus == "speech":
        return {"greedy": ["greedy", "--error-unit", "phones"]}
    lexicon = plan.run / "labels_digits" / "data" / "lexicon.ltr.txt"
    lm = plan.run / "lm" / "lm.arpa"
    return {"greedy": ["greedy"], "lexicon": ["lexicon", "--lexicon", str(lexicon), "--lm", str(lm)]}


def corpus_data(plan: Plan, corpus: str) -> Path:
    """The folder of its manifests."""
    if corpus == "speech":
        assert plan.speech is not None
        return plan.speech
    return plan.run / "digits" / "data"


def corpus_splits(plan: Plan, corpus: str) -> tuple[str, str, str]:
    """Many corpora call the second one dev."""
    valid = "valid" if (corpus_data(plan, corpus) / "valid.tsv").exists() or corpus == "digits" else "dev"
    return ("train", valid, "test")


def checkpoint(plan: Plan, name: str) -> Path:
    return plan.run / name / "checkpoint_last.pt"


def write_table(plan: Plan) -> None:
    """Every row that has finished; written anew after each stage, so that it grows as rows finish."""
    lines = ["| corpus | features | labels | trainings | greedy | lexicon, 4-gram |"]
    lines.append("|---|---|---|---|---|---|")
    for corpus, fraction, features in dict.fromkeys((r.corpus, -r.fraction, r.features) for r in plan.rows):
        rows = [r for r in plan.rows if (r.corpus, -r.fraction, r.features) == (corpus, fraction, features)]
        rates = {d: finished(plan, rows, d) for d in ("greedy", "lexicon")}
        if rates["greedy"]:
            what = (CORPORA[corpus], INPUTS[features].called, f"{-fraction:.0%}", len(rates["greedy"]))
            lines.append("| " + " | ".join([*map(str, what), *map(spread, rates.values())]) + " |")
    write_whole(plan.run / "results.md", "\n".join(lines) + "\n")


def finished(plan: Plan, rows: Sequence[Row], decoder: str) -> list[float]:
    files = [plan.run / f"scores_{row.name}" / decoder / "errors-test.json" for row in rows]
    return [float(json.loads(file.read_text(encoding="utf-8"))["rate"]) for file in files if file.exists()]


def spread(rates: Sequence[float]) -> str:
    """Mean, and the standard deviation between seeds."""
    if not rates:
        return ""
    more = f" ± {statistics.stdev(rates):.1f}" if len(rates) > 1 else ""
    return f"{statistics.mean(rates):.1f}{more}"


if __name__ == "__main__":
    sys.exit(main())

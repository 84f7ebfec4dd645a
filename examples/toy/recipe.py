"""The toy recipe, `make demo`: synthetic speech → vq-wav2vec → tokens → BERT → letters → words."""

import argparse
import json
import sys
from pathlib import Path

from vqw2v_plugin.recipes import stages as pipeline
from vqw2v_plugin.recipes.runner import Stage, run_or_say, run_recipe

HERE = Path(__file__).resolve().parent
SPLITS = ("train", "valid", "test")
FEATURES = {"logmel": "log-mel energies", "vq": "vq-wav2vec", "bert": "vq-wav2vec + BERT"}
DECODERS = {"greedy": "greedy", "lexicon": "lexicon and 4-gram"}


def stages(run: Path, minutes: float) -> list[Stage]:
    data, labels = run / "corpus" / "data", run / "labels" / "data"
    gumbel, bert = run / "gumbel" / "checkpoint_last.pt", run / "bert" / "checkpoint_last.pt"
    tokens = run / "tokens" / "data"
    workers = ["--workers", "2"]
    listed = [
        corpus(run, minutes),
        pipeline.train(
            *(run, "gumbel", HERE / "gumbel.yaml", [f"task.data={data}"]),
            title="Training vq-wav2vec without labels; accuracy is 0.09 by chance, perplexity at most 32",
            minutes=2,
            needs=["corpus"],
        ),
        pipeline.usage(run, "usage", gumbel, data, "train", ["gumbel"]),
        pipeline.tokens(run, "tokens", gumbel, data, SPLITS, 0.2, ["gumbel"]),
        pipeline.train(
            *(run, "bert", HERE / "bert.yaml", [f"task.data={tokens}"]),
            title="Training BERT to guess masked tokens",
            minutes=4.3,
            needs=["tokens"],
        ),
        pipeline.features(run, "features_logmel", "logmel", data, SPLITS, 0.1, ["corpus"]),
        pipeline.features(run, "features_vq", "q", data, SPLITS, 0.1, ["gumbel"], gumbel),
        pipeline.features(
            *(run, "features_bert", "bert", data, SPLITS, 0.2, ["gumbel", "bert"], gumbel, bert, workers)
        ),
        pipeline.labels(run, "labels", data, SPLITS, ["--text", "text", "--unit", "letters"], ["corpus"]),
        pipeline.language_model(run, "lm", labels / "train.wrd", 4, ["labels"]),
    ]
    for name in FEATURES:
        listed.append(
            pipeline.abx(
                run, f"abx_{name}", run / f"features_{name}" / "data", data, "test", [f"features_{name}"]
            )
        )
    for name, called in FEATURES.items():
        listed += acoustic(run, name, called)
    listed.append(pipeline.report(run, "report", [stage.name for stage in listed]))
    return listed


def corpus(run: Path, minutes: float) -> Stage:
    options = ["--minutes", f"{minutes:g}", "--speakers", "6"]
    command = [*pipeline.VQW2V, "toy", str(run / "corpus" / "data"), *options]
    title = f"Making {minutes:g} minutes of speech by 6 voices"
    return Stage("corpus", [command], title, 0.2, shown="^  ", result=f"{run}/corpus/data")


def acoustic(run: Path, name: str, called: str) -> list[Stage]:
    """The stages from features to words, decoded by the model alone and with lexicon and language model."""
    data, labels = run / f"features_{name}" / "data", run / "labels" / "data"
    trained = f"acoustic_{name}"
    listed = [
        pipeline.train(
            *(run, trained, HERE / "acoustic.yaml", [f"task.data={data}", f"task.labels={labels}"]),
            title=f"Training letters on {called}, with CTC; wer is the share of words that are wrong",
            minutes=2.2,
            needs=[f"features_{name}", "labels"],
        )
    ]
    lexicon = ["--lexicon", str(labels / "lexicon.ltr.txt"), "--lm", str(run / "lm" / "lm.arpa")]
    for decoder, options in (("greedy", []), ("lexicon", lexicon)):
        listed.append(
            pipeline.decode(
                *(run, f"{decoder}_{name}", run / trained / "checkpoint_best.pt", data, labels, "test"),
                *([decoder, *options],),
                title=f"Words of the test set from {called}: {DECODERS[decoder]}",
                minutes=0.1,
                needs=[trained, "lm"],
            )
        )
    return listed


def print_table(run: Path) -> None:
    """Word error rates, features by decoders."""
    print(
        f"\nWord error rate on the test set, %\n\n  {'features':<20}"
        + "".join(f"{d:>22}" for d in DECODERS.values())
    )
    for name, called in FEATURES.items():
        rates = [json.loads((run / f"{d}_{name}" / "errors-test.json").read_text())["rate"] for d in DECODERS]
        print(f"  {called:<20}" + "".join(f"{rate:>22.1f}" for rate in rates))


def main() -> int:
    parser = argparse.ArgumentParser(
        description="The toy recipe; a second run goes on where the first stopped."
    )
    parser.add_argument("run", type=Path, help="folder of the run, such as runs/toy")
    parser.add_argument("--minutes", type=float, default=20, help="speech to make (default: %(default)s)")
    pipeline.add_jobs(parser)
    args = parser.parse_args()
    run = args.run.resolve()
    status = run_or_say("demo", lambda: run_recipe(run, stages(run, args.minutes), jobs=args.jobs, threads=1))
    if status:
        return status
    print_table(run)
    print(f"\nThe page of everything: {run}/report/report.html")
    print("Next: the same on your own audio (README, Pretrain), or on real digits (examples/digits).")
    return 0


if __name__ == "__main__":
    sys.exit(main())

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
NEW_SEED = 5  # of voices that seed 1's corpus has none of
# Of examples/digits, a speaker whom no training heard, lexicon and 4-gram.
REAL_VOICES = "log-mel 27.4 %, vq-wav2vec's vectors 23.0 %, wav2vec's c 22.6 %"

HOURS = (
    HERE.parent / "few_labels/hours.png",
    "Real speech, few labels: does more audio without labels help?",
)


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
    listed += new_voices(run, gumbel, bert)
    listed.append(pipeline.report(run, "report", [stage.name for stage in listed], [HOURS]))
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
    for decoder in DECODERS:
        listed.append(
            pipeline.decode(
                *(run, f"{decoder}_{name}", run / trained / "checkpoint_best.pt", data, labels, "test"),
                *(decoding(run, decoder),),
                title=f"Words of the test set from {called}: {DECODERS[decoder]}",
                minutes=0.1,
                needs=[trained, "lm"],
            )
        )
    return listed


def decoding(run: Path, decoder: str) -> list[str]:
    lexicon = run / "labels" / "data" / "lexicon.ltr.txt"
    known = ["--lexicon", str(lexicon), "--lm", str(run / "lm" / "lm.arpa")]
    return [decoder, *(known if decoder == "lexicon" else [])]


def new_voices(run: Path, gumbel: Path, bert: Path) -> list[Stage]:
    """The same models on voices that neither labels nor pretraining had."""
    data, labels, split = run / "new_corpus" / "data", run / "new_labels" / "data", ["train"]
    options = ["--minutes", "4", "--speakers", "6", "--seed", f"{NEW_SEED}"]
    command = [*pipeline.VQW2V, "toy", str(data), *options]
    title = "Making 4 minutes of speech by 6 other voices"
    known = ["--dict", str(run / "labels" / "data" / "dict.ltr.txt")]
    of_text = ["--text", "text", "--unit", "letters", *known]
    made = {
        "logmel": ("logmel", "-", None, []),
        "vq": ("q", gumbel, None, ["gumbel"]),
        "bert": ("bert", gumbel, bert, ["gumbel", "bert"]),
    }
    listed = [
        Stage("new_corpus", [command], title, 0.1, shown="^  ", result=str(data)),
        pipeline.labels(run, "new_labels", data, split, of_text, ["new_corpus", "labels"]),
    ]
    for name, (layer, checkpoint, of_bert, needs) in made.items():
        of = (run, f"new_features_{name}", layer, data, split, 0.1, ["new_corpus", *needs])
        listed.append(pipeline.features(*of, checkpoint, of_bert))
        for decoder in DECODERS:
            trained = run / f"acoustic_{name}" / "checkpoint_best.pt"
            features = run / f"new_features_{name}" / "data"
            listed.append(
                pipeline.decode(
                    *(run, f"new_{decoder}_{name}", trained, features, labels, "train"),
                    *(decoding(run, decoder),),
                    title=f"Words of other voices from {FEATURES[name]}: {DECODERS[decoder]}",
                    minutes=0.1,
                    needs=[f"new_features_{name}", "new_labels", f"acoustic_{name}", "lm"],
                )
            )
    return listed


def print_table(run: Path) -> None:
    """Word error rates, features by decoders, of voices that training had and of others."""
    head = "".join(f"{d:>22}" for d in DECODERS.values())
    rates = {}
    for said, before, split in (("the voices of training", "", "test"), ("other voices", "new_", "train")):
        print(f"\nWord error rate on {said}, %\n\n  {'features':<20}{head}")
        for name, called in FEATURES.items():
            files = [run / f"{before}{d}_{name}" / f"errors-{split}.json" for d in DECODERS]
            rates[name] = [json.loads(file.read_text())["rate"] for file in files]
            print(f"  {called:<20}" + "".join(f"{rate:>22.1f}" for rate in rates[name]))
    print("\n" + verdict(rates["logmel"][-1], {name: rates[name][-1] for name in ("vq", "bert")}))


def verdict(spectra: float, learnt: dict[str, float]) -> str:
    """Whether what was learnt without labels is worth more than spectra, on other voices."""
    best = min(learnt, key=lambda name: learnt[name])
    if learnt[best] < spectra:
        return f"On other voices {FEATURES[best]} is ahead of log-mel energies."
    return (
        "On other voices log-mel energies are ahead as well: 20 minutes of six synthetic voices are too\n"
        "little for what learns without labels to know voices in general. Of a real speaker whom nobody\n"
        f"trained on, with an hour of speech (examples/digits): {REAL_VOICES}."
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description="The toy recipe; a second run goes on where the first stopped.", allow_abbrev=False
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

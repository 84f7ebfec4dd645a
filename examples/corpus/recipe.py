"""The papers' pipeline on your own corpus: from LibriSpeech, TIMIT or WSJ as unpacked to words.

    python examples/corpus/recipe.py CORPUS RUN --kind librispeech --gpus 8 [--dry-run]

The stages are those of the toy recipe, with the papers' settings (examples/vq_wav2vec, bert, acoustic).
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf

from vqw2v_plugin.recipes import stages as pipeline
from vqw2v_plugin.recipes.runner import Stage, run_or_say, run_recipe

EXAMPLES = Path(__file__).resolve().parent.parent
# By yaml, for one GPU in bf16: computed, not measured; README.md in this folder says how.
HOURS = {"base": 58.0, "small": 26.0, "small_compute": 0.5, "wsj": 42.0, "timit": 0.3}
HOURS_OF_AUDIO_PRETRAINING = 11.0  # whatever the quantizer


@dataclass(frozen=True)
class Kind:
    """What differs between corpora."""

    splits: tuple[str, ...]  # train, valid, and what is decoded in the end
    labels: tuple[str, ...]  # of `vqw2v labels`
    acoustic: str  # yaml in examples/acoustic
    decoder: tuple[str, ...]  # of fairseq-generate; LEXICON and LM are put in
    training: tuple[str, ...] = ()  # overrides of the acoustic yaml


KINDS = {
    "librispeech": Kind(
        ("train", "valid", "test-clean", "test-other"),
        ("--text", "text", "--unit", "letters"),
        "wsj",
        ("lexicon", "--lexicon", "LEXICON", "--lm", "LM", "--beam", "500"),
        ("optimization.max_epoch=85",),  # as many updates as WSJ's 1000 epochs
    ),
    "timit": Kind(
        ("train", "valid", "test"),
        ("--text", "phones", "--unit", "phones", "--fold", "39", "--no-boundary"),
        "timit",
        ("greedy", "--error-unit", "phones"),
    ),
    "wsj": Kind(
        ("train", "valid", "test"),
        ("--text", "text", "--unit", "letters", "--keep", "'."),
        "wsj",
        ("lexicon", "--lexicon", "LEXICON", "--lm", "LM", "--beam", "500"),
    ),
}


def stages(corpus: Path, run: Path, args: argparse.Namespace) -> list[Stage]:
    kind = KINDS[args.kind]
    data, tokens, labels = run / "manifests" / "data", run / "tokens" / "data", run / "labels" / "data"
    vq, bert = run / args.quantizer / "checkpoint_best.pt", run / "bert" / "checkpoint_best.pt"
    device = ["--device", "cuda"] if args.gpus else []
    heard = "pretrain" if args.pretrain else "manifests"
    audio = run / heard / "data"
    minutes = 1 if args.updates else 60  # a guess, for work that reads all audio
    listed = [manifests(run, "manifests", corpus, ["--kind", args.kind])]
    if args.pretrain:
        listed.append(manifests(run, "pretrain", args.pretrain, []))
    return [
        *listed,
        train(run, args, args.quantizer, "vq_wav2vec", [f"task.data={audio}"], [heard]),
        pipeline.tokens(run, "tokens", vq, audio, ("train", "valid"), minutes, [args.quantizer], device),
        train(run, args, "bert", "bert", [f"task.data={tokens}"], ["tokens"], yaml=args.bert),
        pipeline.features(
            *(run, "features", "bert", data, kind.splits, minutes, ["manifests", "bert"], vq, bert, device)
        ),
        pipeline.labels(run, "labels", data, kind.splits, kind.labels, ["manifests"]),
        *language_model(run, kind, args),
        train(
            *(run, args, "acoustic", "acoustic"),
            [f"task.data={run / 'features' / 'data'}", f"task.labels={labels}", *kind.training],
            ["features", "labels"],
            yaml=kind.acoustic,
        ),
        *(decode(run, kind, split) for split in kind.splits[1:]),
        pipeline.report(run, "report", ["acoustic"]),
    ]


def language_model(run: Path, kind: Kind, args: argparse.Namespace) -> list[Stage]:
    """The stage of a language model, if decoding uses one; labels that are phones have no words."""
    text = args.lm_text or run / "labels" / "data" / "train.wrd"
    return [pipeline.language_model(run, "lm", text, 4, ["labels"])] if "LM" in kind.decoder else []


def manifests(run: Path, name: str, corpus: Path, options: Sequence[str]) -> Stage:
    out = run / name / "data"
    command = [*pipeline.VQW2V, "manifest", str(corpus), str(out), *options]
    return Stage(name, [command], f"Listing the audio of {corpus}", 1, shown=".", result=str(out))


def train(
    run: Path,
    args: argparse.Namespace,
    name: str,
    folder: str,
    overrides: Sequence[str],
    needs: Sequence[str],
    yaml: str = "",
) -> Stage:
    """A training with the yaml's settings; fewer GPUs than its 8 gather the same batch over more steps."""
    config = EXAMPLES / folder / f"{yaml or name}.yaml"
    settings = OmegaConf.load(config)
    more = [] if args.gpus else ["common.cpu=true"]
    if args.gpus and not args.fp32:
        more.append("common.bf16=true")
    if args.updates:
        more += [f"optimization.max_update={args.updates}", "lr_scheduler.warmup_updates=0"]
    gpus = settings.get("distributed_training", {}).get("distributed_world_size", 1)
    if gpus > 1 and max(args.gpus, 1) != gpus:
        every = settings.optimization.get("update_freq", [1])[0] * gpus // max(args.gpus, 1)
        every = 1 if args.updates else every
        more += [f"distributed_training.distributed_world_size={max(args.gpus, 1)}"]
        more += [f"{'' if 'update_freq' in settings.optimization else '+'}optimization.update_freq=[{every}]"]
    hours = HOURS.get(config.stem, HOURS_OF_AUDIO_PRETRAINING) / max(min(args.gpus, gpus), 1)
    minutes = 1 if args.updates else hours * 60
    title = f"Training with examples/{folder}/{config.name}"
    return pipeline.train(run, name, config, [*overrides, *more], title=title, minutes=minutes, needs=needs)


def decode(run: Path, kind: Kind, split: str) -> Stage:
    labels = run / "labels" / "data"
    meant = {"LEXICON": str(labels / "lexicon.ltr.txt"), "LM": str(run / "lm" / "lm.arpa")}
    return pipeline.decode(
        *(run, f"words_{split}", run / "acoustic" / "checkpoint_best.pt", run / "features" / "data", labels),
        *(split, [meant.get(word, word) for word in kind.decoder]),
        title=f"What was said in {split}",
        minutes=20,
        needs=["acoustic", *(["lm"] if "LM" in kind.decoder else [])],
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("corpus", type=Path, metavar="CORPUS", help="with transcripts, as it was unpacked")
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the run")
    parser.add_argument("--kind", choices=list(KINDS), required=True)
    parser.add_argument(
        "--gpus", type=int, default=1, help="of this machine; 0: its CPU (default: %(default)s)"
    )
    parser.add_argument("--fp32", action="store_true", help="train in fp32 (default: bf16 on GPUs)")
    parser.add_argument("--pretrain", type=Path, metavar="DIR", help="audio to pretrain on (default: CORPUS)")
    parser.add_argument("--quantizer", default="gumbel", choices=["gumbel", "kmeans", "fsq"])
    parser.add_argument("--bert", default="base", choices=["base", "small", "small_compute"])
    parser.add_argument("--lm-text", type=Path, metavar="FILE", help="default: the words of training")
    parser.add_argument(
        "--updates", type=int, help="so many in every training, of small batches, to try things out"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the commands and run none")
    args = parser.parse_args()
    corpus, run = args.corpus.resolve(), args.run.resolve()
    args.pretrain = args.pretrain.resolve() if args.pretrain else None
    listed = stages(corpus, run, args)
    if args.dry_run:
        for stage in listed:
            print(f"# {stage.name}: {stage.title}")
            print("\n".join(map(shlex.join, stage.commands)))
        return 0
    return run_or_say("recipe.py", lambda: run_recipe(run, listed))


if __name__ == "__main__":
    sys.exit(main())

"""The stages of whole pipelines, from manifests to words: what the recipes in examples/ are built from.

Each function returns one stage for `runner.py`; its command is the one that a user would type.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from .runner import Stage

BIN = Path(sys.executable).parent
PACKAGE = Path(__file__).resolve().parent.parent
VQW2V = [str(BIN / "vqw2v")]


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """How many stages of a recipe run side by side."""
    parser.add_argument(
        "--jobs",
        type=int,
        default=2,
        metavar="N",
        help="stages that run side by side, a core each (default: %(default)s)",
    )


def train(
    run: Path,
    name: str,
    config: Path,
    overrides: Sequence[str],
    *,
    title: str,
    minutes: float,
    needs: Sequence[str],
) -> Stage:
    """A training by `fairseq-hydra-train` with the settings of a yaml."""
    folder = run / name
    command = [
        *(str(BIN / "fairseq-hydra-train"), "--config-dir", str(config.parent), "--config-name", config.stem),
        *(f"common.user_dir={PACKAGE}", f"checkpoint.save_dir={folder}", f"hydra.run.dir={folder}"),
        *overrides,
    ]
    result = f"{folder}/checkpoint_last.pt"
    given = [words for words in overrides if words.startswith("optimization.max_update=")]
    settings = OmegaConf.merge(OmegaConf.load(config), OmegaConf.from_dotlist(given))
    updates = settings.optimization.get("max_update", 0)
    return Stage(name, [command], title, minutes, needs, [config], updates=updates, result=result)


def usage(run: Path, name: str, checkpoint: Path, data: Path, split: str, needs: Sequence[str]) -> Stage:
    """How a checkpoint uses its codes, and what they say about phones where their times are known."""
    phones = data / f"{split}.phones.ctm"
    command = [*VQW2V, "usage", str(checkpoint), str(data / f"{split}.tsv")]
    out = run / name / "usage.json"
    command += ["--phones", str(phones), "--untrained", "--mfcc", "--robust", "5", "--out", str(out)]
    title = "How it uses its codes, beside a network that has learnt nothing and k-means of MFCC"
    return Stage(name, [command], title, 0.5, needs, shown="^(trained|untrained|MFCC|  )", result=str(out))


def tokens(
    run: Path,
    name: str,
    checkpoint: Path,
    data: Path,
    splits: Sequence[str],
    minutes: float,
    needs: Sequence[str],
    options: Sequence[str] = (),
) -> Stage:
    """The tokens of every split, with the dictionary of the first."""
    out = run / name / "data"
    commands = [
        [*VQW2V, "discretize", str(checkpoint), str(data / f"{split}.tsv"), str(out), *options]
        for split in splits
    ]
    title = "Audio to tokens, a file's own whatever stands beside it"
    return Stage(name, commands, title, minutes, needs, result=f"{out}, which BERT's training reads")


def features(
    run: Path,
    name: str,
    layer: str,
    data: Path,
    splits: Sequence[str],
    minutes: float,
    needs: Sequence[str],
    checkpoint: Path | str = "-",
    bert: Path | None = None,
    options: Sequence[str] = (),
) -> Stage:
    """An acoustic model's input: one row a frame."""
    out = run / name / "data"
    more = ["--layer", layer, *(["--bert", str(bert)] if bert else []), *options]
    commands = [
        [*VQW2V, "features", str(checkpoint), str(data / f"{split}.tsv"), str(out), *more] for split in splits
    ]
    return Stage(name, commands, f"Features for the acoustic model: {layer}", minutes, needs, result=str(out))


def abx(run: Path, name: str, features: Path, data: Path, split: str, needs: Sequence[str]) -> Stage:
    """How well frames tell phones apart, within and across speakers."""
    out = run / name / "abx.json"
    command = [*VQW2V, "abx", str(features), "--split", split, "--phones", str(data / f"{split}.phones.ctm")]
    command += ["--manifest", str(data / f"{split}.tsv"), "--context", "none", "--out", str(out)]
    title = f"How well {features.parent.name} tell phones apart (ABX)"
    return Stage(name, [command], title, 0.1, needs, shown="within|across", result=str(out))


def labels(
    run: Path, name: str, data: Path, splits: Sequence[str], options: Sequence[str], needs: Sequence[str]
) -> Stage:
    """Transcripts as the acoustic model spells them; the options say which column and which units."""
    manifests = [str(data / f"{split}.tsv") for split in splits]
    out = run / name / "data"
    command = [*VQW2V, "labels", *manifests, str(out), *options]
    return Stage(name, [command], "Transcripts to labels", 0.1, needs, result=str(out))


def language_model(run: Path, name: str, text: Path, order: int, needs: Sequence[str]) -> Stage:
    """An n-gram model of the training's words."""
    out = run / name / "lm.arpa"
    command = [*VQW2V, "lm", str(text), str(out), "--order", str(order)]
    return Stage(name, [command], f"A {order}-gram language model", 0.1, needs, result=str(out))


def decode(
    run: Path,
    name: str,
    checkpoint: Path,
    data: Path,
    labels: Path,
    split: str,
    decoder: Sequence[str],
    *,
    title: str,
    minutes: float,
    needs: Sequence[str],
    options: Sequence[str] = (),
) -> Stage:
    """The words of a split, with times and confidences, and the error rate."""
    folder = run / name
    command = [
        *(str(BIN / "fairseq-generate"), str(data), "--user-dir", str(PACKAGE), "--task", "vq_acoustic"),
        *("--labels", str(labels), "--path", str(checkpoint), "--gen-subset", split, "--decoder", *decoder),
        *("--scoring", "vq_error", "--results-path", str(folder), *options),
    ]
    answer = ["tail", "-n", "1", str(folder / f"generate-{split}.txt")]
    result = f"{folder}/hypotheses-{split}.jsonl"
    return Stage(name, [command, answer], title, minutes, needs, shown="^Generate ", result=result)


def answer(
    run: Path,
    name: str,
    checkpoint: Path,
    data: str,
    labels: Path,
    split: str,
    *,
    title: str,
    minutes: float,
    needs: Sequence[str],
    options: Sequence[str] = (),
) -> Stage:
    """The class of each utterance of a split; `data` may be several folders by colons."""
    folder = run / name
    command = [
        *(str(BIN / "fairseq-generate"), data, "--user-dir", str(PACKAGE), "--task", "vq_utterance"),
        *("--labels", str(labels), "--path", str(checkpoint), "--gen-subset", split),
        *("--results-path", str(folder), *options),
    ]
    result = f"{folder}/classes-{split}.tsv"
    return Stage(name, [command], title, minutes, needs, shown=f"^{split}: ", result=result)


def report(run: Path, name: str, needs: Sequence[str], pictures: Sequence[tuple[Path, str]] = ()) -> Stage:
    """One page that shows the whole run, and drawings that are not of it, each under its caption."""
    out = run / name / "report.html"
    command = [*VQW2V, "report", str(run), str(out)]
    for path, caption in pictures:
        command += ["--picture", f"{path}={caption}"]
    return Stage(
        *(name, [command], "One page of everything", 0.3, needs),
        reads=[path for path, _ in pictures],
        result=f"{out}: open it in a browser",
    )

"""The stages of recognition without labels: audio to segments, text to phones, and what is read of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..text.units import SILENCE
from .runner import Stage
from .stages import BIN, PACKAGE, VQW2V


def clusters(
    run: Path, name: str, checkpoint: str, manifest: Path, options: Sequence[str], needs: Sequence[str]
) -> Stage:
    """Clusters of a layer's frames, by whose runs audio is cut into segments."""
    out = run / name / "data"
    command = [*VQW2V, "cluster", checkpoint, str(manifest), str(out), *options]
    return Stage(name, [command], "Clusters of frames", 1, needs, result=str(out))


def segments(
    run: Path,
    name: str,
    checkpoint: str,
    data: Path,
    splits: Sequence[str],
    options: Sequence[str],
    needs: Sequence[str],
    spans: str | None = None,
) -> Stage:
    """Segments of all splits; `spans` is the file of given ones, with {split} in its name."""
    out = run / name / "data"
    commands = []
    for split in splits:
        more = [] if spans is None else ["--spans", spans.replace("{split}", split)]
        manifest = str(data / f"{split}.tsv")
        commands.append([*VQW2V, "segment", checkpoint, manifest, str(out), *options, *more])
    return Stage(name, commands, "Audio to segments", 1, needs, shown="a second of audio", result=str(out))


def phones(run: Path, name: str, text: Path, options: Sequence[str], needs: Sequence[str]) -> Stage:
    """Text that nobody has spoken, as phones."""
    out = run / name / "data"
    command = [*VQW2V, "phones", str(text), "--save-dir", str(out), *options]
    return Stage(name, [command], "Text to phones", 0.2, needs, [text], shown="^(  |.*: )", result=str(out))


def phone_models(run: Path, name: str, text: Path, needs: Sequence[str]) -> Stage:
    """By the one runs are scored, without silence as in the paper; by the other they are searched."""
    out, train = run / name, str(text / "train.phn")
    commands = [
        [*VQW2V, "lm", train, str(out / "score.arpa"), "--order", "4", "--leave-out", SILENCE],
        [*VQW2V, "lm", train, str(out / "search.arpa"), "--order", "4"],
    ]
    return Stage(name, commands, "Language models of phones", 0.2, needs, result=str(out))


def decipher(
    run: Path,
    name: str,
    segments: Path,
    text: Path,
    split: str,
    options: Sequence[str],
    needs: Sequence[str],
) -> Stage:
    """What an adversary should beat."""
    out = run / name / "data"
    command = [*VQW2V, "decipher", str(segments), str(text), str(out), "--read", split, *options]
    title = "Segments read without an adversary, by the order of phones alone"
    return Stage(name, [command], title, 0.5, needs, shown="bits a segment|PER", result=str(out))


def read(
    run: Path,
    name: str,
    checkpoint: Path,
    data: Path,
    splits: Sequence[str],
    decoder: Sequence[str],
    title: str,
    needs: Sequence[str],
    task: Sequence[str] = ("vq_unpaired",),
) -> Stage:
    """What a model says of each split, whatever the truth is; `task` with the options that it needs."""
    folder = run / name
    commands = []
    for split in splits:
        commands.append(
            [
                *(str(BIN / "fairseq-generate"), str(data), "--user-dir", str(PACKAGE), "--task", *task),
                *("--path", str(checkpoint), "--gen-subset", split, "--decoder", *decoder),
                *("--results-path", str(folder), "--cpu", "--num-workers", "0"),
            ]
        )
    return Stage(name, commands, title, 0.3, needs, result=f"{folder}/hypotheses-{splits[-1]}.jsonl")

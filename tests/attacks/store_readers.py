"""Every command that reads a folder which a command has written, or that writes one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from attempts import Reader
from corpus_readers import tune
from good_things import LOGMEL, SEGMENTED, discretize_killed, features_killed, train_command


def store_readers(good: Path) -> dict[str, list[Reader]]:
    """By the folder's name among the good things."""
    spoken = ["--text", "text", "--unit", "letters"]
    return {
        "tokens": [
            Reader("abx", partial(_abx, good)),
            Reader("TokenStore", partial(_rows, "tokens", "TokenStore")),
            Reader("discretize", partial(_one_more, good, ["discretize", f"{good}/kmeans.pt"], [])),
            Reader("fairseq-train", partial(_train, good, "bert", "")),
        ],
        "mel": [
            Reader("abx", partial(_abx, good)),
            Reader("FeatureStore", partial(_rows, "features", "FeatureStore")),
            Reader("features", partial(_one_more, good, ["features", "-"], LOGMEL)),
            Reader("fairseq-train", partial(_train, good, "ctc", "")),
        ],
        "labels": [
            Reader(
                "tune", lambda word, out, kind: [*tune(good, f"{good}/em", out, word), "--decoder", "free"]
            ),
            Reader("labels", partial(_one_more, good, ["labels"], spoken)),
            Reader("fairseq-train", partial(_train, good, "ctc", "--labels")),
        ],
        "segments": [
            Reader("segment", partial(_one_more, good, ["segment", "-"], SEGMENTED)),
            Reader("fairseq-train", partial(_train, good, "wav2vec_u", "")),
        ],
        "text": [Reader("fairseq-train", partial(_train, good, "wav2vec_u", "--text"))],
        "em": [Reader("tune", lambda word, out, kind: [*tune(good, word, out), "--decoder", "free"])],
        "run": [
            Reader("report", lambda word, out, kind: ["vqw2v", "report", word, f"{out}.html"], lenient=True)
        ],
    }


def going_on(good: Path) -> dict[str, Reader]:
    """By the folder that a killed run left."""
    commands: tuple[Callable[[Path, str], list[str]], ...] = (discretize_killed, features_killed)
    return {c.__name__: Reader(c.__name__.split("_")[0], partial(_again, good, c)) for c in commands}


def _again(
    good: Path, command: Callable[[Path, str], list[str]], word: str, out: str, kind: str
) -> list[str]:
    Path(word).rename(out)
    return command(good, out)


def _abx(good: Path, word: str, out: str, kind: str) -> list[str]:
    return ["vqw2v", "abx", word, "--phones", f"{good}/train.ctm", "--split", "train", "--out", f"{out}.json"]


def _rows(module: str, name: str, word: str, out: str, kind: str) -> list[str]:
    """All that a store gives."""
    lines = f"from vqw2v_plugin.stores.{module} import {name}\nstore = {name}({word!r}, 'train')\n"
    return ["python", "-c", f"{lines}print(len(store.rows), [store[i].tolist() for i in range(len(store))])"]


def _one_more(good: Path, command: list[str], more: list[str], word: str, out: str, kind: str) -> list[str]:
    """Another split into the folder."""
    return [
        "vqw2v",
        *command,
        f"{good}/clip.tsv" if more[:1] != ["--text"] else f"{good}/data/valid.tsv",
        word,
        *more,
    ]


def _train(good: Path, trained: str, option: str, word: str, out: str, kind: str) -> list[str]:
    command = train_command(good, trained, f"{out}s", 1, [option, word] if option else [])
    return command if option else [command[0], word, *command[2:]]


def writers(good: Path) -> list[Reader]:
    """A command each that writes there."""
    data, labels = f"{good}/data/train.tsv", f"{good}/labels"
    commands: dict[str, tuple[list[str], list[str]]] = {  # what is said before the place, and behind it
        "discretize": ([f"{good}/kmeans.pt", f"{good}/clip.tsv"], []),
        "features": (["-", f"{good}/clip.tsv"], LOGMEL),
        "labels": ([data], ["--text", "text", "--unit", "letters"]),
        "lm": ([f"{labels}/train.wrd"], []),
        "export": ([f"{good}/kmeans.pt"], []),
        "import": ([f"{good}/x_kmeans"], []),
        "report": ([f"{good}/run"], []),
        "manifest": ([f"{good}/data"], []),
        "abx": ([f"{good}/tokens", "--phones", f"{good}/train.ctm", "--split", "train", "--out"], []),
        "tune": ([*tune(good, f"{good}/em", "")[2:-2], "--decoder", "free", "--out"], []),
    }

    def writer(name: str, before: list[str], behind: list[str]) -> Reader:
        return Reader(name, lambda word, out, kind: ["vqw2v", name, *before, word, *behind])

    return [writer(name, *words) for name, words in commands.items()]

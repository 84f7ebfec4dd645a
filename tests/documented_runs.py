"""The documented commands run one after the other in a sandbox; trainings are small and two updates long.

`/corpus`, `/recordings`, `/runs` and `/shared` are folders of the sandbox, where the commands also stand.
"""

import re
import runpy
import sys
import tempfile
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from documented import PACKAGE, ROOT, Command, DocumentError
from documented_checks import start_fairseq
from documented_home import make_home
from forked import Ended, in_child

from vqw2v_plugin.__main__ import main

_FOLDERS = re.compile(r"(?<![\w./])/(?=(corpus|recordings|runs|shared)\b)")
_CONV = "[(16, 10, 5), (16, 8, 4), (16, 4, 2)]"

# What makes a training small: of each task, as options and as hydra's overrides.
_ALL = {
    "common": {"cpu": True, "log_interval": 1, "log_format": "simple"},
    "optimization": {"max_update": 2, "update_freq": "[1]"},
    "dataset": {"num_workers": 0},
    "checkpoint": {"no_epoch_checkpoints": True},
    "distributed_training": {"distributed_world_size": 1},
}
_SMALL = {
    "vq_audio_pretraining": {
        "task": {"max_sample_size": 24_000},
        "dataset": {"max_tokens": 100_000},
        "model": {
            "conv_feature_layers": _CONV,
            "conv_aggregator_layers": "[(16, 2, 1)]",
            "prediction_steps": 3,
            "num_negatives": 4,
            "vq_vars": 8,
            "vq_dim": 16,
        },
    },
    "vq_wav2vec2": {
        "task": {"max_sample_size": 24_000, "min_sample_size": 4_000},
        "dataset": {"max_tokens": 100_000},
        "model": {
            "conv_feature_layers": _CONV,
            "encoder_layers": 4,
            "encoder_embed_dim": 32,
            "encoder_ffn_embed_dim": 64,
            "encoder_attention_heads": 2,
            "conv_pos": 16,
            "latent_vars": 8,
            "num_negatives": 10,
        },
    },
    "vq_wav2vec2_ctc": {"dataset": {"max_tokens": 400_000}},
    "vq_token_pretraining": {
        "task": {"tokens_per_sample": 256},
        "dataset": {"max_tokens": 1024},
        "model": {
            "encoder_embed_dim": 32,
            "encoder_ffn_embed_dim": 64,
            "encoder_attention_heads": 2,
        },
    },
    "vq_speech_pretraining": {
        "dataset": {"max_tokens": 200_000},
        "model": {
            "encoder_embed_dim": 32,
            "encoder_ffn_embed_dim": 64,
            "encoder_attention_heads": 2,
        },
    },
    "vq_utterance": {"model": {"hidden_dim": 16}},
    "vq_unpaired": {"dataset": {"batch_size": 16}, "model": {"discriminator_dim": 8}},
    "vq_acoustic": {
        "dataset": {"max_tokens": 100_000},
        "model": {"conv_layers": "[(32, 5, 2)]"},
    },
}

# What a page calls by a name of its own: files that the README's commands have written.
_LINKS = {
    "examples/acoustic": {
        "FEATURES": "corpus/logmel",
        "checkpoint_best.pt": "runs/acoustic/checkpoint_best.pt",
    },
}

# Of commands that are no trainings: what a minute of speech allows, and what is quick.
_SMALLER = {"--minutes": "1", "--vocab-size": "60"}
_QUICK = {"tune": ["--points", "4", "--rounds", "1", "--beam", "20"]}

_LONG = re.compile(
    r"^python (benchmarks/|examples/(toy|digits|corpus|few_labels|multilingual|utterance)/"
    r"|examples/(vq_wav2vec/collapse|wav2vec2/ablation|wav2vec_u/ladder))"
)

# What is not run, and why; its options are checked all the same.
_NOT_RUN: list[tuple[str, Callable[[Sequence[str]], bool]]] = [
    ("several ranks", lambda words: words[0] in ("torchrun", "srun") or "--distributed-rank" in words),
    ("a GPU", lambda words: "cuda" in words),
    ("minutes of work, and tests of their own", lambda words: words[0] == "make" or "pytest" in words),
    ("changes the environment", lambda words: words[0] == "pip"),
    ("a recipe or a benchmark of minutes", lambda words: bool(_LONG.search(" ".join(words[:2])))),
]


def reason_not_to_run(command: Command) -> str:
    """ "" if it is to be run."""
    return next((reason for reason, fits in _NOT_RUN if fits(command.words)), "")


class Sandbox:
    """Runs commands in order, each once; a later one finds what the earlier ones wrote."""

    def __init__(self, folder: Path, commands: Sequence[Command]) -> None:
        self.folder, self._commands = folder, list(commands)
        self._ended: list[Ended] = []
        make_home(folder)

    def run(self, command: Command) -> Ended:
        """How it ended; first all before it that were not run yet."""
        for number in range(len(self._ended), self._commands.index(command) + 1):
            self._ended.append(self._run(self._commands[number]))
        return self._ended[self._commands.index(command)]

    def _run(self, command: Command) -> Ended:
        if reason_not_to_run(command):
            return Ended(0, "", "")
        self._link(command)
        words = [w for before, word in pairwise(["", *command.words]) for w in self._at_home(before, word)]
        ended = in_child(lambda: _start(words), self.folder, seconds=60, **dict(command.environ))
        if command.out:
            (self.folder / command.out).write_text(ended.out, encoding="utf-8")
        return ended

    def _link(self, command: Command) -> None:
        page = str(command.document.parent.relative_to(ROOT))
        for name, target in _LINKS.get(page, {}).items():
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(self.folder / target)

    def _at_home(self, before: str, word: str) -> list[str]:
        """A word as it is meant here; a `*` is all files that fit."""
        if before in _SMALLER:
            return [_SMALLER[before]]
        if before == "--user-dir":
            return [str(PACKAGE)]  # a relative one means the checkout's
        if "*" in word:
            return sorted(path.name for path in self.folder.glob(word)) or [word]
        return [_FOLDERS.sub(f"{self.folder}/", word)]


def _start(words: Sequence[str]) -> int:
    program, *options = words
    if program == "vqw2v":
        return main([*options, *_QUICK.get(options[0], [])])
    if [program, *options[:2]] == ["python", "-m", "vqw2v_plugin"]:
        return main(options[2:])
    if program == "python" and options[0] == "-m":
        runpy.run_module(options[1], run_name="__main__")
    elif program == "python":
        sys.argv[:] = options
        sys.path[:0] = [str(Path(options[0]).parent)]
        runpy.run_path(options[0], run_name="__main__")
    elif program == "fairseq-generate":
        start_fairseq(program, [*options, "--cpu"])
    elif program in ("fairseq-train", "fairseq-hydra-train"):
        start_fairseq(program, small(program, options))
    else:
        raise DocumentError(f"these tests do not know how to run {program}")
    return 0


def small(program: str, options: Sequence[str]) -> list[str]:
    """A training's options with what makes it small behind them."""
    hydra = program == "fairseq-hydra-train"
    task = _task_of_yaml(options) if hydra else _task_of(options)
    more = [*options, *_elsewhere(options, hydra)]
    for group, values in [*_ALL.items(), *_SMALL[task].items()]:
        for name, value in values.items():
            if hydra:
                quoted = f"'{value}'" if "(" in str(value) else str(value).lower()
                more.append(f"++{group}.{name}={quoted}")
            else:
                more += _as_option(name, value)
    return more


def _elsewhere(options: Sequence[str], hydra: bool) -> list[str]:
    """A folder of its own for a training that was shown before: others read what that one left."""
    folder = Path(_value(options, "checkpoint.save_dir=" if hydra else "--save-dir"))
    if not folder.exists():
        return []
    other = tempfile.mkdtemp(prefix=folder.name, dir=folder.parent.parent)
    return [f"checkpoint.save_dir={other}"] if hydra else ["--save-dir", other]


def _as_option(name: str, value: object) -> list[str]:
    option = f"--{name.replace('_', '-')}"
    if name == "update_freq":
        return [option, "1"]
    return [option] if value is True else [option, str(value)]


def _value(options: Sequence[str], name: str) -> str:
    if name.endswith("="):
        return next(word for word in options if word.startswith(name)).removeprefix(name)
    return options[list(options).index(name) + 1]


def _task_of(options: Sequence[str]) -> str:
    """Or, where models of one task are made small by other options, the model."""
    return _kind(_value(options, "--task"), _value(options, "--arch"))


def _kind(task: str, model: str) -> str:
    kinds = ("vq_wav2vec2_ctc", "vq_wav2vec2")
    return next((kind for kind in kinds if model.startswith(kind)), task)


def _task_of_yaml(options: Sequence[str]) -> str:
    file = ROOT / _value(options, "--config-dir") / f"{_value(options, '--config-name')}.yaml"
    text, names = file.read_text(encoding="utf-8"), []
    for group in ("task", "model"):
        found = re.search(rf"^{group}:\n(?:  .*\n)*?  _name: (\w+)", text, re.MULTILINE)
        if found is None:
            raise DocumentError(f"{file}: names no {group}")
        names.append(found[1])
    return _kind(*names)

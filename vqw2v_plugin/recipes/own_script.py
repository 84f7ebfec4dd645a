"""wav → … → text for one's own corpus: the commands of the whole path, each stage with its reason."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .own_corpus import CorpusLook
from .own_plan import Plan
from .own_words import expected_range, what_helps

_BY_SPEAKER = """ Not --standardize speaker (with normalize_features: none):
# on the digits of four speakers 7 % of the words were wrong with it by letters alone, 12 % without, but with
# lexicon 2.2 and 1.3 %: what letters gain by it, the lexicon has already."""


@dataclass(frozen=True)
class Given:
    """What the user named, for the commands."""

    manifests: Path  # where they are, or will be
    listing: Sequence[str] = ()  # of `vqw2v manifest`, where the manifests are made first: folders, options
    folders: int = 0  # so many of these are folders
    text: str | None = None  # the column, where it was named
    user_dir: str | None = None  # of whoever wrote the checkpoint's quantizer


def script_text(look: CorpusLook, plan: Plan, given: Given) -> str:
    manifests = '"$RUN/manifests"' if given.listing else shlex.quote(str(given.manifests))
    splits = " ".join(dict.fromkeys(split.name for split in (look.train, look.valid, look.test)))
    valid, test = look.valid.name, look.test.name
    text = f" --text {shlex.quote(given.text)}" if given.text else ""
    stages = [
        *_listing(given),
        Stage(
            "labels",
            f"Letters of {look.train.name}, {valid} and {test}, and the words of training as a lexicon.",
            "vqw2v labels "
            + " ".join(f"{manifests}/{split}.tsv" for split in splits.split())
            + f' "$RUN/labels" --unit letters{text}',
        ),
        Stage(
            "language model",
            f"What follows what, {plan.order} words at a time, in the training's texts.\n"
            "# For more text and words than it has: examples/acoustic/README.md, More text.",
            f'vqw2v lm "$RUN/labels/train.wrd" "$RUN/lm.arpa" --order {plan.order}',
        ),
        _features(plan, given, manifests, splits, len(look.train.speakers)),
        Stage(
            f"training, about {plan.time}",
            "uer should be below 50 after a third of it, and fall on.",
            'fairseq-hydra-train --config-dir "$RUN" --config-name acoustic \\',
            '    common.user_dir="$(vqw2v path)" task.data="$RUN/features" task.labels="$RUN/labels" \\',
            '    checkpoint.save_dir="$RUN/acoustic" hydra.run.dir="$RUN/acoustic"',
        ),
        *_decoding(valid, test, " --cpu" * (not plan.gpus)),
        Stage(
            "results",
            "All error rates, a page with curves, errors and sound, and how any other file becomes words.",
            'vqw2v results "$RUN"',
            f'vqw2v report "$RUN" "$RUN/report.html" --corpus {manifests}',
            *_last_lines(look),
        ),
    ]
    parts = [
        "#!/bin/sh",
        "# From audio to words: sh run.sh. Run it again at any time: a killed training goes on.",
        "set -e",
        '[ "${VQW2V_LOUD:-0}" = 0 ] && export PYTHONWARNINGS=ignore  # hydra and fairseq warn of each other',
        "export VQW2V_NEXT=0  # what comes next stands below",
        'RUN=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)',
    ]
    for number, stage in enumerate(stages, 1):
        parts += ["", *stage.lines(number, len(stages))]
    return "\n".join([*parts, ""])


class Stage:
    """Commands, why they are so, and what the screen says when they begin."""

    def __init__(self, name: str, why: str, *commands: str) -> None:
        self.name, self.why, self.commands = name, why, commands

    def lines(self, number: int, count: int) -> list[str]:
        return [f"# {self.why}", f'echo "== {number} of {count}: {self.name}"', *self.commands]


def _decoding(valid: str, test: str, cpu: str) -> list[Stage]:
    generate = (
        f'fairseq-generate "$RUN/features" --user-dir "$(vqw2v path)" --task vq_acoustic{cpu} \\\n'
        '    --labels "$RUN/labels" --path "$RUN/acoustic/checkpoint_best.pt" --scoring vq_error'
    )
    beam = '--lexicon "$RUN/labels/lexicon.ltr.txt" --lm "$RUN/lm.arpa" --beam 50'
    return [
        Stage(
            "weights",
            f"Those of language model and words with the fewest errors on {valid}.",
            f"{generate} \\",
            f'    --gen-subset {valid} --emissions "$RUN/emissions" --results-path "$RUN/{valid}_greedy"',
            f'vqw2v tune "$RUN/emissions" --split {valid} --labels "$RUN/labels" \\',
            f"    {beam}",
        ),
        Stage(
            f"what was said in {test}",
            "By the model alone, and with lexicon and language model.",
            f'{generate} \\\n    --gen-subset {test} --decoder greedy --results-path "$RUN/{test}_greedy"',
            f"{generate} \\\n    --gen-subset {test} --decoder lexicon {beam} \\",
            f'    --weights "$RUN/emissions/tuned-{valid}.json" --results-path "$RUN/{test}_words"',
        ),
    ]


def _last_lines(look: CorpusLook) -> list[str]:
    """The whole line that transcribes as well as the test was, and what came of what was expected."""
    valid, test = look.valid.name, look.test.name
    searched = {
        "lexicon": "labels/lexicon.ltr.txt",
        "lm": "lm.arpa",
        "weights": f"emissions/tuned-{valid}.json",
    }
    options = " ".join(f'--{name} \\"$RUN/{file}\\"' for name, file in searched.items())
    model = 'vqw2v transcribe \\"$RUN/acoustic/checkpoint_best.pt\\"'
    low, high = expected_range(look)
    return [
        f'echo "next: {model} FILE --decoder lexicon {options}"',
        f'vqw2v results "$RUN/{test}_words" --expect {low:g} {high:g} --why {shlex.quote(what_helps(look))}',
    ]


def _listing(given: Given) -> list[Stage]:
    if not given.listing:
        return []
    trimmed = " Much silence at the ends: --trim leaves out all but so many seconds."
    said = "What there is, and which of it is held out." + trimmed * ("--trim" in given.listing)
    words = [*map(shlex.quote, given.listing[: given.folders]), '"$RUN/manifests"']
    options = map(shlex.quote, given.listing[given.folders :])
    return [Stage("manifests", said, " ".join(["vqw2v manifest", *words, *options]))]


def _features(plan: Plan, given: Given, manifests: str, splits: str, speakers: int) -> Stage:
    front = plan.front
    if front.checkpoint is None:
        source, options = "-", f"--bands {front.bands} --sample-rate {front.sample_rate}"
        options += f" --deltas {front.deltas}" if front.deltas else ""
        said = "Cepstra and their slopes, without pitch" if front.is_cepstra else "Log-mel energies"
        said += "." + _BY_SPEAKER * (speakers > 1)
    else:
        source, options = shlex.quote(front.checkpoint), "--device cuda" if plan.gpus else ""
        options += f" --user-dir {shlex.quote(given.user_dir)}" if given.user_dir else ""
        options = options.strip()
        said = (
            f"Layer {front.layer} of what was trained before. With a young model add --pca 64: a few of its\n"
            "# directions outweigh all others, and letters are learnt sooner without (README.md, Features)."
        )
    words = f'vqw2v features {source} {manifests}/$split.tsv "$RUN/features" --layer {front.layer} {options}'
    return Stage("features", said, f"for split in {splits}; do", f"    {words.rstrip()}", "done")

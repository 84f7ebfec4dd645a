"""wav → … → text for one's own corpus: a yaml whose lines are explained, and the commands."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .folder import SCRIPT
from .own_corpus import CorpusLook
from .own_plan import Plan
from .own_words import expected_range, what_helps

YAML = "acoustic.yaml"
_COMMENTS_FROM = 40  # the column
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


def files(look: CorpusLook, plan: Plan, given: Given) -> dict[str, str]:
    """By their names in the run's folder; the script comes last."""
    return {YAML: yaml_text(look, plan), SCRIPT: script_text(look, plan, given)}


def yaml_text(look: CorpusLook, plan: Plan) -> str:
    device = "bf16: true" if plan.gpus else "cpu: true"
    length, frame, more = look.train.length(50), plan.front.frame_seconds, plan.dropout + 0.1
    lines = [
        (f"# Letters by CTC, sized to {look.train.hours:.2f} h of speech and {_machine(plan)}.", ""),
        *_section(
            "common", ("log_format: simple", ""), ("log_interval: 50", ""), (device, ""), ("seed: 1", "")
        ),
        *_section(
            "checkpoint",
            ("no_epoch_checkpoints: true", "checkpoint_best.pt and checkpoint_last.pt alone"),
            ("save_interval: ${dataset.validate_interval}", ""),
            ("best_checkpoint_metric: uer", "the error rate of letters on the validation set"),
        ),
        *_section(
            "task",
            ("_name: vq_acoustic", ""),
            ("data: ???", "the features; run.sh says where"),
            ("labels: ???", ""),
            ("label_fraction: 1.0", "0.1: of a tenth of the utterances, to see what more labels are worth"),
        ),
        *_section(
            "dataset",
            ("num_workers: 0", ""),
            (
                f"max_tokens: {plan.max_tokens}",
                f"frames a batch, {plan.max_tokens * frame:.0f} s with padding; an epoch is about "
                f"{plan.batches} batches",
            ),
            (f"validate_interval: {plan.validate_interval}", "epochs; about twenty looks in all"),
            (f"valid_subset: {look.valid.name}", ""),
        ),
        *_section("criterion", ("_name: vq_ctc", "")),
        *_section(
            "optimization",
            (
                f"max_update: {plan.updates}",
                f"each utterance about {plan.epochs:.0f} times; twice as many only if valid's loss still "
                "falls at the end: uer does anyway, as lr falls",
            ),
            (f"lr: [{plan.lr:g}]", "half of it if the loss jumps"),
            ("clip_norm: 5.0", ""),
        ),
        *_section("optimizer", ("_name: adam", ""), ("adam_betas: (0.9,0.98)", ""), ("adam_eps: 1e-06", "")),
        *_section(
            "lr_scheduler",
            ("_name: cosine", ""),
            (f"warmup_updates: {max(20, plan.updates // 20)}", ""),
            ("warmup_init_lr: 1e-07", ""),
            ("min_lr: 1e-05", ""),
            ("lr_period_updates: ${optimization.max_update}", "down to min_lr once"),
        ),
        *_section(
            "model",
            ("_name: vq_wav2letter_tiny", ""),
            (
                f'conv_layers: "{plan.conv_layers}"',
                f"sees {plan.receptive_seconds:.2f} s of utterances of {length:.1f} s; a frame of emissions "
                f"every {1000 * plan.stride * frame:.0f} ms for {look.labels_a_second:.0f} letters a second",
            ),
            (
                f"dropout: {plan.dropout:g}",
                f"{more:g} only if valid's loss has risen a tenth above its least",
            ),
            ("normalize_features: utterance", "none, if the features are standardized by speaker"),
            (f"time_masks: {plan.time_masks}", "stretches hidden in training,"),
            (f"time_mask_width: {plan.time_mask_width}", f"each up to {plan.time_mask_width * frame:.2f} s"),
            *_feature_masks(plan),
        ),
    ]
    return "".join(map(_line, lines))


def script_text(look: CorpusLook, plan: Plan, given: Given) -> str:
    manifests = '"$RUN/manifests"' if given.listing else shlex.quote(str(given.manifests))
    splits = " ".join(dict.fromkeys(split.name for split in (look.train, look.valid, look.test)))
    valid, test = look.valid.name, look.test.name
    text = f" --text {shlex.quote(given.text)}" if given.text else ""
    cpu = "" if plan.gpus else " --cpu"
    generate = (
        f'fairseq-generate "$RUN/features" --user-dir "$(vqw2v path)" --task vq_acoustic{cpu} \\\n'
        '    --labels "$RUN/labels" --path "$RUN/acoustic/checkpoint_best.pt" --scoring vq_error'
    )
    beam = '--decoder lexicon --lexicon "$RUN/labels/lexicon.ltr.txt" --lm "$RUN/lm.arpa" --beam 50'
    parts = [
        "#!/bin/sh",
        "# From audio to words: sh run.sh. Run it again at any time: a killed training goes on.",
        "set -e",
        '[ "${VQW2V_LOUD:-0}" = 0 ] && export PYTHONWARNINGS=ignore  # hydra and fairseq warn of each other',
        'RUN=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)',
        "",
        *_listing(given),
        f"# Letters of {look.train.name}, {valid} and {test}, and the words of training as a lexicon.",
        "vqw2v labels "
        + " ".join(f"{manifests}/{split}.tsv" for split in splits.split())
        + f' "$RUN/labels" --unit letters{text}',
        "",
        f"# What follows what, {plan.order} words at a time, in the training's texts; more such text helps.",
        f'vqw2v lm "$RUN/labels/train.wrd" "$RUN/lm.arpa" --order {plan.order}',
        "",
        *_features(plan, given, manifests, splits, len(look.train.speakers)),
        f"# About {_minutes(plan)}. uer should be below 50 after a third of it, and fall on.",
        'fairseq-hydra-train --config-dir "$RUN" --config-name acoustic common.user_dir="$(vqw2v path)" \\',
        '    task.data="$RUN/features" task.labels="$RUN/labels" \\',
        '    checkpoint.save_dir="$RUN/acoustic" hydra.run.dir="$RUN/acoustic"',
        "",
        f"# The weights of language model and words with the fewest errors on {valid}.",
        f"{generate} \\",
        f'    --gen-subset {valid} --emissions "$RUN/emissions" --results-path "$RUN/{valid}_greedy"',
        f'vqw2v tune "$RUN/emissions" --split {valid} --labels "$RUN/labels" \\',
        '    --lexicon "$RUN/labels/lexicon.ltr.txt" --lm "$RUN/lm.arpa" --beam 50',
        "",
        f"# What was said in {test}: by the model alone, and with lexicon and language model.",
        f'{generate} \\\n    --gen-subset {test} --decoder greedy --results-path "$RUN/{test}_greedy"',
        f"{generate} \\\n    --gen-subset {test} {beam} \\",
        f'    --weights "$RUN/emissions/tuned-{valid}.json" --results-path "$RUN/{test}_words"',
        "",
        "# All error rates, a page with curves, errors and sound, and how any other file becomes words.",
        'vqw2v results "$RUN"',
        f'vqw2v report "$RUN" "$RUN/report.html" --corpus {manifests}',
        *_last_lines(look),
    ]
    return "\n".join([*parts, ""])


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


def _listing(given: Given) -> list[str]:
    if not given.listing:
        return []
    trimmed = " Much silence at the ends: --trim leaves out all but so many seconds."
    said = "# What there is, and which of it is held out." + trimmed * ("--trim" in given.listing)
    words = [*map(shlex.quote, given.listing[: given.folders]), '"$RUN/manifests"']
    options = map(shlex.quote, given.listing[given.folders :])
    return [said, " ".join(["vqw2v manifest", *words, *options]), ""]


def _features(plan: Plan, given: Given, manifests: str, splits: str, speakers: int) -> list[str]:
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
        said = f"Layer {front.layer} of what was trained before."
    words = f'vqw2v features {source} {manifests}/$split.tsv "$RUN/features" --layer {front.layer} {options}'
    return [f"# {said}", f"for split in {splits}; do", f"    {words.rstrip()}", "done", ""]


def _feature_masks(plan: Plan) -> list[tuple[str, str]]:
    front = plan.front
    if not plan.feature_masks:
        why = f"a band of {front.dim} cepstra and slopes is no band of pitch" if front.is_cepstra else ""
        return [("feature_masks: 0", why)]
    return [
        (f"feature_masks: {plan.feature_masks}", "bands hidden in training,"),
        (f"feature_mask_width: {plan.feature_mask_width}", f"each up to so many of {front.dim} features"),
    ]


def _section(name: str, *lines: tuple[str, str]) -> list[tuple[str, str]]:
    return [("", ""), (f"{name}:", ""), *((f"  {line}", why) for line, why in lines)]


def _line(pair: tuple[str, str]) -> str:
    line, why = pair
    return f"{line:<{_COMMENTS_FROM}}  # {why}\n" if why else f"{line}\n"


def _machine(plan: Plan) -> str:
    return f"{plan.gpus} GPUs" if plan.gpus > 1 else "a GPU" if plan.gpus else "a CPU"


def _minutes(plan: Plan) -> str:
    minutes = max(1, round(plan.minutes))
    time = f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"
    return f"{time} on {'a CPU core' if not plan.gpus else _machine(plan)} (computed, not measured)"

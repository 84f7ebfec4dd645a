"""wav → … → text for one's own corpus: a yaml whose lines are explained, and the commands."""

from __future__ import annotations

from .folder import SCRIPT
from .own_corpus import CorpusLook
from .own_plan import Plan
from .own_script import Given, script_text

YAML = "acoustic.yaml"
_COMMENTS_FROM = 40  # the column


def files(look: CorpusLook, plan: Plan, given: Given) -> dict[str, str]:
    """By their names in the run's folder; the script comes last."""
    return {YAML: yaml_text(look, plan), SCRIPT: script_text(look, plan, given)}


def yaml_text(look: CorpusLook, plan: Plan) -> str:
    device = "bf16: true" if plan.gpus else "cpu: true"
    length, frame, more = look.train.length(50), plan.front.frame_seconds, plan.dropout + 0.1
    lines = [
        (f"# Letters by CTC, sized to {look.train.hours:.2f} h of speech and {plan.machine}.", ""),
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
                "falls at the end: uer does anyway, as lr falls, whose fall ends with the last",
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

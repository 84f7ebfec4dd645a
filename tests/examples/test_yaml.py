"""Yamls of one family are the same line for line, but for the settings that are declared here to differ.

fairseq-hydra-train composes a file before it knows the plugin, so that none can build on another and each is
whole; a recipe runs a training anew whose yaml has changed. A change to one is a change to all of its family,
and these tests ask for it.
"""

import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
# files, and the settings in which they may differ
FAMILIES: list[tuple[list[str], str]] = [
    (["vq_wav2vec/*"], "optimization.max_update criterion.loss_weights model.*"),
    (["vq_wav2vec/*_small"], "criterion.loss_weights model.quantizer model.quantizer_args model.vq_*"),
    (["bert/base", "bert/small"], "model._name"),
    (
        ["bert/*"],
        "common.log_interval checkpoint.*_interval_updates task.mask_* task.tokens_per_sample dataset.* "
        "distributed_training* optimization.* lr_scheduler.*_update* model.*",
    ),
    (
        ["acoustic/timit", "acoustic/wsj"],
        "checkpoint.best_checkpoint_metric task.unit task.asg_repeats dataset.batch_size "
        "distributed_training.distributed_world_size optimization.lr optimization.clip_norm "
        "optimizer.momentum model._name",
    ),
    (
        ["second_round/*"],
        "common.log_interval checkpoint.save_interval_updates dataset.num_workers dataset.max_tokens "
        "distributed_training* optimization.max_update optimization.update_freq optimization.clip_norm "
        "lr_scheduler.*_update* model.*",
    ),
    (
        ["wav2vec2/*"],
        "common.log_interval checkpoint.save_interval_updates task.*_sample_size task.normalize dataset.* "
        "distributed_training* criterion.loss_weights optimization.* lr_scheduler.*_update* model.*",
    ),
    (
        ["wav2vec2/large", "multilingual/xlsr53", "multilingual/robust"],
        "distributed_training.distributed_world_size optimization.* lr_scheduler.*_update*",
    ),
    (["wav2vec2/small", "multilingual/small"], "optimization.max_update lr_scheduler.*_update*"),
    (["wav2vec2/small*"], "optimization.max_update lr_scheduler.*_update* model.*"),
    (["vq_wav2vec/gumbel", "multilingual/vq_xlsr"], "distributed_training.distributed_world_size"),
    (
        ["vq_wav2vec/kmeans_small", "multilingual/vq_small"],
        "common.* checkpoint.save_interval_updates task.max_sample_size dataset.* distributed_training* "
        "optimization.* lr_scheduler.lr_period_updates model.conv_* model.vq_vars",
    ),
    (
        ["wav2vec2/finetuning/*"],
        "common.log_interval checkpoint.save_interval checkpoint.best_checkpoint_metric task.unit "
        "dataset.* distributed_training.distributed_world_size optimization.* model.freeze_finetune_updates "
        "model.mask_* model.layerdrop",
    ),
    (["toy/bert", "digits/bert"], ""),
    (
        ["toy/gumbel", "toy/kmeans"],
        "criterion.loss_weights optimization.lr model.quantizer model.quantizer_args model.vq_depth",
    ),
    (
        ["toy/gumbel", "toy/kmeans", "digits/pretrain"],
        "task.sample_rate task.max_sample_size dataset.max_tokens criterion.loss_weights "
        "optimization.max_update optimization.lr lr_scheduler.warmup_updates model.*",
    ),
    (["digits/phones", "few_labels/acoustic"], "model.*masks model.feature_mask_width"),
    (["digits/acoustic", "digits/phones"], "criterion._name optimization.max_update optimization.lr model.*"),
    (
        ["acoustic/tiny", "digits/acoustic", "digits/phones"],
        "common.cpu checkpoint.no_epoch_checkpoints checkpoint.*save_interval* checkpoint.keep_* dataset.* "
        "criterion._name optimization.max_update optimization.lr lr_scheduler.warmup_updates model.*",
    ),
    (
        ["acoustic/tiny", "utterance/head"],
        "checkpoint.*best_checkpoint_metric task._name dataset.* criterion.* optimization.max_update model.*",
    ),
    (
        ["acoustic/tiny", "toy/acoustic"],
        "common.log_interval common.cpu dataset.max_tokens dataset.validate_interval optimization.* "
        "lr_scheduler.* model.*",
    ),
    (["wav2vec_u/w2vu", "wav2vec_u/w2vu2"], "task.aux optimization.lr optimizer.discriminator_lr model.*"),
    (
        ["wav2vec_u/*"],
        "common.cpu checkpoint.save_interval_updates task.aux dataset.num_workers dataset.batch_size "
        "dataset.validate_interval_updates optimization.* lr_scheduler.* optimizer.discriminator_lr model.*",
    ),
]
NOTES = {"task.data", "task.labels"}  # whose comment says which data, each its own


def files_of(patterns: list[str]) -> list[Path]:
    return sorted(path for pattern in patterns for path in EXAMPLES.glob(f"{pattern}.yaml"))


def settings_of(path: Path) -> dict[str, str]:
    """`section.key` and what stands behind it, comments too, in the file's order; above them is free text."""
    found, section = {}, ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith(("#", "\n")) or not line.strip():
            continue
        key, value = re.fullmatch(r"\s*(\w+):(.*)", line).groups()  # type: ignore[union-attr]
        section, name = (section, f"{section}.{key}") if line.startswith("  ") else (key, key)
        found[name] = value.partition("#")[0].strip() if name in NOTES else value
    return found


def may_differ(name: str, declared: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in declared.split())


@pytest.mark.parametrize(("patterns", "declared"), FAMILIES, ids=lambda value: str(value)[:40])
def test_a_family_differs_only_where_it_is_declared_to(patterns: list[str], declared: str) -> None:
    first, *others = files_of(patterns)
    assert others, f"{patterns} are no family"
    for path in others:
        one, other = (
            [(name, value) for name, value in settings_of(each).items() if not may_differ(name, declared)]
            for each in (first, path)
        )
        assert one == other, f"{path} and {first} differ: change both, or declare it in FAMILIES"


@pytest.mark.parametrize(("patterns", "declared"), FAMILIES, ids=lambda value: str(value)[:40])
def test_what_is_declared_to_differ_does(patterns: list[str], declared: str) -> None:
    settings = [settings_of(path) for path in files_of(patterns)]
    different = {name for each in settings for name in each if len({s.get(name) for s in settings}) > 1}
    for pattern in declared.split():
        assert any(fnmatchcase(name, pattern) for name in different), f"{pattern} is the same in {patterns}"


def test_every_yaml_is_of_a_family() -> None:
    in_families = {path for patterns, _ in FAMILIES for path in files_of(patterns)}
    assert in_families == set(EXAMPLES.rglob("*.yaml"))


def test_a_changed_line_is_seen(tmp_path: Path) -> None:
    text = (EXAMPLES / "vq_wav2vec/gumbel.yaml").read_text(encoding="utf-8")
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "b.yaml").write_text(text.replace("  min_lr: 1e-06\n", "  min_lr: 1e-05\n"), encoding="utf-8")
    a, b = (settings_of(tmp_path / f"{name}.yaml") for name in "ab")
    assert a.keys() == b.keys() and {name for name in a if a[name] != b[name]} == {"lr_scheduler.min_lr"}

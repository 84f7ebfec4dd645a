"""The audio task: both of fairseq's front ends reach it, and it says what is missing."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from fairseq import options, tasks
from fairseq.dataclass.initialize import add_defaults
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.tasks import FairseqTask
from omegaconf import OmegaConf

from vqw2v_plugin.corpora.manifest import Manifest, ManifestError, write_manifest
from vqw2v_plugin.tasks import vq_audio_pretraining as audio_task
from vqw2v_plugin.tasks.vq_audio_pretraining import VqAudioPretrainingConfig, VqAudioPretrainingTask
from vqw2v_plugin.training import restart as folders
from vqw2v_plugin.training.begun import BeginningTask
from vqw2v_plugin.training.datasets.audio import AudioCropDataset
from vqw2v_plugin.training.discretizing import WholeSplit


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    rows = []
    for i in range(6):
        wave = np.random.default_rng(i).standard_normal(5_000 + 500 * i) * 0.1
        soundfile.write(tmp_path / f"clip{i}.flac", wave, 16_000)
        rows.append({"path": f"clip{i}.flac", "samples": len(wave)})
    for split in ("train", "valid"):
        write_manifest(tmp_path / f"{split}.tsv", tmp_path, rows)
    return tmp_path


def task_of(folder: Path | str, **options: object) -> VqAudioPretrainingTask:
    cfg = OmegaConf.structured(VqAudioPretrainingConfig(data=str(folder), **{"seed": 1, **options}))
    return VqAudioPretrainingTask.setup_task(cfg)


def epoch_of(task: VqAudioPretrainingTask, split: str, epoch: int, **options: object) -> list[torch.Tensor]:
    iterator = task.get_batch_iterator(
        task.dataset(split),
        max_tokens=25_000,
        data_buffer_size=10,
        max_positions=task.max_positions(),
        epoch=epoch,
        **options,
    )
    return [batch["net_input"]["source"] for batch in iterator.next_epoch_itr() if batch]


def test_command_line_reaches_the_task(corpus: Path) -> None:
    parser = options.get_training_parser()
    args = options.parse_args_and_arch(
        parser,
        [
            *(str(corpus), "--task", "vq_audio_pretraining", "--arch", "wav2vec", "--max-tokens", "12000"),
            *("--max-sample-size", "4500", "--normalize", "--audio-cache", str(corpus / "cache")),
            *("--seed", "7", "--strict-audio"),
        ],
    )
    task = tasks.setup_task(convert_namespace_to_omegaconf(args).task)
    assert isinstance(task, VqAudioPretrainingTask)
    task.load_dataset("train", combine=False, epoch=1)
    dataset = task.dataset("train")
    assert (dataset.max_sample_size, dataset.min_sample_size, dataset.seed) == (4_500, 4_000, 7)
    assert dataset.normalize and dataset.strict and dataset.cache is not None


def test_hydra_config_reaches_the_task(corpus: Path) -> None:
    cfg = OmegaConf.create(
        {"task": {"_name": "vq_audio_pretraining", "data": str(corpus)}, "common": {"seed": 3}}
    )
    add_defaults(cfg)
    task = tasks.setup_task(cfg.task)
    task.load_dataset("valid")
    dataset = task.dataset("valid")
    assert (dataset.max_sample_size, dataset.sample_rate, dataset.seed) == (150_000, 16_000, 3)
    assert dataset.cache is None and not dataset.strict


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_epoch_is_the_same_when_a_run_resumes_at_it(corpus: Path, num_workers: int) -> None:
    through, resumed = task_of(corpus, max_sample_size=4_500), task_of(corpus, max_sample_size=4_500)
    through.load_dataset("train")
    resumed.load_dataset("train")
    first = epoch_of(through, "train", 1, num_workers=num_workers)
    second = epoch_of(through, "train", 2, num_workers=num_workers)
    again = epoch_of(resumed, "train", 2)
    assert len(second) == len(again) and all(torch.equal(a, b) for a, b in zip(second, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_skipped_files_are_reported_before_validation(corpus: Path, caplog: pytest.LogCaptureFixture) -> None:
    (corpus / "clip5.flac").write_bytes(b"")
    task = task_of(corpus)
    task.load_dataset("train")
    assert sum(len(source) for source in epoch_of(task, "train", 1)) == 5
    task.begin_valid_epoch(1, None)
    assert "train.tsv: 1 of 6 utterances could not be read so far" in caplog.text


def test_a_missing_split_lists_those_there_are(corpus: Path) -> None:
    with pytest.raises(
        ManifestError, match=r"holds no test\.tsv; the manifests there are: train\.tsv, valid"
    ):
        task_of(corpus).load_dataset("test")


def test_of_dev_and_valid_the_manifest_that_is_there_is_read(corpus: Path) -> None:
    (corpus / "valid.tsv").rename(corpus / "dev.tsv")
    task = task_of(corpus)
    task.load_dataset("valid")
    assert len(task.dataset("valid")) == 6


@pytest.mark.parametrize("name", ["gone", "clip0.flac"])
def test_a_wrong_data_folder_is_named_before_anything_is_built(corpus: Path, name: str) -> None:
    with pytest.raises(
        ManifestError, match=rf"data=.*{name}: no.* directory, expected a folder of SPLIT\.tsv"
    ):
        task_of(corpus / name).build_model(None)


def test_a_folder_lost_to_hydra_is_named(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "to_absolute_path", lambda path: str(corpus.parent / path))
    with pytest.raises(ManifestError, match=rf"hydra has changed the working folder: say {corpus}"):
        task_of(corpus.name).load_dataset("train")


def test_a_cache_is_kept_where_the_user_stands_and_not_hydra(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio_task, "to_absolute_path", lambda path: str(corpus / "user" / path))
    (corpus / "hydra").mkdir()
    monkeypatch.chdir(corpus / "hydra")
    task = task_of(corpus, audio_cache="cache")
    task.load_dataset("train")
    assert (corpus / "user/cache").is_dir() and not list((corpus / "hydra").iterdir())


def test_an_unreadable_data_folder_is_named(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "listdir", denied)
    with pytest.raises(ManifestError, match=r"permission denied, expected a folder .* give yourself access"):
        task_of(corpus).load_dataset("train")


def test_audio_has_no_dictionaries(corpus: Path) -> None:
    assert task_of(corpus).source_dictionary is None and task_of(corpus).target_dictionary is None


def test_real_speech_makes_batches(real_data: Path) -> None:
    task = task_of(real_data / "fsdd", normalize=True)
    task.load_dataset("dev")
    batches = epoch_of(task, "dev", 1)
    assert len(task.dataset("dev")) > 450 and all(torch.isfinite(batch).all() for batch in batches)


def test_task_options_keep_stocks_names() -> None:
    stock = tasks.TASK_DATACLASS_REGISTRY["audio_pretraining"]()
    own = {
        "augment",
        "augment_probability",
        "audio_cache",
        "strict_audio",
        "max_skipped_updates",
        "resume_changed",
        "save_dir",
        "restore_file",
        "init_from",
        "init_codebook",
        "_name",
    }
    assert set(vars(VqAudioPretrainingConfig())) - own <= set(vars(stock))


def test_a_training_may_go_on_with_another_cache_of_its_audio() -> None:
    assert {"audio_cache", "data", "seed"} <= VqAudioPretrainingTask.may_change
    assert "normalize" not in VqAudioPretrainingTask.may_change


def test_a_criterion_that_a_model_does_not_learn_by_is_refused(corpus: Path) -> None:
    task = task_of(corpus)
    task._learns_by = "vq_masked_contrastive"
    with pytest.raises(ValueError, match="`criterion` is 'vq_contrastive'; expected 'vq_masked_contrastive'"):
        task.build_criterion(OmegaConf.create({"_name": "vq_contrastive"}))


def test_nothing_to_make_tokens_of_is_explained(corpus: Path) -> None:
    task = task_of(corpus)
    task.load_dataset("train")
    with pytest.raises(ValueError, match="makes tokens with `--task vq_audio_pretraining` and a checkpoint"):
        task.build_generator([], None)


def test_who_says_nothing_gets_the_paper_s_crops_and_audio_as_it_is() -> None:
    cfg = VqAudioPretrainingConfig()
    assert (cfg.sample_rate, cfg.max_sample_size, cfg.min_sample_size) == (16_000, 150_000, 4_000)
    assert (cfg.normalize, cfg.augment, cfg.augment_probability) == (False, None, 0.5)
    assert (cfg.audio_cache, cfg.strict_audio) == (None, False)


def test_a_checkpoint_s_split_is_whole_until_something_is_to_be_learnt(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [SimpleNamespace(pads=True, criterion="vq_masked_contrastive"), SimpleNamespace()]
    monkeypatch.setattr(BeginningTask, "build_model", lambda _, cfg, from_checkpoint: models[cfg])
    monkeypatch.setattr(FairseqTask, "build_criterion", lambda *_: "built")
    task = task_of(corpus)
    task.build_model(0, from_checkpoint=True)
    task.load_dataset("valid")
    assert isinstance(task.datasets["valid"], WholeSplit)
    own = OmegaConf.create({"_name": "somebody_s_own"})  # fairseq-validate builds one, a stranger's too
    assert task.build_criterion(own) == "built"
    for number, pads in ((None, True), (0, True), (1, False)):
        if number is not None:
            task.build_model(number)
        task.load_dataset("valid")
        held = task.datasets["valid"]
        assert isinstance(held, AudioCropDataset) and held.pad is pads


def test_tokens_are_made_of_the_split_that_was_loaded_last_and_as_by_the_command(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, found = task_of(corpus), SimpleNamespace()
    task.datasets = {split: WholeSplit(Manifest(corpus / f"{split}.tsv")) for split in ("train", "valid")}

    def discretizer(cfg: Any, manifest: Manifest, make: Any) -> Any:
        return SimpleNamespace(manifest=manifest, make=make)

    monkeypatch.setattr(audio_task, "Discretizer", discretizer)
    found = task.build_generator([], None)
    assert Path(found.manifest.path).name == "valid.tsv"
    monkeypatch.setattr(audio_task, "usual_work", lambda *_: {"workers": 3, "readers": 2})
    monkeypatch.setattr(audio_task, "Tokenizer", SimpleNamespace(load=lambda *given: given))
    monkeypatch.setattr(audio_task, "discretize", lambda *given: given)
    tokenizer, *given, options, _ = found.make("c.pt", found.manifest, "out", torch.device("meta"))
    assert tokenizer == ("c.pt", "meta") and given == ["c.pt", found.manifest, "out"]
    assert (options.workers, options.readers) == (3, 2)

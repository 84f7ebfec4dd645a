"""The speech task: both front ends reach it, resumed runs get the same batches, faults are named."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from sounds import noise

pytest.importorskip("fairseq")
from fairseq import models, options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import OmegaConf

import vqw2v_plugin

vqw2v_plugin.register()
from vqw2v_plugin.audio.drawn_changes import DrawnChanges
from vqw2v_plugin.corpora.manifest import ManifestError, write_manifest
from vqw2v_plugin.stores.symbols import NUM_SPECIAL, TOKENS, TokenError, write_dict
from vqw2v_plugin.stores.tokens import TokenWriter
from vqw2v_plugin.tasks.vq_speech_pretraining import VqSpeechPretrainingConfig, VqSpeechPretrainingTask
from vqw2v_plugin.training.datasets.speech import Spans


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split in ("train", "valid"):
        rows = []
        with TokenWriter(tmp_path / "tokens", split, 40) as writer:
            for i in range(6):
                size = 4_800 + 160 * i
                soundfile.write(tmp_path / f"{split[0]}{i}.wav", noise(size, i), 16_000)
                rows.append({"path": f"{split[0]}{i}.wav", "samples": size})
                frames = (size - 400) // 160 + 1
                writer.add(f"{split[0]}{i}", frames, np.arange(frames) % 9 + NUM_SPECIAL)
        write_manifest(tmp_path / f"{split}.tsv", tmp_path, rows)
    write_dict(tmp_path / "tokens" / "dict.txt", [(f"{i % 3}-{i // 3}", 1) for i in range(9)])
    sizes = {"num_groups": 2, "num_codes": 3, "stride": 160, "receptive_field": 400, "sample_rate": 16_000}
    TOKENS.write_about(tmp_path / "tokens", sizes)
    return tmp_path


def task_of(folder: Path, **given: object) -> VqSpeechPretrainingTask:
    common = {"seed": 1, "save_dir": "none", "restore_file": "none", "tokens": str(folder / "tokens")}
    cfg = OmegaConf.structured(VqSpeechPretrainingConfig(**{"data": str(folder), **common, **given}))
    return VqSpeechPretrainingTask.setup_task(cfg)


def test_command_line_reaches_task_and_model(folder: Path) -> None:
    args = options.parse_args_and_arch(
        options.get_training_parser(),
        [
            *(str(folder), "--task", "vq_speech_pretraining", "--arch", "vq_speech_bert_small"),
            *("--tokens", str(folder / "tokens"), "--bands", "20", "--stack", "3", "--max-tokens", "9000"),
            *("--normalize-bands", "false", "--mask-length", "5", "--encoder-layers", "3", "--seed", "7"),
        ],
    )
    cfg = convert_namespace_to_omegaconf(args)
    task = tasks.setup_task(cfg.task)
    config = models.build_model(cfg.model, task).network.config
    assert (config.encoder_layers, config.encoder_embed_dim, config.position) == (3, 256, "rotary")
    assert (config.bands, config.stack, config.normalize_bands) == (20, 3, False)
    assert (config.num_groups, config.num_codes, task.spans.length) == (2, 3, 5)


def test_each_option_reaches_the_data_set_of_each_split(folder: Path) -> None:
    said = {"sample_rate": 8_000, "max_sample_size": 2_000, "min_sample_size": 1_500, "normalize": True}
    said |= {"augment": "noise,pitch", "augment_probability": 1.0, "audio_cache": str(folder / "cache")}
    said |= {"strict_audio": True, "seed": 7, "bands": 12, "stack": 3, "normalize_bands": "false"}
    said |= {"mask_start_prob": 0.3, "mask_length": 4, "mask_stdev": 2.0}
    task = task_of(folder, **said)
    for split in ("train", "valid"):
        task.load_dataset(split)
        found = task.dataset(split)
        assert found.tokens.split == split and found.manifest[0].utt == f"{split[0]}0"
        assert (found.sample_rate, found.max_sample_size, found.min_sample_size) == (8_000, 2_000, 1_500)
        assert found.normalize and found.strict and found.seed == 7
        assert found.changes == DrawnChanges(("noise", "pitch"), 1.0)
        assert found.cache is not None and found.cache.sample_rate == 8_000
        assert (found.heard.mel.sample_rate, found.heard.mel.num_bands) == (8_000, 12)
        assert found.heard.stack == 3 and not found.heard.normalize_bands
        assert found.spans == Spans(0.3, 4, 2.0)


def test_who_says_nothing_gets_hubert_s_spans_of_audio_as_it_is(folder: Path) -> None:
    task = task_of(folder)
    task.load_dataset("train")
    found = task.dataset("train")
    assert found.spans == Spans() == Spans(0.08, 10, 0.0)
    assert task.cfg.augment_probability == DrawnChanges(("noise",)).probability == 0.5
    assert found.changes is None and found.cache is None and not found.normalize and not found.strict
    assert task.heard == {"bands": 80, "stack": 2, "normalize_bands": True}


def test_a_checkpoint_says_how_many_codes_it_has_learnt(folder: Path) -> None:
    first = task_of(folder)
    assert first.code_sizes == {"num_groups": 2, "num_codes": 3}
    assert first.state_dict()["codes"] == {"num_groups": 2, "num_codes": 3}
    assert {"tokens", "audio_cache", "data"} <= VqSpeechPretrainingTask.may_change
    assert not {"bands", "stack", "mask_length"} & VqSpeechPretrainingTask.may_change


def test_a_resumed_epoch_has_the_same_batches(folder: Path) -> None:
    def batches(offset: int, workers: int) -> list[torch.Tensor]:
        task = task_of(folder, max_sample_size=4_000)
        task.load_dataset("train")
        iterator = task.get_batch_iterator(
            task.dataset("train"), max_tokens=8_000, num_workers=workers, epoch=2
        )
        if offset:
            iterator.load_state_dict({"epoch": 2, "iterations_in_epoch": offset, "shuffle": True})
        return [batch["net_input"]["frames"] for batch in iterator.next_epoch_itr()]

    whole, rest = batches(0, 0), batches(1, 2)
    assert len(whole) == 3 and all(torch.equal(a, b) for a, b in zip(whole[1:], rest, strict=True))


def test_a_checkpoint_of_other_codes_is_not_gone_on_with(folder: Path) -> None:
    task = task_of(folder)
    task.load_state_dict({"codes": {"num_groups": 2, "num_codes": 3}})
    with pytest.raises(TokenError, match="has 2 groups of 3 codes, the checkpoint"):
        task.load_state_dict({"codes": {"num_groups": 1, "num_codes": 100}})


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"mask_start_prob": 0.0}, ValueError, "`mask_start_prob` is 0.0"),
        (
            {"normalize_bands": "perhaps"},
            ValueError,
            "`normalize_bands` is 'perhaps'; expected true",
        ),
        ({"stack": 0}, ValueError, "`stack` is 0; expected 1 to 100"),
        ({"augment": "rain"}, ValueError, "`augment` has 'rain'"),
    ],
)
def test_faults_are_one_sentence(
    folder: Path, given: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        task = task_of(folder, **given)
        task.check_data()
        task.load_dataset("train")


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"data": "nowhere"}, ManifestError, "data=nowhere: no such file"),
        ({"tokens": "nowhere"}, TokenError, "tokens=nowhere: is no folder, expected one with tokens.json"),
    ],
)
def test_folders_that_are_not_there_are_said_before_anything_is_built(
    folder: Path, given: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        task_of(folder, **given).check_data()


def test_run_length_tokens_are_refused_before_anything_is_built(folder: Path) -> None:
    TOKENS.write_about(folder / "tokens", {**TOKENS.read_about(folder / "tokens"), "run_length": True})
    with pytest.raises(TokenError, match="run-length tokens"):
        task_of(folder).check_data()


def test_it_says_how_many_frames_will_be_masked(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of 5,200 samples in the mean, which are 31 frames and 15 that are joined."""
    with caplog.at_level("INFO"):
        task_of(folder, mask_start_prob=0.3, mask_length=1).load_dataset("valid")
    assert "valid: 30.0% of the frames will be masked, for 15 frames in a crop" in caplog.text

"""Tasks on a yaml that lists corpora: audio, tokens and speech with its codes; what does not go together."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fairseq.data import data_utils
from omegaconf import OmegaConf
from sounds import noise

import vqw2v_plugin

vqw2v_plugin.register()
from vqw2v_plugin.audio.reading import AudioError
from vqw2v_plugin.corpora.manifest import ManifestError, write_manifest
from vqw2v_plugin.corpora.mixture import MixtureError
from vqw2v_plugin.stores.symbols import NUM_SPECIAL, TOKENS, TokenError, write_dict
from vqw2v_plugin.stores.tokens import TokenWriter
from vqw2v_plugin.tasks.vq_audio_pretraining import VqAudioPretrainingConfig, VqAudioPretrainingTask
from vqw2v_plugin.tasks.vq_speech_pretraining import VqSpeechPretrainingConfig, VqSpeechPretrainingTask
from vqw2v_plugin.tasks.vq_token_pretraining import VqTokenPretrainingConfig, VqTokenPretrainingTask
from vqw2v_plugin.training.datasets.base import Unreadable
from vqw2v_plugin.training.datasets.mixture import MixtureDataset
from vqw2v_plugin.training.mixing import look_into_mixtures

COUNTS = {"de": 2, "en": 4}
CODES = 12
Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Folders de and en of manifests with tokens beside them, and a yaml that lists them."""
    for lang, count in COUNTS.items():
        folder = tmp_path / lang
        folder.mkdir()
        rows = [{"path": f"{lang}{i}.wav", "samples": 8_000 + 400 * i} for i in range(count)]
        for i, row in enumerate(rows):
            soundfile.write(folder / f"{lang}{i}.wav", noise(int(str(row["samples"])), i), 16_000)
        for split in ("train", "valid"):
            write_manifest(folder / f"{split}.tsv", folder, rows)
            with TokenWriter(folder / "tokens", split, CODES + NUM_SPECIAL) as writer:
                for row in rows:
                    frames = (int(str(row["samples"])) - 400) // 160 + 1
                    writer.add(str(row["path"])[:-4], frames, np.arange(frames) % CODES + NUM_SPECIAL)
        write_dict(folder / "tokens" / "dict.txt", [(str(i), 1) for i in range(CODES)])
        times = {"stride": 160, "receptive_field": 400, "sample_rate": 16_000}
        TOKENS.write_about(folder / "tokens", {"num_groups": 1, "num_codes": CODES, **times})

    def made(*fields: str, head: str = "alpha: 0.5") -> str:
        entries = [
            f"  - {{lang: {lang}, {text.format(lang=lang)}}}"
            for lang, text in zip(COUNTS, fields * 2, strict=False)
        ]
        (tmp_path / "mixture.yaml").write_text("\n".join([head, "corpora:", *entries]))
        return str(tmp_path / "mixture.yaml")

    return made


def loaded(task: Any, split: str = "train") -> MixtureDataset:
    task.trained_on = frozenset({"train"})
    task.load_dataset(split)
    found: MixtureDataset = task.dataset(split)
    return found


def audio_task(data: str, **given: object) -> VqAudioPretrainingTask:
    cfg = OmegaConf.structured(VqAudioPretrainingConfig(data=data, **{"seed": 1, **given}))
    return VqAudioPretrainingTask.setup_task(cfg)


def test_audio_of_several_folders(write: Write) -> None:
    task = audio_task(write("data: {lang}"))
    task.check_data()
    train = loaded(task)
    assert [(m.lang, len(m.items)) for m in train.members] == list(COUNTS.items()) and train.draws
    batch = train.collater([train[i] for i in train.ordered_indices()[:4]])
    assert batch["num_kinds"] == 2 and len(batch["kinds"]) == 4
    assert loaded(task, "valid").draws is None and len(loaded(task, "valid_de")) == 2
    assert train.seed == 1 and loaded(audio_task(write("data: {lang}"), seed=3)).seed == 3


def test_a_file_that_is_gone_is_passed_over_or_an_error_as_was_asked(write: Write, tmp_path: Path) -> None:
    data = write("data: {lang}")
    for strict in (False, True):
        train = loaded(audio_task(data, strict_audio=strict))
        (tmp_path / "en/en1.wav").unlink(missing_ok=True)
        if strict:
            with pytest.raises(AudioError, match=r"en1\.wav: no such file"):
                [train[i] for i in train.ordered_indices()]
        else:
            assert sum(isinstance(train[i], Unreadable) for i in train.ordered_indices())


def test_tokens_of_several_folders(write: Write, tmp_path: Path) -> None:
    data = write("data: {lang}/tokens")
    cfg = OmegaConf.structured(VqTokenPretrainingConfig(data=data, seed=3))
    task = VqTokenPretrainingTask.setup_task(cfg)
    train = loaded(task)
    assert train.seed == 3 and train.draws is not None and len(task.symbols.lines) == CODES
    seconds = sum(8_000 + 400 * i for i in range(4)) / 16_000
    assert train.draws.corpora[1].hours * 3600 == pytest.approx(seconds, rel=0.05)
    batch = train.collater([train[i] for i in train.ordered_indices()])
    assert sorted(set(batch["kinds"])) == [0, 1]
    write_dict(tmp_path / "en" / "tokens" / "dict.txt", [(str(i), 1) for i in range(CODES + 1)])
    with pytest.raises(MixtureError, match=r"dict.txt of .*en/tokens is not that of .*de/tokens"):
        _ = VqTokenPretrainingTask.setup_task(cfg).symbols


def test_speech_with_the_codes_of_each_folder(write: Write, tmp_path: Path) -> None:
    data = write("data: {lang}, tokens: {lang}/tokens")
    cfg = OmegaConf.structured(
        VqSpeechPretrainingConfig(data=data, tokens="none", seed=1, bands=10, max_sample_size=16_000)
    )
    task = VqSpeechPretrainingTask.setup_task(cfg)
    assert task.code_sizes == {"num_groups": 1, "num_codes": CODES}
    train = loaded(task)
    batch = train.collater([train[i] for i in range(6)])
    assert batch["utts"] == ["de0", "de1", "en0", "en1", "en2", "en3"] and batch["kinds"] == [
        0,
        0,
        1,
        1,
        1,
        1,
    ]
    alone = [part.collate([part[i] for i in range(len(part))], 0) for part in train.parts]
    assert batch["common"] == sum(each["common"] for each in alone)
    TOKENS.write_about(
        tmp_path / "en" / "tokens", {**TOKENS.read_about(tmp_path / "en/tokens"), "num_codes": 99}
    )
    with pytest.raises(MixtureError, match="the number of codes of"):
        _ = VqSpeechPretrainingTask.setup_task(cfg).code_sizes
    write("data: {lang}")
    with pytest.raises(TokenError, match="none"):
        _ = VqSpeechPretrainingTask.setup_task(cfg).code_sizes


def test_folders_that_are_not_there_are_named(write: Write, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"data=.*/nowhere: no such file"):
        audio_task(write("data: de", "data: nowhere")).check_data()
    (tmp_path / "en" / "train.tsv").unlink()
    with pytest.raises(ManifestError, match=r"data=.*/en: holds no train.tsv"):
        loaded(audio_task(write("data: {lang}")))
    (tmp_path / "en" / "valid.tsv").unlink()
    assert len(loaded(audio_task(write("data: {lang}")), "valid")) == 2
    (tmp_path / "mixture.yaml").unlink()
    with pytest.raises(MixtureError, match=r"mixture\.yaml: no such file"):
        audio_task(str(tmp_path / "mixture.yaml")).check_data()


def test_fairseq_finds_forgotten_validation_sets_in_all_folders(write: Write, tmp_path: Path) -> None:
    look_into_mixtures()
    look_into_mixtures()
    (tmp_path / "en" / "valid2.tsv").touch()
    assert data_utils._find_extra_valid_paths(write("data: {lang}")) == {"valid2"}
    assert data_utils._find_extra_valid_paths(str(tmp_path / "de")) == set()

"""Connected digits: what is cut together is what the tables say, sample by sample."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from vqw2v_plugin.corpora.ctm import read_ctm
from vqw2v_plugin.corpora.manifest import Manifest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def prepare() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "digits_prepare", ROOT / "examples" / "digits" / "prepare.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def repository(prepare: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten clips a speaker; the samples of digit d are d + 1, so that strings can be read off the audio."""
    monkeypatch.setattr(prepare, "STRINGS", {"train": 8, "valid": 2, "test": 2})
    monkeypatch.setattr(prepare, "NOISE", 0.0)
    recordings = tmp_path / "fsdd" / "recordings"
    recordings.mkdir(parents=True)
    for speakers in prepare.SPEAKERS.values():
        for speaker in speakers:
            for digit in range(10):
                wav = np.full(800 + 80 * digit, digit + 1, np.int16)
                soundfile.write(recordings / f"{digit}_{speaker}_0.wav", wav, 8000, subtype="PCM_16")
    return tmp_path / "fsdd"


def test_times_and_text_are_those_of_the_audio(prepare: ModuleType, repository: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare.prepare(repository, out)
    for split, speakers in prepare.SPEAKERS.items():
        manifest, words = Manifest(out / f"{split}.tsv"), read_ctm(out / f"{split}.words.ctm")
        texts = manifest.column("text")
        assert set(manifest.column("speaker")) == set(speakers)
        for i, text in enumerate(texts):
            utterance = manifest[i]
            wav, rate = soundfile.read(utterance.path, dtype="int16")
            assert (rate, len(wav)) == (8000, utterance.samples)
            times = words[utterance.utt]
            assert list(times.labels) == text.split()
            said = np.zeros_like(wav)
            for start, end, word in zip(times.starts, times.ends, times.labels, strict=True):
                said[round(start * rate) : round(end * rate)] = prepare.WORDS.index(word) + 1
            loud = prepare.LEVEL * 32768 / np.sqrt(np.mean(said.astype(float) ** 2))
            assert np.allclose(wav, said * loud, atol=0.51)


def test_the_same_seed_draws_the_same_strings(prepare: ModuleType, repository: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        prepare.prepare(repository, tmp_path / name, seed)
    texts = [(tmp_path / name / "lm.txt").read_text() for name in "abc"]
    assert texts[0] == texts[1] != texts[2]


def test_a_folder_with_tables_is_read_as_they_say(
    prepare: ModuleType, repository: Path, tmp_path: Path
) -> None:
    for split, (speaker, *_) in prepare.SPEAKERS.items():
        name = prepare.SAME.get(split, split)
        clips = f"utt\tpath\n7_{speaker}_0\trecordings/7_{speaker}_0.wav\n"
        (repository / f"{name}.tsv").write_text(clips)
        row = f"{name}_x\t{speaker}\t7_{speaker}_0 7_{speaker}_0\t10 20 30\tseven seven\n"
        (repository / f"connected_{name}.tsv").write_text(f"utt\tspeaker\tclips\tgaps_ms\twords\n{row}")
    out = tmp_path / "out"
    prepare.prepare(repository, out)
    assert Manifest(out / "valid.tsv")[0].utt == "dev_x"
    assert Manifest(out / "test.tsv")[0].samples == 80 + 160 + 240 + 2 * (800 + 560)
    assert read_ctm(out / "test.words.ctm")["test_x"].starts.tolist() == [0.01, 0.2]


def test_a_wrong_folder_is_named(prepare: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no DIGIT_george_TAKE\.wav; expected the repository"):
        prepare.prepare(tmp_path, tmp_path / "out")


def test_faster_copies_of_training_keep_their_words_in_time(
    prepare: ModuleType, repository: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    prepare.prepare(repository, out, speeds=[1.25])
    manifest, words = Manifest(out / "train.tsv"), read_ctm(out / "train.words.ctm")
    half = len(manifest) // 2
    for i in range(half):
        plain, fast = manifest[i], manifest[half + i]
        assert fast.utt == f"{plain.utt}_1.25"
        assert abs(fast.samples - plain.samples / 1.25) <= 1
        assert words[fast.utt].labels == words[plain.utt].labels
        assert np.allclose(words[fast.utt].starts, words[plain.utt].starts / 1.25, atol=2 / 8000)
    assert len(Manifest(out / "test.tsv")) == 2
    assert len((out / "lm.txt").read_text().splitlines()) == half


def test_all_are_equally_loud_and_nothing_is_digital_silence(
    prepare: ModuleType, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "NOISE", 0.02)
    prepare.prepare(repository, tmp_path / "out")
    for split in prepare.SPEAKERS:
        manifest = Manifest(tmp_path / "out" / f"{split}.tsv")
        for wav in (soundfile.read(manifest[i].path)[0] for i in range(len(manifest))):
            assert np.sqrt(np.mean(wav**2)) == pytest.approx(prepare.LEVEL, rel=0.01)
            assert 0.0015 < wav[:320].std() < 0.0025, "the shortest gap is 40 ms"

"""Connected digits: what is cut together is what the tables say, sample by sample."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from vqw2v_plugin.corpora.ctm import read_ctm
from vqw2v_plugin.corpora.manifest import Manifest, Utterance, write_manifest

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
        assert np.allclose(words[fast.utt].ends, words[plain.utt].ends / 1.25, atol=2 / 8000)
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
    first, second = (soundfile.read(manifest[i].path)[0][:320] for i in range(2))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.3, "each has noise of its own"


def test_a_share_holds_whole_strings_with_all_their_copies(
    prepare: ModuleType, repository: Path, tmp_path: Path
) -> None:
    for seed in (1, 2):
        out = tmp_path / f"out{seed}"
        prepare.prepare(repository, out, seed, speeds=[0.8, 1.25], shares=[0.25, 0.01])
    rows = {row.utt: row for row in rows_of(out / "train.tsv")}
    for share, count in (("0.25", 2), ("0.01", 1)):
        some = Manifest(out / f"share_{share}" / "train.tsv")
        utts = [some[i].utt for i in range(len(some))]
        plain = [utt for utt in utts if utt.count("_") == 1]
        assert len(plain) == count and len(utts) == 3 * count
        assert {utt.rpartition("_")[0] for utt in utts if utt not in plain} == set(plain)
        for i, utt in enumerate(utts):
            known, found = rows[utt], some[i]
            for name in ("path", "samples", "rate", "extra"):
                assert getattr(found, name) == getattr(known, name)
    first, second = (Manifest(tmp_path / f"out{seed}/share_0.25/train.tsv").column("utt") for seed in (1, 2))
    assert first != second
    for share in (0, 1.5):
        with pytest.raises(ValueError, match="expected more than 0 and at most 1"):
            prepare.prepare(repository, tmp_path / "out", shares=[share])


def test_pretraining_hears_the_training_digits_and_other_speech_and_is_held_against_digits(
    prepare: ModuleType, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros(9000), 16_000)
    rows = [{"path": "x.wav", "samples": 4000, "start": start, "utt": f"x{start}"} for start in (0, 5000)]
    write_manifest(tmp_path / "more.tsv", tmp_path, rows, ("path", "samples", "start", "utt"))
    arguments = [str(repository), str(tmp_path / "out"), "--unlabelled", str(tmp_path / "more.tsv")]
    monkeypatch.setattr("sys.argv", ["prepare.py", *arguments])
    assert prepare.main() == 0
    digits = [Manifest(tmp_path / "out" / f"{split}.tsv") for split in ("train", "valid")]
    train, valid = (Manifest(tmp_path / "out/pretrain" / f"{split}.tsv") for split in ("train", "valid"))
    assert [valid[i].utt for i in range(len(valid))] == [f"0-{utt}" for utt in digits[1].column("utt")]
    found = [train[i] for i in range(len(train))]
    assert [row.utt for row in found[:-2]] == [f"0-{utt}" for utt in digits[0].column("utt")]
    assert [(row.utt, row.start, row.samples, row.rate) for row in found[-2:]] == [
        *(("1-x0", 0, 4000, 16_000), ("1-x5000", 5000, 4000, 16_000))
    ]
    assert all(Path(row.path).is_file() for row in found) and found[0].rate == 8000


def test_strings_are_of_three_to_six_clips_with_pauses_whatever_order_a_disk_lists_them_in(
    prepare: ModuleType, repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prepare, "STRINGS", {"train": 400})
    found = list(prepare.draw_strings(repository, "train", 1))
    assert len(found) == len({string.utt for string in found}) == 400
    assert {len(string.clips) for string in found} == {3, 4, 5, 6}
    gaps = [gap for string in found for gap in string.gaps_ms]
    assert (min(gaps), max(gaps)) == (40, 200)
    assert all(len(string.gaps_ms) == len(string.clips) + 1 == len(string.words) + 1 for string in found)
    glob = Path.glob
    monkeypatch.setattr(Path, "glob", lambda folder, pattern: sorted(glob(folder, pattern), reverse=True))
    assert list(prepare.draw_strings(repository, "train", 1)) == found


def test_clips_that_do_not_go_together_and_tables_that_lack_them_are_named(
    prepare: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(800), 8000)
    soundfile.write(tmp_path / "b.wav", np.zeros(800), 16_000)
    soundfile.write(tmp_path / "two.wav", np.zeros((800, 2)), 8000)
    (tmp_path / "connected_train.tsv").write_text(
        "utt\tspeaker\tclips\tgaps_ms\twords\nu\tx\ta b\t9 9 9\tone two\n"
    )
    monkeypatch.setattr("sys.argv", ["prepare.py", str(tmp_path), str(tmp_path / "out")])
    for clips, says in (
        ("", "train.tsv: no such file, expected the table of the clips"),
        ("a\ta.wav\n", "names the clip 'b', train.tsv not"),
        ("a\ta.wav\nb\tb.wav\n", "u: its clips differ in rate"),
        ("a\ta.wav\nb\ttwo.wav\n", "or have several channels"),
    ):
        if clips:
            (tmp_path / "train.tsv").write_text(f"utt\tpath\n{clips}")
        assert prepare.main() == 2
        shown = capsys.readouterr()
        assert shown.err.startswith("prepare.py: error: ") and says in shown.err


def test_it_says_what_it_has_made_of_whom(
    prepare: ModuleType, repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare.prepare(repository, tmp_path / "out", speeds=[1.25])
    minutes = sum(row.samples for row in rows_of(tmp_path / "out/train.tsv")) / 8000 / 60
    shown = capsys.readouterr().out
    assert f"train: 16 strings, {minutes:.1f} minutes, of george, jackson, nicolas, theo\n" in shown
    assert "valid: 2 strings" in shown and "test: 2 strings" in shown
    lexicon = (tmp_path / "out/lexicon.txt").read_text().splitlines()
    assert len(lexicon) == 10 and lexicon[2] == "two\tt w o |"


def rows_of(path: Path) -> list[Utterance]:
    manifest = Manifest(path)
    return [manifest[i] for i in range(len(manifest))]


def test_what_is_too_loud_for_a_file_is_clipped_and_does_not_turn_over(
    prepare: ModuleType, tmp_path: Path
) -> None:
    click = np.zeros(800, np.int16)
    click[400:402] = 30_000, -30_000
    soundfile.write(tmp_path / "c.wav", click, 8000, subtype="PCM_16")
    wav, _, _ = prepare.join(prepare.String("u", "x", (tmp_path / "c.wav",), (100, 100), ("one",)))
    assert wav[1200:1202].tolist() == [32767, -32768]


def test_clips_of_silence_are_noise_and_nothing_else(prepare: ModuleType, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "c.wav", np.zeros(800, np.int16), 8000, subtype="PCM_16")
    wav, _, bounds = prepare.join(prepare.String("u", "x", (tmp_path / "c.wav",), (50, 50), ("one",)))
    assert bounds == [(400, 1200)] and len(wav) == 1600
    assert wav.std() == pytest.approx(prepare.LEVEL * prepare.NOISE * 32768, rel=0.1)

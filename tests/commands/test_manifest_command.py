"""`vqw2v manifest`: what it lists can be read, what it refuses is named, a kill leaves no half of a file."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from sounds import Sound

from vqw2v_plugin import __main__ as cli
from vqw2v_plugin.audio.reading import read_audio
from vqw2v_plugin.commands import manifest as manifest_module
from vqw2v_plugin.common.locks import Rank, claimed
from vqw2v_plugin.corpora.collect import Collected, Refusal
from vqw2v_plugin.corpora.manifest import Manifest

ROOT = Path(__file__).resolve().parents[2]


def manifest(*arguments: object) -> int:
    return cli.main(["manifest", *map(str, arguments)])


def refused(out: Path) -> dict[str, str]:
    lines = (out / "refused.tsv").read_bytes().decode("utf-8", "surrogateescape").splitlines()
    assert lines[0] == "path\treason"
    return dict(line.split("\t") for line in lines[1:])


def listed(out: Path) -> list[str]:
    return [os.path.basename(u.path) for split in ("train", "valid") for u in Manifest(out / f"{split}.tsv")]


def test_what_is_listed_can_be_read(tmp_path: Path, wav: Sound, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(20):
        wav(f"s{i % 4}/{i}.flac", 800 + i, 8000 if i % 2 else 16_000)
    assert manifest(tmp_path / "c", tmp_path / "o", "--valid", 0.3) == 0
    total = 0
    for split in ("train", "valid"):
        for utterance in Manifest(tmp_path / "o" / f"{split}.tsv"):
            wave = read_audio(utterance, utterance.rate or 0)
            assert len(wave) == utterance.samples
            total += 1
    assert total == 20 and refused(tmp_path / "o") == {}
    shown = capsys.readouterr()
    assert "plain: 20 files looked at" in shown.out and "8000/16000 Hz" in shown.out and shown.err == ""


def test_each_seed_has_its_own_splits(tmp_path: Path, wav: Sound) -> None:
    for i in range(30):
        wav(f"{i}.wav")
    found = {}
    for seed in (1, 1, 2):
        out = tmp_path / f"o{seed}"
        assert manifest(tmp_path / "c", out, "--valid", 0.3, "--seed", seed) == 0
        valid = (out / "valid.tsv").read_bytes()
        assert found.setdefault(seed, valid) == valid
    assert found[1] != found[2]


def test_bad_files_are_named_and_grouped(
    tmp_path: Path, wav: Sound, capsys: pytest.CaptureFixture[str]
) -> None:
    wav("good.wav", 16_000)
    wav("short.wav", 160)
    wav("long.wav", 160_000)
    for name in ("a.wav", "b.wav"):
        (tmp_path / "c" / name).write_text("no sound")
    (tmp_path / "c" / "empty.wav").touch()
    shutil.copy(tmp_path / "c" / "good.wav", tmp_path / "c" / "tab\there\nand there.wav")
    assert manifest(tmp_path / "c", tmp_path / "o", "--min", 0.1, "--max", 5) == 0
    assert listed(tmp_path / "o") == ["good.wav"]
    reasons = refused(tmp_path / "o")
    assert {name: reason.split(" (")[0].split(";")[0] for name, reason in reasons.items()} == {
        "a.wav": "cannot be opened as audio",
        "b.wav": "cannot be opened as audio",
        "empty.wav": "is empty, 0 bytes",
        "short.wav": "is shorter than `--min`",
        "long.wav": "is longer than `--max`",
        "tab\\there\\nand there.wav": "has a tab or a line break in its path",
    }
    shown = capsys.readouterr().out
    assert "refused.tsv: 6\n" in shown and "2  cannot be opened as audio; the first: a.wav" in shown


def test_strict_writes_no_manifest(tmp_path: Path, wav: Sound, capsys: pytest.CaptureFixture[str]) -> None:
    wav("good.wav")
    (tmp_path / "c" / "bad.wav").touch()
    assert manifest(tmp_path / "c", tmp_path / "o", "--strict") == 2
    assert (
        "1 of " in (said := capsys.readouterr().err)
        and "`--strict` wants none (1 × is empty, 0 bytes)" in said
    )
    assert list(refused(tmp_path / "o")) == ["bad.wav"] and not (tmp_path / "o" / "train.tsv").exists()


def test_everything_refused_keeps_the_old_manifest(
    tmp_path: Path, wav: Sound, capsys: pytest.CaptureFixture[str]
) -> None:
    path = wav("x.wav")
    assert manifest(tmp_path / "c", tmp_path / "o") == 0
    before = (tmp_path / "o" / "train.tsv").read_bytes()
    path.write_bytes(b"")
    assert manifest(tmp_path / "c", tmp_path / "o") == 2
    assert "nothing of " in (said := capsys.readouterr().err) and "all 1 refused (1 × is empty" in said
    assert (tmp_path / "o" / "train.tsv").read_bytes() == before and "x.wav" in refused(tmp_path / "o")


def test_names_that_are_not_utf8_are_listed_readably_or_refused(tmp_path: Path, wav: Sound) -> None:
    good = wav("good.wav")
    odd = os.fsencode(good.parent) + b"/caf\xe9.wav"
    shutil.copy(good, odd)
    assert manifest(tmp_path / "c", tmp_path / "o") == 0
    rows = [os.fsencode(u.path) for s in ("train", "valid") for u in Manifest(tmp_path / "o" / f"{s}.tsv")]
    named = [os.fsencode(name) for name in refused(tmp_path / "o")]
    assert (odd in rows) != (b"caf\xe9.wav" in named)
    if odd in rows:
        assert len(read_audio(os.fsdecode(odd), 16_000)) == 1600


def test_out_may_lie_in_the_corpus_and_paths_may_be_relative(
    tmp_path: Path, wav: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(5):
        wav(f"{i}.wav")
    monkeypatch.chdir(tmp_path / "c")
    assert manifest(".", "lists") == 0
    first = [(tmp_path / "c" / "lists" / name).read_bytes() for name in ("train.tsv", "valid.tsv")]
    assert Manifest("lists/train.tsv").root == str(tmp_path / "c")
    assert manifest(tmp_path / "c", "lists") == 0
    assert first == [(tmp_path / "c" / "lists" / name).read_bytes() for name in ("train.tsv", "valid.tsv")]
    assert manifest(".", ".") == 0 and len(listed(tmp_path / "c")) == 5


def test_a_corpus_own_table_is_not_written_over(
    tmp_path: Path, wav: Sound, capsys: pytest.CaptureFixture[str]
) -> None:
    wav("x.wav")
    (tmp_path / "c" / "train.tsv").write_text("utt\tpath\tn_samples\nx\tx.wav\t1600\n")
    assert manifest(tmp_path / "c", tmp_path / "c") == 2
    assert "was not written by this command" in capsys.readouterr().err
    assert (tmp_path / "c" / "train.tsv").read_text().startswith("utt")


def test_test_sets_get_manifests_of_their_own(
    tmp_path: Path, wav: Sound, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("train", "dev", "test"):
        wav(f"{name}.wav")
        (tmp_path / "c" / f"{name}_manifest.json").write_text(json.dumps({"audio_filepath": f"{name}.wav"}))
    assert manifest(tmp_path / "c", tmp_path / "o") == 0
    files = {
        s: [os.path.basename(u.path) for u in Manifest(tmp_path / "o" / f"{s}.tsv")]
        for s in ("train", "valid", "test")
    }
    assert files == {"train": ["train.wav"], "valid": ["dev.wav"], "test": ["test.wav"]}
    assert "not of this run" not in capsys.readouterr().out
    assert manifest(tmp_path / "c", tmp_path / "o", "--resplit") == 0
    assert len(listed(tmp_path / "o")) == 3 and "test.tsv: not of this run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--speaker-disjoint"], "--speaker-from 1"),
        (["--speaker-from", "("], "no regular expression"),
        (["--speaker-from", "0"], "counted from 1"),
        (["--speaker-from", "spk9"], "path names no speaker"),
        (["--kind", "kaldi"], "is not of kind kaldi: expected wav.scp"),
        (["--ext", "mp3"], "holds nothing to list"),
        (["--ext", "wav,,"], "expected suffixes joined by commas"),
        (["--column", "text"], "`--column` is 'text', expected WHAT=NAME with one of path, utt, text"),
        (["--column", "text="], "`--column` is 'text=', expected WHAT=NAME"),
        (["--column", "who=said"], "`--column` is 'who=said', expected WHAT=NAME"),
        (["--split-from", "("], "`--split-from` is '(', no regular expression"),
        (["--split-from", "0"], "`--split-from` is 0; parts of a path are counted from 1"),
        (["--min", "3", "--max", "2"], "leave no length"),
        (["--min", "nan"], "leave no length"),
        (["--valid", "1.5"], "expected a share"),
        (["--workers", "0"], "expected 1 to 1,024"),
    ],
)
def test_wrong_wishes_are_one_sentence(
    tmp_path: Path, wav: Sound, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wav("x.wav")
    assert manifest(tmp_path / "c", tmp_path / "o", *options) == 2
    shown = capsys.readouterr().err
    assert said in shown and len(shown.splitlines()) == 1
    assert not (tmp_path / "o" / "train.tsv").exists()


def test_a_suffix_of_ones_own_and_a_list_of_its_own(
    tmp_path: Path, wav: Sound, capsys: pytest.CaptureFixture[str]
) -> None:
    wav("x.wav").rename(tmp_path / "c" / "x.sound")
    assert manifest(tmp_path / "c", tmp_path / "o", "--ext", ".SOUND") == 0
    assert listed(tmp_path / "o") == ["x.sound"]
    (tmp_path / "c" / "wav.scp").write_text("x x.sound\n")
    assert manifest(tmp_path / "c", tmp_path / "o", "--ext", "sound") == 2
    assert "kaldi lists its files itself" in capsys.readouterr().err


def test_two_runs_into_one_folder_refuse_each_other(
    tmp_path: Path, wav: Sound, capsys: pytest.CaptureFixture[str]
) -> None:
    wav("x.wav")
    with claimed(tmp_path / "o", Rank()):
        assert manifest(tmp_path / "c", tmp_path / "o") == 2
    assert "is being written by another run" in capsys.readouterr().err
    assert manifest(tmp_path / "c", tmp_path / "o") == 0


def test_a_damaged_cache_is_a_warning(tmp_path: Path, wav: Sound, capsys: pytest.CaptureFixture[str]) -> None:
    wav("x.wav")
    assert manifest(tmp_path / "c", tmp_path / "o") == 0
    (tmp_path / "o" / ".headers").write_bytes(os.urandom(64) + b"\n")
    assert manifest(tmp_path / "c", tmp_path / "o") == 0
    assert "is ignored and made anew" in capsys.readouterr().err
    assert manifest(tmp_path / "c", tmp_path / "o") == 0
    assert "1 of them known" in capsys.readouterr().out


def test_it_starts_without_torch_and_fairseq(tmp_path: Path, wav: Sound) -> None:
    wav("x.wav")
    code = (
        "import sys\nfrom vqw2v_plugin.__main__ import main\nassert main(['manifest', *sys.argv[1:]]) == 0\n"
        "print({'torch', 'fairseq', 'omegaconf', 'hydra'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "c"), str(tmp_path / "o")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "set()"


def test_hours_speakers_rates_times_and_a_dozen_reasons_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def row(speaker: str, samples: int, rate: int, words: tuple[str, ...] = ()) -> SimpleNamespace:
        entry = SimpleNamespace(speaker=speaker, words=words, phones=())
        return SimpleNamespace(samples=samples, rate=rate, entry=entry)

    hour = 3600 * 8000
    splits = {
        "train": [row("a", hour, 8000), row("b", hour, 16_000, ("x",)), row("", 0, 8000)],
        "valid": [row("", hour, 8000)],
        "test": [],
    }
    refused = [Refusal(f"{i}.wav", f"reason {i} (more)") for i in range(14)]
    told = SimpleNamespace(
        kind="plain", num_files=4321, header_seconds=1.25, num_known=1234, notes=["t.csv: path from wav"]
    )
    made = SimpleNamespace(**vars(told), splits=splits, refused=refused)
    for name in ("train", "old", "refused"):
        (tmp_path / f"{name}.tsv").touch()
    manifest_module._report(cast(Collected, made), str(tmp_path))
    lines = capsys.readouterr().out.splitlines()
    assert lines[:6] == [
        "plain: 4,321 files looked at in 1.2 s, 1,234 of them known from the last time",
        "  t.csv: path from wav",
        f"  {tmp_path}/train.tsv: 3 utterances, 1.50 h, 2 speakers, 8000/16000 Hz, train.words.ctm",
        f"  {tmp_path}/valid.tsv: 1 utterances, 1.00 h, 8000 Hz",
        f"  {tmp_path}/test.tsv: 0 utterances, 0.00 h; EMPTY: see --valid and --resplit",
        f"  {tmp_path}/refused.tsv: 14",
    ]
    told.num_known, splits["train"] = 0, [row("a", hour, 8000)]
    manifest_module._report(cast(Collected, SimpleNamespace(**vars(told), splits=splits, refused=[])), "o")
    first, _, train, *_ = capsys.readouterr().out.splitlines()
    assert first == "plain: 4,321 files looked at in 1.2 s" and ", 1 speaker, " in train
    assert len([line for line in lines if "the first: " in line]) == 12
    assert lines[18] == "    and 2 further reasons"
    assert len(lines) == 20 and lines[19].startswith(f"  {tmp_path}/old.tsv: not of this run")


@pytest.mark.parametrize("kind", ["plain", "kaldi"])
def test_a_kind_that_is_named_is_taken(tmp_path: Path, wav: Sound, kind: str) -> None:
    for name in ("x", "y"):
        wav(f"{name}.wav")
    (tmp_path / "c/wav.scp").write_text("x x.wav\n")  # a table of one of them
    assert manifest(tmp_path / "c", tmp_path / "o", "--kind", kind) == 0
    assert sorted(listed(tmp_path / "o")) == ["x.wav", "y.wav"][: 2 if kind == "plain" else 1]


def test_suffixes_may_stand_apart_and_a_column_s_name_may_hold_an_equals_sign() -> None:
    assert manifest_module._suffixes(" FLAC, .wav") == ("flac", "wav")
    assert manifest_module._columns(["text=a=b", "utt=who"]) == {"text": "a=b", "utt": "who"}

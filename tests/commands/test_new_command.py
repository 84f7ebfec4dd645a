"""`vqw2v new`: a corpus is looked at, and what is written leads from its audio to words."""

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpus_runs import saved as saved_codes
from wav2vec2s import saved as saved_wav2vec2

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.checkpoints.wav2vec import Imported, Loaded, save_checkpoint
from vqw2v_plugin.commands import new as new_module
from vqw2v_plugin.corpora.manifest import Manifest, write_manifest
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.recipes.own_plan import FrontPlan

BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parents[2]
WORDS = {"one": 300, "two": 700, "three": 1500, "four": 2600}  # Hz


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Words that are tones, between edges of silence; a table names files, texts and splits."""
    folder = tmp_path_factory.mktemp("corpus")
    rng, lines = np.random.default_rng(0), ["file,sentence,who,split"]
    for i in range(50):
        said = [str(word) for word in rng.choice(list(WORDS), 3)]
        tones = [np.sin(2 * np.pi * WORDS[word] * np.arange(2400) / 8000) for word in said]
        edge = np.zeros(3000)
        wav = 0.3 * np.concatenate([edge, *(part for tone in tones for part in (tone, np.zeros(400))), edge])
        soundfile.write(folder / f"{i}.wav", wav + rng.normal(0, 0.003, len(wav)), 8000)
        lines.append(f"{i}.wav,{' '.join(said)},me,{'train' if i < 34 else 'dev' if i < 42 else 'test'}")
    (folder / "table.csv").write_text("\n".join([*lines, ""]))
    return folder / "table.csv"


def test_of_a_table_manifests_are_made_and_silence_is_trimmed(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(["new", str(run), str(table)]) == 0
    said, script = capsys.readouterr().out, (run / "run.sh").read_text()
    assert "--trim" not in said  # which is done
    assert "train: 34 utterances" in said and f"next: sh {run}/run.sh" in said
    assert (
        f'vqw2v manifest {table} "$RUN/manifests" --trim 0.1\n' in script
    )  # the table has splits of its own
    assert len(Manifest(run / "manifests" / "train.tsv")) == 34
    assert main(["new", str(run), str(table)]) == 0  # again: the same
    assert (run / "run.sh").read_text() == script
    (run / "acoustic.yaml").write_text("mine")
    assert main(["new", str(run), str(table)]) == 2
    assert "acoustic.yaml is there and says something else" in capsys.readouterr().err
    assert main(["new", str(run), str(table), "--refresh"]) == 0
    assert (run / "run.sh").read_text() == script and "mine" not in (run / "acoustic.yaml").read_text()


def test_splits_are_made_where_there_are_none(table: Path, tmp_path: Path) -> None:
    lines = table.read_text().splitlines()
    bare = [line.rpartition(",")[0] for line in lines]
    (table.parent / "bare.csv").write_text("\n".join([*bare, ""]))
    assert main(["new", str(tmp_path / "run"), str(table.parent / "bare.csv")]) == 0
    assert "--valid 0.1 --test 0.1 --trim 0.1\n" in (tmp_path / "run" / "run.sh").read_text()
    assert {p.stem for p in (tmp_path / "run" / "manifests").glob("*.tsv")} == {
        "train",
        "valid",
        "test",
        "refused",
    }


def manifests(table: Path, out: Path, *names: str, column: str = "sentence") -> Path:
    out.mkdir()
    rows = [line.split(",") for line in table.read_text().splitlines()[1:]]
    for name in names:
        held = [
            {
                "path": row[0],
                "samples": soundfile.info(table.parent / row[0]).frames,
                "rate": 8000,
                column: row[1],
            }
            for row in rows
            if row[3] == {"valid": "dev"}.get(name, name)
        ]
        write_manifest(out / f"{name}.tsv", table.parent, held, ("path", "samples", "rate", column))
    return out


def test_manifests_are_taken_as_they_are(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = manifests(table, tmp_path / "m", "train", "dev", column="said")
    assert main(["new", str(tmp_path / "run"), str(folder)]) == 2
    assert (
        "has no column of texts (path, samples, rate, said); say `--text COLUMN`" in capsys.readouterr().err
    )
    assert main(["new", str(tmp_path / "run"), str(folder), "--text", "said", "--gpus", "2"]) == 0
    said, script = capsys.readouterr().out, (tmp_path / "run" / "run.sh").read_text()
    assert "dev is what weights are chosen by and what is decoded" in said and "--trim 0.1" in said
    assert (
        f'vqw2v labels {folder}/train.tsv {folder}/dev.tsv "$RUN/labels"' in script
        and "--text said" in script
    )
    assert "vqw2v manifest" not in script and "--cpu" not in script and "--split dev" in script


@pytest.mark.parametrize(
    ("names", "message"), [(("dev", "test"), "holds no train.tsv"), (("train",), "holds train.tsv alone")]
)
def test_splits_that_are_missing_are_named(
    table: Path, tmp_path: Path, names: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = manifests(table, tmp_path / "m", *names)
    (folder / "refused.tsv").write_text("path\treason\n")
    assert main(["new", str(tmp_path / "run"), str(folder)]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "run" / "run.sh").exists()


def test_a_name_that_a_shell_would_run_is_refused_and_others_are_quoted(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = manifests(table, tmp_path / "a $(b)", "train", "dev")
    assert main(["new", str(tmp_path / "run"), str(folder)]) == 0
    assert f"labels '{folder}'/train.tsv" in (tmp_path / "run" / "run.sh").read_text()
    (folder / "dev.tsv").rename(folder / "test$(touch x).tsv")
    assert main(["new", str(tmp_path / "other"), str(folder)]) == 2
    assert "is no name of letters, digits, dots and dashes" in capsys.readouterr().err


def test_of_a_vq_wav2vec_c_is_taken_and_of_any_other_a_layer_is_asked_for(
    table: Path, tmp_path: Path, tiny: Callable[..., VqWav2Vec], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, run = manifests(table, tmp_path / "m", "train", "dev"), tmp_path / "run"
    codes, other = saved_codes(tiny(vq_dim=12), tmp_path), tmp_path / "w2v2.pt"
    saved_wav2vec2(other)
    for options, layer in (([], "c"), (["--layer", "z"], "z"), (["--layer", "c"], "c")):
        assert main(["new", str(run), str(folder), "--checkpoint", codes, *options, "--refresh"]) == 0
        script = (run / "run.sh").read_text()
        assert f"vqw2v features {codes} " in script and f'"$RUN/features" --layer {layer}\n' in script
    capsys.readouterr()
    assert main(["new", str(run), str(folder), "--checkpoint", str(other)]) == 2
    assert "w2v2.pt is of a vq_wav2vec2; say which `--layer` is wanted" in capsys.readouterr().err
    assert main(["new", str(run), str(folder), "--layer", "c"]) == 2
    assert "`--layer` is of a checkpoint" in capsys.readouterr().err
    assert main(["new", str(run), str(folder), "--gpus", "65"]) == 2
    assert "`--gpus` is 65; expected 0 to 64" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("split", "options"), [("dev", "--test 0.1 --trim 0.1"), ("test", "--valid 0.1 --trim 0.1")]
)
def test_only_the_split_that_is_lacking_is_made_of_all_that_is_named(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str, options: str
) -> None:
    """Here of two tables whose files lie elsewhere."""
    head, *rows = table.read_text().splitlines()
    for name in ("train", split):
        held = [row for row in rows if row.endswith(f",{name}")]
        (tmp_path / f"{name}.csv").write_text("\n".join([head, *held, ""]))
    monkeypatch.chdir(table.parent)
    tables = [str(tmp_path / f"{name}.csv") for name in ("train", split)]
    assert main(["new", str(tmp_path / "run"), *tables, "--audio", ".", "--text", "text"]) == 0
    script = (tmp_path / "run" / "run.sh").read_text()
    assert f'vqw2v manifest {" ".join(tables)} "$RUN/manifests" --audio {table.parent} {options}\n' in script
    assert "--unit letters --text text\n" in script


def test_manifests_of_fairseq_s_own_are_listed_with_their_texts(table: Path, tmp_path: Path) -> None:
    """Their rows have no column of texts, which lie beside."""
    folder, rows = tmp_path / "m", [line.split(",") for line in table.read_text().splitlines()[1:]]
    folder.mkdir()
    for name, split in (("train", "train"), ("valid", "dev"), ("test", "test")):
        held = [row for row in rows if row[3] == split]
        lines = [f"{row[0]}\t{soundfile.info(table.parent / row[0]).frames}" for row in held]
        (folder / f"{name}.tsv").write_text("\n".join([str(table.parent), *lines, ""]))
        (folder / f"{name}.wrd").write_text("".join(f"{row[1]}\n" for row in held))
    assert main(["new", str(tmp_path / "run"), str(folder)]) == 0
    assert f'vqw2v manifest {folder} "$RUN/manifests" --trim 0.1\n' in (tmp_path / "run/run.sh").read_text()


def test_audio_without_silence_around_it_is_not_trimmed_and_a_table_of_that_name_is_no_manifest(
    tmp_path: Path,
) -> None:
    """Common Voice's own tables, of which one is called train.tsv."""
    clips = tmp_path / "cv" / "clips"
    clips.mkdir(parents=True)
    for split, count in (("train", 12), ("dev", 4)):
        lines = ["client_id\tpath\tsentence\tlocale"]
        for i in range(count):
            wav = 0.3 * np.sin(2 * np.pi * (300 + 50 * i) * np.arange(6_000) / 8_000)
            soundfile.write(clips / f"{split}{i}.wav", wav, 8_000)
            lines.append(f"me\t{split}{i}.wav\tone two\ten")
        (clips.parent / f"{split}.tsv").write_text("\n".join([*lines, ""]))
    assert main(["new", str(tmp_path / "run"), str(clips.parent)]) == 0
    script = (tmp_path / "run" / "run.sh").read_text()
    assert f'vqw2v manifest {clips.parent} "$RUN/manifests" --test 0.1\n' in script and "--trim" not in script


def test_a_checkpoint_s_frames_are_those_of_its_rate_and_a_stranger_s_plugin_goes_along(
    table: Path, tmp_path: Path, tiny: Callable[..., VqWav2Vec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = Loaded(tiny(vq_dim=12).eval(), 8_000, False)
    save_checkpoint(Imported(loaded, False, 0, []), tmp_path / "slow.pt")
    found = new_module._front(argparse.Namespace(checkpoint="slow.pt", layer="z"))
    assert found == FrontPlan("z", 16, 40 / 8_000, str(tmp_path / "slow.pt"), sample_rate=8_000)
    (tmp_path / "their_plugin").mkdir()
    (tmp_path / "their_plugin" / "__init__.py").touch()
    folder = manifests(table, tmp_path / "m", "train", "dev")
    words = ["run", str(folder), "--checkpoint", "slow.pt", "--user-dir", "their_plugin"]
    try:
        assert main(["new", *words]) == 0
    finally:
        sys.modules.pop("their_plugin", None)
    script = (tmp_path / "run" / "run.sh").read_text()
    assert f"vqw2v features {tmp_path}/slow.pt " in script and f"--user-dir {tmp_path}/their_plugin" in script


@pytest.mark.slow
def test_the_commands_run_as_they_are_written(table: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(["new", str(run), str(table)]) == 0
    yaml = (run / "acoustic.yaml").read_text()
    (run / "acoustic.yaml").write_text(yaml.replace("max_update: 1200", "max_update: 120"))
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", str(run / "run.sh")], env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    table_of_rates = [line.split() for line in done.stdout.splitlines() if line.startswith("test ")]
    assert min(float(row[2]) for row in table_of_rates if row[1] == "WER") < 10
    assert (run / "report.html").stat().st_size > 10_000
    assert not any(line.split()[7] == "-" for line in done.stdout.splitlines() if line.startswith("test  "))
    assert "faster if you build a binary" not in done.stderr and "{'_name': None" not in done.stdout
    *_, transcribe, closing = done.stdout.splitlines()
    assert closing.startswith("test: ") and "within the 0 to 10 % expected; all words" in closing
    words = shlex.split(transcribe.removeprefix("next: "))
    told = subprocess.run(
        [str(table.parent / "49.wav") if word == "FILE" else word for word in words],
        env=environ,
        capture_output=True,
        text=True,
        timeout=100,
    )
    said = " ".join(line.split("\t")[3] for line in told.stdout.splitlines())
    assert said == table.read_text().splitlines()[-1].split(",")[1], told.stderr

"""The recipe for corpora: its yaml exist, and any number of GPUs keeps the papers' batch."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[2]


def commands(tmp_path: Path, *options: str) -> list[list[str]]:
    command = [sys.executable, str(ROOT / "examples" / "corpus" / "recipe.py"), str(tmp_path / "corpus")]
    command += [str(tmp_path / "run"), *options, "--dry-run"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return [shlex.split(line) for line in result.stdout.splitlines() if not line.startswith("#")]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("librispeech", ["--quantizer", "kmeans"]),
        ("timit", ["--bert", "small"]),
        ("wsj", ["--bert", "small_compute", "--quantizer", "fsq"]),
    ],
)
def test_every_training_has_its_yaml(kind: str, options: list[str], tmp_path: Path) -> None:
    listed = commands(tmp_path, "--kind", kind, *options)
    trainings = [c for c in listed if Path(c[0]).name == "fairseq-hydra-train"]
    assert len(trainings) == 3
    for words in trainings:
        config = words[words.index("--config-dir") + 1], words[words.index("--config-name") + 1]
        assert (Path(config[0]) / f"{config[1]}.yaml").is_file()


def test_fewer_gpus_gather_the_same_batch(tmp_path: Path) -> None:
    for gpus in (1, 2, 4):
        gumbel, bert = (
            next(c for c in commands(tmp_path, "--kind", "wsj", "--gpus", str(gpus)) if c[4] == name)
            for name in ("gumbel", "base")
        )
        assert f"distributed_training.distributed_world_size={gpus}" in gumbel
        assert f"+optimization.update_freq=[{8 // gpus}]" in gumbel
        assert f"optimization.update_freq=[{32 // gpus}]" in bert
    assert not any("update_freq" in w for c in commands(tmp_path, "--kind", "wsj", "--gpus", "8") for w in c)


def test_gpus_train_in_bf16_unless_told_otherwise(tmp_path: Path) -> None:
    def said(*options: str) -> list[bool]:
        listed = commands(tmp_path, "--kind", "timit", *options)
        return ["common.bf16=true" in c for c in listed if Path(c[0]).name == "fairseq-hydra-train"]

    assert said() == [True] * 3
    assert said("--fp32") == said("--gpus", "0") == [False] * 3


def test_librispeech_sees_its_speech_as_long_as_wsj_does(tmp_path: Path) -> None:
    *_, acoustic = (c for c in commands(tmp_path, "--kind", "librispeech") if c[4:5] == ["wsj"])
    assert "optimization.max_epoch=85" in acoustic


def test_audio_to_pretrain_on_is_listed_by_itself(tmp_path: Path) -> None:
    listed = commands(tmp_path, "--kind", "timit", "--pretrain", str(tmp_path / "more"))
    assert [c[2] for c in listed[:2]] == [str(tmp_path / "corpus"), str(tmp_path / "more")]
    assert f"task.data={tmp_path / 'run' / 'pretrain' / 'data'}" in listed[2]


def timit(root: Path) -> None:
    """A few seconds in TIMIT's shape: two utterances to learn from for each that is tested."""
    rng = np.random.default_rng(0)
    phones = ["h#", "sh", "ix", "hv", "eh", "dcl", "jh", "ih", "dcl", "h#"]
    for utt in (
        "TRAIN/DR1/FCJF0/SX37",
        "TRAIN/DR1/FCJF0/SX127",
        "TEST/DR1/FAKS0/SI943",
        "TEST/DR1/MDAB0/SI1039",
    ):
        base = root / utt
        base.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(f"{base}.WAV", rng.normal(0, 0.1, 32_000), 16_000)
        times = [(3200 * i, 3200 * (i + 1), phone) for i, phone in enumerate(phones)]
        Path(f"{base}.PHN").write_text("".join(f"{begin} {end} {phone}\n" for begin, end, phone in times))
        Path(f"{base}.WRD").write_text("3200 28800 she\n")
        Path(f"{base}.TXT").write_text("0 32000 She.\n")


@pytest.mark.slow
def test_the_recipe_gets_from_a_few_files_to_phones(tmp_path: Path) -> None:
    timit(tmp_path / "TIMIT")
    command = [sys.executable, str(ROOT / "examples" / "corpus" / "recipe.py"), str(tmp_path / "TIMIT")]
    command += [str(tmp_path / "run"), "--kind", "timit", "--gpus", "0", "--updates", "2"]
    result = subprocess.run(
        [*command, "--bert", "small_compute"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    for split in ("valid", "test"):
        errors = json.loads((tmp_path / "run" / f"words_{split}" / f"errors-{split}.json").read_text())
        assert errors["reference_length"] > 0 and errors["rate"] > 0
    assert "Phones and codes" in (tmp_path / "run" / "report" / "report.html").read_text()

"""A killed training goes on as if nothing had happened: the same weights to the bit."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from vqw2v_plugin.corpora.manifest import write_manifest
from vqw2v_plugin.training.restart import LAST, is_whole, mend_last_checkpoint

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ALIVE = '{"ema_decay": 0.99, "revive_after": 5}'


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    rows = []
    for i in range(24):
        wav = np.random.default_rng(i).normal(0, 0.1, 5_000 + 300 * i)
        soundfile.write(folder / f"{i}.wav", np.clip(wav, -1, 1), 16_000)
        rows.append({"path": f"{i}.wav", "samples": len(wav)})
    write_manifest(folder / "train.tsv", str(folder), rows)
    write_manifest(folder / "valid.tsv", str(folder), rows[:4])
    return folder


def train(data: Path, save_dir: Path, kills: int, more: list[str]) -> tuple[dict[str, torch.Tensor], str]:
    options = "--task vq_audio_pretraining --arch vq_wav2vec --criterion vq_contrastive --cpu --num-workers 1"
    options += " --optimizer adam --lr 0.003 --lr-scheduler cosine --warmup-updates 5 --max-update 60"
    options += (
        " --max-tokens 40000 --max-sample-size 6000 --save-interval-updates 2 --keep-interval-updates 2"
    )
    options += " --no-epoch-checkpoints --vq-vars 64 --prediction-steps 3 --num-negatives 4 --dropout 0.1"
    options += f" --user-dir {ROOT / 'vqw2v_plugin'} --save-dir {save_dir}"
    layers = ["--conv-feature-layers", "[(128, 10, 5), (128, 8, 4), (128, 4, 2)]"]
    layers += ["--conv-aggregator-layers", "[(128, 3, 1)]"]
    command = [sys.executable, str(HERE / "kill_and_resume.py"), str(kills), "1", str(data)]
    done = subprocess.run(
        [*command, *options.split(), *layers, *more],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    log = (save_dir / "log.txt").read_text()
    assert done.returncode == 0, done.stdout + done.stderr[-2000:] + log[-3000:]
    state = torch.load(save_dir / LAST, weights_only=True)
    assert state["optimizer_history"][-1]["num_updates"] == 60
    return dict(state["model"]), done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kills", "more"),
    [
        (20, ["--quantizer", "kmeans", "--quantizer-args", ALIVE]),
        (6, ["--quantizer", "gumbel", "--loss-weights", "[0.1]", "--vq-temp", "(2, 0.5)"]),
    ],
    ids=["kmeans", "gumbel"],
)
def test_a_run_killed_again_and_again_ends_as_one_left_alone(
    data: Path, tmp_path: Path, kills: int, more: list[str]
) -> None:
    alone, _ = train(data, tmp_path / "alone", 0, more)
    killed, said = train(data, tmp_path / "killed", kills, more)
    print(said.strip())
    different = [key for key in alone if not torch.equal(alone[key], killed[key])]
    assert alone.keys() == killed.keys() and not different, different


def write(path: Path, value: int) -> bytes:
    torch.save({"model": {"w": torch.full((1000,), value)}}, path)
    return path.read_bytes()


def test_a_piece_of_the_last_checkpoint_gives_way_to_the_newest_whole_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "checkpoint_1_10.pt", 10)
    newest = write(tmp_path / "checkpoint_2_20.pt", 20)
    os.utime(tmp_path / "checkpoint_1_10.pt", (1, 1))
    (tmp_path / LAST).write_bytes(newest[: len(newest) // 2])
    assert not is_whole(tmp_path / LAST)
    mend_last_checkpoint(tmp_path)
    assert (tmp_path / LAST).read_bytes() == newest
    assert "going on from checkpoint_2_20.pt" in caplog.text
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "checkpoint_1_10.pt",
        "checkpoint_2_20.pt",
        "checkpoint_last.pt",
    ]


def test_a_piece_without_a_whole_one_beside_it_is_put_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = write(tmp_path / LAST, 1)
    for name in (LAST, "checkpoint_best.pt"):
        (tmp_path / name).write_bytes(whole[:-30])
    mend_last_checkpoint(tmp_path)
    assert not (tmp_path / LAST).exists() and (tmp_path / f"{LAST}.broken").read_bytes() == whole[:-30]
    assert "training begins anew" in caplog.text


def test_a_whole_last_checkpoint_and_an_empty_folder_are_left_alone(tmp_path: Path) -> None:
    mend_last_checkpoint(tmp_path)
    whole = write(tmp_path / LAST, 1)
    mend_last_checkpoint(tmp_path)
    assert (tmp_path / LAST).read_bytes() == whole

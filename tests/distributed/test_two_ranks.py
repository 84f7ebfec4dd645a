"""Two ranks over gloo learn what one process learns from the joined batch: weights and codebook."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from program_runs import on_ranks

from vqw2v_plugin.corpora.manifest import write_manifest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
# Random draws would fall differently on two ranks: here negatives and noise follow the frame alone.
DRAWS_NOTHING = """
    import torch
    import vqw2v_plugin
    from vqw2v_plugin.modules.wav2vec import network

    def fixed(batch, frames, same, cross=0, distance=None, device="cpu", generator=None):
        ahead = torch.arange(1, same + 1)
        rows = (torch.arange(frames)[:, None] + 3 * ahead) % frames  # [T, N]
        return rows[None] + torch.arange(batch)[:, None, None] * frames

    network.sample_negatives = fixed
    torch.Tensor.exponential_ = lambda self, *args, **kwargs: self.fill_(1.0)
"""
UPDATES = 8
MODELS = {
    "kmeans": ["--quantizer", "kmeans"],
    "kmeans, kept alive": [
        *("--quantizer", "kmeans"),
        *("--quantizer-args", '{"ema_decay": 0.9, "revive_after": 2}'),
    ],
    "gumbel": ["--quantizer", "gumbel", "--loss-weights", "[1.0]", "--vq-temp", "(2, 0.5)"],
    "fsq": ["--quantizer", "fsq"],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four clips of one length: two batches, one a rank, or a single batch of both."""
    folder = tmp_path_factory.mktemp("ranks")
    rows = []
    for i in range(4):
        wav = np.random.default_rng(i).normal(0, 0.1 * (1 + i), 6_000)
        soundfile.write(folder / f"{i}.wav", np.clip(wav, -1, 1), 16_000)
        rows.append({"path": f"{i}.wav", "samples": 6_000})
    write_manifest(folder / "train.tsv", str(folder), rows)
    user_dir = folder / "draws_nothing"
    user_dir.mkdir()
    (user_dir / "__init__.py").write_text(textwrap.dedent(DRAWS_NOTHING))
    return folder


def command(data: Path, save_dir: Path, batch: int, more: list[str]) -> list[str]:
    options = "--task vq_audio_pretraining --arch vq_wav2vec --criterion vq_contrastive --cpu --num-workers 0"
    options += (
        f" --optimizer adam --lr 1e-3 --max-update {UPDATES} --batch-size {batch} --ddp-backend legacy_ddp"
    )
    options += " --disable-validation --log-format json --log-interval 1 --vq-vars 8 --prediction-steps 3"
    options += f" --num-negatives 4 --save-dir {save_dir} --user-dir {data / 'draws_nothing'}"
    layers = ["--conv-feature-layers", "[(16, 10, 5), (16, 8, 4), (16, 4, 2)]"]
    layers += ["--conv-aggregator-layers", "[(16, 2, 1)]"]
    return [str(BIN / "fairseq-train"), str(data), *options.split(), *layers, *more]


def train(data: Path, save_dir: Path, ranks: int, more: list[str]) -> dict[str, torch.Tensor]:
    base = command(data, save_dir, 4 // ranks, more)
    state = on_ranks(base, ranks, save_dir, seconds=240)
    assert state["extra_state"]["train_iterator"]["epoch"] >= UPDATES
    return dict(state["model"])


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_two_ranks_learn_as_one_process_with_the_joined_batch(data: Path, tmp_path: Path, name: str) -> None:
    one = train(data, tmp_path / "one", 1, MODELS[name])
    two = train(data, tmp_path / "two", 2, MODELS[name])
    assert one.keys() == two.keys()
    for key, value in one.items():
        if key.endswith(("idle", "window")):
            assert torch.equal(value, two[key]), key
        else:
            torch.testing.assert_close(
                two[key], value, rtol=1e-4, atol=1e-5, msg=lambda m, k=key: f"{k}: {m}"
            )
    fresh = train(data, tmp_path / "fresh", 1, [*MODELS[name], "--lr", "1e-9"])
    moved = max((one[key] - fresh[key]).abs().max().item() for key in one if one[key].is_floating_point())
    assert moved > 1e-3, "the runs learnt nothing, so that they are equal says nothing"


def test_processes_that_fairseq_would_run_apart_are_refused(data: Path, tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "WORLD_SIZE": "2"}
    done = subprocess.run(
        command(data, tmp_path, 2, []), env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode != 0 and "fairseq runs each alone" in done.stderr, done.stderr[-2000:]

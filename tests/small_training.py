"""Trainings of a second or two, in a child process: noise to learn from, and fairseq's own command."""

import sys
from collections.abc import Sequence
from pathlib import Path

import fairseq_cli.train  # once, for all children
import numpy as np
import soundfile
import torch
from forked import Ended, begin_child, in_child

import vqw2v_plugin
from vqw2v_plugin.corpora.manifest import write_manifest

vqw2v_plugin.register()
PLUGIN = Path(__file__).resolve().parents[1] / "vqw2v_plugin"
LAYERS = "[(16, 10, 5), (16, 8, 4), (16, 4, 2)]"
AUDIO = (
    "--task vq_audio_pretraining --arch vq_wav2vec --criterion vq_contrastive --quantizer kmeans --vq-vars 8 "
    "--prediction-steps 3 --num-negatives 4 --dropout 0.1 --max-sample-size 4500 --max-tokens 14000"
)


def noise_corpus(folder: Path, clips: int = 8) -> Path:
    """Manifests train and valid of clips of noise."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(clips):
        wav = np.random.default_rng(i).normal(0, 0.1, 4_200 + 100 * i)
        soundfile.write(folder / f"{i}.wav", np.clip(wav, -1, 1), 16_000)
        rows.append({"path": f"{i}.wav", "samples": len(wav)})
    write_manifest(folder / "train.tsv", folder, rows)
    write_manifest(folder / "valid.tsv", folder, rows[:3])
    return folder


def options(data: Path, save_dir: Path, more: Sequence[str] = ()) -> list[str]:
    """Of a training of `data` on noise, which ends in `save_dir`."""
    common = "--cpu --num-workers 0 --optimizer adam --lr 0.003 --log-format simple --log-interval 1"
    common += f" --no-epoch-checkpoints --user-dir {PLUGIN} --save-dir {save_dir}"
    layers = ["--conv-feature-layers", LAYERS, "--conv-aggregator-layers", "[(16, 2, 1)]"]
    return [str(data), *AUDIO.split(), *common.split(), *layers, *more]


def train(arguments: Sequence[str], folder: Path) -> Ended:
    """`fairseq-train` with these arguments, in a child that stands in `folder`."""

    folder.mkdir(parents=True, exist_ok=True)
    return in_child(lambda: _command(arguments), folder, seconds=600)


def start(arguments: Sequence[str], folder: Path) -> int:
    """The same; whoever asks waits for the process."""
    folder.mkdir(parents=True, exist_ok=True)
    return begin_child(lambda: _command(arguments), folder, seconds=600)


def _command(arguments: Sequence[str]) -> None:
    sys.argv = ["fairseq-train", *arguments]
    fairseq_cli.train.cli_main()


def last(save_dir: Path) -> dict[str, object]:
    return torch.load(save_dir / "checkpoint_last.pt", weights_only=True)  # type: ignore[no-any-return]


def num_updates(save_dir: Path) -> int:
    history = last(save_dir)["optimizer_history"]
    return int(history[-1]["num_updates"])  # type: ignore[index]

"""Trains the small checkpoints beside this file with the code of an earlier commit, and keeps what they gave.

    python tests/checkpoints/earlier/make.py CHECKOUT OUT

Each word is a chord of its letters' pitches, so a second of training is enough to hear some.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile as sf

RATE = 16_000
PITCH = {"a": 300, "b": 700, "c": 1500, "|": 0}
BIN = Path(sys.executable).parent
CONV = "[(8, 10, 5), (8, 8, 4), (8, 4, 4)]"  # a frame every 80 samples
COMMON = (
    "--user-dir vqw2v_plugin --cpu --optimizer adam --num-workers 0 --seed 7 --log-format simple "
    "--no-epoch-checkpoints --no-save-optimizer-state --disable-validation --required-batch-size-multiple 1"
)
AUDIO = (
    "data --task vq_audio_pretraining --arch vq_wav2vec --criterion vq_contrastive --max-tokens 64000 "
    "--prediction-steps 2 --num-negatives 4 --vq-vars 6 --lr 1e-3 --max-update 5"
)
MODELS = {  # name: what fairseq-train is told
    "none": f"{AUDIO} --skip-connections-agg false",
    "gumbel": f"{AUDIO} --quantizer gumbel --vq-depth 1 --log-compression yes --normalize",
    "kmeans": f"{AUDIO} --quantizer kmeans --combine-groups --max-update 9",
    "fsq": f"{AUDIO} --quantizer fsq --quantizer-position context --activation gelu",
    "wav2vec2": "data --task vq_audio_pretraining --arch vq_wav2vec2_small --criterion vq_masked_contrastive "
    "--max-tokens 64000 --encoder-layers 2 --encoder-embed-dim 16 --encoder-ffn-embed-dim 24 "
    "--encoder-attention-heads 2 --conv-pos 8 --conv-pos-groups 4 --latent-vars 6 --final-dim 8 "
    "--num-negatives 9 --lr 1e-3 --max-update 5",
    "finetuned": "data --task vq_acoustic --labels labels --criterion vq_ctc --arch vq_wav2vec2_ctc "
    "--w2v-path wav2vec2.pt --freeze-finetune-updates 10 --mask-prob 0.1 --mask-length 4 "
    "--mask-channel-length 2 --feature-grad-mult 1 --layerdrop 0 --max-tokens 40000 --lr 1e-2 "
    "--max-update 200",
    "bert": "tokens --task vq_token_pretraining --arch vq_bert_tiny --criterion vq_masked_tokens "
    "--encoder-layers 2 --encoder-embed-dim 16 --encoder-ffn-embed-dim 16 --encoder-attention-heads 2 "
    "--max-positions 40 --tokens-per-sample 64 --max-tokens 500 --lr 1e-3 --max-update 5",
    "speech": "data --task vq_speech_pretraining --tokens tokens --arch vq_speech_bert_small --bands 20 "
    "--criterion vq_masked_speech --encoder-layers 2 --encoder-embed-dim 16 --encoder-ffn-embed-dim 16 "
    "--encoder-attention-heads 2 --max-tokens 64000 --lr 1e-3 --max-update 5",
    "ctc": "mel --task vq_acoustic --labels labels --criterion vq_ctc --arch vq_wav2letter_tiny --dropout 0 "
    "--max-tokens 2000 --lr 1e-2 --max-update 150",
    "asg": "data --task vq_acoustic --labels labels --criterion asg --arch vq_wav2letter_tiny --dropout 0 "
    "--front gumbel.pt --front-layer z --freeze-updates 150 --max-tokens 40000 --lr 5e-3 --max-update 200",
    "utterance": "mel:mel --task vq_utterance --labels classes --arch vq_utterance --criterion vq_utterance "
    "--hidden-dim 6 --pooling attention --class-weights balanced --batch-size 8 --lr 1e-2 --max-update 20",
    "wav2vec_u": "mel --task vq_unpaired --text text --arch vq_wav2vec_u --criterion vq_adversarial "
    "--discriminator-dim 6 --discriminator-kernel 3 --generator-kernel 3 --batch-size 8 --lr 4e-4 "
    "--max-update 6",
}
LAYERS = {
    "vq_wav2vec": [
        *("--conv-feature-layers", CONV),
        *("--conv-aggregator-layers", "[(8, 2, 1), (8, 3, 1)]"),
    ],
    "vq_wav2vec2_small": ["--conv-feature-layers", CONV],
    "vq_wav2letter_tiny": ["--conv-layers", "[(12, 5, 2), (12, 3)]"],
    "vq_wav2vec_u": ["--optimizer", "two_adams"],
}
ASKED = {  # what each was asked, of the clip; codes and words are to be the same, numbers nearly
    "gumbel": "encode gumbel.pt clip.wav",
    "kmeans": "encode kmeans.pt clip.wav",
    "fsq": "encode fsq.pt clip.wav",
    "wav2vec2": "encode wav2vec2.pt clip.wav",
    "folder": "encode folder clip.wav",
    "finetuned": "transcribe finetuned.pt clip.wav --json",
    "ctc": "transcribe ctc.pt clip.wav --json",
    "asg": "transcribe asg.pt clip.wav --json --front gumbel.pt",
}
FEATURES = {
    "none": "features none.pt clip.tsv OUT --layer c --store fp32",
    "kmeans_q": "features kmeans.pt clip.tsv OUT --layer q --store fp32",
    "bert": "features kmeans.pt clip.tsv OUT --layer bert --bert bert.pt --store fp32",
    "wav2vec2": "features wav2vec2.pt clip.tsv OUT --layer w2v2:1 --store fp32",
    "finetuned": "features finetuned.pt clip.tsv OUT --layer w2v2:1 --store fp32",
    "speech": "features speech.pt clip.tsv OUT --layer speech:1 --store fp32",
}


def wave(text: str) -> np.ndarray:
    """Each letter sounds for 60 ms, and the file is the same on every machine."""
    time = np.arange(RATE * 6 // 100) / RATE
    tones = [np.sin(2 * np.pi * PITCH[letter] * time) for letter in f"|{text}|"]
    return np.round(8_000 * np.concatenate(tones)).astype(np.int16)


def write_clip(folder: Path) -> None:
    """`clip.wav`, and `clip.tsv`, its manifest."""
    clip = wave("ab|cab|bc")
    sf.write(folder / "clip.wav", clip, RATE)
    (folder / "clip.tsv").write_text(f"{folder}\n# path\tsamples\nclip.wav\t{len(clip)}\n")


def train_options(name: str) -> list[str]:
    """Of fairseq-train."""
    words = MODELS[name].split()
    return [*words, *COMMON.split(), *LAYERS.get(words[words.index("--arch") + 1], [])]


def numbers(folder: Path) -> list[list[float]]:
    """Some frames of the features in a folder."""
    return np.load(folder / "clip.npy").astype(np.float64)[::25].round(6).tolist()


def main(checkout: Path, out: Path) -> None:
    out.mkdir(parents=True)
    (out / "vqw2v_plugin").symlink_to(checkout / "vqw2v_plugin")
    env = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}

    def call(*command: str) -> str:
        done = subprocess.run(
            [BIN / command[0], *command[1:]], cwd=out, env=env, capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-3000:]}")
        return done.stdout

    write_corpus(out / "data")
    write_clip(out)
    for split in ("train", "valid"):
        call("vqw2v", "features", "-", f"data/{split}.tsv", "mel", "--layer", "logmel", "--bands", "20")
    call(
        "vqw2v", "labels", "data/train.tsv", "data/valid.tsv", "labels", "--text", "text", "--unit", "letters"
    )
    call(
        *("vqw2v", "labels", "data/train.tsv", "data/valid.tsv", "classes", "--unit", "class"),
        *("--column", "data/first.txt"),
    )
    write_text(out / "text")
    for name in MODELS:
        if name == "bert":
            for split in ("train", "valid"):
                call("vqw2v", "discretize", "kmeans.pt", f"data/{split}.tsv", "tokens")
        call("fairseq-train", *train_options(name), "--save-dir", f"runs/{name}")
        shutil.move(out / "runs" / name / "checkpoint_last.pt", out / f"{name}.pt")
    call("vqw2v", "export", "gumbel.pt", "folder")
    call("vqw2v", "cluster", "gumbel.pt", "clip.tsv", "clusters", "--layer", "z", "--codes", "5")
    call("vqw2v", "import", "clusters", "clusters.pt")
    gave = {name: call("vqw2v", *asked.split()) for name, asked in ASKED.items()}
    features = {}
    for name, asked in FEATURES.items():
        call("vqw2v", *asked.replace("OUT", f"features_{name}").split())
        features[name] = numbers(out / f"features_{name}")
    text = json.dumps({"said": gave, "features": features}, ensure_ascii=False)
    (out / "gave.json").write_text(re.sub(r"(?<=[\]}\"], )(?=[\[\"])", "\n", text) + "\n")


def write_corpus(folder: Path) -> None:
    """Manifests `train` and `valid`, and in `first.txt` each utterance's first letter, as a class."""
    folder.mkdir()
    first = []
    rng = np.random.default_rng(0)
    for split, count in (("train", 24), ("valid", 2)):
        rows = []
        for i in range(count):
            words = ["".join(rng.choice(list("abc"), int(rng.integers(1, 4)))) for _ in range(3)]
            clip = wave("|".join(words))
            sf.write(folder / f"{split}{i}.wav", clip, RATE)
            rows.append(f"{split}{i}.wav\t{len(clip)}\t{' '.join(words)}\n")
            first.append(f"{split}{i}\t{words[0][0]}\n")
        (folder / f"{split}.tsv").write_text("".join([f"{folder}\n# path\tsamples\ttext\n", *rows]))
    (folder / "first.txt").write_text("".join(first))


def write_text(folder: Path) -> None:
    """Lines of letters, as phones, that nobody says."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    for split in ("train", "valid"):
        lines = [" ".join(rng.choice(list("abc"), int(rng.integers(4, 9)))) for _ in range(20)]
        (folder / f"{split}.phn").write_text("".join(f"{line}\n" for line in lines))
    (folder / "dict.phn.txt").write_text("a 1\nb 1\nc 1\n")


if __name__ == "__main__":
    main(*(Path(word).resolve() for word in sys.argv[1:]))

"""Small made-up audio for tests of models that hear it: each letter has a pitch of its own, for 60 ms."""

from pathlib import Path

import numpy as np
import soundfile
from fake_speech import called

from vqw2v_plugin.corpora.manifest import write_manifest
from vqw2v_plugin.stores.labels import Labels, write_labels

RATE = 16_000
PITCH = {"|": 0, "a": 300, "b": 700, "c": 1500, "d": 3000}  # Hz
WORDS = ("ab", "cab", "bad", "dac", "cd", "bc")


def sung(text: str, rng: np.random.Generator) -> np.ndarray:
    time = np.arange(RATE * 6 // 100) / RATE
    tones = [0.3 * np.sin(2 * np.pi * PITCH[letter] * time) for letter in f"|{text.replace(' ', '|')}|"]
    wav = np.concatenate(tones)
    return wav + rng.normal(0, 0.01, len(wav))


def write_sung(folder: Path, sizes: dict[str, int]) -> tuple[Path, Path]:
    """(folder of manifests, label folder) of so many utterances a split, of one to three words each."""
    audio, manifests, made = folder / "audio", folder / "manifests", {}
    audio.mkdir(parents=True)
    manifests.mkdir()
    for seed, (split, count) in enumerate(sizes.items()):
        rng = np.random.default_rng(seed)
        said = [" ".join(rng.choice(WORDS, rng.integers(1, 4))) for _ in range(count)]
        rows = []
        for i, text in enumerate(said):
            wav = sung(text, rng)
            soundfile.write(audio / f"{split}{i}.wav", wav, RATE)
            rows.append({"path": f"{split}{i}.wav", "samples": len(wav), "utt": f"{split}{i}"})
        write_manifest(manifests / f"{split}.tsv", audio, rows)
        utts = tuple(row["utt"] for row in rows)
        letters = tuple(tuple(text.replace(" ", "|") + "|") for text in said)
        made[split] = Labels(utts, letters, tuple(said))
    lexicon = "".join(f"{word}\t{' '.join(word)} |\n" for word in WORDS).encode()
    counts = [(symbol, 1) for symbol in PITCH]
    write_labels(folder / "labels", "letters", made, counts, {}, {"lexicon.ltr.txt": lexicon})
    return manifests, folder / "labels"


PLUGIN = Path(__file__).resolve().parent.parent / "vqw2v_plugin"
SIZES = (
    "--conv-feature-layers [(16,10,5),(16,8,4),(32,4,4),(32,4,4)] --encoder-layers 2 --encoder-embed-dim 32 "
    "--encoder-ffn-embed-dim 64 --encoder-attention-heads 2 --conv-pos 16 --conv-pos-groups 4"
).split()
OPTIONS = (
    "--task vq_acoustic --criterion vq_ctc --arch vq_wav2vec2_ctc_small --cpu --num-workers 0 --seed 3 "
    "--optimizer adam --lr 0.003 --max-tokens 64000 --no-epoch-checkpoints --log-format simple "
    "--best-checkpoint-metric uer --sentence-avg --mask-prob 0.2 --mask-length 2 --mask-channel-prob 0.1 "
    f"--mask-channel-length 4 --user-dir {PLUGIN}"
).split()


def train_sung(data: Path, labels: Path, out: Path, *options: str) -> Path:
    """`fairseq-train` of a fine-tuned model; answers its last checkpoint."""
    from fairseq import checkpoint_utils

    vars(checkpoint_utils.save_checkpoint).pop("best", None)  # where fairseq keeps that of the run before
    command = ["fairseq-train", str(data), "--labels", str(labels), *OPTIONS, "--save-dir", str(out)]
    called("fairseq_cli.train", [*command, *options])
    return out / "checkpoint_last.pt"

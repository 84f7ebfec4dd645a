"""Small made-up audio for tests of models that hear it: each letter sounds at a pitch of its own for 60 ms."""

from pathlib import Path

import numpy as np
import soundfile

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

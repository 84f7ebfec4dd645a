"""What tests of `discretize` and `features` share: a corpus, runs in their own processes, what they left."""

import os
from pathlib import Path

import numpy as np
import soundfile as sf
import torch

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.checkpoints.wav2vec import Imported, Loaded, save_checkpoint
from vqw2v_plugin.corpora.manifest import write_manifest
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.stores.symbols import read_dict
from vqw2v_plugin.stores.tokens import TokenStore

FEW = ["--shard-minutes", "0.02"]  # many shards: of 1.2 s of audio each


def corpus(folder: Path, name: str = "train", files: int = 24, seed: int = 0) -> Path:
    """Clips of 0.1 to 0.6 s at three rates."""
    rng = np.random.default_rng(seed)
    audio = folder / f"audio-{name}"
    audio.mkdir()
    rows = []
    for i in range(files):
        rate = (16_000, 8_000, 22_050)[i % 3]
        wav = rng.normal(0, 0.1, int(rng.uniform(0.1, 0.6) * rate))
        sf.write(audio / f"{name}{i}.flac", wav, rate)
        rows.append({"path": f"{name}{i}.flac", "samples": len(wav)})
    write_manifest(folder / f"{name}.tsv", audio, rows)
    return folder / f"{name}.tsv"


def saved(network: VqWav2Vec, folder: Path) -> str:
    """The checkpoint of a network."""
    save_checkpoint(Imported(Loaded(network.eval(), 16_000, False), False, 0, []), folder / "m.pt")
    return str(folder / "m.pt")


def content(out: Path) -> dict[str, bytes]:
    """What a run has published."""
    files = (path for path in out.rglob("*") if path.is_file())
    named = {str(path.relative_to(out)): path for path in files}
    return {name: path.read_bytes() for name, path in named.items() if not name.startswith(".")}


def start(*arguments: object, **environ: str) -> int:
    """`discretize` in a process of its own, with nothing to say; its number."""
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        torch.set_num_threads(1)  # a fork lacks the threads that torch counts on
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        os.environ.update(environ)
        status = main(["discretize", *map(str, arguments)])
    finally:
        os._exit(status)


def ended(child: int) -> int:
    """Its exit status, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run(*arguments: object, **environ: str) -> int:
    return ended(start(*arguments, **environ))


def decoded(out: Path, split: str) -> dict[str, list[str]]:
    """The tokens of each utterance, by way of the dictionary."""
    symbols = ("<s>", "<pad>", "</s>", "<unk>", *read_dict(out / "dict.txt"))
    store = TokenStore(out, split)
    return {utt: [symbols[i] for i in store[n]] for n, (utt, _) in enumerate(store.rows)}

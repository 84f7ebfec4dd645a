"""Files that are right, as the product or stock fairseq writes them: what mutants are made of."""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import soundfile
import torch
from fairseq.data import Dictionary
from fairseq.models.roberta import RobertaModel
from fake_emissions import SENTENCES, UNITS, fake_emissions
from feature_folders import write_frames
from small_run import make_run
from sounds import noise
from stock_files import stock_model, write_2019, write_today

from vqw2v_plugin.checkpoints.travel import export_folder
from vqw2v_plugin.stores.emissions import EmissionWriter
from vqw2v_plugin.stores.pieces import train_pieces
from vqw2v_plugin.stores.symbols import NUM_SPECIAL, TOKENS, runs
from vqw2v_plugin.stores.token_extras import TokenExtras
from vqw2v_plugin.stores.tokens import TokenWriter
from vqw2v_plugin.text.ngram import train_ngram, write_arpa
from vqw2v_plugin.text.ngram_counts import read_text
from vqw2v_plugin.text.units import Units

SEEDS = Path(__file__).parent / "seeds"
TRAINED = Path(__file__).parents[1] / "checkpoints" / "earlier"
SMALL = {
    "conv_feature_layers": "[(8, 10, 5), (8, 8, 4)]",
    "conv_aggregator_layers": "[(8, 2, 1), (8, 3, 1)]",
    "vq_vars": 6,
}


def committed(name: str, out: Path) -> None:
    shutil.copytree(SEEDS / name, out)


def trained(out: Path) -> None:
    """What fairseq's trainer has written; clusters it knows nothing of."""
    for path in TRAINED.glob("*.pt"):
        if path.stem != "clusters":
            (out / path.stem).mkdir(parents=True)
            shutil.copy(path, out / path.stem / "c.pt")


def saved(out: Path) -> None:
    """All that is kept in the trainer's layout."""
    for path in TRAINED.glob("*.pt"):
        (out / path.stem).mkdir(parents=True)
        shutil.copy(path, out / path.stem / "c.pt")


def stock(out: Path) -> None:
    for kind in ("none", "gumbel", "kmeans"):
        for name in ("today", "2019"):
            (out / f"{kind}-{name}").mkdir(parents=True)
            model, options = stock_model(vq_type=kind, vq_groups=2, combine_groups=False, **SMALL)
            path = out / f"{kind}-{name}" / "c.pt"
            write_today(path, model, options) if name == "today" else write_2019(path, model, options, True)
    (out / "roberta").mkdir()
    lines = [f"{i}-{i}" for i in range(9)]
    (out / "roberta" / "dict.txt").write_text("".join(f"{line} 1\n" for line in lines))
    torch.save(stock_roberta(lines), out / "roberta" / "c.pt")


def stock_roberta(lines: list[str]) -> dict[str, object]:
    """As stock's trainer keeps it."""
    dictionary = Dictionary()
    for symbol in [*lines, "<mask>"]:
        dictionary.add_symbol(symbol)
    sizes = {"encoder_layers": 1, "encoder_embed_dim": 8, "encoder_ffn_embed_dim": 8, "max_positions": 9}
    args = argparse.Namespace(arch="roberta", encoder_attention_heads=2, activation_fn="gelu", **sizes)
    for name in ("dropout", "attention_dropout", "activation_dropout", "pooler_dropout"):
        setattr(args, name, 0.1)
    task = argparse.Namespace(source_dictionary=dictionary, max_positions=lambda: 9)
    model = RobertaModel.build_model(args, task)
    return {"args": args, "model": model.state_dict(), "optimizer_history": [{"num_updates": 3}]}


def exported(out: Path) -> None:
    """With the weights' sum and without, so that what is wrong behind it shows too."""
    for name in ("gumbel", "kmeans", "bert", "speech", "asg", "finetuned", "utterance", "wav2vec_u"):
        for said in (True, False):
            folder = out / f"{name}-{said}" / "x"
            folder.parent.mkdir(parents=True)
            export_folder(TRAINED / f"{name}.pt", folder)
            config = json.loads((folder / "config.json").read_text())
            if not said:
                del config["weights_sha256"]
                (folder / "config.json").write_text(json.dumps(config))


def arpa(out: Path) -> None:
    committed("arpa", out)
    (out / "trained").mkdir()
    write_arpa(train_ngram(read_text(str(SEEDS / "text/plain/t.txt")), 3), out / "trained" / "lm.arpa")
    (out / "packed").mkdir()
    packed = gzip.compress((SEEDS / "arpa/bigram/lm.arpa").read_bytes(), mtime=0)
    (out / "packed" / "lm.arpa").write_bytes(packed)


def tokens(out: Path) -> None:
    rng = np.random.default_rng(0)
    for run_length in (False, True):
        folder = out / f"run-length-{run_length}"
        with TokenWriter(folder, "dev", 9) as writer:
            extras = TokenExtras(folder, "dev", run_length, text=True, npy=False)
            for utt, frames in (("u-1", 7), ("u-2", 3)):
                codes = rng.integers(0, 2, (frames, 2))
                lengths = runs(codes) if run_length else np.ones(frames, dtype=np.int64)
                kept = codes[lengths.cumsum() - lengths]
                writer.add(utt, frames, kept @ [2, 1] + NUM_SPECIAL)
                extras.add(utt, codes, kept, lengths)
        extras.publish()
        (folder / "dict.txt").write_text("0-0 4\n0-1 3\n1-0 2\n1-1 1\n")
        geometry = {"stride": 160, "receptive_field": 480, "sample_rate": 16_000}
        about = {"num_codes": 2, "num_groups": 2, "run_length": run_length, "splits": {"dev": {}}, **geometry}
        TOKENS.write_about(folder, {**about, "checkpoint": {"name": "c.pt", "sha256": "none"}})


def features(out: Path) -> None:
    rng = np.random.default_rng(0)
    for kind in ("float32", "float16"):
        frames = {f"u-{n}": rng.normal(size=(n, 4)).astype(kind) for n in (1, 3, 5)}
        spec = {"layer": "logmel:4", "bands": 4, "dim": 4, "stride": 160, "sample_rate": 16_000}
        more: dict[str, object] = {
            "receptive_field": 400,
            "dtype": "fp32",
            "store": kind.replace("loat", "p"),
            "normalize": False,
        }
        sums = {"checkpoint": {"name": "c.pt", "sha256": "0" * 64}} if kind == "float16" else {}
        write_frames(out / kind, "dev", frames, {**spec, **more, **sums})


def emissions(out: Path) -> None:
    for name, units in (("ctc", UNITS), ("asg", Units.from_json(_ASG))):
        transitions = None if name == "ctc" else np.zeros((len(units), len(units)), np.float32)
        with EmissionWriter(out / name, "dev", units.to_json(), 0.02, transitions) as writer:
            for number, text in enumerate(SENTENCES[:2] if name == "ctc" else ("ab", "b")):
                writer.add(f"u-{number}", fake_emissions(text, units))


_ASG = {"symbols": ["|", "a", "b", "1", "2"], "kind": "letters", "blank": None, "repeats": ["1", "2"]}


def audio_lists(out: Path) -> None:
    """Tables as they are and, where there are tables of json, packed; a few wavs beside them."""
    committed("audio_lists", out)
    for folder in list(out.iterdir()):
        corpus = folder / "corpus"
        if tables := list(corpus.glob("*.jsonl")):
            shutil.copytree(folder, packed := out / f"{folder.name}-packed")
            for table in tables:
                (packed / "corpus" / table.name).unlink()
                content = gzip.compress(table.read_bytes(), mtime=0)
                (packed / "corpus" / f"{table.name}.gz").write_bytes(content)
    for corpus in out.glob("*/corpus"):
        clips = corpus / "clips" if corpus.parent.name == "commonvoice" else corpus
        speech = clips / {"librispeech": "1/2", "timit": "TRAIN/DR1/FCJF0"}.get(corpus.parent.name, "")
        if corpus.parent.name == "wsj":
            speech = corpus / "11-1.1/wsj0/si_tr_s/011"
        names = {"librispeech": ("1-2-0.flac", "1-2-1.flac"), "timit": ("SX37.wav",)}
        names["wsj"] = ("011c0201.wav", "011c0202.wav")
        for name in names.get(corpus.parent.name, ("a.wav", "b.flac", "c.wav")):
            speech.mkdir(parents=True, exist_ok=True)
            soundfile.write(speech / name, noise(800), 16_000)


def sounds(out: Path) -> None:
    for name in ("a.wav", "a.flac", "a.ogg", "a.aiff", "a.sph"):
        folder = out / name.replace(".", "-")
        folder.mkdir(parents=True)
        kind = {"sph": "NIST"}.get(name[2:])
        with open(folder / "a", "wb") as file:
            soundfile.write(file, noise(400), 16_000, format=kind or name[2:].upper())


def pieces(out: Path) -> None:
    codes = ["0-0", "0-1", "1-0"]
    train_pieces([codes * 3, codes[:2] * 4, codes[1:] * 2], codes, 6).save(out / "six")


def a_run(out: Path) -> None:
    make_run(out / "run", num_utterances=1, samples=800)

"""What is fuzzed: one line a reader, with the files that it reads when nothing is wrong."""

from __future__ import annotations

import argparse
import functools
import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import torch
from fairseq import checkpoint_utils
from fairseq.data import Dictionary
from fairseq.models.roberta import RobertaModel
from fake_emissions import SENTENCES, UNITS, fake_emissions
from feature_folders import write_frames
from small_run import make_run
from sounds import noise
from stock_files import stock_model, write_2019, write_today

from vqw2v_plugin import register
from vqw2v_plugin.analysis.abx_items import open_frames
from vqw2v_plugin.analysis.report_page.assemble import make_report
from vqw2v_plugin.analysis.run_view import PageOptions, RunView
from vqw2v_plugin.audio.reading import audio_info, read_audio
from vqw2v_plugin.checkpoints.format import load_any
from vqw2v_plugin.checkpoints.travel import export_folder, import_checkpoint
from vqw2v_plugin.corpora.collect import CollectOptions, collect
from vqw2v_plugin.corpora.ctm import read_ctm
from vqw2v_plugin.corpora.manifest import Manifest
from vqw2v_plugin.decoding.decoder import make_decoder
from vqw2v_plugin.decoding.language_model import check_knows_words, load_language_model, make_trie
from vqw2v_plugin.decoding.settings import DecoderSettings
from vqw2v_plugin.decoding.trials import units_of
from vqw2v_plugin.recipes.folder import RunFolder
from vqw2v_plugin.stores.emissions import EmissionWriter, read_emissions
from vqw2v_plugin.stores.feature_spec import read_spec
from vqw2v_plugin.stores.features import FeatureStore
from vqw2v_plugin.stores.labels import LABELS, read_labels, read_symbols
from vqw2v_plugin.stores.pieces import Pieces, train_pieces
from vqw2v_plugin.stores.symbols import NUM_SPECIAL, TOKENS, read_dict, runs
from vqw2v_plugin.stores.token_extras import TokenExtras
from vqw2v_plugin.stores.tokens import TokenStore, TokenWriter
from vqw2v_plugin.text.lexicon import columns_of, read_lexicon
from vqw2v_plugin.text.ngram import train_ngram, write_arpa
from vqw2v_plugin.text.ngram_counts import read_text
from vqw2v_plugin.text.units import Units, ctc_units
from vqw2v_plugin.training.datasets.labelled import FeatureSource
from vqw2v_plugin.training.look_first import look_at

SEEDS = Path(__file__).parent / "seeds"
TRAINED = Path(__file__).parents[1] / "checkpoints" / "earlier"
WORDS = ("a", "b", "ab")
register()


class Target(NamedTuple):
    """`make` fills an empty folder with one folder a case, `read` reads such a one."""

    name: str
    make: Callable[[Path], None]
    read: Callable[[Path], object]
    share: int = 1  # of the time; what is slow has more


def committed(name: str, out: Path) -> None:
    shutil.copytree(SEEDS / name, out)


def trained(out: Path) -> None:
    for path in TRAINED.glob("*.pt"):
        (out / path.stem).mkdir(parents=True)
        shutil.copy(path, out / path.stem / "c.pt")


def look_and_load(folder: Path) -> None:
    """What is let through is nothing over which fairseq stumbles."""
    look_at(folder / "c.pt")
    checkpoint_utils.load_checkpoint_to_cpu(str(folder / "c.pt"))


def stock(out: Path) -> None:
    for kind in ("none", "gumbel", "kmeans"):
        for name in ("today", "2019"):
            (out / f"{kind}-{name}").mkdir(parents=True)
            model, options = stock_model(vq_type=kind, vq_groups=2, combine_groups=False)
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


def read_stock(folder: Path) -> None:
    lines = folder / "dict.txt"
    import_checkpoint(folder / "c.pt", lines if lines.exists() else None)


def exported(out: Path) -> None:
    """With the weights' sum and without, so that what is wrong behind it shows too."""
    for name in ("gumbel", "kmeans", "bert", "asg"):
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


def read_arpa(folder: Path) -> None:
    path = folder / "lm.arpa"
    lm = load_language_model(path, WORDS)
    check_knows_words(path, WORDS)
    make_trie([("a", [1, 2]), ("b", [2]), ("ab", [1, 3])], WORDS, lm, 4)
    lm.finish(lm.score(lm.start(False), 0)[0])


def read_lexicon_and_spell(folder: Path) -> None:
    try:
        columns_of(read_lexicon(folder / "lexicon.txt"), ctc_units(["|", "a", "b"]))
    except ValueError as error:
        if not str(error).startswith("the lexicon's word"):  # which says enough
            raise


def read_label_folder(folder: Path) -> None:
    read_symbols(folder, "letters")
    read_labels(folder, "dev", "letters")
    LABELS.read_about(folder)


def read_manifest(folder: Path) -> None:
    manifest = Manifest(folder / "m.tsv")
    for name in ("path", *manifest.columns):
        assert len(manifest.column(name)) == len(manifest)
    for i in range(len(manifest)):
        assert manifest[i].utt is not None
    assert manifest.digest and manifest.rows_digest


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


def read_tokens(folder: Path) -> None:
    store = TokenStore(folder, "dev")
    for i in range(len(store)):
        assert len(store[i]) == store.sizes[i]
    assert len(store.rows) == len(store)
    frames = open_frames(folder, "dev", [])
    for utt in frames.places:
        assert frames[utt].ndim == 2


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


def read_features(folder: Path) -> None:
    store = FeatureStore(folder, "dev")
    for i in range(len(store)):
        assert store[i].shape == (store.sizes[i], store.dim)
    assert len(store.rows) == len(store)
    source = FeatureSource(folder, "dev")
    for i in range(len(source.utts)):
        source.read(i)
    source.digest()
    try:
        assert read_spec(folder).frame_seconds > 0
    except ValueError as error:
        if not str(error).startswith("features.json says"):  # which says enough
            raise
    open_frames(folder, "dev", [])


def emissions(out: Path) -> None:
    for name, units in (("ctc", UNITS), ("asg", Units.from_json(_ASG))):
        transitions = None if name == "ctc" else np.zeros((len(units), len(units)), np.float32)
        with EmissionWriter(out / name, "dev", units.to_json(), 0.02, transitions) as writer:
            for number, text in enumerate(SENTENCES[:2] if name == "ctc" else ("ab", "b")):
                writer.add(f"u-{number}", fake_emissions(text, units))


_ASG = {"symbols": ["|", "a", "b", "1", "2"], "kind": "letters", "blank": None, "repeats": ["1", "2"]}


def decode(folder: Path) -> None:
    saved = read_emissions(folder, "dev")
    decoder = make_decoder(DecoderSettings(), units_of(saved), saved.transitions)
    for i in range(len(saved)):
        decoder.decode(saved[i])
    assert saved.frame_seconds > 0


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


def read_audio_lists(folder: Path) -> None:
    """What is listed can be read again."""
    out = folder.with_name("listed")
    shutil.rmtree(out, ignore_errors=True)
    collected = collect(folder / "corpus", out, CollectOptions(workers=1), warn=lambda message: None)
    for split, rows in collected.splits.items():
        if rows:
            assert len(Manifest(out / f"{split}.tsv")) == len(rows)
    for path in out.glob("*.ctm"):
        read_ctm(path)


def sounds(out: Path) -> None:
    for name in ("a.wav", "a.flac", "a.ogg", "a.aiff", "a.sph"):
        folder = out / name.replace(".", "-")
        folder.mkdir(parents=True)
        kind = {"sph": "NIST"}.get(name[2:])
        with open(folder / "a", "wb") as file:
            soundfile.write(file, noise(400), 16_000, format=kind or name[2:].upper())


def read_sound(folder: Path) -> None:
    info = audio_info(folder / "a")
    if info.sample_rate and info.samples < 1 << 24:
        read_audio(folder / "a", 16_000)


def pieces(out: Path) -> None:
    codes = ["0-0", "0-1", "1-0"]
    train_pieces([codes * 3, codes[:2] * 4, codes[1:] * 2], codes, 6).save(out / "six")


def read_pieces(folder: Path) -> None:
    made = Pieces.load(folder)
    made(["0-0", "0-1", "1-0", "9-9"])
    assert len(made.symbols) >= 0


def a_run(out: Path) -> None:
    make_run(out / "run", num_utterances=1, samples=800)


def read_run(folder: Path) -> None:
    make_report(RunView(RunFolder(folder), PageOptions(num_clips=1), say=lambda text: None))


def arpa_of(folder: Path) -> None:
    out = folder.with_name("of.arpa")
    write_arpa(train_ngram(read_text(str(folder / "t.txt")), 3), out)
    load_language_model(out, WORDS)


TARGETS = {
    target.name: target
    for target in (
        Target("checkpoint", trained, lambda folder: load_any(folder / "c.pt"), 3),
        Target("fairseq", trained, look_and_load, 3),
        Target("stock", stock, read_stock, 2),
        Target("exported", exported, lambda folder: load_any(folder / "x"), 2),
        Target("manifest", functools.partial(committed, "manifest"), read_manifest),
        Target("audio_lists", audio_lists, read_audio_lists, 2),
        Target("audio", sounds, read_sound),
        Target("arpa", arpa, read_arpa),
        Target("text", functools.partial(committed, "text"), arpa_of),
        Target("lexicon", functools.partial(committed, "lexicon"), read_lexicon_and_spell),
        Target("dict", functools.partial(committed, "dict"), lambda folder: read_dict(folder / "dict.txt")),
        Target("labels", functools.partial(committed, "labels"), read_label_folder),
        Target("ctm", functools.partial(committed, "ctm"), lambda folder: read_ctm(folder / "t.ctm")),
        Target("tokens", tokens, read_tokens),
        Target("pieces", pieces, read_pieces),
        Target("features", features, read_features),
        Target("emissions", emissions, decode),
        Target("run", a_run, read_run, 3),
    )
}

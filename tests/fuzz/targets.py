"""What is fuzzed: one line a reader."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import seed_files as made
from fairseq import checkpoint_utils

from vqw2v_plugin import register
from vqw2v_plugin.analysis.class_results import find_class_rates
from vqw2v_plugin.analysis.report_page.assemble import make_report
from vqw2v_plugin.analysis.run_view import PageOptions, RunView
from vqw2v_plugin.audio.reading import audio_info, read_audio
from vqw2v_plugin.checkpoints.format import load_any
from vqw2v_plugin.checkpoints.travel import import_checkpoint
from vqw2v_plugin.corpora.collect import CollectOptions, collect
from vqw2v_plugin.corpora.ctm import read_ctm
from vqw2v_plugin.corpora.manifest import Manifest
from vqw2v_plugin.corpora.mixture import read_mixture
from vqw2v_plugin.corpora.sources import Entry
from vqw2v_plugin.corpora.times import TextGrids
from vqw2v_plugin.decoding.decoder import make_decoder
from vqw2v_plugin.decoding.language_model import check_knows_words, load_language_model, make_trie
from vqw2v_plugin.decoding.settings import DecoderSettings
from vqw2v_plugin.decoding.trials import units_of
from vqw2v_plugin.recipes.folder import RunFolder
from vqw2v_plugin.stores.emissions import read_emissions
from vqw2v_plugin.stores.feature_spec import read_spec
from vqw2v_plugin.stores.features import FeatureStore
from vqw2v_plugin.stores.frames import open_frames
from vqw2v_plugin.stores.labels import LABELS, read_labels, read_symbols
from vqw2v_plugin.stores.pieces import Pieces
from vqw2v_plugin.stores.symbols import read_dict
from vqw2v_plugin.stores.tokens import TokenStore
from vqw2v_plugin.text.lexicon import columns_of, read_lexicon
from vqw2v_plugin.text.ngram import train_ngram, write_arpa
from vqw2v_plugin.text.ngram_counts import read_text
from vqw2v_plugin.text.units import ctc_units
from vqw2v_plugin.training.datasets.labelled import FeatureSource
from vqw2v_plugin.training.look_first import look_at

WORDS = ("a", "b", "ab")
register()


class Target(NamedTuple):
    """`make` fills an empty folder with one folder a case, `read` reads such a one."""

    name: str
    make: Callable[[Path], None]
    read: Callable[[Path], object]
    share: int = 1  # of the time; what is slow has more


def look_and_load(folder: Path) -> None:
    """What is let through is nothing over which fairseq stumbles."""
    look_at(folder / "c.pt")
    checkpoint_utils.load_checkpoint_to_cpu(str(folder / "c.pt"))


def read_stock(folder: Path) -> None:
    lines = folder / "dict.txt"
    import_checkpoint(folder / "c.pt", lines if lines.exists() else None)


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


def read_tokens(folder: Path) -> None:
    store = TokenStore(folder, "dev")
    for i in range(len(store)):
        assert len(store[i]) == store.sizes[i]
    assert len(store.rows) == len(store)
    frames = open_frames(folder, "dev", [])
    for utt in frames.places:
        assert frames[utt].ndim == 2


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


def decode(folder: Path) -> None:
    saved = read_emissions(folder, "dev")
    decoder = make_decoder(DecoderSettings(), units_of(saved), saved.transitions)
    for i in range(len(saved)):
        decoder.decode(saved[i])
    assert saved.frame_seconds > 0


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


def read_times(folder: Path) -> None:
    """Joined to an utterance as `--times` does it, what is wrong is a note."""
    found = TextGrids(str(folder)).add_to([Entry("a.wav", "a.wav")])
    assert len(found) == 1 and found[0].utt == "a"


def read_sound(folder: Path) -> None:
    info = audio_info(folder / "a")
    if info.sample_rate and info.samples < 1 << 24:
        read_audio(folder / "a", 16_000)


def read_pieces(folder: Path) -> None:
    made = Pieces.load(folder)
    made(["0-0", "0-1", "1-0", "9-9"])
    assert len(made.symbols) >= 0


def read_run(folder: Path) -> None:
    make_report(RunView(RunFolder(folder), PageOptions(num_clips=1), say=lambda text: None))


def arpa_of(folder: Path) -> None:
    out = folder.with_name("of.arpa")
    write_arpa(train_ngram(read_text(str(folder / "t.txt")), 3), out)
    load_language_model(out, WORDS)


TARGETS = {
    target.name: target
    for target in (
        Target("checkpoint", made.saved, lambda folder: load_any(folder / "c.pt"), 3),
        Target("fairseq", made.trained, look_and_load, 3),
        Target("stock", made.stock, read_stock, 2),
        Target("exported", made.exported, lambda folder: load_any(folder / "x"), 2),
        Target("manifest", functools.partial(made.committed, "manifest"), read_manifest),
        Target("audio_lists", made.audio_lists, read_audio_lists, 2),
        Target("textgrids", functools.partial(made.committed, "textgrids"), read_times),
        Target("audio", made.sounds, read_sound),
        Target("arpa", made.arpa, read_arpa),
        Target("text", functools.partial(made.committed, "text"), arpa_of),
        Target("lexicon", functools.partial(made.committed, "lexicon"), read_lexicon_and_spell),
        Target(
            "dict", functools.partial(made.committed, "dict"), lambda folder: read_dict(folder / "dict.txt")
        ),
        Target("labels", functools.partial(made.committed, "labels"), read_label_folder),
        Target(
            "mixture",
            functools.partial(made.committed, "mixture"),
            lambda folder: read_mixture(folder / "mixture.yaml"),
        ),
        Target("ctm", functools.partial(made.committed, "ctm"), lambda folder: read_ctm(folder / "t.ctm")),
        Target("tokens", made.tokens, read_tokens),
        Target("pieces", made.pieces, read_pieces),
        Target("features", made.features, read_features),
        Target("emissions", made.emissions, decode),
        Target(
            "recalls",
            functools.partial(made.committed, "recalls"),
            lambda folder: find_class_rates(folder, []),
        ),
        Target("run", made.a_run, read_run, 3),
    )
}

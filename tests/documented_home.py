"""What a reader who tries the documented commands has: a corpus, files, a checkpoint of stock fairseq."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import soundfile as sf
from documented import ROOT
from stock_files import stock_model, write_today

from vqw2v_plugin.corpora.manifest import Manifest, Utterance, write_manifest
from vqw2v_plugin.toy.corpus import make_corpus

SPLITS = ("train", "valid", "test")
FILES = ("a.wav", "b.flac", "speech.wav", "speech.flac", "talk.wav")
_TIMIT = ("h#", "dh", "ax", "kcl", "k", "ae", "tcl", "t", "sh", "iy", "h#")


def make_home(folder: Path) -> None:
    """`/recordings`: mere audio. `/corpus`: the same as Kaldi's folder. Then what the pages call by name."""
    for name in ("examples", "benchmarks"):
        (folder / name).symlink_to(ROOT / name)
    toy = folder / "toy"
    make_corpus(toy, 1.0, 4, ("en",), 1, 1)
    shutil.copytree(toy / "flac", folder / "recordings")
    for split in SPLITS:
        manifest = Manifest(toy / f"{split}.tsv")
        utterances = [manifest[i] for i in range(len(manifest))]
        _as_kaldi(folder / "corpus" / split, toy / "flac", utterances)
        _with_words_and_phones(folder / f"{split}.tsv", toy / "flac", utterances)
        name = {"valid": "dev"}.get(split, split)
        _with_words_and_phones(folder / "corpus" / "speech" / f"{name}.tsv", toy / "flac", utterances)
        _as_table(folder / "corpus" / "tables" / f"{split}.csv", toy / "flac", utterances)
        shutil.copy(toy / f"{split}.phones.ctm", folder / "corpus")
    mixture = "alpha: 0.5\ncorpora:\n  - {data: manifests, lang: en}\n"
    (folder / "corpus" / "mixture.yaml").write_text(mixture)
    texts = (folder / "corpus" / "train" / "text").read_text().splitlines()
    sentences = [text.partition(" ")[2] for text in texts]
    (folder / "corpus.txt").write_text("\n".join([*sentences, *sentences[::2], ""]))  # some come twice
    shutil.copy(toy / "lexicon.txt", folder / "cmudict.txt")
    for name, path in zip(FILES, sorted((toy / "flac").rglob("*.flac")), strict=False):
        sf.write(folder / name, *sf.read(path))
    write_today(folder / "vq-wav2vec.pt", *stock_model(vq_type="kmeans"))


def _as_kaldi(folder: Path, audio: Path, utterances: Sequence[Utterance]) -> None:
    """wav.scp, utt2spk and text."""
    folder.mkdir(parents=True)
    tables = {
        "wav.scp": [f"{u.utt} {audio / u.path}" for u in utterances],
        "utt2spk": [f"{u.utt} {u.speaker}" for u in utterances],
        "text": [f"{u.utt} {u.extra['text']}" for u in utterances],
    }
    for name, lines in tables.items():
        (folder / name).write_text("".join(f"{line}\n" for line in lines))


def _as_table(path: Path, audio: Path, utterances: Sequence[Utterance]) -> None:
    """A table of one's own: a file and what was said in it."""
    path.parent.mkdir(exist_ok=True)
    rows = [f'{audio / u.path},"{u.extra["text"]}",{u.speaker}' for u in utterances]
    path.write_text("\n".join(["file_name,sentence,speaker", *rows, ""]))


def _with_words_and_phones(path: Path, audio: Path, utterances: Sequence[Utterance]) -> None:
    """A manifest with columns of words and of TIMIT's phones (which do not say these words)."""
    rows = [
        {
            "path": u.path,
            "samples": u.samples,
            "utt": u.utt,
            "speaker": u.speaker,
            "words": u.extra["text"],
            "text": u.extra["text"],
            "phones": " ".join(_TIMIT),
            "emotion": ("joy", "fear")[number % 2],
        }
        for number, u in enumerate(utterances)
    ]
    write_manifest(path, audio, rows, list(rows[0]))

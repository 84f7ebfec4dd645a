"""Every command that reads a checkpoint, and fairseq's programs that do."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from attempts import Reader
from good_things import KINDS, generate_command, train_command, trained_for


def checkpoint_readers(good: Path) -> list[Reader]:
    clip, wav = f"{good}/clip.tsv", f"{good}/clip.wav"

    def transcribe(word: str, out: str, kind: str) -> list[str]:
        front = _front(good, kind)
        return ["vqw2v", "transcribe", word, wav, *(["--front", front] if front else [])]

    abx = [
        "vqw2v",
        "abx",
        f"{good}/gumbel-tokens",
        "--phones",
        f"{good}/train.ctm",
        "--split",
        "train",
        "--checkpoint",
    ]
    return [
        Reader("usage", lambda word, out, kind: ["vqw2v", "usage", word, clip]),
        Reader("usage alone", lambda word, out, kind: ["vqw2v", "usage", word]),
        Reader("discretize", lambda word, out, kind: ["vqw2v", "discretize", word, clip, out]),
        Reader("encode", lambda word, out, kind: ["vqw2v", "encode", word, wav]),
        Reader("features z", lambda word, out, kind: ["vqw2v", "features", word, clip, out, "--layer", "z"]),
        Reader(
            "features bert",
            lambda word, out, kind: [
                *("vqw2v", "features", f"{good}/kmeans.pt", clip, out, "--layer", "bert", "--bert", word)
            ],
        ),
        Reader("transcribe", transcribe),
        Reader(
            "transcribe --front",
            lambda word, out, kind: ["vqw2v", "transcribe", f"{good}/asg.pt", wav, "--front", word],
        ),
        Reader("export", lambda word, out, kind: ["vqw2v", "export", word, out]),
        Reader("import", lambda word, out, kind: ["vqw2v", "import", word, f"{out}.pt"]),
        Reader("abx", lambda word, out, kind: [*abx, word, "--out", f"{out}.json"]),
        Reader("report", partial(_report_of, good), lenient=True),
        Reader("Tokenizer", lambda word, out, kind: python("Tokenizer", word, wav)),
        Reader("Transcriber", lambda word, out, kind: python("Transcriber", word, wav, _front(good, kind))),
    ]


def _front(good: Path, kind: str) -> str:
    """What an acoustic model needs besides itself."""
    return f"{good}/gumbel.pt" if kind == "asg" else ""


def python(face: str, word: str, wav: str, front: str = "") -> list[str]:
    said = f", front={front!r}" if front else ""
    asked = "face.encode(*soundfile.read({}))" if face == "Tokenizer" else "face({})"
    lines = f"import soundfile\nfrom vqw2v_plugin import {face}\nface = {face}.load({word!r}{said})\n"
    return ["python", "-c", f"{lines}print({asked.format(repr(wav))})"]


def _report_of(good: Path, word: str, out: str, kind: str) -> list[str]:
    """Of a run whose training left this."""
    run = Path(out)
    shutil.copytree(good / "run", run)
    (run / "pretrain/checkpoint_last.pt").symlink_to(word if word and "\0" not in word else "nothing")
    (run / "pretrain/.hydra").mkdir()
    (run / "pretrain/.hydra/config.yaml").write_text("model:\n  _name: vq_wav2vec\n")
    shutil.rmtree(run / "tokens")  # so that it has to encode
    return ["vqw2v", "report", str(run), f"{out}.html"]


def fairseq_readers(good: Path) -> list[Reader]:
    def going_on(option: str, word: str, out: str, kind: str) -> list[str]:
        kind = kind or "gumbel"
        return train_command(good, kind, f"{out}s", trained_for(kind) + 1, [option, word])

    def generate(word: str, out: str, kind: str) -> list[str]:
        return generate_command(good, word, out, kind)

    return [
        Reader("fairseq-train --restore-file", partial(going_on, "--restore-file")),
        Reader("fairseq-train --finetune-from-model", partial(going_on, "--finetune-from-model")),
        Reader("fairseq-train --init-from", partial(going_on, "--init-from")),
        Reader("fairseq-generate --path", generate),
    ]


def training(good: Path, kind: str) -> Reader:
    """A model of this kind from the beginning, with one setting more."""

    def train(word: str, out: str, _: str) -> list[str]:
        option, _, value = word.partition("=")
        value = f"{good}/{value}" if value.endswith(".pt") else value
        return train_command(good, kind, f"{out}s", 2, [f"{option}={value}"])

    assert kind in KINDS
    return Reader(f"fairseq-train {kind}", train)

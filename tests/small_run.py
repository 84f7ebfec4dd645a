"""A finished run of a few seconds of sound, made without training: what `report` has to show all of."""

import json
import shlex
from pathlib import Path

import numpy as np
import soundfile

from vqw2v_plugin.analysis.code_quality import Interval, VoiceProbe
from vqw2v_plugin.analysis.code_report import CodeReport
from vqw2v_plugin.analysis.phone_codes import CodeUsage, PhoneInformation
from vqw2v_plugin.checkpoints.wav2vec import Imported, Loaded, save_checkpoint
from vqw2v_plugin.corpora.manifest import Manifest, Utterance, write_manifest
from vqw2v_plugin.decoding.scoring import Confusions, Errors, align, count, summary
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.recipes.folder import LOG, Stamp, begin, finish, hash_of
from vqw2v_plugin.stores.symbols import NUM_SPECIAL, TOKENS, runs, write_dict
from vqw2v_plugin.stores.token_extras import TokenExtras
from vqw2v_plugin.stores.tokens import TokenWriter

STAGES = ("corpus", "pretrain", "tokens", "decode")
RATE, STRIDE, FIELD = 16_000, 160, 480
WORDS, HEARD = "low high low", "low sky low oh"
PHONES = ("SIL", "l", "h", "l")  # a quarter of an utterance each
GEOMETRY = {"stride": STRIDE, "receptive_field": FIELD, "sample_rate": RATE}


def make_run(run: Path, num_utterances: int = 6, samples: int = 16_000, odd: str = "") -> Path:
    """corpus, training, tokens, decode; tokens name the phone but for one frame in ten.

    Every name that somebody else chooses ends with `odd`.
    """
    utts = [f"speaker{i % 3}-{i:02d}{odd}" for i in range(num_utterances)]
    decoder = ["--decoder", f"lexicon{odd}"] if odd else []
    stages = {
        name + odd: shlex.join(["vqw2v", name, "--seed", str(seed), *decoder])
        for seed, name in enumerate(STAGES, 7)
    }
    for name, command in stages.items():
        mark(run / name, command)
    make_corpus(run / f"corpus{odd}/data", utts, samples, odd)
    make_training(run / f"pretrain{odd}", odd=odd)
    make_tokens(run / f"tokens{odd}/data", utts, samples, odd=odd)
    make_results(run, utts, odd)
    for name, command in stages.items():
        mark(run / name, command, done=True)
    return run


def rows_of(run: Path) -> list[Utterance]:
    """The utterances of its split."""
    manifest = Manifest(run / "corpus/data/test.tsv")
    return [manifest[i] for i in range(len(manifest))]


def save_trained(network: VqWav2Vec, run: Path) -> Path:
    """The network as the checkpoint of the run's training."""
    path = run / "pretrain/checkpoint_last.pt"
    save_checkpoint(Imported(Loaded(network.eval(), RATE, False), False, 0, []), path)
    (run / "pretrain/.hydra").mkdir()
    (run / "pretrain/.hydra/config.yaml").write_text("model:\n  _name: vq_wav2vec\n")
    return path


def mark(stage: Path, command: str, *needs: str, done: bool = False) -> None:
    """What a recipe leaves in the folder of a stage that it has begun, or done."""
    stamp = Stamp((command,), tuple((need, hash_of(need.encode())) for need in needs))
    begin(stage, stamp)
    (stage / LOG).touch()
    if done:
        finish(stage, stamp)


def make_corpus(folder: Path, utts: list[str], samples: int, odd: str = "") -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows, seconds = [], samples / RATE
    for utt in utts:
        wav = rng.normal(0, 0.1, samples) * np.repeat([0.05, 1, 0.5, 1], -(-samples // 4))[:samples]
        soundfile.write(folder / f"{utt}.wav", wav, RATE, subtype="PCM_16")
        row = {"path": f"{utt}.wav", "samples": samples, "speaker": utt[:8] + odd, "utt": utt}
        rows.append({**row, "text": spoken(WORDS, odd)})
    write_manifest(folder / f"test{odd}.tsv", folder, rows, ["path", "samples", "speaker", "utt", "text"])
    quarter = seconds / 4
    for unit, labels in (("phones", PHONES), ("words", ("", *WORDS.split()))):
        lines = [f"{u} 1 {i * quarter} {quarter} {w}{odd}\n" for u in utts for i, w in enumerate(labels) if w]
        (folder / f"test{odd}.{unit}.ctm").write_text("".join(lines))


def spoken(words: str, odd: str) -> str:
    return " ".join(word + odd for word in words.split())


def make_training(folder: Path, last: int = 100, odd: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = {"model": {"_name": f"vq_wav2vec{odd}"}} | ({"criterion": {"_name": odd}} if odd else {})
    settings = {"optimization": {"max_update": 100}, **names, "common": {"seed": 3}}
    lines = [f"[now][fairseq_cli.train][INFO] - {settings}"]
    for n in range(10, last + 1, 10):
        shares = f"code_perplexity={3 - n / 100}, group_share=[{n / 200}, 0.5], dead_codes={n // 50}"
        lines.append(
            f"[now][train_inner][INFO] - epoch 001: {n} / 99 loss={9 - n / 50}, {shares}, num_updates={n}"
        )
        if n % 50 == 0:
            values = f"loss {8.5 - n / 50} | num_updates {n}"
            lines.append(f"[now][valid][INFO] - epoch 001 | valid on 'valid' subset | {values}")
    if odd:
        row = json.dumps({"epoch": 1, f"loss{odd}": "0.5", "num_updates": str(last + 1)})
        lines.append(f"[now][train_inner][INFO] - {row}")
        lines.append(f"[now][vqw2v_plugin.training][WARNING] - beware {odd}")
    (folder / "hydra_train.log").write_text("\n".join(lines) + "\n")


def make_tokens(folder: Path, utts: list[str], samples: int, run_length: bool = False, odd: str = "") -> None:
    symbols = ["0-0", "1-0", "2-1", "3-1"]
    frames = (samples - FIELD) // STRIDE + 1
    rng = np.random.default_rng(1)
    with TokenWriter(folder, f"test{odd}", len(symbols) + 5) as writer:
        extras = TokenExtras(folder, f"test{odd}", run_length, text=False, npy=False)
        for utt in utts:
            centres = (np.arange(frames) * STRIDE + FIELD / 2) / samples
            ids = np.where(
                rng.random(frames) < 0.1, 3, [0, 1, 2, 1] @ np.eye(4, dtype=int)[:, (centres * 4).astype(int)]
            )
            lengths = runs(ids[:, None]) if run_length else np.ones(frames, dtype=int)
            kept = ids[lengths.cumsum() - lengths]
            writer.add(utt, frames, kept + NUM_SPECIAL)
            extras.add(utt, ids[:, None], kept[:, None], lengths)
    extras.publish()
    write_dict(folder / "dict.txt", [(symbol, 1) for symbol in symbols])
    about = {
        "num_codes": 4,
        "num_groups": 2,
        "run_length": run_length,
        "splits": {f"test{odd}": {}},
        **GEOMETRY,
    }
    TOKENS.write_about(folder, {**about, "checkpoint": {"name": "checkpoint_last.pt", "sha256": "none"}})


def make_results(run: Path, utts: list[str], odd: str = "") -> None:
    decode, heard = run / f"decode{odd}", spoken(HEARD, odd)
    decode.mkdir(parents=True, exist_ok=True)
    words = [{"word": w, "start": 0.25 * i, "end": 0.25 * i + 0.2} for i, w in enumerate(heard.split())]
    lines = [json.dumps({"utt": utt, "text": heard, "words": words}) for utt in utts]
    (decode / f"hypotheses-test{odd}.jsonl").write_text("\n".join(lines) + '\n{"utt": "half a li')
    errors, confusions = Errors(), Confusions()
    for _ in utts:
        pairs = align(spoken(WORDS, odd).split(), heard.split())
        errors += count(pairs)
        confusions.add(pairs)
    found = {**summary(errors, confusions, "words"), **({"unit": f"words{odd}"} if odd else {})}
    (decode / f"errors-test{odd}.json").write_text(json.dumps(found))
    names = {"layer": "codes", "distance": "codes", "context": "triphone", "split": "test"}
    abx = {name: value + odd for name, value in names.items()} | {"seed": 5}
    abx |= {"within": 0.123, "across": 0.234, "triples_within": 1200, "triples_across": 3400}
    (run / f"tokens{odd}/data/abx.json").write_text(json.dumps(abx))
    rows = [report.to_json() for report in usage_reports(odd)]
    (run / f"tokens{odd}/data/usage.json").write_text(json.dumps(rows))


def usage_reports(odd: str = "") -> list[CodeReport]:
    """As `usage` makes them: of a network with all that can be told, and of one with as little as can be."""
    usage = CodeUsage(588, 4, (3, 4), (2.5, 3.5), 9, 7.5)
    phones, voices = PhoneInformation(588, 3, 0.9, 1.5), VoiceProbe(0.875, 0.25, 8, 4)
    edits = {f"noise 20 dB{odd}": 0.321, f"tempo 0.9{odd}": 0.123}
    told = (phones, Interval(0.551, 0.649, 3), voices, edits, 2)
    return [
        CodeReport(f"trained{odd}", f"z{odd}", usage, 7.25, 16, *told),
        CodeReport(f"untrained{odd}", f"z{odd}", usage, 3.5, 16),
    ]

"""letters ──decoder──▶ text, what beams cost: flashlight's over a lexicon with an n-gram against pyctcdecode.

Both sides get the same emissions (CTC, letters), words, KenLM model, beam and threshold, one thread, and each
its own best weights of one grid, chosen on the first `--choose` utterances; the rest is reported. Ours
includes all that a hypothesis holds, times and confidences too. pyctcdecode wants an environment of its own:

    python3.11 -m venv PEER && PEER/bin/pip install 'numpy<2' pyctcdecode==0.5.0 kenlm==0.3.0
    python benchmarks/beam.py --peer-python PEER/bin/python --lexicon F --lm F --emissions DIR --labels DIR
    python benchmarks/beam.py --peer-python PEER/bin/python --lexicon F --lm F --text SENTENCES

`--emissions` are what `fairseq-generate --emissions` saved; with `--text` they are made up: each letter for a
frame or two among blanks, some letters taken for others, noise on all.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from sides import describe

from vqw2v_plugin.decoding.beam import LexiconDecoder
from vqw2v_plugin.decoding.greedy import GreedyDecoder
from vqw2v_plugin.decoding.hypothesis import Decoder, Emissions
from vqw2v_plugin.decoding.scoring import Errors, count_errors
from vqw2v_plugin.decoding.settings import BeamSettings
from vqw2v_plugin.text.lexicon import read_lexicon
from vqw2v_plugin.text.units import BLANK, BOUNDARY, Units, ctc_units

LM_WEIGHTS, WORD_SCORES = (0.25, 0.5, 1.0, 1.7, 2.5), (-2.5, -1.0, 0.5, 2.0)
NARROW = ((10, 50), (10, 25), (5, 25), (5, 10))  # labels tried a frame, beam
UNK_SCORES = (-10.0, -30.0)  # pyctcdecode's, for words outside of its list; ours finds none
HEADER = """
| side | beam | threshold | labels tried | LM, word | WER, % | utterances/s | × real time | × pyctcdecode |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |"""


@dataclass(frozen=True)
class Run:
    """One side under one setting over some utterances; the LM weight counts against log10."""

    lm_weight: float
    word_score: float
    beam: int
    beam_threshold: float
    numbers: tuple[int, ...]
    beam_tokens: int | None = None  # ours
    unk_score: float = UNK_SCORES[0]  # theirs


@dataclass(frozen=True)
class Answer:
    texts: list[str]
    seconds: float


@dataclass(frozen=True)
class Corpus:
    emissions: list[Emissions]
    texts: list[str]
    units: Units
    frame_seconds: float

    def errors(self, run: Run, answer: Answer) -> Errors:
        total = Errors()
        for number, text in zip(run.numbers, answer.texts, strict=True):
            total += count_errors(self.texts[number].split(), text.split())
        return total


def made_up(path: str, confusion: float, noise: float, seed: int) -> Corpus:
    """Emissions of a model that hears some letters wrong, all of a letter's frames alike."""
    texts = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    units = ctc_units([BOUNDARY, *sorted({letter for text in texts for letter in text if letter != " "})])
    rng = np.random.default_rng(seed)
    emissions = []
    for text in texts:
        rows = []
        for letter in text.replace(" ", BOUNDARY) + BOUNDARY:
            heard = rng.uniform(4, 9) * np.eye(len(units))[units.symbols.index(letter)]  # [V]
            if letter != BOUNDARY and rng.random() < confusion:
                heard[rng.integers(2, len(units), 2)] += rng.uniform(3, 9, 2)
            blank = 8.0 * np.eye(len(units))[0]
            rows += [heard] * int(rng.integers(1, 3)) + [blank] * int(rng.integers(1, 6))
        table = np.array(rows) + noise * rng.normal(size=(len(rows), len(units)))
        emissions.append(table.astype(np.float32))
    return Corpus(emissions, texts, units, 0.01)


def saved(args: argparse.Namespace) -> Corpus:
    """Of a trained model."""
    from vqw2v_plugin.decoding.scoring import Judge
    from vqw2v_plugin.decoding.trials import join
    from vqw2v_plugin.stores.emissions import read_emissions

    found = read_emissions(args.emissions, args.split)
    units = Units.from_json(found.units)
    if not units.loss.has_blank or units.kind != "letters":
        raise SystemExit(f"error: {args.emissions}: pyctcdecode knows CTC over letters alone")
    dev = join(found, args.labels, args.split, units, Judge())
    emissions = [dev.emissions(i) for i in range(len(dev))]
    return Corpus(emissions, list(dev.references), units, found.frame_seconds)


def ours(decoder: LexiconDecoder, corpus: Corpus, runs: list[Run]) -> list[Answer]:
    torch.set_num_threads(1)
    answers = []
    for run in runs:
        weights = {name: value for name, value in asdict(run).items() if name not in ("numbers", "unk_score")}
        answers.append(timed(decoder.with_settings(**weights), corpus, run.numbers))
    return answers


def timed(decoder: Decoder, corpus: Corpus, numbers: tuple[int, ...]) -> Answer:
    begun = time.perf_counter()
    texts = [decoder.decode(corpus.emissions[number])[0].text for number in numbers]
    return Answer(texts, time.perf_counter() - begun)


def peers(args: argparse.Namespace, words: list[str], corpus: Corpus, runs: list[Run]) -> list[Answer]:
    """In the peer's environment, one process for all runs."""
    with tempfile.TemporaryDirectory() as folder:
        tables = Path(folder) / "emissions.npz"
        np.savez(tables, *corpus.emissions)
        job = {
            "emissions": str(tables),
            "symbols": corpus.units.symbols,
            "blank": BLANK,
            "words": words,
            "lm": args.lm,
            "runs": [asdict(run) for run in runs],
        }
        (Path(folder) / "job.json").write_text(json.dumps(job))
        command = [args.peer_python, str(Path(__file__).with_name("beam_peer.py")), f"{folder}/job.json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"error: {' '.join(command)} failed: {done.stderr.strip().splitlines()[-1:]}")
    return [Answer(**answer) for answer in json.loads(done.stdout)]


def chosen(corpus: Corpus, runs: list[Run], answers: list[Answer]) -> Run:
    """The run with the fewest errors."""
    rates = [corpus.errors(run, answer).rate for run, answer in zip(runs, answers, strict=True)]
    return runs[rates.index(min(rates))]


def row(side: str, corpus: Corpus, run: Run, answer: Answer, others: Sequence[Answer] = ()) -> str:
    """A line of the table; `others` are what it is so many times as fast as."""
    seconds = corpus.frame_seconds * sum(len(corpus.emissions[number]) for number in run.numbers)
    ratio = " / ".join(f"{other.seconds / answer.seconds:.0f}" for other in others)
    tokens = "all" if run.beam_tokens is None else run.beam_tokens
    weights = f"{run.lm_weight:g}, {run.word_score:g}"
    return (
        f"| {side} | {run.beam} | {run.beam_threshold:g} | {tokens} | {weights} | "
        f"{corpus.errors(run, answer).rate:.2f} | {len(run.numbers) / answer.seconds:,.1f} | "
        f"{seconds / answer.seconds:,.0f} | {ratio} |"
    )


def compare(
    args: argparse.Namespace, corpus: Corpus, decoder: LexiconDecoder, words: list[str], best: Run, other: Run
) -> list[str]:
    """Rows of the table: pyctcdecode at each beam, ours at the same, wider and narrower."""
    greedy = timed(GreedyDecoder(corpus.units), corpus, best.numbers)
    lines = [row("greedy", corpus, replace(best, beam=1, beam_tokens=1), greedy)]
    theirs = [replace(other, beam=beam) for beam in args.beams]
    replies = peers(args, words, corpus, theirs)
    lines += [row("pyctcdecode", corpus, run, reply) for run, reply in zip(theirs, replies, strict=True)]
    shapes = [(None, 500, 50.0), *((None, beam, args.threshold) for beam in reversed(args.beams))]
    for tokens, beam, threshold in (*shapes, *((*shape, args.threshold) for shape in NARROW)):
        mine = replace(best, beam=beam, beam_threshold=threshold, beam_tokens=tokens)
        lines.append(row("ours", corpus, mine, ours(decoder, corpus, [mine])[0], replies))
    return lines


def parse_args() -> argparse.Namespace:
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=kind, allow_abbrev=False)
    parser.add_argument("--peer-python", required=True, metavar="PATH", help="Python that has pyctcdecode")
    parser.add_argument("--lexicon", required=True, help="words; they are spelled by their letters")
    parser.add_argument("--lm", required=True, help="ARPA or KenLM's binary")
    parser.add_argument("--emissions", help="folder of emissions")
    parser.add_argument("--labels", help="their label folder")
    parser.add_argument("--split", default="test", help="of both (default: %(default)s)")
    parser.add_argument("--text", help="sentences to make emissions of, a line each")
    parser.add_argument("--confusion", type=float, default=0.25, help="default: %(default)g of the letters")
    parser.add_argument("--noise", type=float, default=1.5, help="default: %(default)g")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--choose", type=int, default=20, metavar="N", help="default: %(default)s")
    parser.add_argument("--most", type=int, default=100, metavar="N", help="reported (default: %(default)s)")
    parser.add_argument("--beams", type=int, nargs="+", default=[25, 100], help="default: 25 100")
    parser.add_argument(
        "--threshold", type=float, default=10.0, help="pyctcdecode's default (default: %(default)g)"
    )
    parser.add_argument("--out", type=Path, help="markdown to add a section to")
    parser.add_argument("--title", default="Emissions", help="of the section (default: %(default)s)")
    args = parser.parse_args()
    if (args.emissions is None) == (args.text is None) or (args.emissions and not args.labels):
        parser.error("give `--emissions` with `--labels`, or `--text`")
    return args


def main() -> int:
    args = parse_args()
    corpus = saved(args) if args.emissions else made_up(args.text, args.confusion, args.noise, args.seed)
    words = [word for word in read_lexicon(args.lexicon) if set(word) <= set(corpus.units.symbols)]
    decoder = LexiconDecoder(
        corpus.units, {word: [tuple(word)] for word in words}, args.lm, None, BeamSettings()
    )
    numbers = tuple(range(len(corpus.texts)))
    first, rest = numbers[: args.choose], numbers[args.choose :][: args.most]
    pairs = itertools.product(LM_WEIGHTS, WORD_SCORES)
    grid = [Run(weight, score, 100, args.threshold, first) for weight, score in pairs]
    wider = [replace(run, unk_score=unk) for run in grid for unk in UNK_SCORES]
    best = replace(chosen(corpus, grid, ours(decoder, corpus, grid)), numbers=rest)
    other = replace(chosen(corpus, wider, peers(args, words, corpus, wider)), numbers=rest)
    lines = compare(args, corpus, decoder, words, best, other)
    source = "a trained model's emissions"
    if args.text:
        source = f"made-up emissions ({args.confusion:.0%} of the letters confused, noise {args.noise:g})"
    about = (
        f"{describe(1, 'cpu')}. {len(rest)} utterances of {source}, {len(words):,} words; weights chosen on "
        f"{len(first)} others (pyctcdecode's unk_score_offset: {other.unk_score:g}). The last column: "
        f"utterances a second ÷ those of pyctcdecode at beam {' / '.join(map(str, args.beams))}."
    )
    text = "\n".join([about, HEADER, *lines])
    print(text)
    if args.out:
        title = "" if args.out.exists() else "# Beam search, pyctcdecode's and ours\n"
        with open(args.out, "a", encoding="utf-8") as file:
            file.write(f"{title}\n## {args.title}\n\n{text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

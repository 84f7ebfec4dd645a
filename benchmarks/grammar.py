"""wav → text of a small closed grammar: the recipe that `vqw2v new` writes beside an HMM of whole words.

    python benchmarks/grammar.py OUT --corpora commands --minutes 3 18
    python benchmarks/grammar.py OUT --corpora digits --fsdd FSDD --speaker jackson
    python benchmarks/grammar.py OUT --corpora words --voice KATHLEEN --lexicon LEXICON.txt

Three kinds of corpora, each of one voice: commands for a house that a toy voice says; strings of
the Free Spoken Digit Dataset's clips; strings of frequent words cut out of sentences, where a table
has phones and their times (`train.tsv` and `phone_times_train.tsv`, columns utt, path, words,
phone_times_s) and a lexicon their pronunciations. Clips of the test are in no training. Both sides
hear the same cepstra with slopes, learn from the same texts what follows what, and choose their
weights on the same 60 utterances. The HMM is hmmlearn's (`pip install hmmlearn`; word_hmm.py). What
has finished stands in OUT and is not made again; the table is OUT/grammar.md.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import random
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import soundfile  # noqa: E402
import torch  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from word_hmm import WordRecogniser  # noqa: E402

from vqw2v_plugin import load_features  # noqa: E402
from vqw2v_plugin.decoding.scoring import Errors, count_errors  # noqa: E402

Samples = NDArray[np.float64]
Said = tuple[str, Samples, int]  # text, samples, rate
HELD_OUT = {"valid": 60, "test": 150}  # utterances
MOST_WORDS, LEAST_CLIPS, LEAST_PHONES = 25, 15, 3  # of words cut out of sentences
LM_WEIGHTS, WORD_SCORES = (0.0, 3.0, 8.0), (-25.0, 0.0, 15.0)
DIGITS = "zero one two three four five six seven eight nine".split()
ROOMS = "kitchen bedroom garage hall bathroom".split()
THINGS = "light heater radio window door curtain".split()


def command(rng: random.Random) -> str:
    """One sentence of a grammar of some forty words."""
    polite, kind = rng.choice(["", "please ", "computer "]), rng.random()
    if kind < 0.6:
        verb = rng.choice(["turn on", "turn off", "open", "close", "dim"])
        where = rng.choice(["", f" in the {rng.choice(ROOMS)}"])
        return f"{polite}{verb} the {rng.choice(THINGS)}{where}"
    if kind < 0.8:
        number, unit = rng.choice("five ten fifteen twenty thirty".split()), rng.choice(["minutes", "hours"])
        return f"{polite}set the {rng.choice(['alarm', 'timer'])} to {number} {unit}"
    return f"{polite}play {rng.choice(['music', 'news', 'jazz'])} {rng.choice(['louder', 'again'])}"


def commands(args: argparse.Namespace, rng: random.Random) -> Callable[[str], Said]:
    """A toy voice at changing speed and pitch, with faint noise."""
    from vqw2v_plugin.toy.espeak import Espeak

    espeak, noise = Espeak(), np.random.default_rng(args.seed)

    def say(split: str) -> Said:
        text = command(rng)
        spoken = espeak.speak(
            text, "en-us+m3", rng.randint(130, 210), rng.randint(35, 65), rng.randint(30, 70)
        )
        quiet = [np.zeros(int(spoken.sample_rate * rng.uniform(0.1, 0.3))) for _ in range(2)]
        wav = np.concatenate([quiet[0], spoken.samples / 32768, quiet[1]]) * rng.uniform(0.3, 1)
        return text, wav + noise.normal(0, 0.003, len(wav)), spoken.sample_rate

    return say


def digits(args: argparse.Namespace, rng: random.Random) -> Callable[[str], Said]:
    clips = {
        word: [_read(path) for path in sorted((args.fsdd / "flac" / args.speaker).glob(f"{i}_*.flac"))]
        for i, word in enumerate(DIGITS)
    }
    return strings_of(clips, rng, args.seed)


def words(args: argparse.Namespace, rng: random.Random) -> Callable[[str], Said]:
    """The most frequent words of a voice, each where the phones' times say that it is."""
    found: dict[str, list[Said]] = defaultdict(list)
    lexicon = _lexicon(args.lexicon)
    times = {row["utt"]: row["phone_times_s"] for row in _table(args.voice / "phone_times_train.tsv")}
    for row in _table(args.voice / "train.tsv"):
        if row["utt"] in times:
            phones = [tuple(part.split(":", 2)) for part in times[row["utt"]].split()]
            texts = re.findall(r"[a-z']+", row["words"].lower())
            wav, rate = soundfile.read(args.voice / row["path"])
            for word, begin, end in spans(texts, phones, lexicon):
                found[word].append((word, wav[int(begin * rate) : int(end * rate)], rate))
    taken: dict[str, list[Said]] = {}
    for word in sorted(found, key=lambda word: (-len(found[word]), word)):
        sounds_like = any(way in lexicon[word] for other in taken for way in lexicon[other])
        if len(found[word]) >= LEAST_CLIPS and len(taken) < MOST_WORDS and not sounds_like:
            taken[word] = found[word]
    return strings_of(taken, rng, args.seed)


def spans(
    texts: Sequence[str], phones: Sequence[tuple[str, ...]], lexicon: dict[str, list[list[str]]]
) -> Iterator[tuple[str, float, float]]:
    """Words of three phones or more that can only be where they are, among words of whatever phones."""
    spoken = [(float(a), float(b), phone) for a, b, phone in phones if phone != "SIL"]
    places: list[dict[int, int]] = [{0: 1}]  # word by word: phone → in how many ways it is come by
    for word in texts:
        after: dict[int, int] = defaultdict(int)
        for at, ways in places[-1].items():
            for end in _ends(word, at, spoken, lexicon):
                after[end] += ways
        places.append(after)
    ahead: dict[int, int] = {len(spoken): 1}
    total = places[-1].get(len(spoken), 0)
    for i in range(len(texts) - 1, -1, -1):
        before: dict[int, int] = defaultdict(int)
        for at, ways in places[i].items():
            for end in _ends(texts[i], at, spoken, lexicon):
                through = ahead.get(end, 0)
                before[at] += through
                if total and ways * through == total and texts[i] in lexicon and end - at >= LEAST_PHONES:
                    yield texts[i], spoken[at][0], spoken[end - 1][1]
        ahead = before


def _ends(
    word: str, at: int, spoken: Sequence[tuple[float, float, str]], lexicon: dict[str, list[list[str]]]
) -> list[int]:
    if word not in lexicon:
        return list(range(at + 1, min(at + 14, len(spoken)) + 1))
    heard = [phone for _, _, phone in spoken[at : at + 20]]
    return [at + len(way) for way in lexicon[word] if heard[: len(way)] == way]


def strings_of(clips: dict[str, list[Said]], rng: random.Random, seed: int) -> Callable[[str], Said]:
    """Three to six clips with pauses between them; of each word four in five are training's."""
    noise, dealt = np.random.default_rng(seed), {}
    for word, of_word in clips.items():
        order = rng.sample(of_word, len(of_word))
        tenth = max(1, len(order) // 10)
        dealt[word] = {"valid": order[:tenth], "test": order[tenth : 2 * tenth], "train": order[2 * tenth :]}
    names = sorted(clips)

    def say(split: str) -> Said:
        said = [rng.choice(dealt[rng.choice(names)][split]) for _ in range(rng.randint(3, 6))]
        rate, parts = said[0][2], []
        for _, wav, _ in said:
            parts += [noise.normal(0, 1e-3, int(rate * rng.uniform(0.04, 0.2))), wav]
        parts.append(noise.normal(0, 1e-3, int(rate * rng.uniform(0.1, 0.2))))
        return " ".join(word for word, _, _ in said), np.concatenate(parts), rate

    return say


def _read(path: Path) -> Said:
    wav, rate = soundfile.read(path)
    return DIGITS[int(path.name[0])], wav, rate


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def _lexicon(path: Path) -> dict[str, list[list[str]]]:
    found: dict[str, list[list[str]]] = defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines():
        word, *phones = line.lower().split()
        found[word].append([re.sub(r"\d", "", phone).upper() for phone in phones])
    return dict(found)


CORPORA = {"commands": commands, "digits": digits, "words": words}


def make(corpus: str, minutes: float, args: argparse.Namespace, out: Path) -> None:
    """OUT/wav and OUT/table.csv, which comes last; what is held out is the same whatever the minutes."""
    if (out / "table.csv").exists():
        return
    rng = random.Random(f"{corpus} {args.seed}")
    say, rows = CORPORA[corpus](args, rng), []
    (out / "wav").mkdir(parents=True, exist_ok=True)
    seconds = {"train": 0.0}
    for split in ("valid", "test", "train"):
        for number in itertools.count():
            if number >= HELD_OUT.get(split, 10**9) or seconds["train"] >= 60 * minutes:
                break
            text, wav, rate = say(split)
            name = f"{split}{number:04d}.wav"
            soundfile.write(out / "wav" / name, np.clip(wav, -1, 1), rate)
            rows.append((name, text, split))
            seconds["train"] += (len(wav) / rate) * (split == "train")
    lines = ["path,text,split", *(f"wav/{name},{text},{split}" for name, text, split in rows)]
    (out / "table.csv").write_text("\n".join([*lines, ""]), encoding="utf-8")


def recipe(out: Path, log: Path) -> tuple[float, float]:
    """The generated commands' word error rate on the test set, and their minutes."""
    run = out / "recipe"
    began = time.time()
    python = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    environment = {**os.environ, "PYTHONPATH": python}
    with log.open("w", encoding="utf-8") as file:
        for words in (["vqw2v", "new", str(run), str(out / "table.csv")], ["sh", str(run / "run.sh")]):
            subprocess.run(words, check=True, stdout=file, stderr=file, env=environment)
    errors = json.loads((run / "test_words" / "errors-test.json").read_text(encoding="utf-8"))
    return float(errors["rate"]), (time.time() - began) / 60


def hmm(out: Path) -> tuple[float, float]:
    began = time.time()
    table = list(csv.DictReader((out / "table.csv").open(encoding="utf-8")))
    rate = soundfile.info(out / table[0]["path"]).samplerate
    options = {"bands": 40, "sample_rate": min(rate, 16_000), "deltas": 2, "standardize": "utterance"}
    features = load_features("mfcc:13", **options)
    splits: dict[str, list[tuple[NDArray[np.float64], list[str]]]] = defaultdict(list)
    for row in table:
        x = features.of(out / row["path"]).double().numpy()
        splits[row["split"]].append((x, row["text"].split()))
    recogniser = WordRecogniser()
    recogniser.train([x for x, _ in splits["train"]], [text for _, text in splits["train"]])
    decode = recogniser.decoder()
    scores = {split: [decode.scores(x) for x, _ in splits[split]] for split in HELD_OUT}

    def errors(split: str, weights: tuple[float, float]) -> Errors:
        pairs = zip(scores[split], splits[split], strict=True)
        return sum((count_errors(text, decode(found, *weights)) for found, (_, text) in pairs), Errors())

    best = min(itertools.product(LM_WEIGHTS, WORD_SCORES), key=lambda each: errors("valid", each).total)
    return errors("test", best).rate, (time.time() - began) / 60


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--corpora", nargs="+", choices=sorted(CORPORA), default=["commands"])
    parser.add_argument(
        "--minutes", type=float, nargs="+", default=[3, 18], help="of training (default: 3 18)"
    )
    parser.add_argument("--seed", type=int, default=1, help="draws texts and clips (default: %(default)s)")
    parser.add_argument("--fsdd", type=Path, help="folder with flac/SPEAKER/DIGIT_….flac")
    parser.add_argument("--speaker", default="jackson", help="of --fsdd (default: %(default)s)")
    parser.add_argument("--voice", type=Path, help="folder with train.tsv and phone_times_train.tsv")
    parser.add_argument("--lexicon", type=Path, help="lines `WORD PHONE PHONE …`")
    parser.add_argument("--sides", nargs="+", choices=("hmm", "recipe"), default=["hmm", "recipe"])
    args = parser.parse_args()
    for corpus, needed in (("digits", ["fsdd"]), ("words", ["voice", "lexicon"])):
        if corpus in args.corpora and (left := [name for name in needed if getattr(args, name) is None]):
            parser.error(f"`--corpora {corpus}` needs --{left[0]}")
    torch.set_num_threads(1)
    for corpus, minutes in itertools.product(args.corpora, args.minutes):
        called = f"{corpus}-{args.speaker}" if corpus == "digits" else corpus
        out = args.out.resolve() / f"{called}_{minutes:g}_{args.seed}"
        make(corpus, minutes, args, out)
        for side in args.sides:
            done = out / f"{side}.json"
            if not done.exists():
                rate, took = hmm(out) if side == "hmm" else recipe(out, out / "recipe.log")
                done.write_text(json.dumps({"wer": rate, "minutes": took}), encoding="utf-8")
            print(f"{out.name}: {side} {json.loads(done.read_text())['wer']:.2f} %", flush=True)
        (args.out / "grammar.md").write_text(report(args.out), encoding="utf-8")
    print(report(args.out), end="")
    return 0


def report(out: Path) -> str:
    """All that has finished."""
    lines = ["| corpus | minutes | seed | HMM of words, WER % | generated recipe, WER % | its minutes |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for folder in sorted(out.glob("*_*_*")):
        found = {side: folder / f"{side}.json" for side in ("hmm", "recipe")}
        read = {side: json.loads(path.read_text()) for side, path in found.items() if path.exists()}
        corpus, minutes, seed = folder.name.rsplit("_", 2)
        rates = [f"{read[side]['wer']:.2f}" if side in read else "" for side in ("hmm", "recipe")]
        took = f"{read['recipe']['minutes']:.0f}" if "recipe" in read else ""
        lines.append(f"| {corpus} | {minutes} | {seed} | {rates[0]} | {rates[1]} | {took} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())

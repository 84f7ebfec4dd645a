"""text ──▶ phones, for whole texts: what `vqw2v phones` does, line by line, however long the text is."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from ..common.bounds import check_between
from ..common.files import publish_in_order, remove, scratch_folder
from ..common.inputs import UTF8_MARK, lines_of
from ..common.locks import Rank, claimed
from ..common.progress import Progress
from ..stores.phone_text import DICTIONARY, LEXICON, PHONE_TEXT, SPLITS
from ..text.lexicon import read_lexicon
from ..text.ngram_counts import open_text
from ..text.normalize import DEFAULT_KEEP, Normalizer
from ..text.phones import FOLDS, EspeakPhones
from ..text.units import SILENCE
from ..text.unspoken import PhoneLines, Word, line_draws, with_silence

_MOST_SEED = 2**63 - 1
_TOLD = 40  # words and phones that phones.json names


@dataclass(frozen=True)
class PhoneTextSettings:
    """Each field is the option of `vqw2v phones` of its name."""

    lexicon: str | None = None
    espeak: str | None = None
    fold: str | None = None
    min_count: int = 1
    sil_prob: float = 0.25
    valid: float = 0.01
    seed: int = 1
    case: str = "lower"
    keep: str = DEFAULT_KEEP
    as_is: bool = False

    def __post_init__(self) -> None:
        check_between("--min-count", self.min_count, 1, 1 << 40)
        check_between("--sil-prob", self.sil_prob, 0, 1)
        check_between("--seed", self.seed, 0, _MOST_SEED)
        if not 0 < self.valid <= 0.5:
            raise ValueError(
                f"`--valid` is {self.valid:g}; expected a share of the lines, above 0 and up to 0.5"
            )
        if self.lexicon is not None and self.espeak is not None:
            raise ValueError("`--lexicon` and `--espeak` exclude each other; take one")
        if self.fold not in (None, *FOLDS):
            raise ValueError(f"`--fold` is {self.fold!r}; expected one of {', '.join(FOLDS)}")

    @property
    def has_words(self) -> bool:
        """Else the text holds phones."""
        return bool(self.lexicon or self.espeak)


@dataclass
class PhoneText:
    """What became of a text."""

    lines: Counter[str] = field(default_factory=Counter)  # read, empty, unknown, rare, train, valid
    phones: Counter[str] = field(default_factory=Counter)  # that were written, silence among them
    rare: dict[str, int] = field(
        default_factory=dict
    )  # phones that were left out, and how often they were there
    unknown: Counter[str] = field(default_factory=Counter)  # words without phones


def make_phone_text(text: str, out: str | os.PathLike[str], settings: PhoneTextSettings) -> PhoneText:
    """OUT/train.phn, valid.phn and what belongs to them; phones.json is written last."""
    if text == "-":
        raise ValueError("TEXT is -, and it is read twice; name a file")
    speller, normalize = _speller(settings), Normalizer(settings.case, settings.keep, not settings.as_is)
    if not settings.has_words:
        normalize = Normalizer(enabled=False)  # phones stay as they are
    made, digest = PhoneText(), hashlib.sha256()
    counts: Counter[str] = Counter()
    for _, _, words in _spoken(text, speller, normalize, made, digest):
        counts.update(phone for word in words for phone in word)
    made.unknown = Counter(speller.unknown)
    made.rare = {phone: n for phone, n in sorted(counts.items()) if n < settings.min_count}
    if len(made.rare) == len(counts):
        _refuse_nothing_left(text, made, settings)
    folder = Path(out)
    with claimed(folder, Rank()), scratch_folder(folder, "phones") as scratch:
        used = _write_lines(text, scratch, speller, normalize, made, settings)
        for split in SPLITS:
            if not made.lines[split]:
                raise ValueError(
                    f"{text}: of {made.lines['train'] + made.lines['valid']:,} lines none is in {split}; "
                    f"expected one at least: take another `--valid` or `--seed`, or more text"
                )
        if settings.has_words:
            spelled = (f"{word}\t{' '.join(speller.word(word))}\n" for word in sorted(used))
            (scratch / LEXICON).write_text("".join(spelled), encoding="utf-8")
        _write_about(text, scratch, made, settings, digest.hexdigest())
        names = sorted((path.name for path in scratch.iterdir()), key=lambda name: name == PHONE_TEXT.about)
        for name in (*(f"{split}.wrd" for split in SPLITS), LEXICON):
            if name not in names:  # of another text
                remove(folder / name)
        publish_in_order((scratch / name, folder / name) for name in names)
    return made


def _speller(settings: PhoneTextSettings) -> PhoneLines:
    fold = FOLDS[settings.fold or "none"]
    if settings.lexicon:
        normalize = Normalizer(settings.case, settings.keep, not settings.as_is)
        spellings = read_lexicon(settings.lexicon, normalize)
        return PhoneLines(lambda word: [tuple(fold(way)) for way in spellings.get(word, [])], fold)
    if settings.espeak:
        espeak = EspeakPhones(settings.espeak)
        return PhoneLines(lambda word: [tuple(fold(espeak(word)))], fold)
    return PhoneLines(None, fold)


def _spoken(
    text: str, speller: PhoneLines, normalize: Normalizer, made: PhoneText, digest: Any = None
) -> Iterator[tuple[int, str, list[Word]]]:
    """(number, words, their phones) of each line whose words all have some; the others are counted."""
    made.lines.clear()
    with open_text(text) as file, Progress("lines") as progress:
        for number, blob in enumerate(lines_of(file, text), 1):
            if digest is not None:
                digest.update(blob)
            progress.advance()
            made.lines["read"] += 1
            line = normalize(_decoded(blob.removeprefix(UTF8_MARK if number == 1 else b""), text, number))
            if not line:
                made.lines["empty"] += 1
            elif words := speller(line):
                yield number, line, words
            else:
                made.lines["unknown"] += 1


def _decoded(blob: bytes, text: str, number: int) -> str:
    try:
        return blob.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{text}:{number}: is not UTF-8 ({error.reason}); convert the text first") from None


def _write_lines(
    text: str,
    scratch: Path,
    speller: PhoneLines,
    normalize: Normalizer,
    made: PhoneText,
    settings: PhoneTextSettings,
) -> set[str]:
    """The lines without rare phones; answers their words."""
    used: set[str] = set()

    def open_all(stack: ExitStack, ending: str) -> dict[str, TextIO]:
        paths = {split: scratch / f"{split}.{ending}" for split in SPLITS}
        return {
            k: stack.enter_context(open(v, "w", encoding="utf-8", newline="\n")) for k, v in paths.items()
        }

    with ExitStack() as stack:
        phones = open_all(stack, "phn")
        words = open_all(stack, "wrd") if settings.has_words else {}
        for number, line, spelled in _spoken(text, speller, normalize, made):
            if made.rare and any(phone in made.rare for word in spelled for phone in word):
                made.lines["rare"] += 1
                continue
            draws = line_draws(settings.seed, number)
            split = "valid" if draws.random() < settings.valid else "train"
            said = with_silence(spelled, settings.sil_prob, draws)
            phones[split].write(" ".join(said) + "\n")
            made.phones.update(said)
            made.lines[split] += 1
            if words:
                words[split].write(f"{line}\n")
                used.update(line.split())
    return used


def _write_about(text: str, scratch: Path, made: PhoneText, settings: PhoneTextSettings, digest: str) -> None:
    """Dictionary and phones.json."""
    symbols = [*sorted(made.phones.keys() - {SILENCE}), *([SILENCE] if SILENCE in made.phones else [])]
    (scratch / DICTIONARY).write_text("".join(f"{s} {made.phones[s]}\n" for s in symbols), encoding="utf-8")
    about = {
        "text": Path(text).name,
        "text_sha256": digest,
        "settings": {k: v for k, v in asdict(settings).items() if v is not None},
        "silence": SILENCE,
        "lines": dict(sorted(made.lines.items())),
        "rare_phones": made.rare,
        "unknown_words": dict(made.unknown.most_common(_TOLD)),
        "num_unknown_words": len(made.unknown),
        "splits": {split: {"lines": made.lines[split]} for split in SPLITS},
    }
    (scratch / PHONE_TEXT.about).write_bytes(PHONE_TEXT.about_bytes(about))


def _refuse_nothing_left(text: str, made: PhoneText, settings: PhoneTextSettings) -> None:
    if made.rare:
        most = max(made.rare.values())
        raise ValueError(
            f"{text}: no phone is there {settings.min_count:,} times, the most frequent {most:,} times; "
            f"lower `--min-count`"
        )
    unknown = ", ".join(repr(word) for word, _ in made.unknown.most_common(5))
    raise ValueError(
        f"{text}: no line is left of {made.lines['read']:,}: {made.lines['empty']:,} are empty, "
        f"{made.lines['unknown']:,} have words without phones ({unknown}); give a lexicon of its language"
    )

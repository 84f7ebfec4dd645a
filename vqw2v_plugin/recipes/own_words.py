"""wav → … → text for one's own corpus: what it is like, what to expect and what to look at, in words."""

from __future__ import annotations

from .own_corpus import CorpusLook, SplitLook
from .own_plan import Plan

# Word error rates, %, that so many hours of training speech of open vocabulary have led to elsewhere.
_OPEN = ((1, (70, 100)), (10, (40, 80)), (100, (15, 50)), (float("inf"), (5, 20)))
_CLOSED, _CLOSED_OTHERS = (0, 10), (10, 30)  # few words, all of them known, by known speakers and by others


def told(look: CorpusLook) -> list[str]:
    """What there is."""
    splits = [look.train, *dict.fromkeys((look.valid, look.test))]
    lengths = ", ".join(f"{look.train.length(percent):.1f}" for percent in (5, 50, 95))
    new = f"{look.new_words:.1%} of the words of {look.test.name} are not among them"
    return [
        "; ".join(f"{s.name}: {len(s.texts):,} utterances, {s.hours:.2f} h{_speakers(s)}" for s in splits),
        f"seconds: {lengths} (5, 50 and 95 % are shorter), {look.edge:.1f} of them silence at the ends",
        f"texts: the column {look.column!r}; "
        f"{look.labels_a_second:.0f} letters a second; {len(look.train.words):,} words in training; {new}",
    ]


def expected(look: CorpusLook) -> str:
    """A rule of thumb, and how far it is from being one."""
    if look.is_closed and not look.new_speakers:
        said = "word errors in single digits: few words, all of them in training, and the same speakers"
    elif look.is_closed:
        low, high = _CLOSED_OTHERS
        said = (
            f"{low} to {high} % word errors: few words, all of them in training, but speakers it never heard"
        )
    else:
        low, high = _open_range(look)
        said = (
            f"{low} to {high} % word errors with {look.train.hours:.1f} h of training and an open "
            "vocabulary; features of a large checkpoint (`--checkpoint`) save hours of labels"
        )
    floor = f"; no fewer than {look.new_words:.0%}, since a lexicon of training lacks those words"
    return f"expect {said}{floor if look.new_words >= 0.005 else ''}"


def expected_range(look: CorpusLook) -> tuple[float, float]:
    """Word error rates, %, of the rule of thumb, none below the share of words that training lacks."""
    low, high = (_CLOSED_OTHERS if look.new_speakers else _CLOSED) if look.is_closed else _open_range(look)
    floor = round(100 * look.new_words) if look.new_words >= 0.005 else 0
    return max(low, floor), high if floor < high else 100


def what_helps(look: CorpusLook) -> str:
    """What the errors come from that no training takes away."""
    if look.new_words < 0.005:
        return "all words of the test are known: more speech with its text, and other speakers, help"
    return (
        f"{look.new_words:.0%} of the words of the test stand in no training text: more text for lexicon and "
        "language model, or more labels, help"
    )


def _open_range(look: CorpusLook) -> tuple[int, int]:
    return next(rate for hours, rate in _OPEN if look.train.hours < hours)


def advised(look: CorpusLook, plan: Plan, trims: bool) -> list[str]:
    """What to look at, and what of the data could be better."""
    lines = [
        f"training takes about {plan.time}",
        "look at `uer` of valid in acoustic/hydra_train.log: it falls below 50 within a third of the "
        "updates, or the log says what may be wrong; then at the table of `vqw2v results`",
    ]
    if plan.trim and not trims:
        lines.append(
            f"{look.edge:.1f} s of silence at the ends: name the corpus in place of its manifests, and they "
            f"are trimmed, or list it anew with `vqw2v manifest … --trim {plan.trim:g}`"
        )
    if look.valid is look.test or look.valid.name == look.test.name:
        lines.append(
            f"{look.test.name} is what weights are chosen by and what is decoded: rates come out low"
        )
    if len(look.valid.texts) < 20:
        lines.append(f"{len(look.valid.texts)} utterances in {look.valid.name} choose a checkpoint by chance")
    if look.train.speakers and look.test.speakers and not look.new_speakers and len(look.train.speakers) > 4:
        lines.append("all speakers of test are in training: `vqw2v manifest … --speaker-disjoint` parts them")
    return lines


def _speakers(split: SplitLook) -> str:
    count = len(split.speakers)
    return f", {count:,} speaker{'s' * (count > 1)}" if count else ", speakers not known"

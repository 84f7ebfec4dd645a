"""The page's section of utterances to see and hear, with words, phones, codes and what was recognized."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from ...audio.reading import AudioError
from ...corpora.manifest import Utterance
from ...decoding.scoring import align
from ...text.normalize import Normalizer
from ..corpus_splits import Split, label_words
from ..run_view import RunView
from .clips import ClipView, Lane, choose, heard_segments, read_clip
from .page import Section, missing, paragraph

_TITLE = "Speech and codes"
_SOURCES, _DECODERS = 3, 4  # the most lanes of a clip


def speech_section(view: RunView) -> Section:
    """Chosen utterances; audio that cannot be read is named."""
    if not view.splits:
        text = (
            "No manifest was found in the run or in its commands, so there is no audio to show. Give "
            "`--corpus FOLDER`, or make one with `vqw2v toy` or"
        )
        return Section(_TITLE, missing(text, "vqw2v manifest AUDIO OUT"), lacks=True)
    rows = list(_rows(view))
    if not rows:
        return Section(_TITLE, missing("No utterance was asked for: `--clips` is 0."), lacks=True)
    body = paragraph(
        "A click plays from there; the pointer names what lies under it. Each row of colours is a group of "
        "codes, a stripe a frame.",
        "lead",
    )
    if not view.sources:
        body += missing("The rows of codes are missing: the run has no tokens and no vq-wav2vec to ask yet.")
    words = {split.name: label_words(view.run, split.name) for split, _ in rows}
    for split, row in rows:
        try:
            body += _article(view, split, row, words[split.name].get(row.utt))
        except AudioError as error:
            body += missing(f"{row.utt} cannot be shown: {error}")
    return Section(_TITLE, body)


def _rows(view: RunView) -> Iterator[tuple[Split, Utterance]]:
    """The utterances that were asked for, else some of a held-out split."""
    if view.options.utts:
        for utt in view.options.utts:
            home = next((split for split in view.splits if utt in split.utterances), None)
            if home is None:
                names = ", ".join(split.name for split in view.splits)
                raise ValueError(f"`--utt` {utt}: is in none of the run's manifests ({names}); check its id")
            yield home, home.utterances[utt]
        return

    def rank(split: Split) -> tuple[bool, ...]:
        return not split.is_held_out, not split.words, not split.phones, split.name != "test"

    split = min(view.splits, key=rank)
    decoded = set().union(*view.hypotheses.values()) if view.hypotheses else set()
    known = [row for row in split.utterances.values() if row.utt in decoded]
    yield from ((split, row) for row in choose(known or split.utterances.values(), view.options.num_clips))


def _article(view: RunView, split: Split, row: Utterance, words: str | None = None) -> str:
    """`words` are the labels': what was heard is laid beside them, not beside a text with its stops."""
    clip = ClipView(row, read_clip(row, view.options.clip_seconds), tuple(_lanes(view, split, row)))
    about = [split.name, f"speaker {row.speaker}" if row.speaker else "", row.lang or ""]
    told = ", ".join(part for part in about if part)
    said = str(row.extra.get("text", "")) or " ".join(_labels(split, row))
    texts = [("said", escape(said))] if said else []
    said = Normalizer()(said) if words is None else words
    texts += [(name, _marked(said, str(line.get("text", "")))) for name, line in _heard(view, row)]
    lines = "".join(
        f'<tr><td class="lead">{escape(name)}</td><td>{text or "–"}</td></tr>' for name, text in texts
    )
    return (
        f'<article class="clip"><header><h3>{escape(row.utt)}</h3><span class="lead">{escape(told)}</span>'
        f'<audio controls preload="none" src="{clip.sound()}" '
        f'aria-label="Sound of {escape(row.utt)}"></audio>'
        f'</header><div class="scroll">{clip.figure()}</div>'
        + (f'<table class="texts"><tbody>{lines}</tbody></table>' if lines else "")
        + "</article>"
    )


def _labels(split: Split, row: Utterance) -> tuple[str, ...]:
    return split.words[row.utt].labels if row.utt in split.words else ()


def _marked(said: str, heard: str) -> str:
    """What was heard, with marks on words that were not said and on places where one is missing."""
    if not said:
        return escape(heard)
    shown = []
    for pair in align(said.lower().split(), heard.lower().split()):
        if pair.hypothesis is None:
            shown.append(f'<del title="not heard">{escape(pair.reference or "")}</del>')
        elif pair.hypothesis != pair.reference:
            told = f"said: {pair.reference}" if pair.reference else "not said"
            shown.append(f'<mark title="{escape(told)}">{escape(pair.hypothesis)}</mark>')
        else:
            shown.append(escape(pair.hypothesis))
    return " ".join(shown)


def _lanes(view: RunView, split: Split, row: Utterance) -> Iterator[Lane]:
    if row.utt in split.words:
        yield Lane("words", "words", split.words[row.utt])
    for name, line in _heard(view, row):
        segments = heard_segments(line.get("words"))
        if segments is not None:
            yield Lane(_short(name), "heard", segments)
    if row.utt in split.phones:
        yield Lane("phones", "phones", split.phones[row.utt])
    for source in view.sources[:_SOURCES]:
        codes = source.codes([row]).get(row.utt)
        if codes is not None and len(codes):
            yield Lane(_short(source.name), "codes", codes=codes, times=source.times)


def _heard(view: RunView, row: Utterance) -> list[tuple[str, Mapping[str, Any]]]:
    """Of the decoders with the fewest errors; those without a rate come last, the newest first."""
    rates = {each.name: each.rate for each in view.errors}
    heard = reversed(view.hypotheses.items())
    known = [(name, lines[row.utt]) for name, lines in heard if row.utt in lines]
    return sorted(known, key=lambda each: rates.get(each[0], float("inf")))[:_DECODERS]


def _short(name: str) -> str:
    """The name, cut to fit beside a lane."""
    return name if len(name) <= 15 else f"{name[:14]}…"

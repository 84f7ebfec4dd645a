"""A run's folder → one page: what was trained, what its codes are worth, what became of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from html import escape

from ...recipes.folder import SCRIPT, StageFolder
from ..run_view import RunView
from .beside import beside_section
from .codes import codebook_section, phones_section
from .groups import groups_section
from .page import Section, missing, render_page, table, tile
from .pictures import pictures_section
from .results import ERRORS, abx_section, errors_section
from .settings import seeds_section, settings_section
from .speech import speech_section
from .svg import percent
from .training import duration, training_section
from .trials import trials_section

_SECTIONS: tuple[Callable[[RunView], Section | None], ...] = (
    trials_section,
    training_section,
    codebook_section,
    phones_section,
    beside_section,
    groups_section,
    abx_section,
    speech_section,
    errors_section,
    pictures_section,
    settings_section,
    seeds_section,
)
_CODES = "Codes"
_OF_CODES = (codebook_section, phones_section, beside_section, abx_section)
_LEARNT_FROM_LABELS = ("vq_acoustic", "vq_utterance")  # tasks
_STATES = {"unknown": "begun by hand", "planned": "not begun"}


def make_report(view: RunView) -> tuple[str, list[str]]:
    """The page, and the titles of those sections that have nothing to show yet."""
    makers = [make for make in _SECTIONS if make not in _OF_CODES] if _needs_no_codes(view) else _SECTIONS
    made_of = [section for make in makers if (section := make(view)) is not None]
    made_of += [_no_codes()] if makers is not _SECTIONS else []
    sections = sorted(made_of, key=lambda each: each.title != ERRORS or each.lacks)  # they come first
    overview = Section("Stages", _stages(view) + _troubles(view))
    name = view.run.path.name
    made = time.strftime("%Y-%m-%d %H:%M")
    lead = f'<p class="lead">{escape(str(view.run.path))}, as it was on {made}.</p>' + _tiles(view)
    footer = f"Made on {made} by <code>vqw2v report</code>. The page needs no network and no other file."
    first = sections[:1] if view.errors else []
    page = render_page(f"Run {name}", lead, [*first, overview, *sections[len(first) :]], footer)
    return page, [section.title for section in made_of if section.lacks]


def _needs_no_codes(view: RunView) -> bool:
    """A run that learns from labels alone, and has neither codes nor what is said of them."""
    tasks = [curves.name_of("task") for curves in view.trainings.values()]
    has_none = not (view.sources or view.usage or view.abx)
    return bool(tasks) and has_none and all(task in _LEARNT_FROM_LABELS for task in tasks)


def _no_codes() -> Section:
    text = "This run has no codes, so nothing is said of them here, nor of ABX: a vq-wav2vec makes some."
    return Section(_CODES, missing(text), lacks=True)


def _tiles(view: RunView) -> str:
    """The results to be seen at a glance."""
    tiles = []
    for each in view.statistics[:2]:
        name = each.source.name
        if each.table is not None:
            told = each.table.information
            what = f"of what there is to know of a phone is in its token (PNMI), {name}"
            tiles.append(tile(percent(told.share), what))
        perplexity, used = each.usage.joint_perplexity, each.usage.joint_used
        tiles.append(tile(f"{perplexity:,.0f}", f"perplexity of the {used:,} tokens in use, {name}"))
    if view.statistics:
        tiles.append(
            tile(f"{view.statistics[0].bitrate.nominal:,.0f}", "bits a second, the codes' nominal rate")
        )
    across = [row for row in view.abx if row.across is not None]
    if across:
        best = min(across, key=lambda row: row.across or 0.0)
        tiles.append(tile(percent(best.across or 0.0, 1), f"ABX error across speakers, {best.name}"))
    for rated in sorted(view.errors, key=lambda e: e.rate)[:1]:
        where = f"{rated.name} on {rated.split}"
        where += f", the lowest of {len(view.errors)} rates" if len(view.errors) > 1 else ""
        tiles.append(tile(percent(rated.rate / 100, 1), f"of {rated.unit} wrong, {where}"))
    return f'<div class="tiles">{"".join(tiles)}</div>' if tiles else ""


def _stages(view: RunView) -> str:
    rows = []
    for stage in view.run.stages:
        state, seconds = view.state(stage), _seconds(view, stage)
        told = f"by {SCRIPT}" if state == "unknown" and stage.scripted else _STATES.get(state, state)
        rows.append(
            [
                f"<b>{escape(stage.name)}</b>",
                f'<span class="state {state}">{told}</span>',
                "–" if seconds is None else duration(seconds),
                escape(_made(view, stage)),
            ]
        )
    rows += [
        [f"<b>{escape(name)}</b>", f'<span class="state planned">{_STATES["planned"]}</span>', "–", ""]
        for name in view.planned
    ]
    body = table(["stage", "state", "took", "made"], rows, (2,))
    for stage in view.run.stages:
        failure = view.failure(stage)
        if failure:
            body += missing(f"{stage.name} ended with: {failure}", kind="failure")
    if view.planned or any(stage.state == "unfinished" for stage in view.run.stages):
        body += missing("The run is not finished; the recipe's own command goes on where it stopped.")
    return body


def _seconds(view: RunView, stage: StageFolder) -> float | None:
    """By the recipe's marks; of a training without them, by its log."""
    curves = view.trainings.get(stage.name)
    return curves.seconds if stage.seconds is None and curves else stage.seconds


def _made(view: RunView, stage: StageFolder) -> str:
    """What a stage has made, in words, judged by its files."""
    curves = view.trainings.get(stage.name)
    if curves is not None:
        return f"{curves.name_of('model') or 'a model'}, {curves.updates:,} updates"
    known = (
        ("errors-*.json", "hypotheses and error rates"),
        ("abx*.json", "ABX errors"),
        ("usage*.json", "what codes tell"),
        ("map*.json", "which codes groups share"),
        ("tokens.json", "tokens"),
        ("features.json", "features"),
        ("labels.json", "labels"),
        ("*.arpa", "a language model"),
        ("corpus.json", "a corpus"),
        ("*.tsv", "manifests"),
    )
    return ", ".join(what for pattern, what in known if stage.find(pattern)) or "a log"


def _troubles(view: RunView) -> str:
    return "".join(missing(text, kind="failure") for text in dict.fromkeys(view.troubles))

"""The page's learning curves: how well each training learns, and how it uses its codebook."""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape

from ...recipes.folder import StageFolder
from ..curves import Curves
from ..run_view import RunView
from .figures import learning_curve
from .page import Section, figure, folded, heading, legend, missing, paragraph
from .svg import line_class, say

_SHOWN = 12  # at most so many figures of a training


def training_section(view: RunView) -> Section:
    """One part for each training."""
    stages = [stage for stage in view.run.stages if stage.name in view.trainings]
    if not stages:
        text = "No stage of this run has a training's log yet. Trainings are the stages that run"
        body = missing(text, "fairseq-hydra-train --config-dir … --config-name … task.data=…")
        return Section("Learning curves", body, lacks=True)
    parts = [_training(view, stage, view.trainings[stage.name]) for stage in stages]
    names = tuple(stage.name for stage in stages)
    return Section("Learning curves", "".join(parts), parts=names if len(names) > 1 else ())


def codebook_over_time(view: RunView) -> str:
    """The codebook's metrics of every training that logs them."""
    parts = []
    for name, curves in view.trainings.items():
        if curves.codebook_metrics:
            parts.append(heading(f"{name}: over time") + _grid(curves, curves.codebook_metrics))
    return "".join(parts)


def _training(view: RunView, stage: StageFolder, curves: Curves) -> str:
    body = heading(stage.name, listed=True) + paragraph(_progress(view, stage, curves), "lead")
    failure = view.failure(stage)
    if failure:
        body += missing(f"It ended with: {failure}", kind="failure")
    if not curves.points:
        body += missing("It has logged no update yet; `common.log_interval` says after how many it does.")
    else:
        body += _grid(curves, curves.metrics[:_SHOWN])
    if curves.warnings:
        lines = "".join(f"<li>{escape(text)}</li>" for text in curves.warnings[:8])
        body += folded(f"What the log warns of ({len(curves.warnings)})", f"<ul>{lines}</ul>")
    return body


def _progress(view: RunView, stage: StageFolder, curves: Curves) -> str:
    model, criterion = curves.name_of("model"), curves.name_of("criterion")
    wanted = f" of {curves.max_update:,}" if curves.max_update else ""
    named = f"{model} with {criterion}" if model and criterion else ""
    words = [named, f"{curves.updates:,}{wanted} updates"]
    state = view.state(stage)
    if state == "done" and stage.seconds is not None:
        words.append(f"done in {duration(stage.seconds)}")
    elif state in ("unfinished", "failed"):
        last = max(file.stat().st_mtime for file in stage.files)
        words.append(f"{state}; last sign of life {time.strftime('%Y-%m-%d %H:%M', time.localtime(last))}")
    return "; ".join(word for word in words if word) + "."


def _grid(curves: Curves, metrics: Sequence[str]) -> str:
    colours = {subset: i for i, subset in enumerate(curves.points)}
    drawn = []
    for metric in metrics:
        series = curves.series(metric)
        if series:
            subset = "valid" if "valid" in series else list(series)[-1]
            note = f"{say(series[subset][0][1])} → {say(series[subset][-1][1])}"
            if subset in colours:
                drawing = learning_curve(metric, series, colours)
                drawn.append(figure(drawing, metric, note, note_kind=line_class(colours[subset])))
            else:
                groups = {name: i + 2 for i, name in enumerate(series)}
                drawn.append(figure(learning_curve(metric, series, groups), metric, "a line a group"))
    names = [(subset, line_class(i)) for subset, i in colours.items()]
    return legend(names) + f'<div class="small-figures">{"".join(drawn)}</div>'


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

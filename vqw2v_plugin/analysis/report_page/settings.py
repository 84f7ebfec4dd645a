"""The page's last sections: settings, seeds and versions."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from ...common.inputs import parse_json
from ...common.words import lines_of
from ...recipes.folder import HYDRA, LOG, RunFolder, StageFolder, read_text
from ...stack import distribution_version
from ..run_view import RunView
from .page import Section, code, folded, heading, missing, paragraph, shell, table

_SECTIONS = (
    *("task", "model", "criterion", "optimization", "optimizer", "lr_scheduler", "dataset", "common"),
    *("distributed_training", "checkpoint"),
)
_DISTRIBUTIONS = (
    *("torch", "numpy", "fairseq", "fairseq-fixed", "hydra-core", "omegaconf", "soundfile"),
    *("soxr", "sentencepiece", "flashlight-text", "kenlm", "espeakng-loader"),
)
_PRINTED = 40  # lines of a log
_SEED = re.compile(r"(?:^|[\s.])(?:--)?seed[= ](\d+)")


def settings_section(view: RunView) -> Section:
    """Each stage's commands, and a training's whole configuration."""
    body = ""
    for stage in view.run.stages:
        lines = [_command(view.run.short(line)) for line in stage.commands]
        overrides = read_text(stage.path / HYDRA / "overrides.yaml").strip()
        curves = view.trainings.get(stage.name)
        settings = dict(curves.settings) if curves else {}
        if not (lines or overrides or settings):
            continue
        body += heading(stage.name)
        body += shell(lines) if lines else paragraph("Its command was not written down.", "lead")
        if overrides and not lines:
            body += code(view.run.short(overrides))
        text = _flat(_with_rate(settings)) or read_text(stage.path / HYDRA / "config.yaml")
        if text:
            body += folded("All settings", code(view.run.short(text)))
        elif curves is None:
            printed = lines_of(view.run.short(read_text(stage.path / LOG)).strip())[-_PRINTED:]
            body += folded("What it printed", code("\n".join(printed))) if printed else ""
    if not body:
        text = "No stage has written down its command; recipes (`vqw2v_plugin.recipes.runner`) and hydra do."
        return Section("Settings", missing(text), lacks=True)
    where = paragraph(f"RUN stands for {view.run.path}.", "lead")
    return Section("Settings", where + body)


def _command(line: str) -> str:
    """The command without its program's folder."""
    program, space, rest = line.partition(" ")
    return program.rpartition("/")[2] + space + rest


def seeds_section(view: RunView) -> Section:
    """Versions of what made this page, and every seed that the run names."""
    rows = [[escape(name), escape(value)] for name, value in _versions()]
    body = paragraph("Read where this page was made, which may be another machine than the run's.", "lead")
    body += table(["package", "version"], rows)
    seeds = [[escape(stage), escape(where), str(seed)] for stage, where, seed in _seeds(view)]
    body += heading("Seeds")
    if not seeds:
        return Section("Versions and seeds", body + missing("No stage names a seed."))
    return Section("Versions and seeds", body + table(["stage", "named in", "seed"], seeds, (2,)))


def _versions() -> list[tuple[str, str]]:
    package = __name__.partition(".")[0]
    found = {"Python": platform.python_version(), package: str(sys.modules[package].__version__)}
    found |= {name: distribution_version(name) for name in _DISTRIBUTIONS}
    return [*((name, version) for name, version in found.items() if version), ("system", platform.platform())]


def _seeds(view: RunView) -> Iterator[tuple[str, str, int]]:
    for stage in view.run.stages:
        curves = view.trainings.get(stage.name)
        common = curves.section("common") if curves else {}
        if isinstance(common.get("seed"), int):
            yield stage.name, "common.seed", common["seed"]
        else:
            yield from ((stage.name, "its command", int(n)) for n in _SEED.findall(" ".join(stage.commands)))
        yield from _seeds_of_files(view.run, stage)


def _seeds_of_files(run: RunFolder, stage: StageFolder) -> Iterator[tuple[str, str, int]]:
    for pattern in ("corpus.json", "abx*.json"):
        for path in stage.find(pattern):
            try:
                about = parse_json(read_text(path))
            except ValueError:
                continue
            named = about.get("arguments", about) if isinstance(about, Mapping) else {}
            if isinstance(named, Mapping) and isinstance(named.get("seed"), int):
                yield stage.name, run.short(str(path)).removeprefix("RUN/"), named["seed"]


def _with_rate(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """The features' own sample rate, where a task of features has one that is of no use to it."""
    task = settings.get("task")
    if not isinstance(task, Mapping) or "sample_rate" not in task:
        return settings
    try:
        about = parse_json(read_text(Path(str(task.get("data"))) / "features.json"))
    except ValueError:
        return settings
    rate = about.get("sample_rate") if isinstance(about, Mapping) else None
    return settings if rate is None else {**settings, "task": {**task, "sample_rate": rate}}


def _flat(settings: Mapping[str, Any]) -> str:
    """The configuration by sections, without what is not set."""
    lines = []
    for name in _SECTIONS:
        part = settings.get(name)
        if isinstance(part, Mapping):
            kept = {k: v for k, v in part.items() if v is not None and k != "_name"}
            lines.append(f"{name}: {part.get('_name') or ''}".rstrip())
            lines += [f"  {key}: {value}" for key, value in kept.items()]
    return "\n".join(lines)

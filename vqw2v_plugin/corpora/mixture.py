"""The lists of wavs left of the picture, several of them: a file that names corpora to learn from together.

    alpha: 0.5
    corpora:
      - {data: de/manifests, lang: de, domain: read}
      - {data: all/manifests, by: lang}

A plain reader of YAML's nodes: every value is text, so that the language `no` is no switch, nothing is
evaluated, and an error names the line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ..common.inputs import read_text
from ..common.words import sentence, shortened

SUFFIXES = (".yaml", ".yml")
BY = ("lang", "domain")
_MOST_BYTES, _MOST_CORPORA, _LONGEST_NAME = 1 << 18, 10_000, 60
_NAME = re.compile(r"[^\s,/\\:|]+")


class MixtureError(ValueError):
    """A mixture that cannot be used; the message names the file, the line and the field."""


@dataclass(frozen=True)
class Entry:
    """A corpus as the file names it; with `by` it is as many as that column of its manifests has values."""

    data: str
    tokens: str | None = None
    lang: str = ""
    domain: str = ""
    by: str | None = None
    weight: float = 1.0
    name: str = ""
    where: str = ""  # file and line, for messages


@dataclass(frozen=True)
class MixturePlan:
    """What the file says; its folders are absolute, or start where the file lies."""

    path: str
    entries: tuple[Entry, ...]
    alpha: float = 1.0
    alpha_within: float = 1.0
    max_repeat: float = 10.0
    epoch_hours: float | None = None


class _Bounds(NamedTuple):
    least: float
    most: float


_NUMBERS = {
    "alpha": _Bounds(0, 1),
    "alpha_within": _Bounds(0, 1),
    "max_repeat": _Bounds(1, 1e9),
    "epoch_hours": _Bounds(1e-4, 1e8),
    "weight": _Bounds(1e-6, 1e6),
}
_SETTINGS = ("alpha", "alpha_within", "max_repeat", "epoch_hours", "corpora")
_FIELDS = ("data", "tokens", "lang", "domain", "by", "weight", "name")


def is_mixture(data: str | os.PathLike[str]) -> bool:
    """Whether `data` names such a file, and no folder."""
    return str(data).endswith(SUFFIXES) and not os.path.isdir(data)


def read_mixture(path: str | os.PathLike[str]) -> MixturePlan:
    """All of the file, or a MixtureError."""
    path = os.fspath(path)
    settings = dict(_fields(_nodes(path), path, "the file", _SETTINGS))
    if "corpora" not in settings:
        raise MixtureError(f"{path}: has no `corpora`; expected a list of entries with `data`")
    listed = settings.pop("corpora")
    if not isinstance(listed, yaml.SequenceNode) or not 1 <= len(listed.value) <= _MOST_CORPORA:
        raise MixtureError(
            f"{_where(path, listed)}: `corpora` is {_kind(listed)}; expected a list of 1 to "
            f"{_MOST_CORPORA:,} entries such as `- {{data: de/manifests, lang: de}}`"
        )
    numbers = {name: _number(node, path, name) for name, node in settings.items()}
    numbers.setdefault("alpha_within", numbers.get("alpha", 1.0))
    return MixturePlan(path, tuple(_entry(node, path) for node in listed.value), **numbers)


def _entry(node: Any, path: str) -> Entry:
    where = _where(path, node)
    said = dict(_fields(node, path, "an entry of `corpora`", _FIELDS))
    if "data" not in said:
        raise MixtureError(f"{where}: this entry has no `data`; expected the folder of the corpus")
    texts = {name: _text(inner, path, name) for name, inner in said.items() if name != "weight"}
    weight = _number(said["weight"], path, "weight") if "weight" in said else 1.0
    for name in ("lang", "domain", "name"):
        if name in texts:
            check_name(texts[name], _where(path, said[name]), name)
    if texts.get("by") is not None and texts["by"] not in BY:
        raise MixtureError(f"{where}: `by` is {texts['by']!r}; expected {' or '.join(BY)}")
    if texts.get("by") in texts:
        raise MixtureError(
            f"{where}: `by: {texts['by']}` and `{texts['by']}` are both there; keep one of them"
        )
    for name in ("data", "tokens"):
        if name in texts:
            texts[name] = os.path.normpath(Path(path).absolute().parent / texts[name])
    texts.setdefault("name", _folder_name(texts["data"]))
    return Entry(**texts, weight=weight, where=where)


def check_name(name: str, where: str, field: str) -> str:
    """A name as tables and the names of splits can hold it."""
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME or not name.isprintable():
        raise MixtureError(
            f"{where}: `{field}` is {_quoted(name)}; expected a name without spaces, "
            f"commas, slashes and colons, of at most {_LONGEST_NAME} characters"
        )
    return name


def _folder_name(data: str) -> str:
    """What tables call a corpus that has no name: its folder; of `X/manifests`, X."""
    plain = [part for part in Path(data).parts if part not in ("manifests", "tokens", "data", os.sep)]
    return sentence(shortened((plain or [data])[-1], 40))


def _nodes(path: str) -> Any:
    try:
        if os.path.getsize(path) > _MOST_BYTES:
            raise MixtureError(f"{path}: has more than {_MOST_BYTES:,} bytes; expected a list of corpora")
        return yaml.compose(read_text(path), Loader=yaml.BaseLoader)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise MixtureError(f"data={path}: {reason}, expected a file that lists corpora") from error
    except UnicodeDecodeError as error:
        raise MixtureError(
            f"{path}: is not UTF-8 ({error.reason} at byte {error.start}); convert it"
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise MixtureError(f"{path}{line}: is no YAML ({sentence(str(error.problem))}); mend it") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, MixtureError):
            raise
        reason = "it is nested too deep" if isinstance(error, RecursionError) else str(error).splitlines()[0]
        raise MixtureError(f"{path}: is no YAML ({sentence(shortened(reason))}); mend it") from None


def _fields(node: Any, path: str, what: str, known: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Names and nodes of a mapping, each once and each known."""
    if not isinstance(node, yaml.MappingNode):
        raise MixtureError(
            f"{_where(path, node)}: {what} is {_kind(node)}; expected settings, of {', '.join(known)}"
        )
    seen = set()
    for key, value in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else _kind(key)
        if name not in known:
            raise MixtureError(
                f"{_where(path, key)}: {what} has a field {_quoted(name)}; expected {', '.join(known)}"
            )
        if name in seen:
            raise MixtureError(f"{_where(path, key)}: `{name}` is there a second time; keep one of them")
        seen.add(name)
        yield name, value


def _text(node: Any, path: str, name: str) -> str:
    if not isinstance(node, yaml.ScalarNode) or not node.value or "\0" in node.value:
        raise MixtureError(f"{_where(path, node)}: `{name}` is {_kind(node)}; expected a word")
    return str(node.value)


def _number(node: Any, path: str, name: str) -> float:
    bounds = _NUMBERS[name]
    try:
        value = float(_text(node, path, name))
    except ValueError as error:
        if isinstance(error, MixtureError):
            raise
        value = float("nan")
    if not bounds.least <= value <= bounds.most:
        raise MixtureError(
            f"{_where(path, node)}: `{name}` is {_quoted(node.value)}; expected a number from "
            f"{bounds.least:g} to {bounds.most:g}"
        )
    return value


def _quoted(text: object) -> str:
    return sentence(repr(shortened(str(text), 40)))


def _where(path: str, node: Any) -> str:
    return path if node is None else f"{path}:{node.start_mark.line + 1}"


def _kind(node: Any) -> str:
    """What stands there; contents are not shown, which aliases can make endless."""
    if isinstance(node, yaml.ScalarNode):
        return _quoted(node.value) if node.value else "empty"
    names = {yaml.MappingNode: "a mapping", yaml.SequenceNode: f"a list of {len(node.value) if node else 0}"}
    return next((name for kind, name in names.items() if isinstance(node, kind)), "empty")

"""What the markdown files show: commands of their `sh` blocks, python blocks, code in sentences, links."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "vqw2v_plugin"
STAGES = ("vq_wav2vec", "tokens", "bert", "acoustic")  # and then the others
PAGES = sorted(
    (ROOT / "examples").glob("*/README.md"),
    key=lambda page: (*(page.parent.name != stage for stage in STAGES), page),
)
# In this order a reader tries their commands, and so does test_documentation.py.
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "manifests/README.md")),
    *PAGES,
    *sorted((ROOT / "benchmarks").glob("*.md")),
]

_FENCE = re.compile(r"^```(\w*)\s*$")
_INLINE = re.compile(r"`` ?(.+?) ?``|`([^`]+)`", re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_LOOP = re.compile(r"for (\w+) in ([^;]*); do (.*); done\s*(?:#.*)?")
_VARIABLE = re.compile(r"[A-Za-z_]\w*=")
# What a shell would put in place of these, in a checkout.
_SHELL = {"$(vqw2v path)": str(PACKAGE), "$(which fairseq-hydra-train)": "fairseq-hydra-train"}


class DocumentError(ValueError):
    """Something in a document that is not understood; the message says where."""


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is its first line's number."""

    document: Path
    line: int
    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """One command of a `sh` block or of a sentence, its words as a shell would split them."""

    document: Path
    line: int
    words: tuple[str, ...]
    environ: tuple[tuple[str, str], ...] = ()  # `NAME=value` before it
    out: str = ""  # the file behind `>`

    @property
    def where(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


def blocks(document: Path) -> list[Block]:
    """All fenced blocks of a document, and nothing of what stands between them."""
    found, begun, language, lines = [], 0, "", list[str]()
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), 1):
        fence = _FENCE.match(line)
        if fence and not begun:
            begun, language, lines = number + 1, fence[1], []
        elif fence:
            found.append(Block(document, begun, language, "\n".join(lines)))
            begun = 0
        elif begun:
            lines.append(line)
    if begun:
        raise DocumentError(f"{document}:{begun}: a block has no end")
    return found


def sentences(document: Path) -> str:
    """A document without its blocks, each of whose lines is left empty."""
    lines = document.read_text(encoding="utf-8").splitlines()
    for block in blocks(document):
        count = block.text.count("\n") + 1
        lines[block.line - 2 : block.line + count] = [""] * (count + 2)
    return "\n".join(lines)


def commands(document: Path) -> list[Command]:
    """The commands of its `sh` blocks."""
    return [c for block in blocks(document) if block.language == "sh" for c in block_commands(block)]


def block_commands(block: Block) -> Iterator[Command]:
    """One a line, or a few lines that end in a backslash."""
    pending, begun = "", block.line
    for number, line in enumerate(block.text.split("\n"), block.line):
        begun = begun if pending else number
        pending += line
        if pending.endswith("\\"):
            pending = pending[:-1] + " "
            continue
        yield from _one(block.document, begun, pending)
        pending = ""
    if pending:
        raise DocumentError(f"{block.document}:{begun}: a command breaks off after its backslash")


def plain_commands(document: Path, programs: set[str]) -> list[Command]:
    """Commands in blocks without a language: those that want a corpus which only some readers have."""
    found: list[Command] = []
    for block in blocks(document):
        lines = block.text.split("\n") if not block.language else []
        for number, line in enumerate(lines, block.line):
            if line.split(" ")[0] in programs:
                found += block_commands(Block(document, number, "", line))
    return found


def inline_commands(document: Path, programs: set[str]) -> list[Command]:
    """Commands that stand in sentences and tables, as far as their first `…`."""
    found, text = [], sentences(document)
    for match in _INLINE.finditer(text):
        code = " ".join((match[1] or match[2]).replace("\\|", "|").split())
        first = code.split(" ")[0]
        if first not in programs or first == code:
            continue
        line = text.count("\n", 0, match.start()) + 1
        found += _one(document, line, code.partition("…")[0])
    return found


def links(document: Path) -> list[str]:
    """Targets of links and pictures."""
    return [match[1] for match in _LINK.finditer(sentences(document))]


def anchors(document: Path) -> set[str]:
    """What a link into the document may name: its headings, as GitHub spells them."""
    headings = re.findall(r"^#+ (.*)$", sentences(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def _one(document: Path, line: int, text: str) -> Iterator[Command]:
    for shell, value in _SHELL.items():
        text = text.replace(shell, value)
    loop = _LOOP.fullmatch(text.strip())
    if loop:
        for value in loop[2].split():
            yield from _one(document, line, re.sub(rf"\${loop[1]}\b", value, loop[3]))
        return
    if re.search(r"\$\(|\$\{?\w|`|;|\|\||(?<!-)\|(?!\w)", re.sub(r"'[^']*'", "", text).partition(" #")[0]):
        raise DocumentError(f"{document}:{line}: a shell's feature that these tests do not know: {text}")
    words = shlex.split(text, comments=True)
    environ = []
    while words and _VARIABLE.match(words[0]):
        name, _, value = words.pop(0).partition("=")
        environ.append((name, value))
    out = ""
    if len(words) > 2 and words[-2] == ">":
        words, out = words[:-2], words[-1]
    if {">", "<", "|", "&", "&&"} & set(words):
        raise DocumentError(f"{document}:{line}: a shell's feature that these tests do not know: {text}")
    if words:
        yield Command(document, line, tuple(words), tuple(environ), out)

"""The page's sections on results: ABX errors, and error rates with the most frequent confusions."""

from __future__ import annotations

from html import escape

from ...decoding.scoring import UNITS
from ..run_results import KINDS, Abx, Confusion, ErrorRates
from ..run_view import RunView
from .figures import spans
from .page import Section, figure, heading, legend, missing, paragraph, table
from .svg import percent

ERRORS = "Error rates"
_SHOWN = 12  # confusions of each kind
_DECODE = (
    "fairseq-generate FEATURES --user-dir … --task vq_acoustic --labels LABELS --path ACOUSTIC.pt "
    "--gen-subset test --decoder lexicon --lexicon … --lm … --scoring vq_error --results-path STAGE"
)
_ABX = "vqw2v abx FEATURES-OR-TOKENS --phones SPLIT.phones.ctm --manifest SPLIT.tsv"


def abx_section(view: RunView) -> Section:
    """A figure of errors within and across speakers, and a table."""
    rows = view.abx
    if not rows:
        text = "No ABX errors yet. For tokens and for features they are made by"
        return Section("ABX", missing(text, _ABX), lacks=True)
    body = paragraph(
        "How often a stretch of a phone is nearer to another phone than to a second stretch of its own: 0 % "
        "where they never mix, 50 % by chance. Across speakers the second stretch is another speaker's.",
        "lead",
    )
    drawn = [(row.name, row.within, row.across) for row in rows if row.within is not None]
    if drawn:
        body += legend([("within speakers", "s0"), ("across speakers", "s1")])
        points = [(name, float(within or 0), across) for name, within, across in drawn]
        body += figure(spans(points), "ABX error", kind="full")
    head = ["frames of", "split", "compared by", "context", "within", "across"]
    head += ["triples within", "triples across"]
    return Section("ABX", body + table(head, [_abx_row(row) for row in rows], range(4, 8)))


def errors_section(view: RunView) -> Section:
    """One table of all rates, then what was confused."""
    rates = sorted(view.errors, key=lambda each: (each.split, each.rate))
    if not rates:
        text = "No error rates yet. They are made when a trained acoustic model decodes a split:"
        return Section(ERRORS, missing(text, _DECODE), lacks=True)
    head = ["decoded by", "split", "decoder", "rate", "counted", "substituted", "deleted", "inserted", "of"]
    body = table(head, [_rate_row(each) for each in rates], (3, 5, 6, 7, 8))
    for each in rates:
        if any(each.frequent.values()):
            lists = "".join(_list(kind, each.frequent[kind], each.counts[kind]) for kind in KINDS)
            body += heading(f"{each.name}, {each.split}: most frequent errors")
            body += f'<div class="columns">{lists}</div>'
    return Section(ERRORS, body)


def _abx_row(row: Abx) -> list[str]:
    about = row.about
    named = [str(about.get(name, "–")) for name in ("split", "distance", "context")]
    triples = about.get("triples")
    counts = [about.get("triples_within", triples), about.get("triples_across", triples)]
    return [
        f"<b>{escape(row.name)}</b>",
        *map(escape, named),
        *("–" if error is None else f"<b>{percent(error, 1)}</b>" for error in (row.within, row.across)),
        *(f"{count:,}" if isinstance(count, int) else "–" for count in counts),
    ]


def _rate_row(each: ErrorRates) -> list[str]:
    parts = (f"{each.counts[kind]:,}" for kind in KINDS)
    name = UNITS.get(each.unit, each.unit)
    return [
        f"<b>{escape(each.name)}</b>",
        escape(each.split),
        escape(each.decoder or "–"),
        f"<b>{percent(each.rate / 100, 1)}</b>",
        f"{escape(name)}, {escape(each.unit)}",
        *parts,
        f"{each.length:,}",
    ]


def _list(kind: str, confusions: tuple[Confusion, ...], total: int) -> str:
    """The most frequent; of many, those seen once say nothing and are left out."""
    often = tuple(each for each in confusions if each.count > 1)
    if not often and confusions and total > _SHOWN:
        return f"<div><p><b>{kind}</b></p>{paragraph(f'{total:,}, each another one', 'lead')}</div>"
    confusions = confusions if total <= _SHOWN else often
    if not confusions:
        return f"<div><p><b>{kind}</b></p>{paragraph('none listed', 'lead')}</div>"
    most = max(each.count for each in confusions) or 1
    rows = []
    for each in confusions[:_SHOWN]:
        said = escape(each.reference or each.hypothesis)
        heard = f" → {escape(each.hypothesis)}" if each.reference and each.hypothesis else ""
        meter = f'<span class="meter" style="width:{4 * each.count / most:.2f}em"></span>'
        rows.append([said + heard, f"{each.count:,}", meter])
    head = {"substitutions": "said → heard", "deletions": "not heard", "insertions": "heard, not said"}[kind]
    return f"<div>{table([head, 'times', ''], rows, (1,))}</div>"

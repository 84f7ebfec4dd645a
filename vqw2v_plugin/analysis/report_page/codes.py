"""The page's sections on codes: how the codebook is used, and what tokens say about phones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from ..phone_codes import PhoneCodeTable
from ..run_view import CodeStatistics, RunView
from .figures import code_bars, heat_map, heat_scale, rank_chart
from .page import Section, figure, folded, heading, legend, missing, paragraph, table
from .svg import line_class, percent
from .training import codebook_over_time

_COLUMNS = 240  # columns of the heat map
_BARS = 8  # groups whose codes are drawn
DISCRETIZE = "vqw2v discretize CHECKPOINT SPLIT.tsv OUT"


def codebook_section(view: RunView) -> Section:
    """Usage now, over time, and by rank."""
    over_time = codebook_over_time(view)
    if not view.statistics and not over_time:
        text = (
            "No codes yet: they come from a trained vq-wav2vec, and from the tokens that it gives. A "
            "training with a quantizer logs how its codebook is used; tokens are made by"
        )
        return Section("Codebook", missing(text, DISCRETIZE), lacks=True)
    body = ""
    if view.statistics:
        body += paragraph(_said(view.statistics), "lead") + _usage_table(view.statistics)
        for each in view.statistics:
            body += heading(f"{each.source.name}: how often each code is chosen") + _groups(each)
        body += heading("Tokens by rank") + _zipf(view.statistics)
    else:
        body += missing(
            "No tokens and no checkpoint with a quantizer that could be asked. Tokens are made by", DISCRETIZE
        )
    return Section("Codebook", body + over_time)


def phones_section(view: RunView) -> Section:
    """The table phone × token of each source of codes."""
    title = "Phones and codes"
    known = [(each, each.table) for each in view.statistics if each.table is not None]
    if not known:
        if not view.statistics:
            return Section(
                title, missing("No codes yet to lay beside phones. They are made by", DISCRETIZE), True
            )
        where = f"{view.statistics[0].split}.phones.ctm"
        text = (
            f"The times of phones are missing: {where} beside the manifest, a line `utterance channel start "
            f"duration phone` each. `vqw2v toy` writes it; for recorded speech a forced aligner gives them."
        )
        return Section(title, missing(text), True)
    body = paragraph(
        "Phone-normalised mutual information is the share of what there is to know about a frame's phone "
        "that its token tells. Phone purity is how often the phone is guessed from the token, code purity "
        "the reverse; one token for everything would have the phone purity named as chance.",
        "lead",
    )
    body += _phone_table(known)
    for each, counts in known:
        shown = counts.most_used(_COLUMNS)
        note = ""
        if len(shown.tokens) < len(counts.tokens):
            share = shown.num_frames / counts.num_frames
            note = f"the {len(shown.tokens)} most frequent of {len(counts.tokens):,} tokens, "
            note += f"{percent(share)} of the frames"
        body += heading(f"{each.source.name}: phone given the token")
        body += figure(heat_scale() + heat_map(shown), "P(phone | token)", note, "full")
        body += folded("Tokens of each phone, as numbers", _top_tokens(counts))
    return Section(title, body)


def _said(all_of: Sequence[CodeStatistics]) -> str:
    first = all_of[0]
    return (
        f"Counted over {first.usage.num_frames:,} frames of {first.num_utterances:,} utterances of "
        f"{first.split}. A perplexity is the number of codes that would do as well if all were as frequent. "
        f"The nominal bitrate is frames · groups · log2 codes; single tokens, ideally coded, take the "
        f"entropy's."
    )


def _usage_table(all_of: Sequence[CodeStatistics]) -> str:
    head = [
        "codes of",
        "groups × codes",
        "in use",
        "perplexity, by group",
        "tokens in use",
        "their perplexity",
    ]
    head += ["nominal bit/s", "entropy bit/s", "tokens/s, runs merged"]
    rows = []
    for each in all_of:
        usage, bits = each.usage, each.bitrate
        rows.append(
            [
                f"<b>{escape(each.source.name)}</b>",
                f"{usage.num_groups} × {usage.num_codes}",
                percent(usage.share_used),
                ", ".join(f"{value:.1f}" for value in usage.perplexity[:_BARS]),
                f"{usage.joint_used:,}",
                f"{usage.joint_perplexity:,.1f}",
                f"{bits.nominal:,.0f}",
                f"{bits.entropy:,.0f}",
                f"{bits.tokens_per_second:.1f}",
            ]
        )
    return table(head, rows, range(1, len(head)))


def _groups(each: CodeStatistics) -> str:
    drawn = []
    for group, counts in enumerate(each.counts[:_BARS]):
        used, perplexity = each.usage.used[group], each.usage.perplexity[group]
        dead = each.usage.num_codes - used
        note = f"perplexity {perplexity:.1f}; " + (f"{dead} unused" if dead else "all in use")
        label = f"Shares of the codes of group {group}: {note}"
        drawn.append(figure(code_bars(counts, label), f"group {group}", note))
    return f'<div class="small-figures">{"".join(drawn)}</div>'


def _zipf(all_of: Sequence[CodeStatistics]) -> str:
    series = {e.source.name: [(i, s) for i, (_, s) in enumerate(e.ranks, 1)] for e in all_of}
    tips = {
        e.source.name: [
            f"rank {i}: token {t}, {percent(s, 3)} of frames" for i, (t, s) in enumerate(e.ranks, 1)
        ]
        for e in all_of
    }
    names = [(name, line_class(i)) for i, name in enumerate(series)]
    note = "as words do, where they fall along the dashed line: twice the rank, half as frequent (Zipf)"
    return legend(names) + figure(rank_chart(series, tips), "Share of frames by rank", note, "full")


def _phone_table(known: Sequence[tuple[CodeStatistics, PhoneCodeTable]]) -> str:
    head = [
        "codes of",
        "split",
        "frames",
        "phones",
        "told, bits",
        "of, bits",
        "normalised",
        "phone purity",
        "chance",
    ]
    rows = []
    for each, counts in known:
        told = counts.information
        rows.append(
            [
                f"<b>{escape(each.source.name)}</b>",
                escape(each.split),
                f"{counts.num_frames:,}",
                str(told.num_phones),
                f"{told.bits:.2f}",
                f"{told.phone_entropy:.2f}",
                f"<b>{percent(told.share, 1)}</b>",
                percent(counts.phone_purity, 1),
                percent(counts.chance, 1),
                percent(counts.code_purity, 1),
            ]
        )
    return table([*head, "code purity"], rows, range(2, 10))


def _top_tokens(counts: PhoneCodeTable) -> str:
    """For each phone its tokens, as shares of the phone's frames."""
    rows = []
    for phone, row in zip(counts.phones, counts.counts, strict=True):
        total = int(row.sum())
        best = sorted(zip(row.tolist(), counts.tokens, strict=True), reverse=True)[:6]
        tokens = ", ".join(f"{token} ({percent(n / total)})" for n, token in best if n)
        spread = 2 ** -sum(n / total * math.log2(n / total) for n in row.tolist() if n)
        rows.append(
            [escape(phone), f"{total:,}", f"{spread:.1f}", f'<span class="mono">{escape(tokens)}</span>']
        )
    return table(["phone", "frames", "perplexity of its tokens", "most frequent tokens"], rows, (1, 2))

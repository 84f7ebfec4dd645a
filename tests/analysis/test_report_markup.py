"""Nothing that somebody else named can write markup into the page: stages, labels, logs, results."""

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from small_run import make_run, mark

from vqw2v_plugin.analysis.phone_codes import phone_code_table
from vqw2v_plugin.analysis.report_page import figures, page, settings, speech
from vqw2v_plugin.analysis.report_page.assemble import make_report
from vqw2v_plugin.analysis.report_page.svg import Svg
from vqw2v_plugin.analysis.run_view import PageOptions, RunView
from vqw2v_plugin.recipes.folder import RunFolder

ODD = "\"><evil>'&lt;"  # leaves an attribute in either quotes, opens an element, and would be read as <


class Seen(HTMLParser):
    """The elements of a page and their attributes, and every text that has an odd name in it."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags, self.attributes, self.texts = set[str](), set[str](), list[str]()
        self.feed(markup)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}
        self.handle_data("\n".join(value or "" for _, value in attributes))

    def handle_data(self, data: str) -> None:
        if "<evil" in data:
            self.texts.append(data)


def assert_harmless(markup: str) -> None:
    """The odd names are in it, as they are, and are nothing but text."""
    seen = Seen(markup)
    assert seen.texts and "evil" not in seen.tags
    assert not [text for text in seen.texts if "'<" in text]


MADE: dict[str, Callable[[], str]] = {
    "a heading": lambda: page.heading(ODD),
    "a paragraph": lambda: page.paragraph(ODD),
    "a lead": lambda: page.paragraph(ODD, "lead"),
    "what is missing": lambda: page.missing(ODD),
    "a command": lambda: page.missing("", ODD),
    "a column's name": lambda: page.table([ODD], []),
    "a figure's name": lambda: page.figure("", ODD),
    "a figure's note": lambda: page.figure("", "", ODD),
    "a legend": lambda: page.legend([(ODD, "s0")]),
    "a summary": lambda: page.folded(ODD, ""),
    "a file": lambda: page.code(ODD),
    "a shell": lambda: page.shell([f"run {ODD}"]),
    "a tile's number": lambda: page.tile(ODD, ""),
    "a tile's name": lambda: page.tile("", ODD),
    "a title": lambda: page.render_page(ODD, "", [], ""),
    "a section's title": lambda: page.render_page("", "", [page.Section(ODD, "")], ""),
    "a section's parts": lambda: page.render_page("", "", [page.Section("", "", parts=(ODD,))], ""),
    "a drawing's label": lambda: Svg(1, 1, ODD).render(),
    "a drawing's text": lambda: _drawn(lambda svg: svg.text(0, 0, ODD)),
    "an element's attribute": lambda: _drawn(lambda svg: svg.add("path", d=ODD)),
    "an element's class": lambda: _drawn(lambda svg: svg.add("path", ODD)),
    "a curve's name": lambda: figures.learning_curve("", {ODD: [(1, 1.0)]}, {}),
    "a metric's name": lambda: figures.learning_curve(ODD, {"a": [(1, 1.0)]}, {}),
    "a rank's tip": lambda: figures.rank_chart({"a": [(1, 1.0), (2, 0.5)]}, {"a": [ODD, ""]}),
    "a bar's label": lambda: figures.code_bars(np.ones(2, np.int64), ODD),
    "a phone of the heat map": lambda: figures.heat_map(phone_code_table(np.zeros((1, 1), np.int64), [ODD])),
    "a span's name": lambda: figures.spans([(ODD, 0.1, None)]),
    "what was heard alone": lambda: speech._marked("", ODD),
    "a word as it was said": lambda: speech._marked(ODD, ODD),
    "a word that was not heard": lambda: speech._marked(f"a {ODD}", "a"),
    "a word that was not said": lambda: speech._marked("a", f"a {ODD}"),
    "a word in place of another": lambda: speech._marked(ODD, "a"),
}


def _drawn(draw: Callable[[Svg], object]) -> str:
    svg = Svg(1, 1, "")
    draw(svg)
    return svg.render()


@pytest.mark.parametrize("what", MADE)
def test_each_part_of_the_page_takes_text_for_text(what: str) -> None:
    markup = MADE[what]()
    assert_harmless(markup)
    assert any(ODD in text.replace("\\", "") for text in Seen(markup).texts)  # json's own


def test_titles_stand_as_text_wherever_they_are_shown() -> None:
    shown = Seen(page.render_page(ODD, "", [page.Section(ODD, "", parts=(ODD,))], ""))
    assert shown.texts == [ODD] * 5, (
        shown.texts
    )  # the browser's tab, the contents and a part there, two headings


def test_a_run_full_of_odd_names_makes_the_page_of_a_plain_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "distribution_version", lambda name: ODD)
    pages = []
    for name, odd in (("plain", ""), (f"odd{ODD}", ODD)):
        run = make_run(tmp_path / name, odd=odd)
        mark(run / f"later{odd}", f"align {odd and '--x'}", f"never{odd}")
        failed = f"Traceback (most recent call last):\nValueError: no {odd}\n"
        (run / f"later{odd}/log.txt").write_text(failed)
        (run / f"decode{odd}/errors-other{odd}.json").write_text("[]")
        view = RunView(RunFolder(run), PageOptions())
        pages.append(make_report(view)[0])
    plain, odd_page = Seen(pages[0]), Seen(pages[1])
    assert odd_page.tags <= plain.tags | {"details", "summary", "ul", "li", "del"}
    assert odd_page.attributes == plain.attributes
    assert_harmless(pages[1])
    for said in ("no ", "never", "beware ", "odd", "later", "lexicon", "words", "loss", "vq_wav2vec"):
        assert any(f"{said}{ODD}" in text for text in odd_page.texts), said

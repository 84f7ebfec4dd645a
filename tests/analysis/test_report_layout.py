"""Where the report's drawings put things: inside the drawing, on one scale, the axes from 0."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable

import numpy as np
import pytest

from vqw2v_plugin.analysis.code_map import CodeMap
from vqw2v_plugin.analysis.group_tree import classical_scaling, leaves
from vqw2v_plugin.analysis.phone_codes import FrameTimes, phone_code_table
from vqw2v_plugin.analysis.report_page import figures, page
from vqw2v_plugin.analysis.report_page.clips import RATE, ClipView, Lane
from vqw2v_plugin.analysis.report_page.group_figures import group_figure
from vqw2v_plugin.analysis.report_page.svg import LINES, Axis, line_class
from vqw2v_plugin.corpora.ctm import Segments
from vqw2v_plugin.corpora.manifest import Utterance

LETTER = 5.0  # about the width of one in the smallest text


def a_curve() -> str:
    points = [(float(n), 9.0 - n / 50) for n in range(50, 101, 10)]
    return figures.learning_curve("loss", {"training": points, "valid": points[-1:]}, {"valid": 1})


def ranks() -> str:
    points = [(n, 0.5 / n) for n in range(1, 400)]
    return figures.rank_chart({"a": points}, {"a": [f"rank {n}" for n, _ in points]})


def a_heat_map() -> str:
    ids = np.arange(300)[:, None]
    return figures.heat_map(phone_code_table(ids, [f"p{i % 90}" for i in range(300)]))


def a_clip() -> str:
    codes = np.arange(200).reshape(100, 2)
    times = FrameTimes(stride=160, receptive_field=480, sample_rate=RATE)
    words = Segments(np.array([0.0, 0.9]), np.array([0.5, 2.0]), ("one", "two"))
    lanes = (Lane("words", "words", words), Lane("tokens", "codes", codes=codes, times=times))
    return ClipView(Utterance("", RATE, utt="u"), np.zeros(RATE, np.float32), lanes).figure()


DRAWINGS: dict[str, Callable[[], str]] = {
    "a learning curve": a_curve,
    "ranks": ranks,
    "bars": lambda: figures.code_bars(np.arange(320), "bars"),
    "one bar": lambda: figures.code_bars(np.array([3]), "a bar"),
    "a heat map": a_heat_map,
    "spans": lambda: figures.spans([("features_vq: q", 0.2, 0.3), ("c", 1.0, None), ("z", 0.0, 0.0)]),
    "a clip": a_clip,
    "groups": lambda: group_figure(four_groups()),
    "many groups": lambda: group_figure(many_groups()),
}


def places(element: ET.Element) -> list[tuple[float, float]]:
    """The corners of what an element covers."""
    has = {name: float(value) for name, value in element.attrib.items() if re.fullmatch(r"-?[\d.]+", value)}
    if element.tag == "path":
        first = re.findall(r"[ML]([-\d.]+) ([-\d.]+)", element.get("d", ""))
        return [(float(x), float(y)) for x, y in first]
    if element.tag == "text":
        wide = LETTER * len(element.text or "")
        left = has["x"] - {"end": wide, "middle": wide / 2}.get(element.get("text-anchor", ""), 0)
        return [(left, has["y"] - 6), (left + wide, has["y"])]
    if element.tag == "circle":
        return [(has["cx"] + side * has["r"], has["cy"] + side * has["r"]) for side in (-1, 1)]
    if element.tag == "line":
        return [(has[f"x{end}"], has[f"y{end}"]) for end in (1, 2)]
    if element.tag in ("rect", "image"):
        return [(has["x"], has["y"]), (has["x"] + has["width"], has["y"] + has["height"])]
    return []


@pytest.mark.parametrize("what", DRAWINGS)
def test_all_of_a_drawing_lies_in_it_and_its_frame_around_its_picture(what: str) -> None:
    root = ET.fromstring(DRAWINGS[what]())
    _, _, width, height = map(float, root.get("viewBox", "").split())
    found = [place for element in root.iter() for place in places(element)]
    assert len(found) > 4
    for x, y in found:
        assert 0 <= x <= width and 0 <= y <= height, (x, y)
    frames = [e for e in root.iter() if e.get("class") == "frame"]
    for image in (e for e in root.iter() if e.tag == "image"):
        (frame,) = frames
        assert places(frame) == pytest.approx(np.array(places(image)), abs=0.1)


def test_updates_begin_at_0_whenever_the_log_does() -> None:
    root = ET.fromstring(a_curve())
    (curve,) = (e for e in root.iter() if (e.get("class") or "").startswith("line "))
    across = [x for x, _ in places(curve)]
    left, right = 46.0, 288.0  # of the axis
    assert np.diff(across) == pytest.approx([(across[-1] - left) / 10] * 5, abs=0.2)  # 50, 60 … 100
    assert across[-1] < right


def test_errors_of_all_phones_end_where_the_scale_does() -> None:
    root = ET.fromstring(DRAWINGS["spans"]())
    ticks = [e.text for e in root.iter() if e.get("class") == "small"]
    assert ticks[0] == "0\u202f%" and ticks[-1] == "100\u202f%"
    within = [float(e.get("cx", 0)) for e in root.iter() if e.get("class") == "within"]
    assert within == [pytest.approx(250 + 0.2 * 674, abs=0.1), 924, 250]


def test_an_axis_of_nothing_but_0_ends_at_1() -> None:
    axis = Axis.of([0.0, 0.0], 0, 100)
    assert (axis(0), axis(1)) == (0, 100) and axis.ticks() == [0, 0.25, 0.5, 0.75, 1]


def test_sections_with_nothing_to_show_yet_are_marked_in_the_contents() -> None:
    sections = [page.Section("Some", ""), page.Section("None", "", lacks=True)]
    contents = page.render_page("", "", sections, "").partition("<nav")[2].partition("</nav>")[0]
    some, none = re.findall("<a href.*?</a>", contents)
    assert "lacks" not in some and 'class="lacks" title="nothing to show yet"' in none


def test_each_line_of_the_contents_leads_to_one_heading_of_its_own() -> None:
    body = page.heading("Some", listed=True) + page.heading("Other") + page.heading("Two words", listed=True)
    section = page.Section("Whole", body, parts=("Some", "Two words"))
    markup = page.render_page("Other", "", [section, page.Section("Other", "")], "")
    links = re.findall('<a href="#([^"]*)"', markup)
    assert links == ["whole", "some", "two-words", "other"]
    assert re.findall('<h[123] id="([^"]*)"', markup) == links


def test_lines_of_a_legend_have_the_colours_of_the_curves() -> None:
    assert [line_class(i) for i in (0, 1, LINES - 1, LINES)] == ["s0", "s1", f"s{LINES - 1}", "s0"]
    style = page.render_page("", "", [], "").partition("<style>")[2].partition("</style>")[0]
    for number in range(LINES):
        assert re.search(rf"\.s{number}\b", style)
    hues = dict(
        re.findall(r"svg \.(h\d+) \{ fill: (hsl\(.*?%\));", style.replace("\n", " ").replace("))", ")"))
    )
    assert len(hues) == len(set(hues.values())) == 24


def four_groups() -> CodeMap:
    """`a` and `b` are near each other, as are `c` and a group whose name is long."""
    shares = [[30, 10, 0, 0], [25, 15, 0, 0], [0, 0, 20, 20], [0, 5, 20, 15]]
    halves = np.stack([np.array(shares), np.array(shares)[:, [0, 1, 3, 2]]], 1)
    return CodeMap(("a", "b", "c", "x" * 30), halves, 1, 4, (80,) * 4, 1)


def many_groups() -> CodeMap:
    halves = np.random.default_rng(0).integers(1, 9, (30, 1, 8))
    halves = np.concatenate([halves, halves[:, :, ::-1]], 1)
    return CodeMap(tuple(f"group {i}" for i in range(30)), halves, 1, 8, (90,) * 30, 1)


@pytest.mark.parametrize("made", [four_groups(), many_groups()])
def test_names_of_groups_do_not_meet_and_the_tree_s_axis_lies_below_them(made: CodeMap) -> None:
    root = ET.fromstring(group_figure(made))
    rows = sorted(float(e.get("y", 0)) for e in root.iter() if e.tag == "text" and e.get("x") == "140")
    assert len(rows) == len(made.names) and np.diff(rows).min() >= 19.9
    (axis,) = (e for e in root.iter() if e.get("class") == "axis")
    (left, above), (right, below) = places(axis)
    assert (left, right) == (150, 450) and above == below > rows[-1]
    scale = 300 / (1.05 * made.tree[:, 2].max())
    ticks = [e for e in root.iter() if e.get("class") == "small" and e.get("text-anchor") == "middle"]
    assert len(ticks) > 2
    for tick in ticks:
        assert float(tick.get("x", 0)) == pytest.approx(150 + scale * float(tick.text or ""), abs=0.06)


def test_groups_join_where_their_distance_is_and_stand_in_the_tree_s_order() -> None:
    made, root = four_groups(), ET.fromstring(group_figure(four_groups()))
    names = [(float(e.get("y", 0)), e.text) for e in root.iter() if e.get("text-anchor") == "end"][:4]
    short = [name if len(name) < 22 else f"{name[:21]}…" for name in made.names]
    assert [text for _, text in sorted(names)] == [short[leaf] for leaf in leaves(made.tree)]
    rows = {text: y for y, text in names}
    joins = [re.findall(r"([-\d.]+) ([-\d.]+)", e.get("d", "")) for e in root.iter() if e.tag == "path"]
    heights = made.tree[:, 2]
    meets = np.array([float(join[1][0]) for join in joins])
    wanted = 150 + 300 * heights / (1.05 * heights.max())
    assert meets == pytest.approx(wanted, abs=0.06)
    first = sorted(float(y) for _, y in (joins[0][0], joins[0][3]))
    pair = [made.names[int(i)] for i in made.tree[0, :2]]
    assert first == pytest.approx(sorted(rows[name] - 4 for name in pair), abs=0.06)
    (floor,) = (float(e.get("x1", 0)) for e in root.iter() if e.get("class") == "even")
    assert floor == pytest.approx(150 + 300 * made.floors.mean() / (1.05 * heights.max()), abs=0.06)


def test_groups_on_the_plane_are_as_far_apart_as_their_distances_on_one_scale() -> None:
    made, root = four_groups(), ET.fromstring(group_figure(four_groups()))
    dots = np.array(
        [[float(e.get("cx", 0)), -float(e.get("cy", 0))] for e in root.iter() if e.tag == "circle"]
    )
    found, shown = classical_scaling(made.between)
    drawn, there = dots - dots.mean(0), found - found.mean(0)
    scale = np.abs(drawn).max() / np.abs(there).max()
    assert drawn == pytest.approx(scale * there, abs=0.2)  # up is up
    frame = next(e for e in root.iter() if e.get("class") == "frame")
    (left, top), (right, bottom) = places(frame)
    assert (dots[:, 0] > left).all() and (dots[:, 0] < right).all()
    assert (-dots[:, 1] > top).all() and (-dots[:, 1] < bottom).all()
    assert f"the plane shows {100 * shown:.0f}\u202f% of the distances" in "".join(root.itertext())

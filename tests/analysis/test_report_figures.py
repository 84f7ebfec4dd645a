"""The page's drawings: pictures, axes, charts; in a browser they are tested by test_report_command."""

import base64
import json
import re
import struct
import xml.etree.ElementTree as ET
import zlib

import numpy as np
import pytest

from vqw2v_plugin.analysis.phone_codes import phone_code_table
from vqw2v_plugin.analysis.report_page import clips, figures, page
from vqw2v_plugin.analysis.report_page.png import png, ramp
from vqw2v_plugin.analysis.report_page.svg import Axis, percent, say
from vqw2v_plugin.corpora.manifest import Utterance


def read_png(content: bytes) -> tuple[np.ndarray, bytes]:
    """Pixels and palette; checks every chunk's sum."""
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    place, chunks = 8, {}
    while place < len(content):
        (size,) = struct.unpack(">I", content[place : place + 4])
        name, data = content[place + 4 : place + 8], content[place + 8 : place + 8 + size]
        assert struct.unpack(">I", content[place + 8 + size : place + 12 + size])[0] == zlib.crc32(
            name + data
        )
        chunks[name], place = data, place + 12 + size
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, width + 1)
    assert not lines[:, 0].any()
    return lines[:, 1:], chunks[b"PLTE"]


def test_a_picture_comes_back_from_its_png() -> None:
    pixels = np.random.default_rng(0).integers(0, 4, (5, 7)).astype(np.uint8)
    back, palette = read_png(png(pixels, ramp([(0, 0, 0), (90, 60, 30)], 4)))
    assert (back == pixels).all() and palette == bytes([0, 0, 0, 30, 20, 10, 60, 40, 20, 90, 60, 30])


def test_a_picture_s_colours_may_let_what_lies_below_through() -> None:
    colours, pixels = [(0, 0, 0)] * 2, np.zeros((1, 1), np.uint8)
    plain, clear = png(pixels, colours), png(pixels, colours, [0, 128])
    chunk = b"tRNS" + bytes([0, 128])
    assert b"tRNS" not in plain
    assert struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk)) in clear
    read_png(clear)


def test_one_value_alone_has_a_logarithmic_axis() -> None:
    axis = Axis.of([5, 5], 0, 100, log=True)
    assert (axis(5), axis(50)) == (0, 100)


@pytest.mark.parametrize(
    ("pixels", "colours"),
    [
        (np.full((2, 2), 3, np.uint8), 3),
        (np.zeros((2, 2), np.uint8), 257),
        (np.zeros(4, np.uint8), 3),
        (np.zeros((0, 2), np.uint8), 3),
    ],
)
def test_pixels_beyond_the_palette_are_refused(pixels: np.ndarray, colours: int) -> None:
    with pytest.raises(ValueError, match="palette"):
        png(pixels, [(0, 0, 0)] * colours)
    read_png(png(np.full((2, 2), 255, np.uint8), [(0, 0, 0)] * 256))


@pytest.mark.parametrize(
    "values", [[0.1, 0.9], [-3, 4], [5, 5], [0, 0], [-2, -2], [1e-7, 3e-7], [12, 123456]]
)
def test_values_and_ticks_lie_within_the_axis(values: list[float]) -> None:
    axis = Axis.of(values, 10, 110)
    places = [axis(value) for value in [*values, *axis.ticks()]]
    assert all(9.99 <= place <= 110.01 for place in places) and len(axis.ticks()) >= 2


def test_a_logarithmic_axis_is_even_in_factors() -> None:
    axis = Axis.of([1, 1000], 0, 300, log=True)
    assert [axis(value) for value in (1, 10, 100, 1000)] == pytest.approx([0, 100, 200, 300])
    assert axis.ticks() == pytest.approx([1, 10, 100, 1000])


@pytest.mark.parametrize(
    ("values", "log", "ticks"),
    [
        ([0, 9.4], False, [0, 2.5, 5, 7.5]),
        ([0, 3.7], False, [0, 1, 2, 3]),
        ([0, 700], False, [0, 200, 400, 600]),
        ([1, 6], True, [1, 2, 5]),
        ([0.03, 0.3], True, [0.05, 0.1, 0.2]),
        ([1, 1e4], True, [1, 10, 100, 1000, 1e4]),
        ([1, 30], True, [1, 2, 5, 10, 20]),
        ([1, 40], True, [1, 10]),
    ],
)
def test_ticks_are_round(values: list[float], log: bool, ticks: list[float]) -> None:
    assert Axis.of(values, 0, 100, log).ticks() == pytest.approx(ticks)


def test_an_axis_of_values_above_0_that_begin_near_it_begins_at_0() -> None:
    found = {low: Axis.of([low, 10], 0, 100).low for low in (-1, 0, 0.5, 5)}
    assert found == {-1: pytest.approx(-1.66), 0: 0, 0.5: 0, 5: pytest.approx(4.7)}
    assert Axis.of([5, 10], 0, 100).high == pytest.approx(10.3)


def test_values_are_said_shortly() -> None:
    said = [say(v) for v in (0, 3.14159, 0.0021, 8.33e-4, 1e-5, 12_345, 2.5e6, -0.5)]
    assert said == ["0", "3.142", "0.0021", "8.33e-4", "1e-5", "12.35k", "2.5M", "-0.5"]
    bounds = [say(v) for v in (0.001, 9_999, 10_000, 1e6, -20_000, -1e-4)]
    assert bounds == ["0.001", "9999", "10k", "1M", "-20k", "-1e-4"]
    assert percent(0.1234, 1) == "12.3\u202f%"


def test_a_learning_curve_is_xml_that_holds_every_point() -> None:
    drawn = figures.learning_curve(
        "a<b", {"training": [(1, 2.0), (2, 1.0)], "valid": [(2, 1.5)]}, {"valid": 1}
    )
    root = ET.fromstring(drawn)
    assert root.get("role") == "img" and "from 2 to 1" in str(root.get("aria-label"))
    told = str(root.get("data-told"))
    assert "update 2: 1.5" in told and told.count("update") == 3
    dots = [e.get("class") for e in root if e.tag == "circle"]
    assert dots == ["dot s0", "dot s0", "dot s1"]  # each subset has its own colour
    assert [line["kind"] for line in json.loads(told)] == ["s0", "s1"]


def test_long_curves_are_thinned_to_means_and_keep_their_end() -> None:
    points = [(float(i), float(i % 2)) for i in range(10_000)]
    kept = figures.thinned(points)
    assert len(kept) <= 160 and kept[-1] == points[-1]
    assert all(0.45 < y < 0.55 for _, y in kept[:-1])
    assert figures.thinned(points[:9]) == points[:9]
    root = ET.fromstring(figures.learning_curve("loss", {"a": points}, {}))
    (told,) = json.loads(str(root.get("data-told")))
    assert len(told["tips"]) == len(told["at"]) == len(kept)


def test_a_heat_map_tells_each_cell() -> None:
    codes = np.array([[0], [0], [1], [1], [1], [2]])
    table = phone_code_table(codes, ["a", "b", "b", "b", "b", "c"])
    root = ET.fromstring(figures.heat_map(table))
    told = str(root.get("data-told"))
    assert '"rows":["b","a","c"]' in told and '"columns":["1","0","2"]' in told
    cells = told.partition('"cells":"')[2].partition('"')[0]
    percents = np.array([int(cells[i : i + 2], 16) for i in range(0, len(cells), 2)]).reshape(3, 3)
    assert percents.tolist() == [[100, 50, 0], [0, 50, 0], [0, 0, 100]]
    images = [str(e.get("href")) for e in root if e.tag == "image"]
    assert len(images) == 2  # for light and for dark
    shades, _ = read_png(base64.b64decode(images[0].partition(",")[2]))
    assert shades.tolist() == [[63, 45, 0], [0, 45, 0], [0, 0, 63]]  # 63 times the root of the share


def test_a_heat_map_tells_each_token_s_share_and_names_what_phones_there_is_room_for() -> None:
    phones = [f"p{i:03d}" for i in range(200)]
    codes = np.concatenate([np.zeros(150, int), np.ones(50, int)])[:, None]
    root = ET.fromstring(figures.heat_map(phone_code_table(codes, phones)))
    told = json.loads(str(root.get("data-told")))
    assert dict(zip(told["columns"], told["shares"], strict=True)) == {"0": 75, "1": 25}
    named = [e for e in root if e.tag == "text"][:-1]
    assert [e.text for e in named] == told["rows"][::2]
    few = ET.fromstring(figures.heat_map(phone_code_table(codes[:40], phones[:40])))
    assert len([e for e in few if e.tag == "text"]) == 40 + 1


def test_colours_of_the_heat_map_s_scale_are_those_of_its_shares() -> None:
    light, dark = re.findall(r"linear-gradient\(90deg,(.*?)\)\"", figures.heat_scale())
    for shown, palette in ((light, figures._LIGHT), (dark, figures._DARK)):
        stops = re.findall(r"rgb(\(.*?\)) ([\d.]+)%", shown)
        places = {float(percent): colour for colour, percent in stops}
        assert list(places) == sorted(places) and {0, 25, 100} <= set(places)
        # the root of a quarter is a half
        assert [places[share] for share in (0, 25, 100)] == [str(palette[i]) for i in (0, 32, 63)]


def test_ranks_have_a_colour_for_each_source_and_a_dot_where_there_is_one_token() -> None:
    series = {"a": [(1.0, 0.75), (2.0, 0.25)], "b": [(1.0, 1.0)]}
    root = ET.fromstring(figures.rank_chart(series, {"a": ["x", "y"], "b": ["z"]}))
    lines = [e.get("class") for e in root.iter() if (e.get("class") or "").startswith(("line", "dot"))]
    assert lines == ["line s0", "dot s1"]
    assert {"50\u202f%", "100\u202f%"} <= {e.text for e in root.iter() if e.get("class") == "small"}


def test_of_many_ranks_the_first_are_all_there_and_each_has_its_own_tip_and_place() -> None:
    points = [(float(rank), 0.5 / rank) for rank in range(1, 1001)]
    root = ET.fromstring(figures.rank_chart({"a": points}, {"a": [str(rank) for rank in range(1, 1001)]}))
    (told,) = json.loads(str(root.get("data-told")))
    ranks = np.array([int(tip) for tip in told["tips"]])
    assert ranks[:9].tolist() == [*range(1, 10)] and ranks[-1] == 1000 and 80 < len(ranks) <= 160
    wanted = 46 + (928 - 46) * np.log(ranks) / np.log(1000)
    assert [x for x, _ in told["at"]] == pytest.approx(wanted.tolist(), abs=0.06)


def test_bars_are_as_wide_as_there_is_room_and_as_tall_as_their_shares() -> None:
    root = ET.fromstring(figures.code_bars(np.array([4, 2, 0, 1]), "label"))
    path = next(str(e.get("d")) for e in root if e.tag == "path")
    # 75 wide for each code, with a gap of 1
    bars = [tuple(map(float, bar)) for bar in re.findall(r"M([\d.]+) [\d.]+v-([\d.]+)h([\d.]+)", path)]
    assert bars == [
        (0.5, 64.0, 74.0),
        (75.5, 32.0, 74.0),
        (225.5, 16.0, 74.0),
    ]


@pytest.mark.parametrize(("number", "dots"), [(2, 2), (40, 40), (41, 0)])
def test_the_points_of_a_short_curve_are_dots(number: int, dots: int) -> None:
    points = [(float(i), 1.0 + i) for i in range(number)]
    root = ET.fromstring(figures.learning_curve("loss", {"a": points}, {}))
    assert sum(e.tag == "circle" for e in root.iter()) == dots


def test_errors_lie_on_one_scale_from_0_to_the_largest() -> None:
    root = ET.fromstring(figures.spans([("z", 0.1, 0.3), ("c", 0.2, None)]))
    places = {e.get("class"): float(e.get("cx", 0)) for e in root.iter() if e.get("cy") == "23"}
    assert 250 < places["within"] < places["across"] < 924
    assert (places["across"] - 250) / (places["within"] - 250) == pytest.approx(3, abs=0.01)
    assert "z 10.0\u202f% and 30.0\u202f%; c 20.0\u202f%" in str(root.get("aria-label"))


def test_bars_stand_for_codes_and_unused_ones_have_none() -> None:
    root = ET.fromstring(figures.code_bars(np.array([3, 0, 1]), "label"))
    path = next(str(e.get("d")) for e in root if e.tag == "path")
    assert path.count("M") == 2 and "code 1: 0.00" in str(root.get("data-told"))


def test_a_tones_energy_lies_at_its_frequency() -> None:
    wav = np.sin(2 * np.pi * 2000 * np.arange(clips.RATE) / clips.RATE).astype(np.float32)
    shades = clips.spectrogram(wav)
    loudest = shades[:, shades.shape[1] // 2].argmax()
    assert shades.shape[0] - 1 - loudest == pytest.approx(2000 / 8000 * (shades.shape[0] - 1), abs=1)


def test_a_spectrogram_shows_fifty_decibels_and_names_its_kilohertz() -> None:
    seconds = np.arange(clips.RATE) / clips.RATE
    wav = np.zeros(clips.RATE, np.float32)
    for hertz, decibels in ((1000, 0), (2000, 25 + 6), (4000, 60 + 12)):  # an octave is tilted by 6 dB
        wav += (0.5 * 10 ** (-decibels / 20) * np.sin(2 * np.pi * hertz * seconds)).astype(np.float32)
    middle = clips.spectrogram(wav)[::-1][:, 60].astype(int)
    assert [int(middle[hertz * 512 // clips.RATE]) for hertz in (1000, 2000, 4000)] == [
        31,
        pytest.approx(15.5, abs=1),
        0,
    ]
    figure = clips.ClipView(Utterance("", clips.RATE, utt="u"), wav, ()).figure()
    places = {e.text: float(e.get("y", 0)) for e in ET.fromstring(figure).iter() if e.tag == "text"}
    heights = [places[f"{kilohertz} kHz"] for kilohertz in (0, 2, 4, 6, 8)]
    assert heights == sorted(heights, reverse=True) and heights[2] == pytest.approx(8 + 132 / 2 + 4)


def test_columns_of_numbers_stand_to_the_right_and_anchors_are_plain() -> None:
    markup = page.table(["a", "b"], [["1", "2"]], (1,))
    assert '<th>a</th><th class="n">b</th>' in markup and '<td>1</td><td class="n">2</td>' in markup
    assert page.anchor("(ABX) errors!") == "abx--errors"


def test_chosen_utterances_are_of_different_speakers_and_fit_the_page() -> None:
    rows = [
        Utterance("", int(s * 16_000), utt=f"{who}{s}", speaker=who) for who in "abc" for s in (0.4, 2.9, 9.0)
    ]
    chosen = clips.choose(rows, 4)
    assert sorted(row.speaker or "" for row in chosen[:3]) == ["a", "b", "c"] and len(chosen) == 4
    assert {row.utt for row in chosen[:3]} == {"a2.9", "b2.9", "c2.9"}
    assert len(clips.choose(rows[:2], 4)) == 2 and clips.choose([], 4) == []

"""Which codes groups share: shares and distances of equally many frames, with chance's floor beside them."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vqw2v_plugin.analysis import group_codes
from vqw2v_plugin.analysis.code_map import CodeMap, Heard, OwnCode, js_distances, map_codes
from vqw2v_plugin.analysis.code_map_files import read_map, to_json, to_table, told
from vqw2v_plugin.analysis.group_codes import MapOptions, heard_in
from vqw2v_plugin.analysis.group_tree import leaves
from vqw2v_plugin.analysis.map_png import draw_map
from vqw2v_plugin.analysis.phone_codes import Codes
from vqw2v_plugin.corpora.manifest import Manifest, Utterance, write_manifest
from vqw2v_plugin.stores.frames import FrameTimes

V = 12


def utterances(p: np.ndarray, count: int, seed: int, groups: int = 2) -> dict[str, Codes]:
    """Clips of frames drawn from one distribution."""
    rng = np.random.default_rng(seed)
    return {f"{seed}-{i}": rng.choice(V, size=(rng.integers(20, 60), groups), p=p) for i in range(count)}


def spread(*codes: int) -> np.ndarray:
    p = np.zeros(V)
    p[list(codes)] = 1 / len(codes)
    return p


@pytest.fixture(scope="module")
def groups() -> Mapping[str, Mapping[str, Codes]]:
    """`a` and `b` are alike, `c` shares half of their codes; code 11 is nobody's."""
    return {
        "a": utterances(spread(0, 1, 2, 3), 40, 1),
        "b": utterances(spread(0, 1, 2, 3), 90, 2),
        "c": utterances(spread(2, 3, 4, 5), 20, 3),
    }


@pytest.fixture(scope="module")
def made(groups: Mapping[str, Mapping[str, Codes]]) -> CodeMap:
    return map_codes(groups, V)


def test_a_distance_is_scipy_s_symmetric_and_none_of_what_is_alike() -> None:
    spatial = pytest.importorskip("scipy.spatial.distance")
    rng = np.random.default_rng(0)
    rows = rng.dirichlet(np.ones(9), size=5)
    rows[0, :4] = 0
    rows[0] /= rows[0].sum()
    for p in rows:
        found = js_distances(p, rows)
        assert np.allclose(found, [spatial.jensenshannon(p, q, 2) for q in rows], atol=1e-7)
    assert np.allclose(
        [js_distances(p, rows) for p in rows], np.transpose([js_distances(p, rows) for p in rows])
    )
    assert js_distances(rows[1], rows[1:2])[0] == pytest.approx(0, abs=1e-7)
    assert js_distances(np.array([1.0, 0]), np.array([[0, 1.0]]))[0] == 1


def test_all_groups_are_counted_over_equally_many_frames(made: CodeMap, groups: Mapping[str, object]) -> None:
    assert made.halves.sum(axis=2).tolist() == [[made.frames // 2 * 2] * 2] * 3
    assert made.frames <= min(made.given) and made.names == tuple(groups)
    assert np.allclose(made.shares.sum(axis=1), 1)


def test_a_seed_s_count_is_its_own(groups: Mapping[str, Mapping[str, Codes]], made: CodeMap) -> None:
    assert np.array_equal(map_codes(groups, V).halves, made.halves)
    assert not np.array_equal(map_codes(groups, V, seed=2).halves, made.halves)


def test_shares_of_codes_by_how_many_use_them_are_all(made: CodeMap) -> None:
    assert sum(made.spread.values()) == pytest.approx(1)
    assert made.spread == pytest.approx({"all": 2 / 12, "some": 2 / 12, "one": 2 / 12, "none": 6 / 12})


def test_rare_codes_are_used_only_from_the_threshold_on(groups: Mapping[str, Mapping[str, Codes]]) -> None:
    with_one = {**groups, "a": {**groups["a"], "odd": np.full((3, 2), 11)}}
    for least, used in ((1, True), (None, False)):
        found = [map_codes(with_one, V, seed, least).used[0].reshape(2, V)[:, 11].any() for seed in range(4)]
        assert any(found) == used


def test_what_is_alike_is_no_further_than_halves_of_one(made: CodeMap) -> None:
    a, b, c = range(3)
    between = made.distances
    assert np.allclose(between, between.T) and (made.between.diagonal() == 0).all()
    assert between[a, b] < 2 * made.floors.max() < between[a, c] / 3
    assert between[b, c] == pytest.approx(between[a, c], rel=0.2)
    assert made.tree[0, :2].tolist() == [a, b]


def test_halves_of_one_group_as_groups_lie_at_the_floor() -> None:
    whole = utterances(np.random.default_rng(0).dirichlet(np.ones(V)), 200, 5)
    parts = {"x": dict(list(whole.items())[:100]), "y": dict(list(whole.items())[100:])}
    found = map_codes(parts, V)
    assert found.distances[0, 1] == pytest.approx(found.floors.mean(), rel=0.5)


def test_a_group_s_own_codes_are_those_that_only_it_uses(made: CodeMap) -> None:
    own = made.own_codes(2, 4)
    assert {each.code % V for each in own} == {4, 5} and {each.code // V for each in own} == {0, 1}
    for each in own:
        assert each.share == pytest.approx(0.25, abs=0.08) and each.elsewhere == 0
    assert {made.title(each.code) for each in own} == {"0:4", "0:5", "1:4", "1:5"}


def test_a_code_is_heard_where_its_longest_runs_are() -> None:
    codes = {
        "u": np.array([[1, 0], [2, 0], [1, 0], [1, 3]]),
        "v": np.array([[0, 0], [1, 1], [1, 0], [1, 0]]),
        "w": np.array([[0, 1]]),
    }
    assert heard_in(codes, 1, V) == [("v", 1, 3), ("u", 2, 2)]
    assert heard_in(codes, V + 1, V, 1) == [("v", 1, 1)] and heard_in(codes, 2 * V - 1, V) == []


def test_one_group_or_one_utterance_is_refused(groups: Mapping[str, Mapping[str, Codes]]) -> None:
    with pytest.raises(ValueError, match="1 group has codes; expected two or more"):
        map_codes({"a": groups["a"]}, V)
    with pytest.raises(ValueError, match="few: has fewer than two utterances"):
        map_codes({"a": groups["a"], "few": {"u": np.zeros((9, 2), np.int64)}}, V)


OWN = {"code": 1, "share": 1, "elsewhere": 0, "heard": []}
PLACE = {"utt": "u", "second": 0.5, "frames": 3}
LIES: list[dict[str, object]] = [
    *({name: value} for name in ("share", "elsewhere") for value in (1.01, -0.1, float("nan"))),
    {"code": -1},
    {"heard": [{**PLACE, "second": -0.1}]},
    {"heard": [{**PLACE, "frames": 1.5}]},
    {"heard": [PLACE] * 33},
]


def test_json_holds_all_of_it_and_lies_of_others_are_refused(made: CodeMap) -> None:
    own = {name: made.own_codes(i) for i, name in enumerate(made.names)}
    about = json.loads(json.dumps(to_json(made, "lang", own)))
    again, read = read_map(about)
    assert (
        np.array_equal(again.halves, made.halves) and again.names == made.names and again.least == made.least
    )
    assert read == own and np.allclose(again.distances, about["distances"])
    (code,) = read_map({**about, "own": {"a": [{**OWN, "heard": [PLACE]}]}})[1]["a"]
    assert code == OwnCode(1, 1.0, 0.0, (Heard("u", 0.5, 3),))
    for name, value in (
        ("names", ["a"]),
        ("names", "abc"),
        ("groups", 3),
        ("codes", 1 << 40),
        ("halves", [[[1] * 24] * 2] * 2 + [[[2] * 24] * 2]),
        ("halves", [[[-1] * 24] * 2] * 3),
        ("halves", [[[1] * 24] * 2, [[1] * 24, [-1, 3, *[1] * 22]], [[1] * 24] * 2]),
        ("halves", [[[1] * 24, [2] * 24]] * 3),
        ("halves", "x"),
        ("frames_given", [1.5]),
        ("least", None),
        ("own", {"a": [{"code": 1}]}),
        ("halves", [[[0] * 24] * 2] * 3),
        ("frames_given", [1] * 201),
        ("least", -1),
        ("least", True),
        ("own", {"a": [OWN] * 33}),
        *(("own", {"a": [{**OWN, **lie}]}) for lie in LIES),
    ):
        with pytest.raises((ValueError, LookupError, TypeError)):
            read_map({**about, name: value})


def test_the_table_has_a_row_of_each_group_and_code(made: CodeMap) -> None:
    head, *rows = (line.split("\t") for line in to_table(made, "lang").splitlines())
    assert head == ["lang", "group", "code", "frames", "share"] and len(rows) == 3 * 2 * V
    counts = [int(row[3]) for row in rows]
    assert np.array_equal(np.reshape(counts, (3, -1)), made.counts)
    assert sum(float(row[4]) for row in rows) == pytest.approx(6, abs=1e-3)


def test_lines_say_shares_distances_and_the_floor(made: CodeMap) -> None:
    text = "\n".join(told(made, "lang"))
    assert f"3 groups by lang, {made.frames:,} frames of each, 2 × 12 codes" in text
    assert "all groups use: 16.7%; some: 16.7%; one alone: 16.7%; none: 50.0%" in text
    assert "the nearest joined first: (c (a b))" in text and f"floor {made.floors[2]:.3f}" in text


def test_a_code_is_used_from_the_threshold_itself_on() -> None:
    halves = np.array([[[3, 2, 5], [2, 2, 6]], [[1, 9, 0], [9, 1, 0]]])
    found = CodeMap(("a", "b"), halves, 1, 3, (20, 20), least=5)
    assert found.used.tolist() == [[True, False, True], [True, True, False]]
    assert found.spread == pytest.approx({"all": 1 / 3, "some": 0, "one": 2 / 3, "none": 0})


def by_hand(least: int = 5) -> CodeMap:
    """Of 20 frames each: `a` and `b` are near, `c` has a code of its own, and a rare one of `b`'s."""
    halves = [[[5, 5, 0, 0], [5, 5, 0, 0]], [[6, 3, 1, 0], [4, 4, 2, 0]], [[0, 0, 2, 8], [0, 4, 2, 4]]]
    return CodeMap(("a", "b", "c"), np.array(halves), 1, 4, (20, 40, 30), least)


def test_each_group_s_line_has_its_codes_its_neighbour_and_what_is_most_its_own() -> None:
    made = by_hand()
    lines = {line.split()[0]: line for line in told(made, "lang")[4:]}
    assert "2 codes, 0 alone; nearest b" in lines["a"] and "2 codes, 0 alone; nearest a" in lines["b"]
    assert "1 codes, 1 alone; nearest b" in lines["c"]
    assert f"({made.between[2, 1]:.3f}, floor {made.floors[2]:.3f})" in lines["c"]
    assert lines["c"].endswith("most its own: 3 (60.0%, elsewhere 0.0%)")  # two and four are too few
    assert lines["a"].endswith("0 (50.0%, elsewhere 25.0%), 1 (50.0%, elsewhere 27.5%)")
    head = told(made, "lang")[0]
    assert "20 frames of each, 1 × 4 codes; a group uses a code from 5 frames on" in head


def test_a_code_is_most_its_group_s_own_by_its_share_and_how_rare_it_is_elsewhere() -> None:
    """p · log2(p / mean): of `c` 0.6 · log2 3, then 0.2 · log2(0.2 / (0.35 / 3)); code 1 is rare."""
    own = by_hand(least=1).own_codes(2)
    assert [(each.code, each.share) for each in own] == [(3, 0.6), (2, pytest.approx(0.2))]
    assert [each.elsewhere for each in own] == pytest.approx([0, 0.15 / 2])  # the mean of the two others
    assert [each.code for each in by_hand(least=1).own_codes(2, 1)] == [3]


@pytest.mark.parametrize(("frames", "least"), [(600, 10), (660, 11), (100, 5)])
def test_a_code_is_in_use_from_a_tenth_of_an_even_share_on_and_five_frames_at_least(
    frames: int, least: int
) -> None:
    groups = {name: {u: np.full((frames, 1), 3) for u in "xy"} for name in ("a", "b")}
    groups["b"]["z"] = np.full((7, 1), 3)
    made = map_codes(groups, V)
    assert (made.least, made.frames, made.given) == (least, 2 * frames, (2 * frames, 2 * frames + 7))


def test_json_says_how_many_codes_are_used_and_of_how_many_frames(made: CodeMap) -> None:
    about = to_json(by_hand(), "lang", {})
    assert (about["used"], about["frames_given"], about["frames"]) == ([2, 2, 1], [20, 40, 30], 20)
    rows = [line.split("\t") for line in to_table(by_hand(), "lang").splitlines()]
    assert rows[5] == ["b", "0", "0", "10", "0.5"] and rows[-1] == ["c", "0", "3", "12", "0.6"]
    assert [row.split("\t")[1:3] for row in to_table(made, "lang").splitlines()[V : V + 2]] == [
        ["0", "11"],
        ["1", "0"],
    ]


def test_a_code_is_heard_at_the_middle_of_its_run() -> None:
    codes = {"u": np.array([[0], [3], [3], [3], [0]]), "v": np.array([[3], [3]])}
    (own,) = group_codes._own(by_hand(), 2, codes, FrameTimes(160, 400, 16_000))
    assert own.code == 3 and own.share == 0.6  # frame t's centre is at 12.5 ms + 10 ms · t
    assert own.heard == (Heard("u", pytest.approx(0.0325), 3), Heard("v", pytest.approx(0.0225), 2))


def clips(count: int, seconds: float, rate: int | None = 8_000) -> list[Utterance]:
    samples = int(seconds * (rate or 16_000))
    return [Utterance(f"{i}.wav", samples, rate=rate, utt=f"{seconds}-{i}") for i in range(count)]


def test_so_many_minutes_of_a_group_are_drawn_by_the_seed() -> None:
    for rows in (clips(20, 6), clips(20, 6, None)):
        drawn = [group_codes._some(rows, MapOptions("lang", 0.5, seed=seed), 16_000) for seed in (1, 1, 2)]
        assert [len(each) for each in drawn] == [5, 5, 5] and drawn[0] == drawn[1] != drawn[2]
        assert drawn[0] != rows[:5]  # from all over
    assert len(group_codes._some(clips(4, 6), MapOptions("lang", 0.5), 16_000)) == 4


def test_groups_of_too_little_audio_are_named_and_left_out() -> None:
    said: list[str] = []
    groups = {"a": clips(2, 5), "b": clips(3, 4), "c": clips(2, 4.9), "d": clips(1, 20)}
    kept = group_codes._large_enough(groups, MapOptions("lang"), 16_000, said.append)
    assert [*kept] == ["a", "b"]
    assert said == ["left out, with less than 10 s or two utterances: c, d"]
    with pytest.raises(ValueError, match="1 values of `lang` have 10 s of audio; expected 2 to 200"):
        group_codes._large_enough({"a": groups["a"]}, MapOptions("lang"), 16_000, said.append)


def test_files_of_utterances_to_hear_are_told_with_where_they_begin() -> None:
    row = Utterance("/x.wav", 900, start=70, rate=8_000, utt="u")
    own = [[OwnCode(3, 0.6, 0.0, (Heard("u", 0.1, 2),))], []]
    found = group_codes.places_of({"z": row, "u": row}, own)
    assert found == {"u": {"path": "/x.wav", "samples": 900, "start": 70, "rate": 8_000}}


def test_the_picture_has_the_tree_with_names_beside_it_and_the_plane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    made = CodeMap(("a", "x" * 30, "c$"), by_hand().halves, 1, 4, (20,) * 3, 5)
    draw_map(made, "of $", tmp_path / "a.png")
    assert drawn[0].get_suptitle() == r"of \$"
    tree, plane = drawn[0].axes
    names = ["a", "x" * 22, r"c\$"]
    assert [label.get_text() for label in tree.get_yticklabels()] == [names[i] for i in leaves(made.tree)]
    *joins, floor = tree.get_lines()
    assert [line.get_xdata()[1] for line in joins] == pytest.approx(made.tree[:, 2])
    # below each other stand `c`, `a` and the long name; `c` joins in the middle of the two
    assert [list(line.get_ydata()) for line in joins] == [[1, 1, 2, 2], [0, 0, 1.5, 1.5]]
    assert floor.get_xdata()[0] == pytest.approx(made.floors.mean())
    (dots,) = plane.collections
    assert np.allclose(dots.get_offsets(), made.places[0]) and plane.get_aspect() == 1
    assert [text.get_text() for text in plane.texts] == names


def test_each_group_s_floor_is_how_far_its_own_halves_lie_apart() -> None:
    made = CodeMap(("a", "b"), np.array([[[8, 0], [0, 8]], [[4, 4], [4, 4]]]), 1, 2, (16, 16), 1)
    assert made.floors == pytest.approx([1, 0], abs=1e-7)
    lines = told(made, "lang")[4:]
    assert ["floor 1.000" in line for line in lines] == [True, False]


def test_codes_of_two_groups_are_told_by_their_shares_within_each() -> None:
    """The first group tells `a` from `b`, the second is alike in both."""
    halves = np.array([[[10, 0, 5, 5]] * 2, [[0, 10, 5, 5]] * 2])
    made = CodeMap(("a", "b"), halves, 2, 2, (20, 20), 5)
    assert [made.own_codes(i) for i in (0, 1)] == [[OwnCode(i, 1.0, 0.0)] for i in (0, 1)]
    about = to_json(made, "lang", {"b": made.own_codes(1)})
    assert [each["title"] for each in about["own"]["b"]] == ["0:1"]
    assert about["tree"] == [[0, 1, pytest.approx(0.5**0.5), 2]]  # of half of the frames nothing is shared


def clips_by_language(folder: Path, *langs: str) -> Manifest:
    rows = [
        {"path": f"{i}.wav", "samples": 96_000, "rate": 16_000, "utt": f"u{i}", "lang": lang}
        for i, lang in enumerate(langs)
    ]
    write_manifest(folder / "m.tsv", folder, rows, list(rows[0]))
    return Manifest(folder / "m.tsv")


def test_groups_are_told_apart_by_their_words_whatever_blanks_are_around_them(tmp_path: Path) -> None:
    groups = group_codes.grouped([clips_by_language(tmp_path, "de", "nl", "de ", " ")], "lang")
    assert {name: [row.utt for row in rows] for name, rows in groups.items()} == {
        "de": ["u0", "u2"],
        "nl": ["u1"],
    }


def test_a_group_of_which_one_utterance_can_be_encoded_is_left_out_and_the_rest_counted_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    geometry = SimpleNamespace(stride=160, receptive_field=400)
    tokenizer: Any = SimpleNamespace(sample_rate=16_000, num_codes=4, geometry=geometry)
    manifest, told, asked = clips_by_language(tmp_path, *"aabbcc"), list[str](), list[tuple[Any, ...]]()
    monkeypatch.setattr(
        group_codes,
        "encode_each",
        lambda _, rows, skip: {row.utt: np.ones((50, 1), np.int64) for row in rows if row.utt != "u5"},
    )
    monkeypatch.setattr(group_codes, "map_codes", lambda *given: asked.append(given[1:]) or map_codes(*given))
    options = MapOptions("lang", seed=3, least=7)
    found = group_codes.map_groups(tokenizer, [manifest], options, told.append)
    assert found.made.names == ("a", "b") and asked == [(4, 3, 7)]
    assert told[-1] == "c: left out, as fewer than two of its utterances could be encoded"

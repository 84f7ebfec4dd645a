"""Phrases of messages."""

from pathlib import Path

import pytest

import vqw2v_plugin
from vqw2v_plugin.common.words import aligned, lines_of, one_line, rough_time, sentence, some_of


def test_the_first_of_many_are_named_and_the_others_counted() -> None:
    assert some_of([]) == "" and some_of(["a"]) == "a"
    assert some_of("abc", 3) == "a, b, c" and some_of({1: "x", 2: "y"}, 1) == "1 and 1 more"
    assert some_of(range(2_000)) == "0, 1, 2, 3, 4, 5, 6, 7 and 1,992 more"
    assert some_of(["a\nb", "\udcf4", "é"]) == r"a\nb, \xf4, é"  # a log is UTF-8, line by line


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\r"])
def test_a_line_ends_in_one_way_alone(end: str) -> None:
    text = f"a{end}b\t1\n\nc\n"
    assert lines_of(text) == [f"a{end}b\t1", "", "c"] and lines_of("") == [] and lines_of("a") == ["a"]
    assert len(one_line(text[:-1]).splitlines()) == 1 == len(sentence(text).splitlines())


def test_a_message_is_never_longer_than_one_reads_and_ends_in_its_remedy() -> None:
    said = f"file: `epoch` is {list(range(10_000))}; expected one number: save it anew"
    shown = sentence(said)
    assert len(shown) < 3_000 and shown.startswith("file: `epoch` is [0, 1") and " … " in shown
    assert shown.endswith("9999]; expected one number: save it anew")
    assert sentence(said[:3_000]) == said[:3_000]


def test_names_in_a_column_can_be_told_apart() -> None:
    names = ["a\tb", "a\\tb", "a\nb", "a\\\nb", "a b", "a\udcffb", "zwölf"]
    shown = [one_line(name) for name in names]
    assert shown == ["a\\tb", "a\\\\tb", "a\\nb", "a\\\\\\nb", "a b", "a\\xffb", "zwölf"]
    assert len(set(shown)) == len(names) and not any("\t" in name for name in shown)


def test_halves_of_characters_are_shown() -> None:
    assert sentence("a\ud800b\udfffc\udce9") == "a\\ud800b\\udfffc\\xe9" == one_line("a\ud800b\udfffc\udce9")


def test_no_text_of_ours_is_cut_where_unicode_ends_lines() -> None:
    """`str.splitlines` is for the reasons of errors alone."""
    for path in Path(vqw2v_plugin.__file__).parent.rglob("*.py"):
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
            assert ".splitlines(" not in line or "error" in line, f"{path}:{number}: use `lines_of`"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "1 min"), (89, "1 min"), (91, "2 min"), (7_140, "119 min"), (7_200, "2 h"), (86_400, "24 h")],
)
def test_times_are_told_in_minutes_and_from_two_hours_on_in_hours(seconds: float, told: str) -> None:
    assert rough_time(seconds) == told


def test_columns_stand_under_each_other_and_numbers_end_at_one_place() -> None:
    assert aligned([("name", "of"), ("a", "1,000"), ("bcdef", "7")], {1}) == [
        "name      of",
        "a      1,000",
        "bcdef      7",
    ]
    assert aligned([("a", "bc"), ("def", "")], ()) == ["a    bc", "def"]

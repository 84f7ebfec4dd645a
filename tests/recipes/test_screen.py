"""The screen of a recipe: bars under the lines, and a time left that knows what runs side by side."""

import io
import re

import pytest

from vqw2v_plugin.recipes import screen as screen_module
from vqw2v_plugin.recipes.runner import Stage, all_needs
from vqw2v_plugin.recipes.screen import Screen, TimeLeft


class Terminal(io.StringIO):
    """Understands what a screen writes: lines, back to the start of one, wiping it, up."""

    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        lines, row, column = [""], 0, 0
        for piece in re.findall(r"\x1b\[K|\x1b\[1A|\r|\n|[^\x1b\r\n]+", self.getvalue()):
            if piece == "\n":
                row, column = row + 1, 0
                lines += [""] * (row + 1 - len(lines))
            elif piece == "\r":
                column = 0
            elif piece == "\x1b[1A":
                row -= 1
            elif piece == "\x1b[K":
                lines[row] = lines[row][:column]
            else:
                before = lines[row].ljust(column)
                lines[row] = before[:column] + piece + before[column + len(piece) :]
                column += len(piece)
        return lines


def test_bars_stay_under_the_lines_one_for_each_stage() -> None:
    terminal = Terminal()
    screen = Screen(terminal)
    screen.say("one begins", "two begins")
    screen.show_bar("one", "one: 10%")
    screen.show_bar("two", "two: 20%")
    screen.say("three begins")
    screen.show_bar("one", "one: 30%")
    assert terminal.screen() == ["one begins", "two begins", "three begins", "one: 30%", "two: 20%"]
    screen.remove_bar("one")
    screen.say("one is done")
    assert [line for line in terminal.screen() if line] == [
        "one begins",
        "two begins",
        "three begins",
        "one is done",
        "two: 20%",
    ]
    screen.remove_bar("two")
    assert terminal.screen()[4] == ""


def test_a_bar_is_no_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    terminal = Terminal()
    Screen(terminal).show_bar("one", "x" * 100)
    assert terminal.getvalue() == "x" * 19


def test_a_log_gets_each_bar_as_a_line() -> None:
    stream = io.StringIO()
    screen = Screen(stream)
    screen.show_bar("one", "one: 10%")
    screen.remove_bar("one")
    screen.say("done")
    assert stream.getvalue() == "one: 10%\ndone\n"


def stage(name: str, minutes: float, *needs: str) -> Stage:
    return Stage(name, [], "", minutes, needs)


def time_left(stages: list[Stage], jobs: int) -> TimeLeft:
    return TimeLeft({stage.name: stage.minutes for stage in stages}, all_needs(stages), jobs)


@pytest.mark.parametrize(
    ("stages", "jobs", "left"),
    [
        ([stage("a", 4), stage("b", 6)], 1, 10),
        ([stage("a", 4), stage("b", 6)], 2, 6),
        ([stage("a", 4), stage("b", 6, "a")], 2, 10),
        ([stage("a", 4), stage("b", 6, "a"), stage("c", 3)], 2, 10),
        ([stage("a", 4), stage("b", 6, "a"), stage("c", 3), stage("d", 9)], 2, 12),
        ([stage("a", 4), stage("b", 1), stage("c", 1), stage("d", 1)], 3, 4),
    ],
)
def test_what_is_left_knows_what_runs_side_by_side(stages: list[Stage], jobs: int, left: int) -> None:
    assert time_left(stages, jobs).in_words() == f"about {left} min"


def test_what_is_left_shrinks_as_time_passes_and_grows_where_estimates_were_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(screen_module.time, "monotonic", lambda: now[0])
    stages = [stage("a", 4), stage("b", 10)]
    left = time_left(stages, 2)
    left.begin("a")
    left.begin("b")
    now[0] = 60 * 4
    assert left.in_words() == "about 6 min"
    now[0] = 60 * 10
    left.end("a", 600)  # ten minutes instead of four, two of which are believed: twice as slow
    assert left.in_words() == "about 10 min"
    left.end("b", None)
    assert left.in_words() == ""


def test_what_another_run_has_made_says_nothing_of_the_pace_of_this_one() -> None:
    left = time_left([stage("a", 10), stage("b", 10)], 1)
    left.begin("a")
    left.end("a", None)
    assert left.in_words() == "about 10 min"


@pytest.mark.parametrize(
    ("minutes", "words"), [(0.5, "less than a minute"), (0.74, "less than a minute"), (0.76, "about 1 min")]
)
def test_little_time_is_said_in_words(minutes: float, words: str) -> None:
    assert time_left([stage("a", minutes)], 1).in_words() == words

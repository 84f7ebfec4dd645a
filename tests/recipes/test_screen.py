"""The screen of a recipe: bars under the lines, and a time left that knows what runs side by side."""

import io
import re

import pytest

from vqw2v_plugin.recipes import screen as recipe_screen
from vqw2v_plugin.recipes.runner import Stage, all_needs
from vqw2v_plugin.recipes.screen import Board, Clock


class Terminal(io.StringIO):
    """Understands what a board writes: lines, back to the start of one, wiping it, up."""

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
    board = Board(terminal)
    board.say("one begins", "two begins")
    board.bar("one", "one: 10%")
    board.bar("two", "two: 20%")
    board.say("three begins")
    board.bar("one", "one: 30%")
    assert terminal.screen() == ["one begins", "two begins", "three begins", "one: 30%", "two: 20%"]
    board.drop("one")
    board.say("one is done")
    assert [line for line in terminal.screen() if line] == [
        "one begins",
        "two begins",
        "three begins",
        "one is done",
        "two: 20%",
    ]
    board.drop("two")
    assert terminal.screen()[4] == ""


def test_a_bar_is_no_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    terminal = Terminal()
    Board(terminal).bar("one", "x" * 100)
    assert terminal.getvalue() == "x" * 19


def test_a_log_gets_each_bar_as_a_line() -> None:
    stream = io.StringIO()
    board = Board(stream)
    board.bar("one", "one: 10%")
    board.drop("one")
    board.say("done")
    assert stream.getvalue() == "one: 10%\ndone\n"


def stage(name: str, minutes: float, *needs: str) -> Stage:
    return Stage(name, [], "", minutes, needs)


def clock_of(stages: list[Stage], jobs: int) -> Clock:
    return Clock({stage.name: stage.minutes for stage in stages}, all_needs(stages), jobs)


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
    assert clock_of(stages, jobs).left() == f"about {left} min"


def test_what_is_left_shrinks_as_time_passes_and_grows_where_estimates_were_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(recipe_screen.time, "monotonic", lambda: now[0])
    stages = [stage("a", 4), stage("b", 10)]
    clock = clock_of(stages, 2)
    clock.begins("a")
    clock.begins("b")
    now[0] = 60 * 4
    assert clock.left() == "about 6 min"
    now[0] = 60 * 10
    clock.ends("a", 600)  # ten minutes instead of four, two of which are believed: twice as slow
    assert clock.left() == "about 10 min"
    clock.ends("b", None)
    assert clock.left() == ""

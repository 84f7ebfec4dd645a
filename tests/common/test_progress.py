"""Progress: quiet where nothing takes long, sparse in logs, and never past what is done."""

import io
import os
import re

import pytest

from vqw2v_plugin.common import progress as progress_module
from vqw2v_plugin.common.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress_module, "time", made)
    return made


def run(clock: Clock, stream: io.StringIO, seconds: float, total: int | None = 1000) -> str:
    with Progress("headers", total, stream) as progress:
        for _ in range(1000):
            clock.now += seconds / 1000
            progress.advance()
    return stream.getvalue()


def test_a_log_gets_a_line_now_and_then(clock: Clock) -> None:
    assert run(clock, io.StringIO(), 9) == ""
    shown = run(clock, io.StringIO(), 100).splitlines()
    assert 8 <= len(shown) <= 10
    assert re.fullmatch(r"headers: \[## {22}\]  10% 10\d of 1,000, 10/s, 1:30 left", shown[0]), shown[0]


def test_a_terminal_gets_one_line_that_is_wiped_at_the_end(clock: Clock) -> None:
    shown = run(clock, Terminal(), 2)
    assert "\n" not in shown and shown.endswith("\r\x1b[K")
    assert 15 <= shown.count("\r") <= 22
    assert all(len(line) < 80 + len("\x1b[K") for line in shown.split("\r"))


@pytest.mark.parametrize(("columns", "longest"), [(33, 32), (0, 79)])  # some terminals know of no width
def test_a_line_is_shorter_than_the_terminal_it_is_on_is_wide(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, columns: int, longest: int
) -> None:
    monkeypatch.setattr(Terminal, "fileno", lambda self: 7)
    sizes = os.get_terminal_size  # which pytest asks too, of its own terminal

    def size(number: int = 1) -> os.terminal_size:
        return os.terminal_size((columns, 24)) if number == 7 else sizes(number)

    monkeypatch.setattr(os, "get_terminal_size", size)
    stream = Terminal()
    with Progress("x" * 100, 1000, stream) as progress:
        clock.now += 1
        progress.advance()
    assert stream.getvalue().startswith(f"\r{'x' * longest}\x1b[K")


def test_an_unknown_total_shows_a_count_alone(clock: Clock) -> None:
    assert re.match(r"headers: \d+\n", run(clock, io.StringIO(), 15, total=None))


def test_getting_ready_does_not_count(clock: Clock) -> None:
    stream = io.StringIO()
    with Progress("updates", 100, stream) as progress:
        clock.now += 30
        progress.begin()
        for _ in range(20):
            clock.now += 1
            progress.advance()
    assert stream.getvalue().splitlines()[0].endswith("1% 1 of 100, 1.0/s, 1:39 left")


def test_what_was_quick_at_first_does_not_shorten_the_rest(clock: Clock) -> None:
    stream = io.StringIO()
    with Progress("headers", 2000, stream) as progress:
        progress.advance(1000)  # from the cache, at once
        for _ in range(40):
            clock.now += 1
            progress.advance(1)
    assert stream.getvalue().splitlines()[-1].endswith("52% 1,040 of 2,000, 1.0/s, 16:00 left")


def test_the_speed_is_that_of_some_seconds_not_of_the_last_moment(clock: Clock) -> None:
    stream = Terminal()
    with Progress("headers", 10_000, stream) as progress:
        for _ in range(40):  # ten a second, in bursts
            for count in (10, 0):
                clock.now += 0.5
                progress.advance(count)
    speeds = [float(found) for found in re.findall(r"([0-9.]+)/s", stream.getvalue())]
    assert len(speeds) == 80 and all(8 <= speed <= 12 for speed in speeds[10:])


def test_hours_a_note_and_a_speed_that_is_not_known_are_told(clock: Clock) -> None:
    stream = io.StringIO()
    with Progress("passes", 1_000, stream) as progress:
        progress.note = "distance 0.5"
        for count in (0, 1):
            clock.now += 11
            progress.advance(count)
    first, second = stream.getvalue().splitlines()
    assert first.endswith("  0% 0 of 1,000, 0.0/s, ? left  distance 0.5")
    assert second.endswith(" 1 of 1,000, 0.1/s, 3:03:09 left  distance 0.5")  # 999 of eleven seconds


def test_a_total_of_none_is_done(clock: Clock) -> None:
    stream = io.StringIO()
    with Progress("passes", 0, stream) as progress:
        clock.now += 11
        progress.advance(0)
    assert "0% 0 of 0" in stream.getvalue()


def test_what_was_done_while_getting_ready_says_nothing_of_the_speed(clock: Clock) -> None:
    stream = io.StringIO()
    with Progress("updates", 100, stream) as progress:
        progress.advance(50)
        clock.now += 30
        progress.begin()
        clock.now += 1
        progress.advance()
    assert stream.getvalue().splitlines()[0].endswith("51% 51 of 100, 1.0/s, 0:49 left")


def test_the_speed_is_that_of_five_seconds_at_least(clock: Clock) -> None:
    stream = Terminal()
    with Progress("headers", 100, stream) as progress:
        for count in (10, 1):
            clock.now += 3
            progress.advance(count)
    assert [float(found) for found in re.findall(r"([0-9.]+)/s", stream.getvalue())] == [3.3, 1.8]

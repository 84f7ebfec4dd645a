"""How long a training still takes is said now and then, from when it was under way."""

from vqw2v_plugin.training.pace import Pace


def lines(pace: Pace, times: list[tuple[float, int]], last: int) -> list[str | None]:
    return [pace.line(updates, last, 1000.0 + now) for now, updates in times]


def test_it_is_the_speed_so_far_that_counts_and_lines_are_seldom() -> None:
    said = lines(Pace(), [(0, 20), (10, 40), (40, 100), (60, 140), (75, 170), (200, 420)], 1220)
    assert said == [
        *(None, None, "100 of 1,220 updates, about 9 min left", None),
        *("170 of 1,220 updates, about 9 min left", "420 of 1,220 updates, about 7 min left"),
    ]


def test_nothing_is_said_at_the_end_before_there_is_a_speed_and_without_a_last_update() -> None:
    assert lines(Pace(), [(0, 900), (3600, 1000)], 1000) == [None, None]
    assert lines(Pace(), [(0, 900), (3600, 900)], 1000) == [None, None]
    assert lines(Pace(), [(0, 900), (3600, 1000)], 0) == [None, None]
    assert lines(Pace(), [(0, 0), (3600, 1)], 10_001) == [None, "1 of 10,001 updates, about 10000 h left"]


def test_what_was_long_ago_counts_no_more() -> None:
    pace = Pace()
    slow = lines(pace, [(0, 0), (6000, 10)], 1000)
    assert slow[-1] == "10 of 1,000 updates, about 165 h left"
    assert lines(pace, [(6100, 110), (6700, 710)], 1000)[-1] == "710 of 1,000 updates, about 5 min left"

"""Phrases of messages."""

from vqw2v_plugin.common.words import some_of


def test_the_first_of_many_are_named_and_the_others_counted() -> None:
    assert some_of([]) == "" and some_of(["a"]) == "a"
    assert some_of("abc", 3) == "a, b, c" and some_of({1: "x", 2: "y"}, 1) == "1 and 1 more"
    assert some_of(range(2_000)) == "0, 1, 2, 3, 4, 5, 6, 7 and 1,992 more"

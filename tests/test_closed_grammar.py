"""Small closed grammars for the benchmark: words are cut where they are, and no clip is on both sides."""

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def grammar() -> Iterator[ModuleType]:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import grammar as module

        yield module
    finally:
        sys.path.remove(str(BENCHMARKS))


LEXICON = {"one": [["W", "AH", "N"]], "and": [["AE", "N", "D"], ["AH", "N", "D"]], "a": [["AH"]]}


def phones(text: str) -> list[tuple[str, ...]]:
    return [(f"{i / 10}", f"{(i + 1) / 10}", phone) for i, phone in enumerate(text.split())]


def found(grammar: ModuleType, words: str, said: str) -> list[tuple[str, float, float]]:
    return sorted(grammar.spans(words.split(), phones(said), LEXICON), key=lambda each: each[1])


def test_words_are_where_their_phones_are(grammar: ModuleType) -> None:
    assert found(grammar, "one and a one", "SIL W AH N AH N D SIL AH W AH N") == [
        ("one", 0.1, 0.4),
        ("and", 0.4, pytest.approx(0.7)),
        ("one", 0.9, pytest.approx(1.2)),
    ]


def test_beside_unknown_words_only_those_that_can_be_nowhere_else_are_taken(grammar: ModuleType) -> None:
    assert found(grammar, "one xy", "W AH N K S") == [("one", 0.0, pytest.approx(0.3))]
    assert found(grammar, "xy one yx", "K W AH N W AH N S") == []  # the first or the second
    assert found(grammar, "one one", "W AH N K") == []  # not what was said


def test_no_clip_is_learnt_from_and_tested_on(grammar: ModuleType) -> None:
    clips = {
        word: [(word, np.full(10, 100.0 * w + i), 8000) for i in range(20)] for w, word in enumerate("abc")
    }
    say = grammar.strings_of(clips, random.Random(1), 1)
    heard: dict[str, set[float]] = {}
    for split in ("train", "valid", "test"):
        said = [say(split) for _ in range(200)]
        assert all(3 <= len(text.split()) <= 6 for text, _, _ in said)
        heard[split] = {x for _, wav, _ in said for x in np.unique(wav[np.abs(wav) > 0.5]).tolist()}
    assert heard["train"] and not heard["train"] & (heard["valid"] | heard["test"])
    assert not heard["valid"] & heard["test"]


def test_the_table_has_what_has_finished(grammar: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "commands_3_1").mkdir()
    (tmp_path / "commands_3_1" / "hmm.json").write_text('{"wer": 3.456, "minutes": 1}')
    assert "| commands | 3 | 1 | 3.46 |  |  |" in grammar.report(tmp_path)
    (tmp_path / "commands_3_1" / "recipe.json").write_text('{"wer": 2.1, "minutes": 4.4}')
    assert "| commands | 3 | 1 | 3.46 | 2.10 | 4 |" in grammar.report(tmp_path)

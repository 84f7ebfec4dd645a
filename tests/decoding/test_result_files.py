"""What decoding leaves in files: answers in order and in seconds, confusions by their counts."""

import json
from pathlib import Path

from vqw2v_plugin.decoding.hypothesis import Hypothesis, TimedText
from vqw2v_plugin.decoding.results import ResultFiles
from vqw2v_plugin.decoding.scoring import Confusions, Errors, align, count, summary


def answer(*words: str) -> Hypothesis:
    segments = tuple(TimedText(word, 10 * i, 10 * i + 5, 0.5) for i, word in enumerate(words))
    return Hypothesis(segments, segments, -1.0, -1.0)


def test_files_are_in_the_utterances_order_whatever_that_of_the_answers(tmp_path: Path) -> None:
    files = ResultFiles(tmp_path / "new", "dev", 0.02)
    files.add(2, "c", [answer("two", "words"), answer("too")])
    files.add(0, "a", [answer()])
    files.add(1, "b", [answer("one")])
    assert not (tmp_path / "new").exists()
    files.write()
    lines = (tmp_path / "new" / "hypotheses-dev.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert [(line["utt"], line["text"]) for line in found] == [("a", ""), ("b", "one"), ("c", "two words")]
    assert found[2]["nbest"][0]["text"] == "too"
    assert (tmp_path / "new" / "hypotheses-dev.ctm").read_text().splitlines() == [
        "b 1 0.000 0.100 one 0.5000",
        "c 1 0.000 0.100 two 0.5000",
        "c 1 0.200 0.100 words 0.5000",
    ]


def test_names_that_are_no_utf_8_are_the_file_s_own_bytes_in_ctm_and_escaped_in_json(tmp_path: Path) -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    files = ResultFiles(tmp_path, "dev", 0.02)
    files.add(0, name, [answer("é")])
    files.write()
    assert (tmp_path / "hypotheses-dev.ctm").read_bytes() == "{} 1 0.000 0.100 é 0.5000\n".encode().replace(
        b"{}", b"caf\xe9"
    )
    line = (tmp_path / "hypotheses-dev.jsonl").read_bytes()
    assert json.loads(line)["utt"] == name and "é".encode() in line


def test_the_most_frequent_confusions_come_first() -> None:
    confusions, errors = Confusions(), Errors()
    for reference, hypothesis in [("a b c", "a x c"), ("a b", "a x"), ("a b", "y b"), ("c", ""), ("", "d")]:
        pairs = align(reference.split(), hypothesis.split())
        confusions.add(pairs)
        errors += count(pairs)
    found = summary(errors, confusions, "phones")
    assert found["most_frequent"] == {
        "substituted": [["b", "x", 2], ["a", "y", 1]],
        "deleted": [["c", 1]],
        "inserted": [["d", 1]],
    }
    assert (found["name"], found["errors"], found["reference_length"]) == ("PER", 5, 8)
    assert found["rate"] == 62.5 and found["utterances"] == found["wrong_utterances"] == 5
    assert confusions.most_frequent(1)["substituted"] == [["b", "x", 2]]
    for reference, hypothesis in [("z", "y"), ("a", "x"), ("z", "b")]:
        confusions.add(align([reference], [hypothesis]))
    equals = [["a", "x", 1], ["a", "y", 1], ["z", "b", 1], ["z", "y", 1]]
    assert confusions.most_frequent(9)["substituted"] == [["b", "x", 2], *equals]
    for number in range(25):
        confusions.add(align([f"r{number}"], []))
    told = summary(errors, confusions, "phones")["most_frequent"]
    assert {sort: len(rows) for sort, rows in told.items()} == {
        "substituted": 5,
        "deleted": 20,
        "inserted": 1,
    }

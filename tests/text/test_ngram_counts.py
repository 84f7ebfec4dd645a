"""From text to counts: what is a word, what is a sentence, and what stands before what."""

from __future__ import annotations

import gzip
import os
from collections import Counter
from pathlib import Path

import pytest

from vqw2v_plugin.text.ngram_counts import BOS, NGrams, Text, count_ngrams, number_words, read_text


def of(text: str) -> Text:
    return number_words(text.encode().splitlines(keepends=True))


def spelled(text: Text, orders: list[NGrams], n: int) -> list[str]:
    """Every n-gram of one order as words."""
    if n == 1:
        return [text.words[i] for i in orders[0].first]
    below = spelled(text, orders, n - 1)
    grams = orders[n - 1]
    return [f"{text.words[a]} {below[b]}" for a, b in zip(grams.first, grams.suffix, strict=True)]


def test_raw_and_adjusted_counts_are_those_of_sets() -> None:
    lines = ["a b a b", "b a", "", "a b c a b", "c"]
    text = of("\n".join(lines))
    orders = count_ngrams(text, 4)
    sentences = [["<s>", *line.split(), "</s>"] for line in lines]
    for n in (2, 3, 4):
        raw = Counter(" ".join(s[i : i + n]) for s in sentences for i in range(len(s) - n + 1))
        longer = {tuple(s[i : i + n + 1]) for s in sentences for i in range(len(s) - n)}
        before = Counter(" ".join(gram[1:]) for gram in longer)
        names = spelled(text, orders, n)
        assert dict(zip(names, orders[n - 1].raw.tolist(), strict=True)) == raw
        expected = [raw[g] if n == 4 or g.startswith("<s>") else before[g] for g in names]
        assert orders[n - 1].adjusted.tolist() == expected
        below = spelled(text, orders, n - 1)
        assert [below[i] for i in orders[n - 1].context] == [g.rsplit(" ", 1)[0] for g in names]


def test_the_start_of_a_sentence_is_never_counted() -> None:
    text = of("a b\nc")
    unigrams = count_ngrams(text, 2)[0]
    counts = dict(zip(text.words, unigrams.adjusted.tolist(), strict=True))
    assert counts == {"<unk>": 0, "<s>": 0, "</s>": 2, "a": 1, "b": 1, "c": 1}


def test_lines_are_sentences_whatever_ends_them() -> None:
    plain = of("a b\n\nc d\n")
    for other in ("a b\r\n\r\nc d\r\n", "\ufeffa  b\n\t\n c\td", "a\0b\n\nc d"):
        found = number_words(other.encode().split(b"\n")[:3])
        assert (found.words, found.ids.tolist()) == (plain.words, plain.ids.tolist())
    assert (plain.num_sentences, plain.num_empty, plain.num_tokens) == (3, 1, 4)


def test_only_ascii_blanks_part_words() -> None:
    assert of("10\u00a0000 日本\u3000語").words[3:] == ("10\u00a0000", "日本\u3000語")


def test_files_gzipped_files_and_stdin_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = "ä b\nb c\n".encode()
    plain, packed = tmp_path / "text.txt", tmp_path / "text.gz"
    plain.write_bytes(data)
    packed.write_bytes(gzip.compress(data))
    with plain.open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        found = [read_text(str(plain)), read_text(str(packed)), read_text("-")]
    assert len({(text.words, tuple(text.ids)) for text in found}) == 1
    with open(os.devnull) as stdin, pytest.raises(ValueError, match=r"^standard input holds no words"):
        monkeypatch.setattr("sys.stdin", stdin)
        read_text("-")


def test_what_a_shell_writes_into_a_pipe_is_read() -> None:
    """`vqw2v lm <(zcat text.gz)`."""
    reader, writer = os.pipe()
    os.write(writer, b"a b\nb c\n")
    os.close(writer)
    try:
        assert read_text(f"/dev/fd/{reader}").words[3:] == ("a", "b", "c")
    finally:
        os.close(reader)


@pytest.mark.parametrize("symbol", ["<s>", "</s>", "<unk>"])
def test_a_symbol_among_the_words_is_named_with_its_line(symbol: str) -> None:
    lines = [b"a b\n", b"\n", f"c {symbol} d\n".encode()]
    with pytest.raises(ValueError, match=rf"line 3: `{symbol}`.*--skip-symbols"):
        number_words(lines)
    assert number_words(lines, skip_symbols=True).ids.tolist() == of("a b\n\nc d").ids.tolist()


@pytest.mark.parametrize("lines", [[], [b"\n", b" \r\n"]])
def test_a_text_without_words_is_refused(lines: list[bytes]) -> None:
    with pytest.raises(ValueError, match="holds no words"):
        number_words(lines, "a.txt")


def test_other_encodings_are_named() -> None:
    with pytest.raises(ValueError, match=r"a\.txt: the word b'caf\\xe9' is not UTF-8"):
        number_words([b"the caf\xe9 there"], "a.txt")


def test_an_order_longer_than_every_sentence_is_refused() -> None:
    assert len(count_ngrams(of("a b"), 4)) == 4
    with pytest.raises(ValueError, match=r"`order` 5.*2 words.*at most 4"):
        count_ngrams(of("a b"), 5)


def test_empty_lines_and_marks_are_told_from_lines_of_a_word() -> None:
    mark = "\ufeff".encode()
    text = number_words([mark + b"a\n", b"\n", mark + b"a\n", b"b\n"])
    assert (text.num_sentences, text.num_empty, text.num_tokens) == (4, 1, 3)
    assert text.words[3:] == ("a", "\ufeffa", "b")  # a mark at the beginning of a file is none of its text


@pytest.mark.parametrize(("lines", "line"), [(["a b", "<s> c"], 2), (["", "a <s>", "b"], 2), (["<s>"], 1)])
def test_the_line_of_a_symbol_is_told(lines: list[str], line: int) -> None:
    with pytest.raises(ValueError, match=f"text, line {line}: `<s>` is a symbol"):
        number_words([text.encode() for text in lines])


def test_n_grams_of_many_words_are_told_apart() -> None:
    """Row times words is beyond 32 bits here: fifty thousand words, and as many pairs of them."""
    count = 50_000
    text = number_words([b"%d %d" % (i, i + 1) for i in range(count)])
    words, pairs, triples = count_ngrams(text, 3)
    assert len(words) == count + 4 and words.adjusted.sum() == len(pairs)
    # `<s> i`, `i i+1` and `i+1 </s>` of each line; then `<s> i i+1` and `i i+1 </s>`
    assert len(pairs) == 3 * count and len(triples) == 2 * count and set(triples.raw.tolist()) == {1}
    assert sorted(words.first[pairs.suffix][pairs.first == BOS].tolist()) == list(range(3, count + 3))


@pytest.mark.parametrize("lines", [[b"a b c d"], [b"a", b"", b"", b""]])
def test_a_text_with_more_words_or_lines_than_there_is_room_for_names_another_way(
    lines: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vqw2v_plugin.text.ngram_counts.MAX_TOKENS", 3)
    assert number_words([b"a b c"]).num_tokens == 3
    with pytest.raises(ValueError, match=r"text has more than 3 words or lines; .*: use --lmplz"):
        number_words(lines)


def test_a_packed_text_that_breaks_off_is_no_whole_one(tmp_path: Path) -> None:
    (tmp_path / "text.gz").write_bytes(gzip.compress(b"a b\n" * 99)[:-9])
    with pytest.raises(ValueError, match=r"text\.gz: is no whole gzipped text .*; pack it anew"):
        read_text(str(tmp_path / "text.gz"))
    with pytest.raises(ValueError, match=r"gone: No such file or directory, expected a text"):
        read_text(str(tmp_path / "gone"))

"""N-gram models of strangers: what KenLM would die of is a sentence before it sees the file."""

import gzip
import os
import struct
from pathlib import Path

import pytest

from vqw2v_plugin.decoding.language_model import load_language_model
from vqw2v_plugin.text.lexicon import read_lexicon
from vqw2v_plugin.text.model_file import BINARY, check_model
from vqw2v_plugin.text.ngram import train_ngram, write_arpa
from vqw2v_plugin.text.ngram_counts import read_text


@pytest.fixture
def arpa(tmp_path: Path) -> str:
    (tmp_path / "text").write_text("ab cd ab\ncd ab\n" * 3)
    write_arpa(train_ngram(read_text(str(tmp_path / "text")), 3), tmp_path / "lm.arpa")
    return (tmp_path / "lm.arpa").read_text()


def refused(path: Path, blob: bytes) -> str:
    path.write_bytes(blob)
    with pytest.raises(ValueError) as error:
        check_model(path)
    assert str(error.value).startswith(f"{path}: ")
    return str(error.value)


COUNTS = ("-6", "0", "-1", "NaN", "1e3", "0x6", "", "+6", "1_0", "٦", "9" * 30, "2147483648", "9999")


@pytest.mark.parametrize("order", [1, 2, 3])
def test_counts_that_lie_are_named(arpa: str, tmp_path: Path, order: int) -> None:
    line = next(line for line in arpa.split("\n") if line.startswith(f"ngram {order}="))
    for count in COUNTS:
        said = refused(tmp_path / "x", arpa.replace(line, f"ngram {order}={count}").encode())
        assert f"expected `ngram {order}=` and a count" in said or "expected 1 to " in said


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("ngram 2=", "ngram 4=", "expected `ngram 2=` and a count"),
        (
            "\n\n\\1-",
            "\nngram 4=1\nngram 5=1\nngram 6=1\nngram 7=1\n\n\\1-",
            "its order is 7; expected 2 to 6",
        ),
        ("\\data\\", "", "begins with 'ngram 1="),
        ("\\data\\", "iARPA", "begins with 'iARPA'"),
        ("\\data\\", "\\da\0ta\\", "begins with"),
        ("ngram 1", "ngram\0 1", "its header has the line"),
    ],
)
def test_headers_that_are_none_are_named(arpa: str, tmp_path: Path, old: str, new: str, said: str) -> None:
    assert said in refused(tmp_path / "x", arpa.replace(old, new).encode())


def test_a_packed_model_may_have_more_n_grams_than_bytes(tmp_path: Path) -> None:
    lines = b"-1\ta\n" * 10_000
    blob = gzip.compress(b"\\data\\\nngram 1=10000\nngram 2=1\n\n\\1-grams:\n" + lines)
    assert len(blob) < 10_000
    (tmp_path / "x").write_bytes(blob)
    check_model(tmp_path / "x")


def test_a_header_that_does_not_begin_is_not_looked_for_without_end(arpa: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("# a comment\n" * 9_000 + arpa)
    check_model(tmp_path / "x")
    assert "ends in its header" in refused(tmp_path / "y", b"# a comment\n" * 11_000 + arpa.encode())


def test_a_mark_of_utf_8_at_the_beginning_is_none_of_the_header(arpa: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xef\xbb\xbf" + arpa.encode())
    check_model(tmp_path / "x")
    assert "begins with" in refused(tmp_path / "y", b"\n\xef\xbb\xbf" + arpa.encode())


def test_headers_that_kenlm_reads_are_let_through(arpa: str, tmp_path: Path) -> None:
    pytest.importorskip("flashlight.lib.text.decoder.kenlm")
    for blob in (
        arpa.encode(),
        arpa.replace("\n", "\r\n").encode(),
        b"# a comment\n\n" + arpa.encode(),
        gzip.compress(arpa.encode()),
    ):
        (tmp_path / "x").write_bytes(blob)
        load_language_model(tmp_path / "x", ["ab", "cd"])


def binary(
    order: int = 3, multiplier: float = 1.5, kind: int = 0, counts: tuple[int, ...] = (5, 8, 8)
) -> bytes:
    """The header that KenLM writes on this machine."""
    tested = struct.pack("<56sfffIIIQ", BINARY, 0.0, 1.0, -0.5, 1, 2**32 - 1, 0, 1)
    return (
        tested
        + struct.pack("<B3xfIB3xI", order, multiplier, kind, 1, 0)
        + struct.pack(f"<{len(counts)}Q", *counts)
    )


def test_headers_of_binaries_are_looked_at(tmp_path: Path) -> None:
    for counts in ((5, 8, 8), (5, 8, 8, 8, 8, 8)):
        (tmp_path / "x").write_bytes(binary(len(counts), counts=counts) + bytes(500))
        check_model(tmp_path / "x")
    for blob, said in (
        (binary()[:60], "of another version or machine, or broken"),
        (BINARY.replace(b"5", b"4") + bytes(500), "of another version or machine, or broken"),
        (BINARY + b"\xff" * 500, "of another version or machine, or broken"),
        (binary()[:-9], "breaks off in its header"),
        (binary(multiplier=float("nan")), "is a broken binary"),
        (binary(multiplier=1e30), "is a broken binary"),
        (binary(multiplier=0.5), "is a broken binary"),
        (binary(order=1, counts=(5,)) + bytes(50), "its order is 1; expected 2 to 6"),
        (binary(kind=77), "is a broken binary"),
        (binary(order=255) + bytes(5000), "its order is 255; expected 2 to 6"),
        (binary(counts=(5, 2**62, 8)), "its header counts 4,611,686,018,427,387,904 2-grams"),
        (binary(counts=(5, 0, 8)), "its header counts 0 2-grams"),
    ):
        assert said in refused(tmp_path / "y", blob)


def test_what_is_no_file_is_no_model(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, said in (
        (tmp_path / "pipe", "is a pipe, expected an n-gram model"),
        ("/dev/zero", "is a device, expected an n-gram model"),
        (tmp_path, "is a folder, expected an n-gram model"),
        (tmp_path / "none", "no such file, expected an n-gram model"),
    ):
        with pytest.raises(ValueError, match=said):
            check_model(path)
    assert "no whole gzipped model" in refused(tmp_path / "x", gzip.compress(b"x" * 99)[:20])


def test_words_that_no_search_takes_are_refused(tmp_path: Path) -> None:
    for line in ("ab " + "a b " * 1_000, "a" * 2_000 + " a b"):
        (tmp_path / "lexicon").write_text(f"ok a b\n{line}\n")
        with pytest.raises(ValueError, match=r"lexicon:2: a word of .*; expected fewer than 1,000 of both"):
            read_lexicon(tmp_path / "lexicon")
    (tmp_path / "lexicon").write_bytes(b"\xef\xbb\xbfab a b\r\n")
    assert read_lexicon(tmp_path / "lexicon") == {"ab": [("a", "b")]}


def test_a_packed_model_with_damage_is_said_to_be_no_whole_one(arpa: str, tmp_path: Path) -> None:
    """Wherever it is: in the packer's codes, in what they stand for, or in the sum at the end."""
    whole = gzip.compress(arpa.encode(), mtime=0)
    said = set()
    for at in range(10, len(whole)):
        blob = bytearray(whole)
        blob[at] ^= 0xFF
        (tmp_path / "x").write_bytes(blob)
        try:
            check_model(tmp_path / "x")
        except ValueError as error:
            assert str(error).startswith(f"{tmp_path / 'x'}: ")
            said.add(str(error).split(": ", 1)[1].split(" (")[0].split(",")[0])
    assert "is no whole gzipped model" in said


def test_codes_that_gzip_has_not_are_no_whole_model(tmp_path: Path) -> None:
    packed = gzip.compress(b"\\data\\\nngram 1=" + bytes(range(256)) * 9)
    assert "is no whole gzipped model" in refused(tmp_path / "x", packed[:10] + b"\x07" + packed[11:])

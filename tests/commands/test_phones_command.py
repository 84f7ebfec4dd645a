"""`vqw2v phones`: lines of a text as phones, what has none left out and counted, silence by seed and line."""

import gzip
import json
import os
from pathlib import Path

import pytest

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.checkpoints.files import sha256
from vqw2v_plugin.stores.phone_text import PhoneTextError, read_phone_lines

LEXICON = "the\tDH AH0\ncat\tK AE1 T\ncat(2)\tK AH T\ndog\tD AO1 G\nvoyage\tV OY1 ZH\nhush\tHH AH1 SH\n"
TEXT = "The cat.\n\nthe DOG, the cat\na zebra\nthe voyage\n" + "the dog hush\n" * 60


@pytest.fixture
def text(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text(TEXT)
    (tmp_path / "lexicon.txt").write_text(LEXICON)
    return tmp_path / "text.txt"


def phones(text: Path, out: Path, *options: object, lexicon: bool = True) -> int:
    given = ["--lexicon", text.with_name("lexicon.txt"), "--fold", "stress"] if lexicon else []
    return main(["phones", *map(str, [text, "--save-dir", out, "--valid", 0.1, *given, *options])])


def said(out: Path) -> list[str]:
    return [" ".join(line) for split in ("train", "valid") for line in read_phone_lines(out, split)]


def test_words_become_phones_and_what_has_none_is_counted(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert phones(text, tmp_path / "o", "--sil-prob", 0) == 0
    assert sorted(set(said(tmp_path / "o"))) == [
        "DH AH D AO G DH AH K AE T",
        "DH AH D AO G HH AH SH",
        "DH AH K AE T",
        "DH AH V OY ZH",
    ]
    shown = capsys.readouterr().out
    assert "left out: 1 of 65 lines, with words without phones: 'a' 1, 'zebra' 1\n" in shown
    assert "13 phones in dict.phn.txt" in shown and shown.endswith(f"{tmp_path}/o/phones.arpa --order 4\n")
    about = json.loads((tmp_path / "o" / "phones.json").read_text())
    assert about["lines"] == {"empty": 1, "read": 65, "unknown": 1} | {
        split: len(read_phone_lines(tmp_path / "o", split)) for split in ("train", "valid")
    }
    assert about["unknown_words"] == {"a": 1, "zebra": 1}
    counts = dict(line.split() for line in (tmp_path / "o" / "dict.phn.txt").read_text().splitlines())
    assert counts["K"] == "2" and counts["ZH"] == "1" and list(counts) == sorted(counts)
    words = [(tmp_path / "o" / f"{split}.wrd").read_text().splitlines() for split in ("train", "valid")]
    assert [*map(len, words)] == [about["splits"][split]["lines"] for split in ("train", "valid")]
    assert "cat\tK AE T\n" in (tmp_path / "o" / "lexicon.phn.txt").read_text()


def test_lines_with_rare_phones_are_left_out(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert phones(text, tmp_path / "o", "--min-count", 2) == 0
    assert "left out: 1 lines, with phones that are there less than 2 times: OY 1, V 1, ZH 1" in (
        capsys.readouterr().out
    )
    assert not any("V" in line.split() for line in said(tmp_path / "o"))
    assert "voyage" not in (tmp_path / "o" / "lexicon.phn.txt").read_text()
    assert phones(text, tmp_path / "o", "--min-count", 1000) == 2
    assert "no phone is there 1,000 times, the most frequent 124 times" in capsys.readouterr().err


def test_silence_is_at_both_ends_and_between_so_many_words(text: Path, tmp_path: Path) -> None:
    assert phones(text, tmp_path / "o", "--sil-prob", 0.3) == 0
    lines = said(tmp_path / "o")
    assert all(line.startswith("<SIL> DH") and line.endswith(" <SIL>") for line in lines)
    inside = sum(line.split()[1:-1].count("<SIL>") for line in lines)
    gaps = 60 * 2 + 1 + 3 + 1
    assert 0.15 < inside / gaps < 0.45
    assert (tmp_path / "o" / "dict.phn.txt").read_text().splitlines()[
        -1
    ] == f"<SIL> {2 * len(lines) + inside}"
    assert phones(text, tmp_path / "all", "--sil-prob", 1) == 0
    assert "<SIL> DH AH <SIL> K AE T <SIL>" in said(tmp_path / "all")


def test_a_line_s_draws_are_its_own(text: Path, tmp_path: Path) -> None:
    """The same lines before it or not, its silence and its split stay; another seed draws anew."""
    for name, content in (("one", TEXT), ("other", TEXT.replace("The cat.", "zebras"))):
        text.write_text(content)
        assert phones(text, tmp_path / name) == 0
    for split in ("train", "valid"):
        one, other = (read_phone_lines(tmp_path / name, split) for name in ("one", "other"))
        assert other == one or other == one[1:]  # the first line is gone
    assert phones(text, tmp_path / "two", "--seed", 2) == 0
    assert said(tmp_path / "two") != said(tmp_path / "other")
    with gzip.open(tmp_path / "text.gz", "wb") as packed:
        packed.write(text.read_bytes())
    assert phones(tmp_path / "text.gz", tmp_path / "packed") == 0 and said(tmp_path / "packed") == said(
        tmp_path / "other"
    )


def test_a_text_of_phones_stays_as_it_is(text: Path, tmp_path: Path) -> None:
    text.write_text("AA B | b\n" * 20)
    assert phones(text, tmp_path / "o", "--sil-prob", 1, lexicon=False) == 0
    assert set(said(tmp_path / "o")) == {"<SIL> AA B <SIL> b <SIL>"}
    assert not (tmp_path / "o" / "train.wrd").exists() and not (tmp_path / "o" / "lexicon.phn.txt").exists()


def test_espeak_pronounces(text: Path, tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    assert phones(text, tmp_path / "o", "--espeak", "en-us", "--sil-prob", 0, lexicon=False) == 0
    assert "ð ə k æ t" in said(tmp_path / "o")


def test_the_phones_language_model_leaves_silence_out(text: Path, tmp_path: Path) -> None:
    assert phones(text, tmp_path / "o") == 0
    train, arpa = str(tmp_path / "o" / "train.phn"), tmp_path / "phones.arpa"
    assert main(["lm", train, str(arpa), "--order", "2", "--leave-out", "<SIL>"]) == 0
    assert "<SIL>" not in arpa.read_text() and "<s> DH" in arpa.read_text()
    assert main(["lm", train, str(arpa), "--order", "2"]) == 0 and "<SIL>" in arpa.read_text()
    assert main(["lm", train, str(arpa), "--lmplz", "--leave-out", "<SIL>"]) == 2


@pytest.mark.parametrize(
    ("options", "content", "message"),
    [
        (["--lexicon", "x", "--espeak", "en"], TEXT, "`--lexicon` and `--espeak` exclude each other"),
        (["--sil-prob", "1.5"], TEXT, "`--sil-prob` is 1.5; expected 0 to 1"),
        (["--min-count", "0"], TEXT, "`--min-count` is 0; expected 1 to"),
        (["--valid", "0"], TEXT, "`--valid` is 0; expected a share of the lines"),
        (["--valid", "0.51"], TEXT, "`--valid` is 0.51; expected a share of the lines"),
        (["--valid", "0.0001"], TEXT, "none is in valid; expected one at least"),
        (["--lexicon", "lexicon.txt"], "zebra\n", "no line is left of 1: 0 are empty, 1 have words without"),
        (["--lexicon", "none.txt"], TEXT, "none.txt: no such file or directory, expected a lexicon"),
        ([], "AA <SIL> B\n", "'<SIL>' cannot be one of its phones"),
        ([], "\xff\n", "is not UTF-8"),
    ],
)
def test_wrong_wishes_are_named(
    text: Path, options: list[str], content: str, message: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(text.parent)
    text.write_bytes(content.encode("latin-1"))
    assert main(["phones", str(text), "--save-dir", "o", *options]) == 2
    assert message in capsys.readouterr().err
    assert not Path("o/phones.json").exists() and not list(Path(".").glob("o/*.phn"))


def test_a_text_that_is_read_twice_is_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["phones", "-", "--save-dir", "o"]) == 2
    assert "TEXT is -, and it is read twice; name a file" in capsys.readouterr().err


def test_a_folder_whose_parts_are_not_of_one_run_is_refused(text: Path, tmp_path: Path) -> None:
    assert phones(text, tmp_path / "o") == 0
    (tmp_path / "o" / "train.phn").write_text("DH XX\n")
    with pytest.raises(PhoneTextError, match=r"train.phn:1: the phone 'XX' is not in dict.phn.txt"):
        read_phone_lines(tmp_path / "o", "train")
    with pytest.raises(PhoneTextError, match=r"the splits in .* are: train, valid"):
        read_phone_lines(tmp_path / "o", "test")


def test_what_is_next_leaves_silence_out_and_the_json_says_what_the_text_was(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text.write_text(TEXT + "".join(f"unheard{i} the\n" for i in [*range(45), 0]))
    assert phones(text, tmp_path / "o") == 0
    lines, shown = said(tmp_path / "o"), capsys.readouterr().out.splitlines()
    sizes = [len(read_phone_lines(tmp_path / "o", split)) for split in ("train", "valid")]
    total = sum(len(line.split()) for line in lines)
    assert shown[0].endswith(": 13 phones and <SIL> in dict.phn.txt")
    assert shown[1] == f"  train: {sizes[0]} lines; valid: {sizes[1]}; {total:,} phones"
    assert shown[-1] == (
        f"next: vqw2v lm {tmp_path}/o/train.phn {tmp_path}/o/phones.arpa --order 4 --leave-out '<SIL>'"
    )
    about = json.loads((tmp_path / "o" / "phones.json").read_text())
    assert (about["text"], about["text_sha256"]) == ("text.txt", sha256(text))
    assert (len(about["unknown_words"]), about["num_unknown_words"]) == (40, 47)
    assert about["settings"] == {
        "lexicon": str(text.with_name("lexicon.txt")),
        "fold": "stress",
        "min_count": 1,
        "sil_prob": 0.25,
        "valid": 0.1,
        "seed": 1,
        "case": "lower",
        "keep": "'",
        "as_is": False,
    }


@pytest.mark.parametrize(
    ("options", "lexicon", "words"),
    [
        ([], "it's A\nco B\nop C\n", "it's co op"),
        (["--case", "upper"], "it's A\nco B\nop C\n", "IT'S CO OP"),
        (["--case", "keep"], "It's A\nCo B\nOP C\n", "It's Co OP"),
        (["--keep=-'"], "it's A\nCo-OP B\n", "it's co-op"),
        (["--as-is"], "It’s A\nCo-OP. B\n", "It’s Co-OP."),
    ],
)
def test_words_of_text_and_lexicon_are_normalized_alike(
    options: list[str], lexicon: str, words: str, tmp_path: Path
) -> None:
    """A mark of UTF-8 is none of the first word's letters, and belongs to one that is further down."""
    (tmp_path / "lexicon.txt").write_text(lexicon, encoding="utf-8")
    lines = "It’s   Co-OP.\n" * 20
    (tmp_path / "text.txt").write_text(f"\ufeff{lines}", encoding="utf-8")
    asked = ["--lexicon", str(tmp_path / "lexicon.txt"), "--valid", "0.5", "--sil-prob", "0", *options]
    assert main(["phones", str(tmp_path / "text.txt"), "--save-dir", str(tmp_path / "o"), *asked]) == 0
    held = [(tmp_path / "o" / f"{split}.wrd").read_text().splitlines() for split in ("train", "valid")]
    assert set(held[0] + held[1]) == {words} and len(held[0] + held[1]) == 20
    (tmp_path / "text.txt").write_text(f"{lines}\ufeffIt’s Co-OP.\n", encoding="utf-8")
    assert main(["phones", str(tmp_path / "text.txt"), "--save-dir", str(tmp_path / "o"), *asked]) == 0
    count = json.loads((tmp_path / "o" / "phones.json").read_text())["lines"].get("unknown", 0)
    assert count == (1 if "--as-is" in options else 0)


def test_what_tells_that_all_is_there_is_written_last(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    renamed: list[str] = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda old, new: renamed.append(Path(new).name) or replace(old, new))
    assert phones(text, tmp_path / "o") == 0
    assert renamed[-1] == "phones.json" and "train.phn" in renamed[:-1]


def test_words_of_another_text_go_where_phones_are_written_anew(text: Path, tmp_path: Path) -> None:
    assert phones(text, tmp_path / "o") == 0
    text.write_text("AA B | b\n" * 20)
    assert phones(text, tmp_path / "o", lexicon=False) == 0
    assert {path.name for path in (tmp_path / "o").iterdir() if not path.name.startswith(".")} == {
        *("train.phn", "valid.phn", "dict.phn.txt", "phones.json")
    }

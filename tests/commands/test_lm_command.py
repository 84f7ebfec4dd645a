"""`vqw2v lm`: its files, its warnings, and KenLM's programs where they are asked for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vqw2v_plugin import __main__ as cli
from vqw2v_plugin.stores.label_share import Share, draw
from vqw2v_plugin.stores.labels import Labels, write_labels

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("a b a c\nb a c\n\nc a b\n", encoding="utf-8")
    return path


def program(folder: Path, name: str, does: str) -> None:
    """A stand-in for one of KenLM's programs."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{does}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def bare_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing of KenLM on it, but for what a test puts into this folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return folder


def test_it_writes_the_model_and_says_what_it_made(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = text.with_name("lm.arpa")
    assert cli.main(["lm", str(text), str(out), "--order", "3", "--prune", "0", "0", "1"]) == 0
    shown = capsys.readouterr()
    assert "order 3, from 4 sentences of 10 words (3 different)" in shown.out
    assert "3-grams: 2 (6 pruned)" in shown.out
    told = re.findall(r"warning: order (\d): its discounts .*? adjusted count (\d)\)", shown.err)
    assert told == [("1", "1"), ("2", "3"), ("3", "3")]
    assert "1 of 4 lines are empty" in shown.err
    assert out.read_text(encoding="utf-8").startswith(
        "\\data\\\nngram 1=6\nngram 2=10\nngram 3=2\n\n\\1-grams:\n"
    )


def test_by_default_the_longest_n_grams_have_four_words(
    text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["lm", str(text), str(text.with_name("lm.arpa"))]) == 0
    assert "order 4, from 4 sentences" in capsys.readouterr().out


def test_symbols_in_the_text_are_refused_or_left_out(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text.write_text("<s> a b </s>\nb <unk> a\n" * 3)
    out = text.with_name("lm.arpa")
    assert cli.main(["lm", str(text), str(out), "--order", "2"]) == 2 and not out.exists()
    assert "--skip-symbols" in capsys.readouterr().err
    assert cli.main(["lm", str(text), str(out), "--order", "2", "--skip-symbols"]) == 0
    assert "from 6 sentences of 12 words (2 different)" in capsys.readouterr().out


def test_standard_input_will_do_and_torch_stays_out(tmp_path: Path) -> None:
    source = (
        "import sys; from vqw2v_plugin.__main__ import main; "
        "status = main(['lm', '-', sys.argv[1], '--order', '2']); "
        "sys.exit(status or 9 * ('torch' in sys.modules))"
    )
    command = [sys.executable, "-c", source, str(tmp_path / "lm.arpa")]
    finished = subprocess.run(command, cwd=ROOT, input=b"a b\nb a\n", capture_output=True, timeout=60)
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "lm.arpa").is_file()


def test_order_1_warns_that_kenlm_cannot_read_it(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["lm", str(text), str(text.with_name("lm.arpa")), "--order", "1"]) == 0
    assert "KenLM reads no model of order 1" in capsys.readouterr().err


def test_settings_are_refused_before_the_text_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong, message in ((("--prune", "2", "1"), "`prune` is 2 1"), (("--order", "0"), "`order` is 0")):
        assert cli.main(["lm", str(tmp_path / "none.txt"), str(tmp_path / "lm.arpa"), *wrong]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--order", "7"], "`order` is 7"),
        (["--prune", "2", "1"], "`prune` is 2 1"),
        (["--order", "6"], "`order` 6"),
        (["--binary"], "`build_binary` on the PATH"),
        (["--lmplz"], "`lmplz` on the PATH"),
    ],
    ids=" ".join,
)
def test_mistakes_are_one_line_and_no_file(
    arguments: list[str], message: str, text: Path, bare_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text.write_text("a b a\n" if arguments == ["--order", "6"] else "a b a c\n", encoding="utf-8")
    out = text.with_name("lm.arpa")
    assert cli.main(["lm", str(text), str(out), *arguments]) == 2
    shown = capsys.readouterr().err
    assert message in shown and len(shown.splitlines()) == 1
    assert not out.exists()


def test_a_missing_folder_is_named_before_the_work(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["lm", str(text), str(text.with_name("none") / "lm.arpa")]) == 2
    assert f"lm.arpa: there is no folder {text.with_name('none')}" in capsys.readouterr().err


def test_a_folder_in_the_model_s_place_is_named_before_the_text_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lm.arpa").mkdir()
    assert cli.main(["lm", str(tmp_path / "none.txt"), str(tmp_path / "lm.arpa")]) == 2
    assert f"{tmp_path}/lm.arpa" in capsys.readouterr().err


def test_lmplz_gets_the_same_settings(text: Path, bare_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    program(bare_path, "lmplz", 'echo "$@" >&2; echo model >"$7"')
    out, arguments = (
        text.with_name("lm.arpa"),
        ["--lmplz", "--order", "3", "--prune", "0", "1", "--skip-symbols"],
    )
    assert cli.main(["lm", str(text), str(out), *arguments]) == 0
    shown, part = capfd.readouterr().err, out.with_name(".lm.arpa.part")
    assert f"-o 3 -S 40% --discount_fallback --arpa {part} --text {text}" in shown
    assert "--prune 0 1 --skip_symbols" in shown and out.read_text() == "model\n"
    program(bare_path, "lmplz", 'echo half >"$7"; exit 3')
    assert cli.main(["lm", str(text), str(out), "--lmplz"]) == 2
    assert "failed" in capfd.readouterr().err and out.read_text() == "model\n" and not part.exists()


def test_binary_is_what_build_binary_makes(
    text: Path, bare_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program(bare_path, "build_binary", 'cp "$1" "$2"')
    out = text.with_name("lm.arpa")
    assert cli.main(["lm", str(text), str(out), "--binary"]) == 0
    assert text.with_name("lm.binary").read_bytes() == out.read_bytes()
    assert cli.main(["lm", str(text), str(out), "--binary", "--order", "1"]) == 2
    capsys.readouterr()
    assert cli.main(["lm", str(text), "/dev/null", "--binary"]) == 2
    assert "--binary: OUT is /dev/null, beside which no file is written" in capsys.readouterr().err
    program(bare_path, "build_binary", 'echo "bad file" >&2; echo half >"$2"; exit 1')
    capsys.readouterr()
    assert cli.main(["lm", str(text), str(out), "--binary"]) == 2
    assert "build_binary failed: bad file" in capsys.readouterr().err
    assert not list(text.parent.glob("*.part"))


def test_of_few_labels_it_reads_the_lines_that_are_drawn_and_all_other_options_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    utts = tuple(f"u{i}" for i in range(8))
    said = tuple(f"w{i} <unk> word" for i in range(8))
    held = Labels(utts, (("a",),) * 8, said, (36.0,) * 8)
    write_labels(tmp_path, "letters", {"train": held}, [("a", 8)], {})
    text, out = str(tmp_path / "train.wrd"), tmp_path / "lm.arpa"
    few = ["lm", text, str(out), "--order", "2", "--label-seed", "5"]
    assert cli.main([*few, "--label-fraction", "3"]) == 2 and "--skip-symbols" in capsys.readouterr().err
    for share, of in ((["--label-fraction", "3"], Share(3, seed=5)), (["--label-hours", "0.02"], None)):
        drawn = draw(held, of or Share(hours=0.02, seed=5)).utts
        assert cli.main([*few, "--skip-symbols", *share]) == 0
        shown = capsys.readouterr()
        count = len(drawn)
        assert f"from {count} sentences of {2 * count} words ({count + 1} different)" in shown.out
        assert f"{text}: {count} of 8 labelled utterances" in shown.err
        words = {line.split("\t")[1] for line in out.read_text().splitlines() if "\tw" in line}
        assert {f"w{utt[1:]}" for utt in drawn} == {word for word in words if word[1:].isdigit()}
    assert cli.main([*few, "--skip-symbols", "--label-fraction", "3", "--leave-out", "word"]) == 0
    assert "from 3 sentences of 3 words (3 different)" in capsys.readouterr().out


@pytest.mark.parametrize("share", [["--label-fraction", "3"], ["--label-hours", "0.5"]])
def test_lmplz_takes_no_share(share: list[str], text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["lm", str(text), str(text.with_name("lm.arpa")), "--lmplz", *share]) == 2
    assert "--lmplz: takes all of TEXT; leave it out" in capsys.readouterr().err

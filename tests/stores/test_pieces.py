"""Pieces of codes: nothing is lost, common sequences become one token, the folder is one that BERT reads."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sentencepiece")
EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "bert"
sys.path.insert(0, str(EXAMPLES))
import pieces as script

from vqw2v_plugin.checkpoints.files import sha256
from vqw2v_plugin.stores.pieces import Pieces, train_pieces
from vqw2v_plugin.stores.symbols import TOKENS, TokenError, read_dict, write_dict
from vqw2v_plugin.stores.tokens import TokenStore, TokenWriter
from vqw2v_plugin.text import spelling

CODES = tuple(f"{i}-{i * i}" for i in range(12))
WORDS = [[1, 2, 3], [4, 5], [6, 7, 8, 9], [10, 11, 0]]


def speech(count: int, seed: int = 0) -> list[list[str]]:
    """Utterances of four words of several codes each."""
    rng = np.random.default_rng(seed)
    spoken = [[code for w in rng.integers(4, size=20) for code in WORDS[w]] for _ in range(count)]
    return [[CODES[i] for i in utterance] for utterance in spoken]


def spelled(made: Pieces, ids: np.ndarray) -> list[str]:
    return "+".join(made.symbols[i - 4] for i in ids.tolist()).split("+")


def test_pieces_spell_the_tokens_they_stand_for() -> None:
    made = train_pieces(speech(50), CODES, 40)
    for utterance in (*speech(5, seed=1), list(CODES), list(CODES[::-1]), [CODES[3]]):
        ids, counts = made(utterance)
        assert spelled(made, ids) == utterance and counts.sum() == len(utterance)
        assert counts.tolist() == [made.symbols[i - 4].count("+") + 1 for i in ids.tolist()]
    assert [len(part) for part in made([])] == [0, 0]


def test_what_comes_together_often_is_one_piece() -> None:
    made = train_pieces(speech(50), CODES, 40)
    utterance = speech(1, seed=1)[0]
    assert len(made(utterance)[0]) <= 20  # its words; the tokens are three times as many
    assert set(CODES) <= set(made.symbols)  # so that nothing becomes <unk>


def test_there_are_as_many_pieces_as_were_asked_for() -> None:
    assert [len(train_pieces(speech(50), CODES, count).symbols) for count in (12, 13, 20)] == [12, 13, 20]


def test_there_are_fewer_where_no_more_come_together() -> None:
    made = train_pieces([[CODES[0], CODES[1]]] * 3, CODES[:2], 50)
    assert {CODES[0], CODES[1]} <= set(made.symbols) and len(made.symbols) <= 3


@pytest.mark.parametrize("utterances", [[], [[]]])
def test_of_nothing_no_pieces_are_made(utterances: list[list[str]]) -> None:
    with pytest.raises(TokenError, match=r"sentencepiece says .*\w.*; ask for fewer pieces") as said:
        train_pieces(utterances, CODES, 40)
    assert "\n" not in str(said.value)


def test_the_longest_utterance_counts_like_the_others() -> None:
    """sentencepiece leaves out lines of more than 4,192 bytes, unless it is told otherwise."""
    long = [CODES[i] for i in (4, 5, 1, 2, 3)] * 400  # of four bytes each
    made = train_pieces([long, [CODES[6], CODES[7]]], CODES, 20)
    assert any(symbol.count("+") and CODES[2] in symbol.split("+") for symbol in made.symbols)


def test_the_same_codes_and_the_same_text_give_the_same_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several threads add up what they have counted in any order."""
    told: list[dict[str, Any]] = []
    trainer = type("Trainer", (), {"train": staticmethod(lambda **how: told.append(how))})
    monkeypatch.setattr("sentencepiece.SentencePieceTrainer", trainer)
    assert spelling.train_pieces(["a b"], 9) == b""
    with pytest.raises(TokenError, match="no sentencepiece model"):
        train_pieces([CODES], CODES, 40)
    assert [(how["num_threads"], how["normalization_rule_name"]) for how in told] == [(1, "identity")] * 2


def test_codes_that_are_new_become_unk_and_keep_their_place() -> None:
    made = train_pieces(speech(50), CODES, 40)
    ids, counts = made([CODES[1], "77-7", "78-8", CODES[4]])
    assert 3 in ids.tolist() and counts.sum() == 4
    assert spelled(made, ids[:1]) == [CODES[1]] and spelled(made, ids[-1:]) == [CODES[4]]


def test_no_piece_reaches_over_a_symbol_that_is_no_code() -> None:
    a, b, c = CODES[:3]
    made = train_pieces([[a, "?", b]] * 50 + [[b, c]] * 50, (a, b, c), 6)
    assert {a, b, c, f"{b}+{c}"} == set(made.symbols)
    ids, counts = made([a, "?", b, c])
    assert [made.symbols[i - 4] if i != 3 else None for i in ids.tolist()] == [a, None, f"{b}+{c}"]
    assert counts.tolist() == [1, 1, 2]


def test_saved_and_loaded_they_are_the_same(tmp_path: Path) -> None:
    made = train_pieces(speech(50), CODES, 40)
    made.save(tmp_path)
    loaded = Pieces.load(tmp_path)
    assert loaded.symbols == made.symbols and loaded.codes == CODES
    assert loaded(speech(1, seed=3)[0])[0].tolist() == made(speech(1, seed=3)[0])[0].tolist()


def test_the_same_tokens_give_the_same_model() -> None:
    assert train_pieces(speech(30), CODES, 30).model == train_pieces(speech(30), CODES, 30).model


def test_what_cannot_be_is_named(tmp_path: Path) -> None:
    with pytest.raises(TokenError, match="5 pieces of 12 code symbols: expected at least one piece"):
        train_pieces(speech(5), CODES, 5)
    with pytest.raises(TokenError, match=r"pieces.model: cannot be read"):
        Pieces.load(tmp_path)
    with pytest.raises(TokenError, match=r"pieces.model: is no sentencepiece model"):
        Pieces(b"something else", CODES)
    with pytest.raises(TokenError, match=r"pieces.model: is no sentencepiece model"):
        Pieces(b"", CODES)
    broken = train_pieces(speech(5), CODES, 20).model.replace(chr(0xF0003).encode(), b"\xff\xfe\xfd\xfc")
    with pytest.raises(TokenError, match=r"pieces.model: a piece of it is no UTF-8 .*; make it anew"):
        Pieces(broken, CODES)
    for fewer in (3, 11):
        named = rf"has pieces of 12 codes, pieces.codes.txt has {fewer}; the two are not"
        with pytest.raises(TokenError, match=named):
            Pieces(train_pieces(speech(5), CODES, 20).model, CODES[:fewer])


def write_tokens(folder: Path, run_length: bool) -> dict[str, list[int]]:
    """Frames of each utterance in split `train`: runs of one to four of each code."""
    rng = np.random.default_rng(5)
    frames: dict[str, list[int]] = {}
    durations = []
    with TokenWriter(folder, "train", 20) as writer:
        for number, utterance in enumerate(speech(30)):
            ids = np.array([4 + CODES.index(symbol) for symbol in utterance])
            lengths = rng.integers(1, 5, len(ids))
            frames[f"u{number}"] = np.repeat(ids, lengths).tolist()
            writer.add(f"u{number}", int(lengths.sum()), ids if run_length else np.repeat(ids, lengths))
            durations.append(lengths)
        writer.add("silent", 0, [])
    write_dict(folder / "dict.txt", [(symbol, 1) for symbol in CODES])
    if run_length:
        np.save(folder / "train.durations.npy", np.concatenate(durations).astype("<i4"))
    return frames


@pytest.mark.parametrize("run_length", [False, True], ids=["frames", "run-length"])
def test_a_folder_of_pieces_expands_to_the_frames_it_was_made_of(
    tmp_path: Path, run_length: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    TOKENS.write_about(
        tmp_path / "in", {"num_codes": 144, "splits": {"train": {}}, "dictionary": {"symbols": 12}}
    )
    frames, out = write_tokens(tmp_path / "in", run_length), tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["pieces.py", str(tmp_path / "in"), str(out), "--pieces", "40"])
    assert script.main() == 0
    store, symbols = TokenStore(out, "train"), read_dict(out / "dict.txt")
    durations = np.load(out / "train.durations.npy")
    assert store.sizes.sum() == len(durations) < sum(map(len, frames.values())) / 3
    begin = 0
    for i, (utt, num_frames) in enumerate(store.rows):
        ids = store[i]
        assert durations[begin : begin + len(ids)].sum() == num_frames == len(frames.get(utt, []))
        begin += len(ids)
        codes = [CODES.index(code) + 4 for p in ids.tolist() for code in symbols[p - 4].split("+")]
        kept = [code for j, code in enumerate(frames.get(utt, [])) if j == 0 or frames[utt][j - 1] != code]
        assert codes == kept
    about, known = (TOKENS.read_about(folder) for folder in (out, tmp_path / "in"))
    assert about["num_codes"] == known["num_codes"] and not {"splits", "dictionary"} & set(about)
    assert about["pieces"] == {"of": 12, "symbols": len(symbols), "sha256": sha256(out / "pieces.model")}
    counts = np.bincount(np.concatenate([store[i] for i in range(len(store))]), minlength=4 + len(symbols))
    lines = (out / "dict.txt").read_text().splitlines()
    assert [int(line.split()[1]) for line in lines] == counts[4:].tolist()
    total = sum(map(len, frames.values()))
    assert f"train: {total:,} frames, {len(durations):,} pieces of {total / len(durations):.2f} frames" in (
        capsys.readouterr().out
    )
    with pytest.raises(SystemExit, match="is not empty"):
        script.main()


def test_a_rare_code_is_a_piece_like_any_other() -> None:
    """sentencepiece leaves out what makes up less than a share of the text, unless it is told otherwise."""
    made = train_pieces([[CODES[0], CODES[1]] * 2_000, [CODES[2]]], CODES[:3], 5)
    assert set(CODES[:3]) <= set(made.symbols) and made([CODES[2]])[0].tolist() != [3]


def test_places_of_codes_are_joined_as_their_symbols_are() -> None:
    made = train_pieces(speech(50), CODES, 40)
    for utterance in speech(3, seed=1):
        places = np.array([CODES.index(symbol) for symbol in utterance])
        assert all(np.array_equal(a, b) for a, b in zip(made.join(places), made(utterance), strict=True))
    ids, counts = made.join(np.array([1, -1, 4]))
    assert (ids[0], ids[1], counts.tolist()) == (4 + made.symbols.index(CODES[1]), 3, [1, 1, 1])


def test_there_are_no_more_codes_than_private_characters() -> None:
    codes = [str(i) for i in range(0xFFFF)]
    with pytest.raises(TokenError, match=r"70,000 pieces of 65,535 code symbols: .* at most 65,534 symbols"):
        train_pieces([codes[:3]], codes, 70_000)


def test_pieces_are_found_and_counted_in_the_split_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another split may have codes that the dictionary lacks."""
    folder, out = tmp_path / "in", tmp_path / "out"
    write_tokens(folder, run_length=False)
    with TokenWriter(folder, "few", 20) as writer:
        for number, codes in enumerate(([1, 1, 2, 3], [4, 5], [4, 4, 5])):
            writer.add(f"f{number}", len(codes), [4 + code for code in codes])
    with TokenWriter(folder, "odd", 20) as writer:
        writer.add("o", 5, [5, 3, 3, 6, 6])
    TOKENS.write_about(folder, {"num_codes": 144})
    words = ["pieces.py", str(folder), str(out), "--pieces", "14", "--train", "few"]
    monkeypatch.setattr(sys, "argv", words)
    assert script.main() == 0
    symbols = read_dict(out / "dict.txt")
    assert {"4-16+5-25"} <= set(symbols) and not any("7-49+" in symbol for symbol in symbols)
    counts = [int(line.split()[1]) for line in (out / "dict.txt").read_text().splitlines()]
    stores = {split: TokenStore(out, split) for split in ("train", "few", "odd")}
    few = np.concatenate([stores["few"][i] for i in range(3)])
    assert counts == np.bincount(few, minlength=4 + len(symbols))[4:].tolist()
    assert 3 in stores["odd"][0].tolist() and np.load(out / "odd.durations.npy").sum() == 5
    said = capsys.readouterr().out
    assert f"{out}/few: 9 frames, {len(few)} pieces of {9 / len(few):.2f} frames" in said
    assert f"{out}/odd: 5 frames, " in said

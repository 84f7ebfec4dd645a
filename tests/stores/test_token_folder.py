"""The token folder: fairseq reads it, a killed writer goes on, what does not fit is named."""

import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vqw2v_plugin.stores.symbols import TOKENS, TokenError, read_dict, write_dict
from vqw2v_plugin.stores.tokens import TokenStore, TokenWriter

UTTERANCES = [("a", 3, [4, 5, 6]), ("b/2", 1, [9]), ("c", 5, []), ("d", 2, [70, 4])]


def write(folder: Path, split: str = "train", num_symbols: int | None = 100) -> TokenStore:
    with TokenWriter(folder, split, num_symbols) as writer:
        for utterance in UTTERANCES:
            writer.add(*utterance)
    return TokenStore(folder, split)


@pytest.mark.parametrize("num_symbols", [100, None, 70_000])
def test_what_is_written_is_read(tmp_path: Path, num_symbols: int | None) -> None:
    store = write(tmp_path, num_symbols=num_symbols)
    assert len(store) == 4 and store.sizes.tolist() == [3, 1, 0, 2]
    assert [store[i].tolist() for i in range(4)] == [ids for _, _, ids in UTTERANCES]
    assert store.rows == [("a", 3), ("b/2", 1), ("c", 5), ("d", 2)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["train.bin", "train.ids", "train.idx"]


def test_fairseq_reads_the_data_set_and_the_dictionary(tmp_path: Path) -> None:
    pytest.importorskip("fairseq")
    from fairseq.data import Dictionary, indexed_dataset

    write(tmp_path)
    write_dict(tmp_path / "dict.txt", [("1-2", 7), ("3-4", 0)])
    theirs = indexed_dataset.make_dataset(str(tmp_path / "train"), "mmap")
    assert [x.tolist() for x in theirs] == [[*ids, 2] for _, _, ids in UTTERANCES]
    dictionary = Dictionary.load(str(tmp_path / "dict.txt"))
    assert dictionary.symbols[4:] == list(read_dict(tmp_path / "dict.txt")) == ["1-2", "3-4"]
    assert dictionary.count[4:] == [7, 0]


@pytest.mark.parametrize("num_symbols", [100, 65_499, 65_500, 70_000])
def test_ids_are_of_the_type_that_fairseq_chooses(tmp_path: Path, num_symbols: int) -> None:
    pytest.importorskip("fairseq")
    from fairseq.data import indexed_dataset

    write(tmp_path, num_symbols=num_symbols)
    width = np.dtype(indexed_dataset.best_fitting_int_dtype(num_symbols)).itemsize
    count = sum(len(ids) + 1 for _, _, ids in UTTERANCES)
    assert (tmp_path / "train.bin").stat().st_size == count * width


def test_what_fairseq_writes_is_read_with_and_without_eos(tmp_path: Path) -> None:
    pytest.importorskip("fairseq")
    import torch
    from fairseq.data.indexed_dataset import MMapIndexedDatasetBuilder

    for split, tail in (("with", [2]), ("without", [])):
        builder = MMapIndexedDatasetBuilder(str(tmp_path / f"{split}.bin"), dtype=np.int32)
        for ids in ([4, 5], [6, 7, 8]):
            builder.add_item(torch.tensor([*ids, *tail]))
        builder.finalize(str(tmp_path / f"{split}.idx"))
        store = TokenStore(tmp_path, split)
        assert store.sizes.tolist() == [2, 3] and store[1].tolist() == [6, 7, 8]
    assert TOKENS.splits(tmp_path) == ["with", "without"]
    header = struct.pack("<9sQBQ", b"MMIDIDX\0\0", 1, 8, 3)
    sizes, places = np.array([0, 1, 0], "<i4"), np.array([0, 0, 2], "<i8")
    (tmp_path / "e.idx").write_bytes(header + sizes.tobytes() + places.tobytes())
    (tmp_path / "e.bin").write_bytes(np.array([7], "<u2").tobytes())
    store = TokenStore(tmp_path, "e")  # whose first utterance has nothing, not even </s>
    assert [store[i].tolist() for i in range(3)] == [[], [7], []] and store.sizes.tolist() == [0, 1, 0]
    (tmp_path / "e.idx").write_bytes(header + bytes(3 * 12))
    (tmp_path / "e.bin").write_bytes(b"")
    assert [ids.tolist() for ids in map(TokenStore(tmp_path, "e").__getitem__, range(3))] == [[]] * 3


def test_what_a_killed_or_failed_writer_left_goes(tmp_path: Path) -> None:
    for name in ("bin", "ids", "idx"):
        (tmp_path / f".train.{name}.part").write_bytes(b"half of a killed writer's")
    with pytest.raises(KeyboardInterrupt), TokenWriter(tmp_path, "train", 100) as writer:
        writer.add(*UTTERANCES[0])
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
    write(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["train.bin", "train.ids", "train.idx"]


@pytest.mark.parametrize(
    ("utterance", "says"),
    [
        (("a", 3, [4]), "'a': expected an id of its own"),
        (("x\ty", 3, [4]), "expected an id of its own, without tab"),
        (("x\ny", 3, [4]), "expected an id of its own, without tab and line break"),
        (("x\ry", 3, [4]), "expected an id of its own, without tab and line break"),
        (("", 3, [4]), "'': expected an id of its own"),
        (("x", 3, [65_536]), "has ids 2 to 65536; expected 0 to 65535"),
        (("x", 3, [-1]), "has ids -1 to 2; expected 0"),
    ],
)
def test_what_cannot_be_stored_is_refused(tmp_path: Path, utterance: tuple, says: str) -> None:
    with pytest.raises(TokenError, match=says), TokenWriter(tmp_path, "train", 100) as writer:
        writer.add("a", 1, [4])
        writer.add(*utterance)


def test_opening_reads_no_utterance(tmp_path: Path) -> None:
    """Thirty million tokens of 100,000 utterances, as a sparse file: reading them would show."""
    import time

    count, size = 100_000, 300
    sizes = np.full(count, size, np.int32)
    header = b"MMIDIDX\x00\x00" + (1).to_bytes(8, "little") + b"\x08" + count.to_bytes(8, "little")
    places = np.arange(count, dtype=np.int64) * size * 2
    (tmp_path / "big.idx").write_bytes(header + sizes.tobytes() + places.tobytes())
    with open(tmp_path / "big.bin", "wb") as file:
        file.truncate(count * size * 2)
    begun = time.process_time()
    store = TokenStore(tmp_path, "big")
    assert store[count - 1].tolist() == [0] * size
    assert time.process_time() - begun < 0.05
    again = pickle.dumps(store)
    assert len(again) < 1000 and len(pickle.loads(again)) == count


def test_reading_needs_neither_torch_nor_fairseq(tmp_path: Path) -> None:
    write(tmp_path)
    code = (
        "import sys; from vqw2v_plugin.stores.tokens import TokenStore; "
        f"store = TokenStore({str(tmp_path)!r}, 'train'); "
        "print(len(store), 'torch' in sys.modules, 'fairseq' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["4", "False", "False"]


def test_a_broken_folder_is_named(tmp_path: Path) -> None:
    write(tmp_path, "valid")
    with pytest.raises(TokenError, match=r"test\.idx: is missing; the splits in .* are: valid; name one"):
        TokenStore(tmp_path, "test")
    (tmp_path / "valid.bin").write_bytes(b"123")
    with pytest.raises(
        TokenError, match=r"valid\.bin: has 3 bytes, valid\.idx expects 20; .* make both anew"
    ):
        TokenStore(tmp_path, "valid")
    (tmp_path / "valid.bin").unlink()
    with pytest.raises(TokenError, match=r"valid\.bin: is missing"):
        TokenStore(tmp_path, "valid")
    whole = (tmp_path / "valid.idx").read_bytes()
    for broken in (whole[:10], whole[:-3], b"TNTIDX" + whole[6:]):
        (tmp_path / "valid.idx").write_bytes(broken)
        with pytest.raises(TokenError, match="is no index of a memory-mapped fairseq data set"):
            TokenStore(tmp_path, "valid")


def test_an_empty_split_has_no_utterances(tmp_path: Path) -> None:
    with TokenWriter(tmp_path, "train", 100):
        pass
    store = TokenStore(tmp_path, "train")
    assert len(store) == 0 and store.sizes.tolist() == [] and store.rows == []


def test_ids_and_dictionaries_are_checked(tmp_path: Path) -> None:
    (tmp_path / "x.ids").write_text("a\t3\nb\n")
    with pytest.raises(TokenError, match="expected lines 'utterance<TAB>frames'"):
        TOKENS.read_ids(tmp_path, "x", 2)
    (tmp_path / "x.ids").write_text("a\t3\n")
    with pytest.raises(TokenError, match=r"has 1 lines, its \.idx 2 utterances"):
        TOKENS.read_ids(tmp_path, "x", 2)
    with pytest.raises(TokenError, match=r"none\.ids: is missing"):
        TOKENS.read_ids(tmp_path, "none", 2)
    for text, says in (
        ("1-2\n", r":1: got '1-2', expected"),
        ("1-2 3\n1-2 4\n", ":2: symbol '1-2' is there a sec"),
    ):
        (tmp_path / "dict.txt").write_text(text)
        with pytest.raises(TokenError, match=says):
            read_dict(tmp_path / "dict.txt")
    with pytest.raises(TokenError, match=r"none\.txt: is missing"):
        read_dict(tmp_path / "none.txt")


def test_the_note_of_how_tokens_were_made_is_kept(tmp_path: Path) -> None:
    assert TOKENS.read_about(tmp_path) == {}
    about = {"checkpoint": {"sha256": "ab12"}, "groups": 2}
    TOKENS.write_about(tmp_path, about)
    assert TOKENS.read_about(tmp_path) == about
    (tmp_path / "tokens.json").write_text("[1]")
    with pytest.raises(TokenError, match="holds a list, expected a JSON object"):
        TOKENS.read_about(tmp_path)
    (tmp_path / "tokens.json").write_text("{")
    with pytest.raises(TokenError, match=r"tokens\.json: .*expected a JSON object"):
        TOKENS.read_about(tmp_path)


def test_of_a_number_of_symbols_that_is_not_known_ids_have_32_bits(tmp_path: Path) -> None:
    with TokenWriter(tmp_path, "train") as writer:
        writer.add("a", 1, [2**32 - 1])
        with pytest.raises(TokenError, match="has ids 2 to 4294967296; expected 0 to 4294967295"):
            writer.add("b", 1, [2**32])
    assert TokenStore(tmp_path, "train")[-1].tolist() == [2**32 - 1]


def test_utterances_whose_ids_are_vouched_for_are_not_remembered(tmp_path: Path) -> None:
    with TokenWriter(tmp_path, "train", 100, distinct=True) as writer:
        writer.add("a", 1, [4])
        writer.add("a", 1, [5])  # who vouches has to know
    assert TokenStore(tmp_path, "train").rows == [("a", 1)] * 2


def test_a_split_s_index_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it there is no split, whenever the writer is killed."""
    named: list[str] = []
    replace = os.replace
    monkeypatch.setattr(
        os, "replace", lambda part, path: (named.append(Path(path).name), replace(part, path))
    )
    write(tmp_path)
    assert named == ["train.bin", "train.ids", "train.idx"]


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int16, np.int32, np.int64, np.uint16, np.uint32])
def test_ids_of_every_width_that_fairseq_writes_are_read(tmp_path: Path, kind: type) -> None:
    pytest.importorskip("fairseq")
    import torch
    from fairseq.data.indexed_dataset import MMapIndexedDatasetBuilder

    builder = MMapIndexedDatasetBuilder(str(tmp_path / "a.bin"), dtype=kind)
    largest = min(int(np.iinfo(kind).max), 2**40)
    for ids in ([largest, 4, 2], [5, 6, 7, 2]):
        builder.add_item(torch.tensor(ids))
    builder.finalize(str(tmp_path / "a.idx"))
    store = TokenStore(tmp_path, "a")
    assert [store[i].tolist() for i in range(2)] == [[largest, 4], [5, 6, 7]]


def test_a_symbol_s_count_is_the_last_word_of_its_line(tmp_path: Path) -> None:
    (tmp_path / "dict.txt").write_text("a b 3\nc 4  \n", encoding="utf-8")
    assert read_dict(tmp_path / "dict.txt") == ("a b", "c")
    for count in ("\u0663", "\u00b2", "-1", "1.5"):
        (tmp_path / "dict.txt").write_text(f"c 1\na {count}\n", encoding="utf-8")
        with pytest.raises(TokenError, match=r"dict\.txt:2: got 'a .*', expected 'symbol count'"):
            read_dict(tmp_path / "dict.txt")

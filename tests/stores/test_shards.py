"""Shards are whole or not there, and only runs that agree share a folder."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from vqw2v_plugin.stores.folder import SettingsError, StoreError
from vqw2v_plugin.stores.shards import MOST_ROWS, DamagedShardError, MissingShardError, ShardFolder, plan


def test_a_plan_covers_each_row_once() -> None:
    rng = np.random.default_rng(0)
    for samples in (1, 50, 10_000, 10**9):
        sizes = rng.integers(0, 100, 1000)
        spans = plan(sizes, samples)
        assert [i for span in spans for i in range(span.first, span.stop)] == list(range(1000))
        assert [span.index for span in spans] == list(range(len(spans)))
        assert all(span.stop - span.first <= MOST_ROWS for span in spans)
        assert all(sizes[span.first : span.stop - 1].sum() < samples for span in spans)
        for span in spans[:-1]:
            is_full = span.stop - span.first == MOST_ROWS
            assert is_full or sizes[span.first : span.stop].sum() >= samples
    assert plan(np.zeros(0, dtype=np.int64), 5) == []


def test_what_is_written_is_read(tmp_path: Path) -> None:
    folder = ShardFolder(tmp_path / "parts", np.uint16, 2)
    folder.open({"a": 1})
    assert folder.read(3) is None
    with folder.writing(3) as writer:
        writer.add(np.array([[1, 2], [3, 4]]))
        writer.add("b.wav: breaks off")
        writer.add(np.array([[5, 6]]))
    shard = folder.read(3)
    assert shard is not None and shard.frames == [2, 0, 1] and shard.failed == {1: "b.wav: breaks off"}
    assert folder.rows(3, shard).tolist() == [[1, 2], [3, 4], [5, 6]]


def test_a_shard_that_breaks_off_is_not_there(tmp_path: Path) -> None:
    folder = ShardFolder(tmp_path / "parts", np.uint16, 2)
    folder.open({})
    with pytest.raises(OSError), folder.writing(0) as writer:
        writer.add(np.array([[1, 2]]))
        raise OSError(errno.ENOSPC, "No space left on device")
    assert folder.read(0) is None and [p.name for p in folder.folder.iterdir()] == ["settings.json"]


def test_other_settings_are_refused_and_named(tmp_path: Path) -> None:
    ShardFolder(tmp_path / "parts", np.uint16, 2).open({"dtype": "fp32", "manifest": "x"})
    again = ShardFolder(tmp_path / "parts", np.uint16, 2)
    again.open({"dtype": "fp32", "manifest": "x"})
    with pytest.raises(SettingsError, match="`dtype` was 'fp32' and is now 'bf16'; say the same as then"):
        again.open({"dtype": "bf16", "manifest": "x"})
    again.remove()
    again.open({"dtype": "bf16"})


def parts(folder: Path) -> ShardFolder:
    """Three shards."""
    made = ShardFolder(folder, np.uint16, 2, gathers=False)
    made.open({"a": 1})
    for i in range(3):
        with made.writing(i) as writer:
            writer.add(np.array([[i, 2], [3, 4]]), "9 9")
            writer.add("b.wav: breaks off", "")
            writer.add(np.array([[5 + i, 6]]), "9 9")
    return made


def test_each_byte_of_a_shard_is_accounted_for(tmp_path: Path) -> None:
    made = parts(tmp_path / "parts")
    shard = made.read(1)
    assert shard is not None and shard.audio == ["9 9", "", "9 9"]
    rows = made.rows(1, shard).copy()
    for suffix in ("json", "rows"):
        path = made.folder / f"000001.{suffix}"
        whole = path.read_bytes()
        changes = [whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :] for i in range(len(whole))]
        others = [(made.folder / f"000002.{suffix}").read_bytes(), b"[1]", b"", whole[:-2], whole + b"00"]
        for damaged in (*changes, *others):
            path.write_bytes(damaged)
            found = made.read(1)
            assert (found is None) == made.is_damaged(1) or not path.exists()
            if found is None:
                continue
            assert suffix == "rows" and found == shard  # the json is no other one's
            kept = (made.folder / "000001.json").read_bytes()
            with pytest.raises(
                DamagedShardError, match=r"000001\.rows: is damaged.*run the same command again"
            ):
                made.rows(1, found)
            assert made.read(1) is None
            (made.folder / "000001.json").write_bytes(kept)
        path.unlink()
        assert made.read(1) is None
        path.write_bytes(whole)
    assert np.array_equal(made.rows(1, shard), rows)


@pytest.mark.parametrize("gathers", [True, False])
def test_damaged_frames_are_not_taken_for_moved_ones(tmp_path: Path, gathers: bool) -> None:
    parts(tmp_path / "parts")
    made = ShardFolder(tmp_path / "parts", np.uint16, 2, gathers)
    made.drop_rows(0)
    assert (made.read(0) is not None) == gathers and made.is_damaged(0) != gathers
    path = made.folder / "000001.rows"
    path.write_bytes(path.read_bytes()[:-2])
    assert made.read(1) is None and made.is_damaged(1)
    path = made.folder / "000002.rows"
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(DamagedShardError):
        made.rows(2, made.whole(2))
    assert made.read(2) is None
    with pytest.raises(MissingShardError, match=r"000002\.json: is gone"):
        made.whole(2)


@pytest.mark.parametrize("damaged", [b"", b"[1]", b'{"a": 1', b"\xff"])
def test_settings_that_are_damaged_are_no_settings(tmp_path: Path, damaged: bytes) -> None:
    made = parts(tmp_path / "parts")
    (made.folder / "settings.json").write_bytes(damaged)
    with pytest.raises(StoreError, match=r"settings\.json: .*expected a JSON object.*--refresh"):
        made.open({"a": 1})


def test_shards_are_gone_by_their_name_before_any_of_them_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of them under their name would be taken for a run that is under way."""
    made = parts(tmp_path / "parts")
    synced: list[tuple[int, list[str]]] = []

    def fsync(descriptor: int) -> None:
        held = sorted(path.name for path in tmp_path.glob("parts.done/*"))
        synced.append((os.fstat(descriptor).st_ino, held))

    held = sorted(path.name for path in made.folder.iterdir())
    monkeypatch.setattr(os, "fsync", fsync)
    made.remove()
    assert synced == [(tmp_path.stat().st_ino, held)] and not list(tmp_path.iterdir())


def test_a_removal_that_was_cut_short_is_ended_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "parts.done").mkdir()
    (tmp_path / "parts.done" / "000001.rows").write_text("left")
    parts(tmp_path / "parts").remove()
    assert not list(tmp_path.iterdir())


def test_a_shard_that_is_made_anew_is_not_there_until_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else new frames would lie beside what was said of the old ones."""
    made = parts(tmp_path / "parts")
    seen: list[tuple[str, bool]] = []
    replace = os.replace

    def noted(part: Path, path: Path) -> None:
        seen.append((Path(path).name, (made.folder / "000001.json").exists()))
        replace(part, path)

    monkeypatch.setattr(os, "replace", noted)
    with made.writing(1) as writer:
        writer.add(np.array([[7, 8]]))
    assert seen == [("000001.rows", False), ("000001.json", False)]
    shard = made.read(1)
    assert shard is not None and made.rows(1, shard).tolist() == [[7, 8]]


def test_a_shard_of_failures_alone_needs_no_frames(tmp_path: Path) -> None:
    made = parts(tmp_path / "parts")
    with made.writing(0) as writer:
        writer.add("a.wav: breaks off")
    for index, is_whole in ((0, True), (1, False)):
        made.drop_rows(index)
        assert (made.read(index) is not None) == is_whole and made.is_damaged(index) != is_whole
    shard = made.whole(0)
    assert shard.failed == {0: "a.wav: breaks off"} and made.rows(0, shard).shape == (0, 2)

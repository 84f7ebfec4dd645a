"""Collecting: the same files whatever the workers, the order and the kills; real corpora as they say."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sounds import Sound

from vqw2v_plugin.corpora.collect import CollectOptions, Refusal, collect, count_reasons
from vqw2v_plugin.corpora.gather import Sources
from vqw2v_plugin.corpora.manifest import Manifest
from vqw2v_plugin.corpora.rows import Limits
from vqw2v_plugin.corpora.sources import SourceError
from vqw2v_plugin.corpora.splits import SplitPlan

ROOT = Path(__file__).resolve().parents[2]


def test_workers_and_order_change_nothing_and_new_files_move_no_old_ones(tmp_path: Path, wav: Sound) -> None:
    for i in range(60):
        wav(f"{i}.wav", 160)
    plan = SplitPlan(valid=0.3)
    one = collect(tmp_path / "c", tmp_path / "o1", CollectOptions(plan=plan, workers=1))
    collect(tmp_path / "c", tmp_path / "o2", CollectOptions(plan=plan, workers=3))
    for name in ("train.tsv", "valid.tsv", "refused.tsv"):
        assert (tmp_path / "o1" / name).read_bytes() == (tmp_path / "o2" / name).read_bytes()
    for i in range(60):
        wav(f"new/{i}.wav", 160)
    more = collect(tmp_path / "c", tmp_path / "o1", CollectOptions(plan=plan))
    assert (one.num_known, more.num_known, more.num_files) == (0, 60, 120)
    for split, rows in one.splits.items():
        assert set(rows) <= set(more.splits[split])


def test_a_file_written_anew_is_read_anew(tmp_path: Path, wav: Sound) -> None:
    wav("x.wav", 100)
    collect(tmp_path / "c", tmp_path / "o")
    wav("x.wav", 200)
    again = collect(tmp_path / "c", tmp_path / "o")
    assert again.num_known == 0 and again.splits["train"][0].samples == 200


def test_what_was_seen_and_not_used_is_among_what_was_collected(tmp_path: Path, wav: Sound) -> None:
    wav("train/x.wav")
    found = collect([tmp_path / "c"], tmp_path / "o", CollectOptions(strict=True))  # of which none is refused
    assert [note.split(" (")[0] for note in found.notes] == ["folders named for splits"]


def test_headers_of_files_that_are_gone_go_once_they_are_most(tmp_path: Path, wav: Sound) -> None:
    paths = [wav(f"{i}.wav", 160) for i in range(20)]
    collect(tmp_path / "c", tmp_path / "o")
    assert (tmp_path / "o" / ".headers").read_bytes().count(b"\n") == 1 + 20
    for path in paths[5:]:
        path.unlink()
    collect(tmp_path / "c", tmp_path / "o")
    assert (tmp_path / "o" / ".headers").read_bytes().count(b"\n") == 1 + 5


def test_what_the_walk_refused_is_named_with_the_rest(tmp_path: Path, wav: Sound) -> None:
    wav("x.wav")
    (tmp_path / "c" / "again").symlink_to(tmp_path / "c")
    found = collect(tmp_path / "c", tmp_path / "o").refused
    assert [refusal.path for refusal in found] == ["again"]
    assert (tmp_path / "o" / "refused.tsv").read_text().count("\n") == 2


def test_reasons_are_counted_up_to_their_brackets_the_most_frequent_first() -> None:
    reasons = {"d": "is long (5 s)", "c": "is short (2 s)", "b": "is short (1 s)", "a": "lies; write it anew"}
    counted = count_reasons(Refusal(path, reason) for path, reason in reasons.items())
    assert counted == [("is short", 2, "b"), ("lies", 1, "a"), ("is long", 1, "d")]


SLOW_RUN = """
import sys, time
from vqw2v_plugin.corpora import headers
from vqw2v_plugin.__main__ import main
read = headers.audio_info
def slowly(path):
    print("read", file=sys.stderr, flush=True)
    time.sleep(0.005)  # so that it is not at its end before it is killed
    return read(path)
headers.audio_info = slowly
sys.exit(main(["manifest", *sys.argv[1:], "--workers", "1", "--valid", "0.2"]))
"""


def test_a_killed_run_leaves_whole_files_and_loses_no_headers(tmp_path: Path, wav: Sound) -> None:
    for i in range(150):
        wav(f"{i}.wav", 160)
    options = CollectOptions(plan=SplitPlan(valid=0.2))
    collect(tmp_path / "c", tmp_path / "whole", options)
    out = tmp_path / "o"
    for count in (30, 40, 50):
        command = [sys.executable, "-c", SLOW_RUN, str(tmp_path / "c"), str(out)]
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert child.stderr is not None
        while count:
            line = child.stderr.readline()
            assert line, "it ended before it was killed"
            count -= line == b"read\n"
        child.send_signal(signal.SIGKILL)
        child.wait()
        for name in ("train.tsv", "valid.tsv", "refused.tsv"):
            if (out / name).exists():
                assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert collect(tmp_path / "c", out, options).num_known > 50
    for name in ("train.tsv", "valid.tsv", "refused.tsv"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (out / ".manifests.part").exists()


def test_a_broken_disk_s_lock_is_not_taken_for_a_disk_without_locks(
    tmp_path: Path, wav: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    wav("x.wav", 160)

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", broken)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        collect(tmp_path / "c", tmp_path / "o")
    assert not (tmp_path / "o" / "train.tsv").exists()


def test_real_corpora_agree_with_their_own_tables(tmp_path: Path, real_data: Path) -> None:
    for name, part, rate in (("so762_std", "2", 16_000), ("fsdd", "1", 8_000)):
        options = CollectOptions(Sources(speaker_from=part), plan=SplitPlan(valid=0.2, speaker_disjoint=True))
        made = collect(real_data / name / "flac", tmp_path / name, options)
        own = [u for split in ("train", "dev", "test") for u in Manifest(real_data / name / f"{split}.tsv")]
        found = [row for rows in made.splits.values() for row in rows]
        assert not made.refused and {row.rate for row in found} == {rate}
        assert {(os.path.basename(row.entry.path), row.samples, row.entry.speaker) for row in found} == {
            (os.path.basename(u.path), u.samples, u.speaker) for u in own
        }
        speakers = [{row.entry.speaker for row in rows} for rows in made.splits.values()]
        assert all(speakers) and not speakers[0] & speakers[1]


def test_the_three_most_frequent_reasons_are_in_the_refusal(tmp_path: Path, wav: Sound) -> None:
    for number, (name, samples) in enumerate((*[("long", 3200)] * 3, *[("short", 80)] * 2, ("good", 800))):
        wav(f"{name}{number}.wav", samples)
    (tmp_path / "c" / "empty.wav").touch()
    (tmp_path / "c" / "again").symlink_to(tmp_path / "c")
    limits = Limits(0.01, 0.1)
    with pytest.raises(SourceError) as error:
        collect(tmp_path / "c", tmp_path / "o", CollectOptions(limits=limits, strict=True))
    said = str(error.value)
    assert (
        f"7 of {tmp_path / 'c'} refused, and `--strict` wants none (3 × is longer than `--max`; 2 × is"
        in said
    )
    assert said.count(" × ") == 3


def test_files_are_counted_once_however_many_stretches_they_have(tmp_path: Path, wav: Sound) -> None:
    wav("r.wav", 16_000), wav("s.wav", 16_000)
    (tmp_path / "c" / "wav.scp").write_text("r r.wav\ns s.wav\n")
    (tmp_path / "c" / "segments").write_text("u r 0 0.5\nv r 0.5 1\nw s 0 1\n")
    first, again = (collect(tmp_path / "c", tmp_path / "o", CollectOptions(workers=1)) for _ in range(2))
    assert (first.kind, first.num_files, first.num_known) == ("kaldi", 2, 0)
    assert (again.num_files, again.num_known) == (2, 2) and sum(map(len, again.splits.values())) == 3


def test_what_has_no_header_is_refused_beside_rows_that_are_trimmed(tmp_path: Path, wav: Sound) -> None:
    for name in ("a.wav", "c.wav"):
        wav(name, 1600)
    (tmp_path / "c" / "b.wav").touch()
    found = collect(tmp_path / "c", tmp_path / "o", CollectOptions(plan=SplitPlan(valid=0), trim=0.1))
    assert [row.entry.path for row in found.splits["train"]] == ["a.wav", "c.wav"]
    assert [(each.path, each.group) for each in found.refused] == [("b.wav", "is empty, 0 bytes")]

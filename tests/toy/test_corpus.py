"""The toy corpus: the same bytes from the same arguments, and tables that agree with the audio."""

from __future__ import annotations

import argparse
import json
import os
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("espeakng_loader")
soundfile = pytest.importorskip("soundfile")

from vqw2v_plugin.commands import toy
from vqw2v_plugin.toy import chunk, corpus
from vqw2v_plugin.toy.corpus import CorpusSummary, make_corpus
from vqw2v_plugin.toy.speakers import Speaker
from vqw2v_plugin.toy.writer import SPLITS

MINUTES, SPEAKERS, LANGUAGES, SEED = 1.5, 5, ("en", "de"), 7


def _make(out: Path, workers: int = 2) -> CorpusSummary:
    return make_corpus(out, MINUTES, SPEAKERS, LANGUAGES, SEED, workers)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> CorpusSummary:
    return _make(tmp_path_factory.mktemp("toy") / "corpus")


def _contents(folder: Path) -> dict[str, bytes]:
    """Every file of a corpus; the manifests' root line, which names the folder, set aside."""
    root = f"{folder / 'flac'}\n".encode()
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes().replace(root, b"") for path in files}


def _rows(folder: Path, split: str) -> list[dict[str, str]]:
    root, header, *lines = (folder / f"{split}.tsv").read_text(encoding="utf-8").splitlines()
    assert root == str(folder / "flac")
    columns = header.removeprefix("# ").split("\t")
    return [dict(zip(columns, line.split("\t"), strict=True)) for line in lines]


def _times(path: Path) -> dict[str, list[tuple[int, int, str]]]:
    """Utterance to (start, end, label), in samples."""
    times = defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines():
        utterance, channel, start, duration, label = line.split(" ")
        assert channel == "1"
        first = round(float(start) * 16_000)
        times[utterance].append((first, first + round(float(duration) * 16_000), label))
    return times


def test_same_arguments_same_bytes(made: CorpusSummary, tmp_path: Path) -> None:
    again = _make(tmp_path / "again")
    assert _contents(made.folder) == _contents(again.folder)


def test_workers_do_not_change_bytes(made: CorpusSummary, tmp_path: Path) -> None:
    assert _contents(made.folder) == _contents(_make(tmp_path / "one", workers=1).folder)


def test_another_seed_is_another_corpus(made: CorpusSummary, tmp_path: Path) -> None:
    other = make_corpus(tmp_path / "other", 0.1, 1, ("en",), SEED + 1)
    assert not _contents(other.folder).items() & _contents(made.folder).items()


def test_manifests_say_what_the_audio_is(made: CorpusSummary) -> None:
    total = 0
    for split in SPLITS:
        for row in _rows(made.folder, split):
            info = soundfile.info(made.folder / "flac" / row["path"])
            assert (info.samplerate, info.channels, info.format, info.subtype) == (
                16_000,
                1,
                "FLAC",
                "PCM_16",
            )
            assert info.frames == int(row["samples"])
            assert row["path"] == f"{row['speaker']}/{row['utt']}.flac"
            total += info.frames
    assert MINUTES * 960_000 <= total < (MINUTES + 0.1) * 960_000
    assert made.minutes == pytest.approx(total / 960_000, abs=1e-3)


def test_every_file_is_in_one_manifest(made: CorpusSummary) -> None:
    listed = [row["path"] for split in SPLITS for row in _rows(made.folder, split)]
    found = {path.relative_to(made.folder / "flac").as_posix() for path in made.folder.rglob("*.flac")}
    assert len(listed) == len(found) == made.num_utterances
    assert set(listed) == found


def test_splits_share_the_speakers(tmp_path: Path) -> None:
    out = make_corpus(tmp_path / "six", 3, 4, ("es", "fr")).folder
    for split in SPLITS:
        assert len({row["speaker"] for row in _rows(out, split)}) == 4
    sizes = [len(_rows(out, split)) for split in SPLITS]
    assert sizes[0] > 0.7 * sum(sizes)


def test_smallest_corpus_has_every_split(tmp_path: Path) -> None:
    summary = make_corpus(tmp_path / "tiny", 0.01, 1)
    assert min(summary.num_train, summary.num_valid, summary.num_test) == 1


def test_phones_tile_the_utterance(made: CorpusSummary) -> None:
    for split in SPLITS:
        times = _times(made.folder / f"{split}.phones.ctm")
        for row in _rows(made.folder, split):
            phones = times.pop(row["utt"])
            assert [start for start, _, _ in phones] == [0] + [end for _, end, _ in phones[:-1]]
            assert phones[-1][1] == int(row["samples"])
            assert all(start < end for start, end, _ in phones)
            assert phones[0][2] == phones[-1][2] == "SIL"
            assert 0.08 * 16_000 <= phones[0][1] <= 0.35 * 16_000  # a fourth of a second, and espeak's own
        assert not times


def test_words_lie_within_utterance(made: CorpusSummary) -> None:
    for split in SPLITS:
        times = _times(made.folder / f"{split}.words.ctm")
        for row in _rows(made.folder, split):
            words = times[row["utt"]]
            edges = [edge for start, end, _ in words for edge in (start, end)]
            assert edges == sorted(edges) and edges[0] > 0 and edges[-1] < int(row["samples"])
            assert " ".join(label for _, _, label in words) == row["text"]


def test_speech_is_louder_than_silence(made: CorpusSummary) -> None:
    for row in _rows(made.folder, "valid"):
        audio, _ = soundfile.read(made.folder / "flac" / row["path"])
        peaks = defaultdict(list)
        for start, end, label in _times(made.folder / "valid.phones.ctm")[row["utt"]]:
            # Resampling rings for some samples beyond an edge.
            peaks[label == "SIL"].append(abs(audio[start + 32 : end - 32]).max())
        assert max(peaks[True]) < 0.03 * max(peaks[False])


def test_lexicon_covers_transcripts(made: CorpusSummary) -> None:
    lines = (made.folder / "lexicon.txt").read_text(encoding="utf-8").splitlines()
    lexicon = [tuple(line.split("\t")) for line in lines]
    assert len(set(lexicon)) == len(lexicon)
    said = {word for split in SPLITS for row in _rows(made.folder, split) for word in row["text"].split()}
    assert {word for word, _ in lexicon} == said
    assert (made.num_words, made.num_speakers) == (len(said), SPEAKERS)
    sizes = [len(_rows(made.folder, split)) for split in SPLITS]
    assert [made.num_train, made.num_valid, made.num_test] == sizes and made.num_utterances == sum(sizes)
    phones = {
        label
        for split in SPLITS
        for segments in _times(made.folder / f"{split}.phones.ctm").values()
        for *_, label in segments
    }
    assert len(phones - {"SIL"}) == made.num_phones
    assert {phone for _, spelling in lexicon for phone in spelling.split(" ")} <= phones - {"SIL"}


def test_finished_corpus_is_left_alone(made: CorpusSummary) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.folder.rglob("*")}
    again = _make(made.folder)
    assert not again.made and again.num_utterances == made.num_utterances
    assert {path: path.stat().st_mtime_ns for path in made.folder.rglob("*")} == before


def test_other_arguments_are_refused(made: CorpusSummary) -> None:
    with pytest.raises(ValueError, match="name another folder or delete this one"):
        make_corpus(made.folder, MINUTES, SPEAKERS, LANGUAGES, SEED + 1)


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="no toy corpus"):
        make_corpus(tmp_path, 0.1, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_moved_corpus_is_refused(tmp_path: Path) -> None:
    make_corpus(tmp_path / "here", 0.01, 1)
    (tmp_path / "here").rename(tmp_path / "there")
    with pytest.raises(ValueError, match="was moved"):
        make_corpus(tmp_path / "there", 0.01, 1)


def test_killed_run_is_made_again(
    made: CorpusSummary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "killed"

    def dies_later(
        work: chunk.Chunk, make: Callable[..., list[chunk.ToyUtterance]] = corpus.make_chunk_apart
    ):
        if work.first > 0:
            raise RuntimeError("killed")
        return make(work)

    monkeypatch.setattr(corpus, "make_chunk_apart", dies_later)
    with pytest.raises(RuntimeError, match="killed"):
        _make(out)
    assert not (out / "corpus.json").exists()
    monkeypatch.undo()
    assert _make(out).made
    assert _contents(out) == _contents(made.folder)


def test_run_killed_right_away_is_made_again(tmp_path: Path) -> None:
    (tmp_path / ".corpus.unfinished.json.part").write_text("{")
    assert make_corpus(tmp_path, 0.01, 1).made and not list(tmp_path.glob(".*"))


def test_what_a_killed_run_has_spoken_is_no_part_of_the_next(tmp_path: Path) -> None:
    arguments = {"minutes": 0.01, "speakers": 1, "languages": ["en"], "seed": 1}
    (tmp_path / "corpus.unfinished.json").write_text(json.dumps({"arguments": arguments}))
    (tmp_path / "flac" / "gone").mkdir(parents=True)
    (tmp_path / "flac" / "gone" / "x.flac").touch()
    assert make_corpus(tmp_path, 0.01, 1).made and not (tmp_path / "flac" / "gone").exists()


def test_a_corpus_is_finished_once_its_audio_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[int] = set()
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.add(os.fstat(descriptor).st_ino))
    publish, seen = corpus.publish_in_order, list[bool]()

    def published(parts: list[tuple[Path, Path]]) -> None:
        held = [tmp_path / "c" / "flac", *(tmp_path / "c" / "flac").rglob("*")]
        seen.append(len(held) > 4 and {path.stat().st_ino for path in held} <= synced)
        publish(parts)

    monkeypatch.setattr(corpus, "publish_in_order", published)
    assert make_corpus(tmp_path / "c", 0.01, 1).made and seen == [True]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("corpus.json", "[1]", "is no JSON object; delete the folder, or name another"),
        ("corpus.unfinished.json", "{", "cannot be read .*; delete the folder, or name another"),
    ],
)
def test_marks_that_say_nothing_are_named(tmp_path: Path, name: str, content: str, says: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=f"{name}: {says}"):
        make_corpus(tmp_path, 0.01, 1)
    with pytest.raises(ValueError, match="is a file; expected a folder that is new or empty"):
        make_corpus(tmp_path / name, 0.01, 1)


def test_worker_that_fails_says_why(tmp_path: Path) -> None:
    speakers = (Speaker("a", "en", "en-us+no", rate=170, pitch=50, pitch_range=50, gain=1.0, noise=0.0),)
    with pytest.raises(ValueError, match="no variant `no`"):
        chunk.make_chunk_apart(chunk.Chunk(tmp_path, 0, 1, speakers, 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1, ("en",)), "`--minutes` is 0; expected more than 0"),
        ((1, 0, ("en",)), "`--speakers` is 0; expected at least one a language"),
        ((1, 1, ("en", "de")), "expected at least one a language"),
        ((1, 99, ("en",)), "too many for 1 minutes"),
        ((1, 2, ("en", "xx")), "`--languages` names `xx`; expected some of en, de, fr, es"),
        ((1, 2, ("en", "en")), "expected each language once"),
        ((1, 2, ()), "`--languages` is empty"),
        ((1, 2, ("en",), 1, 0), "`--workers` is 0"),
    ],
)
def test_wrong_arguments_are_named(tmp_path: Path, arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_corpus(tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()


def test_command_makes_the_corpus_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    toy.add_arguments(parser)
    line = [
        str(tmp_path / "out"),
        "--minutes",
        "0.2",
        "--speakers",
        "2",
        "--languages",
        "en,fr",
        "--seed",
        "3",
    ]
    assert toy.run(parser.parse_args(line)) == 0
    assert str(tmp_path / "out") in capsys.readouterr().out
    assert toy.run(parser.parse_args(line)) == 0
    assert "left alone" in capsys.readouterr().out
    arguments = json.loads((tmp_path / "out" / "corpus.json").read_text())["arguments"]
    assert arguments == {"minutes": 0.2, "speakers": 2, "languages": ["en", "fr"], "seed": 3}


def test_a_corpus_that_was_begun_with_other_arguments_is_refused(tmp_path: Path) -> None:
    arguments = {"minutes": 0.01, "speakers": 1, "languages": ["en"], "seed": 2}
    (tmp_path / "corpus.unfinished.json").write_text(json.dumps({"arguments": arguments}))
    (tmp_path / "flac").mkdir()
    with pytest.raises(ValueError, match="name another folder or delete this one"):
        make_corpus(tmp_path, 0.01, 1)
    assert (tmp_path / "flac").exists()

"""The toy corpus: synthetic speech with transcripts, word and phone times, made on the spot (wav)."""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.bounds import check_workers
from ..common.files import part_of, publish_in_order, sync_tree, write_whole
from ..common.inputs import read_json
from .chunk import SAMPLE_RATE, Chunk, ToyUtterance, make_chunk_apart
from .espeak import check_voice
from .grammar import check_language
from .speakers import Speaker, make_speakers
from .writer import SPLITS, Tables, split_of

# The bytes depend on it as on the arguments: another size would be another corpus.
CHUNK_UTTERANCES = 25
# Utterances last two to three seconds, so more speakers than this could not all speak.
MAX_SPEAKERS_PER_MINUTE = 12
FINISHED, UNFINISHED = "corpus.json", "corpus.unfinished.json"


@dataclass(frozen=True)
class CorpusSummary:
    """What a corpus holds; `made` is false if it was already there, with the same arguments."""

    folder: Path
    minutes: float
    num_utterances: int
    num_train: int
    num_valid: int
    num_test: int
    num_speakers: int
    num_phones: int
    num_words: int
    made: bool


def make_corpus(
    out: Path | str,
    minutes: float,
    speakers: int = 4,
    languages: tuple[str, ...] = ("en",),
    seed: int = 1,
    workers: int | None = None,
) -> CorpusSummary:
    """Make at least `minutes` of speech in `out`; the same arguments give the same bytes.

    Each split has utterances of all speakers. `workers` (default: one a core) change nothing but the time;
    they are processes, so a script that calls this needs the usual `if __name__ == "__main__":`.
    """
    _check(minutes, speakers, languages, workers)
    # The root line of a manifest must not depend on the working folder.
    out = Path(out).resolve()
    arguments = {"minutes": float(minutes), "speakers": speakers, "languages": list(languages), "seed": seed}
    cast = make_speakers(speakers, languages, seed)
    for speaker in cast:
        check_voice(speaker.voice)
    finished = _claim(out, arguments)
    if finished is not None:
        return CorpusSummary(folder=out, made=False, **finished)
    totals = _write(out, math.ceil(minutes * 60 * SAMPLE_RATE), cast, seed, workers or os.cpu_count() or 1)
    sync_tree(out / "flac")
    _write_json(out / UNFINISHED, {"arguments": arguments, "totals": totals})
    publish_in_order([(out / UNFINISHED, out / FINISHED)])
    return CorpusSummary(folder=out, made=True, **totals)


def _check(minutes: float, speakers: int, languages: tuple[str, ...], workers: int | None) -> None:
    if not 0 < minutes <= 6000:
        raise ValueError(f"`--minutes` is {minutes:g}; expected more than 0 and at most 6000 (100 hours)")
    if not languages:
        raise ValueError("`--languages` is empty; expected codes joined by commas, as in `en,de`")
    for language in languages:
        check_language(language)
    if len(set(languages)) != len(languages):
        raise ValueError(f"`--languages` is {','.join(languages)}; expected each language once")
    if speakers < len(languages):
        raise ValueError(f"`--speakers` is {speakers}; expected at least one a language ({len(languages)})")
    if speakers > max(1, int(minutes * MAX_SPEAKERS_PER_MINUTE)):
        raise ValueError(
            f"`--speakers` is {speakers}, too many for {minutes:g} minutes; "
            f"expected at most {MAX_SPEAKERS_PER_MINUTE} a minute, or more `--minutes`"
        )
    check_workers(workers)


def _claim(out: Path, arguments: dict[str, Any]) -> dict[str, Any] | None:
    """Totals of a finished corpus with these arguments, or None once `out` is ready for a new one."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"`{out}` is a file; expected a folder that is new or empty")
    for name in (FINISHED, UNFINISHED):
        if not (out / name).is_file():
            continue
        try:
            found = read_json(out / name)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{out / name}: cannot be read ({error}); delete the folder, or name another"
            ) from None
        if not isinstance(found, dict):
            raise ValueError(f"{out / name}: is no JSON object; delete the folder, or name another")
        if found.get("arguments") != arguments:
            raise ValueError(
                f"`{out}` holds a corpus made with {json.dumps(found.get('arguments'))}, "
                f"not {json.dumps(arguments)}; name another folder or delete this one"
            )
        if name == FINISHED:
            _check_place(out)
            totals: dict[str, Any] = found["totals"]
            return totals
        shutil.rmtree(out / "flac", ignore_errors=True)  # left by a killed run; quickly made again
    left = part_of(out / UNFINISHED)  # by a run that was killed right away
    is_ours = (out / UNFINISHED).is_file() or not out.exists()
    if not is_ours and any(path != left for path in out.iterdir()):
        raise ValueError(
            f"`{out}` holds files that are no toy corpus; expected a folder that is new or empty"
        )
    out.mkdir(parents=True, exist_ok=True)
    _write_json(out / UNFINISHED, {"arguments": arguments})
    return None


def _check_place(out: Path) -> None:
    for split in SPLITS:
        with (out / f"{split}.tsv").open(encoding="utf-8") as file:
            root = file.readline().rstrip("\n")
        if root != str(out / "flac"):
            raise ValueError(
                f"`{out / split}.tsv` says that the audio is in `{root}`: this corpus was moved; "
                "move it back, or delete it and make it here"
            )


def _write(out: Path, enough: int, cast: tuple[Speaker, ...], seed: int, workers: int) -> dict[str, Any]:
    """Write utterances in order until there is enough audio, with every speaker in every split."""
    audio = out / "flac"
    with Tables(out, audio) as tables, closing(_utterances(audio, cast, seed, workers)) as utterances:
        for count, utterance in enumerate(utterances, start=1):
            tables.add(utterance, split_of(utterance.index, len(cast)))
            complete = count >= len(cast) and all(tables.num_utterances[split] for split in SPLITS)
            if tables.num_samples >= enough and complete:
                break
        num_words = tables.write_lexicon()
    return {
        "minutes": round(tables.num_samples / SAMPLE_RATE / 60, 3),
        "num_utterances": sum(tables.num_utterances.values()),
        **{f"num_{split}": tables.num_utterances[split] for split in SPLITS},
        "num_speakers": len(cast),
        "num_phones": len(tables.phones),
        "num_words": num_words,
    }


def _utterances(
    audio: Path, cast: tuple[Speaker, ...], seed: int, workers: int
) -> Generator[ToyUtterance, None, None]:
    """Endless utterances in order, made some chunks ahead; closing it deletes those never asked for."""
    pending: deque[Future[list[ToyUtterance]]] = deque()
    current: Iterator[ToyUtterance] = iter(())
    with ThreadPoolExecutor(workers) as pool:
        try:
            for first in itertools.count(0, CHUNK_UTTERANCES):
                chunk = Chunk(audio, first, CHUNK_UTTERANCES, cast, seed)
                pending.append(pool.submit(make_chunk_apart, chunk))
                if len(pending) > workers:
                    current = iter(pending.popleft().result())
                    yield from current
        finally:
            running = [future for future in pending if not future.cancel()]
            ahead = [
                utterance for future in running if not future.exception() for utterance in future.result()
            ]
            for surplus in itertools.chain(current, ahead):
                (audio / surplus.path).unlink()


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_whole(path, json.dumps(content, indent=2) + "\n")

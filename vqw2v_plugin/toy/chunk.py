"""The toy corpus' unit of work: consecutive utterances, spoken in a process of their own (wav)."""

from __future__ import annotations

import multiprocessing
import os
import random
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from .align import SILENCE, Interval, SentenceTimes, align, spoken_text
from .espeak import Espeak, data_folder
from .grammar import draw_sentence
from .speakers import Speaker

SAMPLE_RATE = 16_000
# espeak starts and stops at once; a real recording does not.
MIN_PAD_SECONDS, MAX_PAD_SECONDS = 0.08, 0.25
PEAK = 0.8


@dataclass(frozen=True)
class Chunk:
    """Utterances `first … first + count - 1` of a corpus; `folder`, an absolute path, gets the FLAC files."""

    folder: Path
    first: int
    count: int
    speakers: tuple[Speaker, ...]
    seed: int


@dataclass(frozen=True)
class ToyUtterance:
    """One utterance as the manifests, times and lexicon need it; times in samples at 16 kHz."""

    index: int
    name: str
    path: str
    num_samples: int
    speaker: Speaker
    phones: tuple[Interval, ...]
    words: tuple[Interval, ...]
    pronunciations: tuple[tuple[str, ...], ...]


def make_chunk_apart(chunk: Chunk) -> list[ToyUtterance]:
    """`make_chunk` in a fresh process, since what espeak spoke before shifts its next boundaries."""
    # A fork server imports only once; where there is none (Windows), start from scratch.
    context: Any = multiprocessing.get_context("spawn")
    if "forkserver" in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(chunk, sender), daemon=True)
    process.start()
    sender.close()  # so that a worker that dies ends the wait below
    try:
        answer = receiver.recv()
    except EOFError:
        process.join()
        raise RuntimeError(
            f"the process making utterances from {chunk.first} died (exit code {process.exitcode}); "
            "run the same command again, with fewer `--workers` if memory ran out"
        ) from None
    process.join()
    if isinstance(answer, Exception):
        raise answer
    utterances: list[ToyUtterance] = answer
    return utterances


def make_chunk(chunk: Chunk) -> list[ToyUtterance]:
    """Speak, resample and write a chunk's utterances; the same bytes in every fresh process."""
    espeak = Espeak()
    indices = range(chunk.first, chunk.first + chunk.count)
    return [_make_utterance(espeak, chunk, index) for index in indices]


def _answer(chunk: Chunk, sender: Connection) -> None:
    # espeak-ng keeps only 160 characters of its data's path, which is short from here.
    os.chdir(data_folder().parent)
    answer: list[ToyUtterance] | Exception
    try:
        answer = make_chunk(chunk)
    except ValueError as error:
        answer = error
    except Exception as error:  # in words, since not every exception can be pickled
        answer = RuntimeError(f"utterances from {chunk.first}: {type(error).__name__}: {error}")
    with suppress(BrokenPipeError):  # the run was killed: nobody waits for an answer
        sender.send(answer)


def _make_utterance(espeak: Espeak, chunk: Chunk, index: int) -> ToyUtterance:
    speaker = chunk.speakers[index % len(chunk.speakers)]
    rng = random.Random(f"utterance {chunk.seed} {index}")
    tokens = draw_sentence(speaker.language, rng)
    speech = espeak.speak(
        spoken_text(tokens), speaker.voice, speaker.rate, speaker.pitch, speaker.pitch_range
    )
    times = align(speech, tokens)
    lead, trail = (round(rng.uniform(MIN_PAD_SECONDS, MAX_PAD_SECONDS) * SAMPLE_RATE) for _ in range(2))
    spoken = soxr.resample(speech.samples.astype(np.float32), speech.sample_rate, SAMPLE_RATE)
    audio = _record(np.pad(spoken, (lead, trail)), speaker, rng)
    name = f"{speaker.name}-{index:07d}"
    path = f"{speaker.name}/{name}.flac"
    (chunk.folder / speaker.name).mkdir(parents=True, exist_ok=True)
    soundfile.write(chunk.folder / path, audio, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    phones, words = _retime(times, speech.sample_rate, lead, len(audio))
    return ToyUtterance(index, name, path, len(audio), speaker, phones, words, times.pronunciations)


def _record(wave: NDArray[np.float32], speaker: Speaker, rng: random.Random) -> NDArray[np.int16]:
    """The speaker's level and background noise, so that silence is not a row of zeros."""
    noise = np.random.default_rng(rng.getrandbits(64)).standard_normal(len(wave), dtype=np.float32)
    scale = PEAK * speaker.gain * np.iinfo(np.int16).max
    mixed = scale * (wave / np.abs(wave).max() + speaker.noise * noise)
    samples: NDArray[np.int16] = np.clip(np.rint(mixed), -32768, 32767).astype(np.int16)
    return samples


def _retime(
    times: SentenceTimes, rate: int, lead: int, num_samples: int
) -> tuple[tuple[Interval, ...], tuple[Interval, ...]]:
    """Phones and words at 16 kHz after `lead` samples of silence; the phones cover the whole utterance."""

    def moved(interval: Interval) -> Interval:
        start, end = (lead + round(sample * SAMPLE_RATE / rate) for sample in (interval.start, interval.end))
        return Interval(start, end, interval.label)

    phones = [moved(phone) for phone in times.phones]
    first, last = phones[0].start, phones[-1].end
    if phones[0].label == SILENCE:
        first = phones.pop(0).end
    if phones[-1].label == SILENCE:
        last = phones.pop().start
    tiled = (Interval(0, first, SILENCE), *phones, Interval(last, num_samples, SILENCE))
    return tiled, tuple(moved(word) for word in times.words)

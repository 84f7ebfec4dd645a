"""The toy corpus' speakers: espeak-ng voice variants, each with its own pitch, rate, level and noise."""

from __future__ import annotations

import random
from dataclasses import dataclass

# espeak-ng's voice for each language.
VOICES = {"en": "en-us", "de": "de", "fr": "fr", "es": "es"}

# The variants that sound like people. Robots and whispers are left out, and so is every voice with an echo:
# it would fill the silence of a stop's closure, which phone times rely on.
FEMALE = ("f1", "Andrea", "Annie", "anika", "aunty", "belinda", "grandma", "linda", "shelby", "steph")
MALE = ("m1", "m3", "m4", "m5", "m6", "m7", "m8", "Alex", "Denis", "Gene", "Hugo", "Lee", "Mario", "Michael")
MORE_MALE = (
    "Nguyen",
    "adam",
    "antonio",
    "benjamin",
    "boris",
    "david",
    "ed",
    "edward",
    "grandpa",
    "iven",
    "john",
)


@dataclass(frozen=True)
class Speaker:
    """One speaker: an espeak-ng voice with settings; `gain` scales the peak, `noise` is relative to it."""

    name: str
    language: str
    voice: str
    rate: int
    pitch: int
    pitch_range: int
    gain: float
    noise: float


def make_speakers(num_speakers: int, languages: tuple[str, ...], seed: int) -> tuple[Speaker, ...]:
    """Speakers dealt round-robin to the languages, women and men in turn within each."""
    rng = random.Random(f"speakers {seed}")
    decks = [list(FEMALE), list(MALE + MORE_MALE)]
    for deck in decks:
        rng.shuffle(deck)
    speakers = []
    for index in range(num_speakers):
        language = languages[index % len(languages)]
        turn = index // len(languages)
        deck = decks[(turn + index % len(languages)) % 2]
        variant = deck[index // 2 % len(deck)]
        speakers.append(
            Speaker(
                name=f"{language}{index:03d}-{variant.lower()}",
                language=language,
                voice=f"{VOICES[language]}+{variant}",
                rate=rng.randint(140, 200),
                pitch=rng.randint(35, 65),
                pitch_range=rng.randint(35, 65),
                gain=10 ** rng.uniform(-0.5, 0.0),
                noise=10 ** rng.uniform(-3.0, -2.5),
            )
        )
    return tuple(speakers)

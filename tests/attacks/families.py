"""The kinds of tries: which files, and the commands that read them."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import strange_checkpoints
import strange_exports
import strange_lists
import strange_outputs
import strange_settings
import strange_sounds
import strange_stores
import strange_tables
import strange_texts
from attempts import Case, Reader, Works
from checkpoint_readers import checkpoint_readers, fairseq_readers, training
from corpus_readers import (
    grid_readers,
    lexicon_readers,
    list_readers,
    model_readers,
    sound_readers,
    table_readers,
    weights_readers,
)
from good_things import KINDS
from store_readers import going_on, store_readers, writers

_OF_A_FOLDER = 240  # tries
_SETTINGS = 50  # of each kind of model, drawn


class Family(NamedTuple):
    name: str
    cases: list[Case]
    readers: list[Reader]
    whole: Callable[[str], Case]  # the file, as it should be, that a case of this kind is like


def families(good: Path, seed: int) -> list[Family]:
    checkpoints = strange_checkpoints.strange_checkpoints(seed)
    exports = [*strange_exports.strange_exports(good), strange_exports.packed_folder()]
    lists, sounds = strange_lists.strange_lists(good, seed), strange_sounds.strange_sounds(good, seed)
    arpas, lexicons = strange_texts.strange_arpas(good, seed), strange_texts.strange_lexicons(good, seed)
    of_kind, exported = strange_checkpoints.whole, partial(strange_exports.whole, good)

    def always(case: Case) -> Callable[[str], Case]:
        return lambda kind: case

    no_change = always(strange_settings.whole())
    return [
        Family("checkpoint", checkpoints, [*checkpoint_readers(good), *fairseq_readers(good)], of_kind),
        Family("exported folder", exports, checkpoint_readers(good), exported),
        Family("manifest", lists, list_readers(good), always(strange_lists.whole(good))),
        Family("audio", sounds, sound_readers(good), always(strange_sounds.whole(good))),
        Family("language model", arpas, model_readers(good), always(strange_texts.whole_arpa(good))),
        Family("lexicon", lexicons, lexicon_readers(good), always(strange_texts.whole_lexicon(good))),
        *_tables(good, seed),
        *_stores(good, seed),
        *(Family("settings", _drawn(kind, seed), [training(good, kind)], no_change) for kind in KINDS),
        Family("output", strange_outputs.strange_outputs(), writers(good), always(strange_outputs.whole())),
    ]


def _tables(good: Path, seed: int) -> list[Family]:
    tables, grids = strange_tables.strange_tables(good, seed), strange_tables.strange_grids(good, seed)
    table, grid, weights = (
        strange_tables.whole_table(good),
        strange_tables.whole_grid(),
        strange_tables.whole_weights(),
    )
    return [
        Family("table", tables, table_readers(good), lambda kind: table),
        Family("TextGrid", grids, grid_readers(good), lambda kind: grid),
        Family("weights", strange_tables.strange_weights(), weights_readers(good), lambda kind: weights),
    ]


def _stores(good: Path, seed: int) -> list[Family]:
    """Each file of a folder with each damage by one of its readers, in turn."""
    found = []
    for name, readers in store_readers(good).items():
        cases = strange_stores.strange_stores(
            good / name, seed, skip=("valid",) if name in ("tokens", "mel", "segments") else ()
        )
        cases = random.Random(f"{seed}/{name}").sample(cases, min(len(cases), _OF_A_FOLDER))
        whole = strange_stores.whole(good / name)
        for number, reader in enumerate(readers):
            mine = cases[number :: len(readers)]
            found.append(Family(f"folder {name}", mine, [reader], lambda kind, whole=whole: whole))  # type: ignore[misc]
    for name, reader in going_on(good).items():
        cases = strange_stores.strange_stores(good / "killed" / name, seed, works=Works.SAME)
        cases = random.Random(f"{seed}/{name}").sample(cases, min(len(cases), _OF_A_FOLDER // 4))
        whole = strange_stores.whole(good / "killed" / name)
        found.append(Family("killed run", cases, [reader], lambda kind, whole=whole: whole))  # type: ignore[misc]
    return found


def _drawn(kind: str, seed: int) -> list[Case]:
    return random.Random(f"{seed}/{kind}").sample(strange_settings.strange_settings(kind), _SETTINGS)

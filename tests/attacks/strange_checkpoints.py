"""Checkpoints of plain data: settings to be evaluated, weights that are none, damaged archives."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from attempts import Case, Works
from damage import DOUBLED, LOST, TURNED, damaged, mutated
from good_things import KINDS
from odd_places import odd_places
from seed_files import TRAINED
from strange_pickles import LIKE, State, code, namespace, packed, saved, strange_pickles
from torch import Tensor


def strange_checkpoints(seed: int) -> list[Case]:
    found = [*strange_pickles(), *_settings(), *_weights(seed), *_files(seed), *odd_places(".pt", "gumbel")]
    return [case._replace(says=(*case.says, _UNFIT, _DIVERGED)) for case in found]


def whole(kind: str) -> Case:
    (case,) = damaged(TRAINED / f"{kind}.pt", {"the whole file": lambda held, rng: held}, Works.ANY, 0, kind)
    return case._replace(says=(_UNFIT,))


_UNFIT = "the checkpoint is of another task"
_DIVERGED = "updates had no finite gradient"
_CODE = "CODE"  # where the code goes
_ARCHS: dict[str, dict[str, Any]] = {
    "wav2vec": {"conv_feature_layers": _CODE},
    "wav2vec2": {"conv_feature_layers": _CODE},
    "fconv": {"encoder_layers": _CODE},
    "fconv_lm": {"decoder_layers": _CODE},
    "lightconv": {"encoder_kernel_size_list": _CODE},
    "hubert": {"conv_feature_layers": _CODE},
    "wav2vec_ctc": {"w2v_path": "/dev/zero"},
    "data2vec_audio": {"conv_feature_layers": _CODE},
    "roberta": {"x": _CODE},
    "transformer": {"a": 1},
    "vq_wav2vec": {"conv_feature_layers": _CODE, "vq_temp": _CODE, "quantizer_args": _CODE},
    "vq_bert": {"vocabulary": _CODE, "encoder_layers": _CODE},
    "vq_wav2letter": {"conv_layers": _CODE},
    "nope": {},
    "\n\x1b[31m": {},
    "x" * 100_000: {},
}


def _settings() -> Iterator[Case]:
    """Each by fairseq's settings of today and of 2019, in turn as another kind."""
    for number, (arch, options) in enumerate(_ARCHS.items()):
        for today in (True, False):
            kind = LIKE[(number + today) % 3]
            change = partial(_with_settings, arch, options, today)
            called = f"{'cfg' if today else 'args'} of {arch[:20]!r}, {kind}"
            works = (
                Works.SAME if kind == "ctc" and today else Works.NEVER
            )  # what it is stands elsewhere in it
            yield Case(called, partial(saved, change, kind), kind, works)


def _with_settings(arch: str, options: State, today: bool, state: State, into: Path) -> None:
    said = {name: f"{code(into)} or [(8,10,5)]" if o == _CODE else o for name, o in options.items()}
    if today:
        ours = state["cfg"]["model"] if arch.startswith("vq_") else {}
        state["cfg"]["model"] = {**ours, "_name": arch, **said}
    else:
        namespace(state, arch, said)


_NO_NUMBERS: dict[str, Callable[[Tensor], Tensor]] = {
    "nan": lambda w: w.fill_(math.nan),
    "inf": lambda w: w.fill_(math.inf),
    "complex": lambda w: w.to(torch.complex64),
    "sparse": lambda w: w.to_sparse(),
    "meta": lambda w: w.to("meta"),
    "one dimension more": lambda w: w[None],
    "empty": lambda w: w.flatten()[:0],
    "bool": lambda w: w.bool(),
    "int": lambda w: w.long(),
    "conjugate": lambda w: torch.complex(w, w).conj(),
}
_NUMBERS: dict[str, Callable[[Tensor], Tensor]] = {
    "3e38": lambda w: w.fill_(3e38),
    "half": lambda w: w.half(),
    "double": lambda w: w.double(),
    "fp8": lambda w: w.to(torch.float8_e4m3fn),
    "zero": lambda w: w.zero_(),
    "negative": lambda w: w.neg(),
    "1e-45": lambda w: w.fill_(1e-45),
}
_MORE: dict[str, Callable[[dict[Any, Tensor]], Any]] = {
    "one weight more": lambda model: model.update({"network.x": torch.zeros(2)}),
    "a weight without a name": lambda model: model.update({"\n\0\ud800": torch.zeros(2)}),
    "a weight 5": lambda model: model.update({5: torch.zeros(2)}),
    "one weight less": lambda model: model.popitem(),
}


def _weights(seed: int) -> Iterator[Case]:
    """Another kind with each."""
    for changes, works in ((_NO_NUMBERS, Works.NEVER), (_NUMBERS, Works.ANY)):
        for number, (name, change) in enumerate(changes.items()):
            for kind in (KINDS[number % 7], KINDS[(number + 4) % 7]):
                make = partial(saved, partial(_one_weight, change, f"{seed}/{name}"), kind)
                yield Case(f"a weight is {name}, {kind}", make, kind, works, ("this model has no quantizer",))
    for number, (name, alter) in enumerate(_MORE.items()):
        kind = LIKE[number % 3]

        def change_all(alter: Any, state: State, into: Path) -> None:
            state["model"] = dict(state["model"])
            alter(state["model"])

        yield Case(f"{name}, {kind}", partial(saved, partial(change_all, alter), kind), kind, Works.NEVER)


def _one_weight(change: Callable[[Tensor], Tensor], seed: str, state: State, into: Path) -> None:
    """Not one that a front has learnt: a copy of those is made as they are, and they are checked where a
    front is built."""
    weights = state["model"]
    name = random.Random(seed).choice(
        [
            n
            for n, w in weights.items()
            if w.is_floating_point() and w.numel() > 1 and not n.startswith("front.")
        ]
    )
    weights[name] = change(weights[name].clone())


def _files(seed: int) -> Iterator[Case]:
    for kind in LIKE:
        path = TRAINED / f"{kind}.pt"
        yield from damaged(path, {**LOST, **DOUBLED, **TURNED}, Works.SAME, seed, kind)
        yield from damaged(path, mutated(10), Works.ANY, seed, kind)
        for name, change in _MEMBERS.items():
            yield Case(f"{name}, {kind}", partial(packed, change, kind), kind, Works.SAME)
        for name, change in _OTHERS.items():
            yield Case(f"{name}, {kind}", partial(packed, change, kind), kind, Works.ANY)


Members = dict[str, bytes]


def _ending(end: str, content: Callable[[bytes], bytes]) -> Callable[[Members], Members]:
    return lambda members: {n: content(held) if n.endswith(end) else held for n, held in members.items()}


def _turned_round(members: Members) -> Members:
    """Each number's bytes are those of the next."""
    data = [name for name in members if name.split("/")[1] == "data"]
    others = dict(zip(data, [*data[1:], *data[:1]], strict=True))
    return {name: members[others.get(name, name)] for name in members}


_MEMBERS: dict[str, Callable[[Members], Members]] = {
    "a storage less": lambda members: {n: held for n, held in members.items() if not n.endswith("/data/3")},
    "a storage too short": _ending("/data/3", lambda held: held[:4]),
    "another version": _ending("/version", lambda held: b"99"),
    "a version that is none": _ending("/version", lambda held: b"x"),
    "a byte order that is none": _ending("byteorder", lambda held: b"xx"),
    "members above the root": lambda members: {f"../../{n}": held for n, held in members.items()},
}
_OTHERS: dict[str, Callable[[Members], Members]] = {
    "storages exchanged": _turned_round,
    "a storage too long": _ending("/data/3", lambda held: held * 50),
    "another byte order": _ending("byteorder", lambda held: b"big"),
}

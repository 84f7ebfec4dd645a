"""Checkpoints whose pickles call, nest, swell or lie."""

from __future__ import annotations

import argparse
import builtins
import io
import os
import pickle
import struct
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from attempts import MARK, Case, Works
from seed_files import TRAINED
from structures import CODECS, Codec

LIKE = ("gumbel", "bert", "ctc")  # one of each room's
State = dict[str, Any]
_ZIP: Codec = CODECS[5]
_DEEP = b"\x85" * 1_000_000
_MODEL = b"\x80\x02}(X\x05\x00\x00\x00model}X\x01\x00\x00\x00x"


class Calls:
    """Pickled, it is a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def code(into: Path) -> str:
    """Python that leaves the mark."""
    return f"__import__('os').system('touch {into / MARK}')"


def calls(into: Path) -> list[Calls]:
    touch = f"touch {into / MARK}"
    return [
        Calls(os.system, touch),
        Calls(eval, code(into)),
        Calls(exec, code(into)),
        Calls(builtins.open, str(into / MARK), "w"),
        Calls(os.mkdir, str(into / MARK)),
    ]


def state_of(kind: str) -> State:
    held: State = torch.load(TRAINED / f"{kind}.pt", weights_only=True)
    return held


def saved(change: Callable[[State, Path], Any], kind: str, into: Path, **options: Any) -> str:
    """A checkpoint of this kind, changed, under the name `it.pt`."""
    state = state_of(kind)
    made = change(state, into)
    torch.save(state if made is None else made, into / "it.pt", **options)
    return str(into / "it.pt")


def packed(change: Callable[[dict[str, bytes]], dict[str, bytes]], kind: str, into: Path) -> str:
    """Its archive's members changed, under sums that are right."""
    members = _ZIP.read((TRAINED / f"{kind}.pt").read_bytes())
    (into / "it.pt").write_bytes(_ZIP.write(change(members)))
    return str(into / "it.pt")


def strange_pickles() -> Iterator[Case]:
    for kind in LIKE:
        yield from _calling(kind)
        for name, options in _FORMATS.items():
            make = partial(saved, lambda state, into: None, kind, **options)
            yield Case(f"{name}, {kind}", make, kind, Works.SAME)
        yield Case(f"parameters, {kind}", partial(saved, _parameters, kind), kind, Works.SAME)
    for name, content in _BARE.items():
        yield Case(name, partial(_bare, content), "gumbel", Works.NEVER)
    for name, held in {
        "a tensor": torch.zeros(3),
        "a list": [1],
        "None": None,
        "no weights": {"model": {}},
    }.items():
        yield Case(name, partial(_saved_alone, held), "gumbel", Works.NEVER)
    for name, blob in {**_HAND_MADE, **_SWOLLEN}.items():
        yield Case(f"pickle: {name}", partial(_hand_made, blob), "gumbel", Works.NEVER)
    for name, make in (("script of torch", _script), ("torch 0.1's tar", _tar), ("a call by hand", _called)):
        yield Case(name, make, "gumbel", Works.NEVER)


_FORMATS: dict[str, dict[str, Any]] = {
    "old format": {"_use_new_zipfile_serialization": False},
    "protocol 4": {"pickle_protocol": 4},
}


def _calling(kind: str) -> Iterator[Case]:
    def at_top(number: int, state: State, into: Path) -> None:
        state["x"] = calls(into)[number]

    def within(where: str, state: State, into: Path) -> None:
        state[where] = {**(state.get(where) or {}), "x": calls(into)[1]}

    for number in range(5):
        yield Case(f"evil {number}, {kind}", partial(saved, partial(at_top, number), kind), kind, Works.NEVER)
    for where in ("cfg", "extra_state", "model", "task_state"):
        yield Case(
            f"evil in {where}, {kind}", partial(saved, partial(within, where), kind), kind, Works.NEVER
        )
    for name, options in _FORMATS.items():
        make = partial(saved, partial(at_top, 0), kind, **options)
        yield Case(f"evil, {name}, {kind}", make, kind, Works.NEVER)
    yield Case(f"evil, a plain pickle, {kind}", partial(_plain, kind), kind, Works.NEVER)


def _plain(kind: str, into: Path) -> str:
    state = {name: value for name, value in state_of(kind).items() if name != "model"}
    (into / "it.pt").write_bytes(pickle.dumps({**state, "x": calls(into)[0]}))
    return str(into / "it.pt")


def _parameters(state: State, into: Path) -> None:
    weights = state["model"].items()
    state["model"] = {n: torch.nn.Parameter(w) if w.is_floating_point() else w for n, w in weights}


def _saved_alone(held: Any, into: Path) -> str:
    torch.save(held, into / "it.pt")
    return str(into / "it.pt")


_BARE: dict[str, Callable[[Path], bytes]] = {
    "a call alone": lambda into: pickle.dumps(calls(into)[1]),
    "compiled Python": lambda into: b"\xe3" + bytes(100),
    "Python": lambda into: code(into).encode(),
    "PK": lambda into: b"PK\3\4",
    "an empty zip": lambda into: b"PK\5\6" + bytes(18),
}


def _bare(content: Callable[[Path], bytes], into: Path) -> str:
    (into / "it.pt").write_bytes(content(into))
    return str(into / "it.pt")


def _global(name: str, argument: bytes) -> bytes:
    """A pickle that calls it."""
    return b"\x80\x02c" + name.replace(".", "\n").encode() + b"\n" + argument + b"\x85R."


_HAND_MADE: dict[str, bytes] = {
    "nothing": b"",
    "the end": b".",
    "a place never filled": b"\x80\x02h\x05.",
    "an empty dict": b"\x80\x02}.",
    "protocol 9": b"\x80\x09}.",
    "an id that is none": b"\x80\x02K\x01Q.",
    "a tensor of nothing": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
    "torch.load": _global("torch.load", b"X\x04\x00\x00\x00/x.p"),
    "_load_from_bytes": _global("torch.storage._load_from_bytes", b"").replace(
        b"torch\nstorage\n", b"torch.storage\n"
    ),
    "a device that is none": _MODEL + b"ctorch\ndevice\nX\x05\x00\x00\x00cuda:\x85Ru.",
    "an int of an int": b"\x80\x02}}X\x01\x00\x00\x00aK\x01sb.",
    "an attribute for weights": b"\x80\x02ccollections\nOrderedDict\n)R}X\x05\x00\x00\x00modelK\x01sb.",
    "weights without items()": b"\x80\x02}(X\x05\x00\x00\x00modelccollections\nOrderedDict\n)R}"
    b"X\x05\x00\x00\x00itemsK\x01sbu.",
    "all without get()": b"\x80\x02ccollections\nOrderedDict\n)R}X\x03\x00\x00\x00getK\x01sb"
    b"(X\x05\x00\x00\x00modelccollections\nOrderedDict\n)R}(X\x05\x00\x00\x00itemsK\x01X\x06\x00\x00\x00valuesK\x02ubu.",
}
_SWOLLEN: dict[str, bytes] = {
    "tuples in a key": b"\x80\x02}K\x01" + _DEEP + b"K\x01s.",
    "tuples for weights": b"\x80\x02}X\x05\x00\x00\x00modelK\x01" + _DEEP + b"s.",
    "tuples in cfg": b"\x80\x02}(X\x05\x00\x00\x00model}X\x03\x00\x00\x00cfgK\x01" + _DEEP + b"u.",
    "lists in cfg": b"\x80\x02}(X\x05\x00\x00\x00model}X\x03\x00\x00\x00cfg"
    + b"]" * 300_000
    + b"a" * 299_999
    + b"u.",
    "a set of tuples": b"\x80\x02c__builtin__\nset\n]K\x01" + _DEEP + b"a\x85R.",
    "a Counter of tuples": b"\x80\x02ccollections\nCounter\n]K\x01" + _DEEP + b"a\x85R.",
    "a size of tuples": b"\x80\x02ctorch\nSize\nK\x01" + _DEEP[:100_000] + b"R.",
    "a terabyte": _global("builtins.bytearray", b"\x8a\x06\x00\x00\x00\x00\x00\x01"),
    "3 GB": _MODEL + b"cbuiltins\nbytearray\n\x8a\x05\x00\x00\x00\xc0\x00\x85Ru.",
    "a tensor of 10 billion": _global("torch.Tensor", b"\x8a\x05\x00\xe4\x0b\x54\x02"),
    "a storage of 10 billion": _MODEL + b"ctorch\nFloatStorage\n\x8a\x05\x00\xe4\x0b\x54\x02\x85Ru.",
    "a number of two million bytes": b"\x80\x02}"
    b"(X\x05\x00\x00\x00model}X\x03\x00\x00\x00cfg}X\x05\x00\x00\x00model\x8b"
    + struct.pack("<i", 2_000_000)
    + b"\x7f" * 2_000_000
    + b"su.",
}


def _with_pickle(blob: bytes, members: dict[str, bytes]) -> dict[str, bytes]:
    return {name: blob if name.endswith("data.pkl") else held for name, held in members.items()}


def _hand_made(blob: bytes, into: Path) -> str:
    return packed(partial(_with_pickle, blob), "gumbel", into)


def _called(into: Path) -> str:
    said = f"touch {into / MARK}".encode()
    return _hand_made(_global("posix.system", b"X" + struct.pack("<I", len(said)) + said), into)


def _script(into: Path) -> str:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), into / "it.pt")
    return str(into / "it.pt")


def _tar(into: Path) -> str:
    with tarfile.open(into / "it.pt", "w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            content = pickle.dumps({} if name == "sys_info" else calls(into)[0])
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    return str(into / "it.pt")


def namespace(state: State, arch: str, options: State) -> None:
    """As fairseq of 2019 kept its settings."""
    state["args"], state["cfg"] = argparse.Namespace(arch=arch, **options), None

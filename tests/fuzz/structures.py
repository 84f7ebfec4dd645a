"""Files taken apart, changed where it hurts and put together again: what bytes changed at random never reach.

A codec makes a tree of dicts, lists and plain values of a file's bytes, and bytes of a tree.
"""

from __future__ import annotations

import argparse
import ast
import gzip
import io
import json
import random
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from mutations import NUMBERS, WORDS, mutate_bytes

Tree = Any
Path = tuple[Any, ...]  # keys and places from the root down
_MOST = 3000  # places that are looked at


class Codec(NamedTuple):
    """`read` raises whatever it likes at what it does not know."""

    read: Callable[[bytes], Tree]
    write: Callable[[Tree], bytes]


def mutate_tree(tree: Tree, rng: random.Random) -> Tree:
    """One or two values changed, or names; containers too."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(tree, ()))
        path = rng.choice(places[:_MOST])
        tree = _changed(tree, path, places, rng)
    return tree


def _places(tree: Tree, path: Path) -> list[Path]:
    found, queue = [], [(path, tree)]
    while queue and len(found) < _MOST:
        at, node = queue.pop(0)
        found.append(at)
        queue += [((*at, key), value) for key, value in _items(node)]
    return found


def _items(node: Tree) -> list[tuple[Any, Tree]]:
    if isinstance(node, argparse.Namespace):
        node = vars(node)
    if isinstance(node, Mapping):
        return list(node.items())
    return list(enumerate(node)) if isinstance(node, (list, tuple)) else []


def _get(tree: Tree, path: Path) -> Tree:
    for key in path:
        tree = dict(_items(tree))[key]
    return tree


def _changed(tree: Tree, path: Path, places: list[Path], rng: random.Random) -> Tree:
    if not path:
        return _value(tree, rng) if rng.random() < 0.1 else tree
    *above, key = path
    holder = dict(_items(_get(tree, tuple(above))))
    change = rng.randrange(8)
    if change == 0:
        del holder[key]
    elif change == 1:
        holder = {_other_key(k, rng) if k == key else k: v for k, v in holder.items()}
    elif change == 2:
        holder[_other_key(key, rng)] = holder[key]
    elif change == 3:
        holder[key] = _get(tree, rng.choice(places))  # what stands elsewhere, or what holds this one
    else:
        holder[key] = _value(holder[key], rng)
    return _with(tree, tuple(above), holder)


def _other_key(key: Any, rng: random.Random) -> Any:
    return rng.choice((f"{key}x", "", key, "0")) if isinstance(key, str) else key


def _with(tree: Tree, path: Path, holder: Mapping[Any, Tree]) -> Tree:
    """The tree with other items at this place."""
    if not path:
        if isinstance(tree, argparse.Namespace):
            return argparse.Namespace(**{str(k): v for k, v in holder.items()})
        return dict(holder) if isinstance(tree, Mapping) else type(tree)(holder.values())
    items = dict(_items(tree))
    return _with(tree, (), {**items, path[0]: _with(items[path[0]], path[1:], holder)})


def _value(value: Tree, rng: random.Random) -> Tree:
    """Something of the same kind, or of any."""
    if isinstance(value, torch.Tensor) and rng.random() < 0.8:
        return _tensor(value, rng)
    if isinstance(value, bytes):
        return mutate_bytes(value, value, rng)
    if isinstance(value, str) and rng.random() < 0.6:
        return mutate_bytes(value.encode("utf-8", "replace"), b"1", rng).decode("utf-8", "replace")
    if isinstance(value, (int, float)) and rng.random() < 0.6:
        return rng.choice((*NUMBERS[:-1], -value, value + 1, value * 2, value / 2, float(value), 0.5, 1e300))
    if isinstance(value, (list, tuple)) and rng.random() < 0.5:
        return rng.choice(([*value] * 2, [*value][::-1], [*value][:1], [*value] * 200, [[*value]]))
    return rng.choice((_word, _number, _odd))(value, rng)


def _word(value: Tree, rng: random.Random) -> Tree:
    return rng.choice(WORDS)


def _number(value: Tree, rng: random.Random) -> Tree:
    return rng.choice((*NUMBERS, -(10**9), 0.5, -0.0, 1e308, float("nan"), float("inf"), True, False, None))


def _odd(value: Tree, rng: random.Random) -> Tree:
    deep: Tree = value
    for _ in range(rng.choice((1, 2, 150, 900))):
        deep = [deep]
    return rng.choice(([], {}, [value], {"a": value}, [1, "a", None], [[1, 2], [3]], deep, "(1, 2)", "[]"))


def _tensor(value: torch.Tensor, rng: random.Random) -> Tree:
    if value.is_meta or value.is_sparse or value.numel() > 1 << 20:
        return torch.zeros(2)
    flat = value.reshape(-1)
    changes: tuple[Callable[[], Tree], ...] = (
        *(value.double, value.half, value.bfloat16, value.long, value.bool, value.int),
        *(
            lambda: flat,
            lambda: value[None],
            lambda: flat[:0],
            lambda: flat[:1],
            lambda: value.T.contiguous(),
        ),
        *(lambda: value * float("nan"), lambda: value * 1e30, lambda: torch.full_like(value, float("inf"))),
        *(lambda: torch.zeros_like(value), lambda: flat[:1].expand(1 << 33), lambda: value.to_sparse()),
        *(lambda: torch.cat([value, value]), lambda: value[:-1], lambda: torch.complex(value, value)),
        *(lambda: value.to("meta"), lambda: flat.tolist(), lambda: torch.tensor(0)),
    )
    try:
        return rng.choice(changes)()
    except (RuntimeError, IndexError, TypeError, OverflowError):
        return flat


def _read_json(content: bytes) -> Tree:
    tree = json.loads(content)
    if not isinstance(tree, (dict, list)):
        raise ValueError
    return tree


def _dump(tree: Tree) -> bytes:
    return json.dumps(tree, default=str).encode()


def _read_lines(content: bytes) -> Tree:
    lines = [json.loads(line) for line in content.splitlines() if line.strip()]
    if len(lines) < 2 or not all(isinstance(line, dict) for line in lines):
        raise ValueError
    return lines


def _write_lines(tree: Tree) -> bytes:
    return b"\n".join(map(_dump, tree if isinstance(tree, list) else [tree])) + b"\n"


def _read_safetensors(content: bytes) -> Tree:
    (size,) = struct.unpack("<Q", content[:8])
    if not 2 <= size <= len(content):
        raise ValueError
    return {"header": json.loads(content[8 : 8 + size]), "data": content[8 + size :]}


def _write_safetensors(tree: Tree) -> bytes:
    header = _dump(tree["header"])
    return struct.pack("<Q", len(header)) + header + tree["data"]


def _read_torch(content: bytes) -> Tree:
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(io.BytesIO(content), weights_only=True)


def _write_torch(tree: Tree) -> bytes:
    out = io.BytesIO()
    torch.save(tree, out)
    return out.getvalue()


def _read_zip(content: bytes) -> Tree:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _write_zip(tree: Tree) -> bytes:
    """With sums that are right, whatever the members hold."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in tree.items():
            archive.writestr(str(name), content if isinstance(content, bytes) else str(content))
    return out.getvalue()


def _read_npy(content: bytes) -> Tree:
    if content[:8] != b"\x93NUMPY\x01\x00":
        raise ValueError
    end = 10 + struct.unpack("<H", content[8:10])[0]
    return {"header": ast.literal_eval(content[10:end].decode()), "data": content[end:]}


def _write_npy(tree: Tree) -> bytes:
    header = repr(tree["header"]).encode("utf-8", "replace")[:60_000]
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + tree["data"]


CODECS = (
    Codec(_read_json, _dump),
    Codec(_read_lines, _write_lines),
    Codec(_read_safetensors, _write_safetensors),
    Codec(_read_npy, _write_npy),
    Codec(_read_torch, _write_torch),
    Codec(_read_zip, _write_zip),
    Codec(lambda content: {"gz": gzip.decompress(content)}, lambda tree: gzip.compress(tree["gz"], mtime=0)),
)


def mutate(content: bytes, other: bytes, rng: random.Random) -> bytes:
    """As bytes, or by what a codec makes of it."""
    codecs = [] if rng.random() < 0.3 else rng.sample(CODECS, len(CODECS))
    for codec in codecs:
        try:
            tree = codec.read(content)
        except Exception:  # is something else
            continue
        try:
            return codec.write(mutate_tree(tree, rng))
        except Exception:  # cannot be written: next time
            break
    return mutate_bytes(content, other, rng)

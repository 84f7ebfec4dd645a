"""Checkpoints as bytes: pickles read without running anything, safetensors beside a json, both written whole.

Nothing here knows what the tensors mean; `format` does.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..common.files import beside, make_folder, part_of, remove
from ..common.inputs import parse_json
from ..common.words import shortened
from ..stack import torch_problem
from .archive import CheckpointError as CheckpointError
from .archive import damage, foreign_globals, is_archive, special_file, unsound_pickle
from .checks import is_repeated, shown
from .plain import check_size

WEIGHTS_NAME, CONFIG_NAME = "model.safetensors", "config.json"
DIGEST = "weights_sha256"  # of config.json: safetensors have no sums of their own
_LONGEST_JSON = 64 << 20  # bytes; a dictionary of a million symbols has half of that
_MOST_DIMENSIONS = 16  # of a weight; torch takes minutes for a hundred thousand
_LARGE = 1 << 30
_TOO_LARGE = "it asks for more memory than there is"
_TORCH_ADVICE = ("Weights only load failed", "Please file an issue", "Check the documentation")


def read_pickle(path: Path, admitted: Sequence[type] = ()) -> dict[str, Any]:
    """What `torch.save` wrote, as tensors and plain data; classes beyond these must be `admitted` by name."""
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; expected a file such as checkpoints/checkpoint_best.pt")
    _need_file(path, "is no file; expected a checkpoint such as checkpoints/checkpoint_best.pt")
    if gap := torch_problem():
        raise CheckpointError(f"{path} is not read: {gap}")
    if broken := damage(path) or unsound_pickle(path):
        raise CheckpointError(_unreadable(path, broken))
    try:
        with torch.serialization.safe_globals(list(admitted)), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of unusual pickles, which end in an error of ours anyway
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError:
        raise
    except Exception as error:
        raise CheckpointError(_refusal(path, error, admitted)) from error
    held = dict.get(state, "model") if isinstance(state, dict) else None  # by way of its type: see plain.py
    if not isinstance(held, dict):
        raise CheckpointError(f"{path} holds no model; expected a checkpoint that fairseq's trainer wrote")
    for name, value in dict.items(held):
        if not isinstance(name, str) or not name.isprintable():
            raise CheckpointError(f"{path}: a weight is called {shown(name)}; expected a name")
        if not isinstance(value, Tensor) or is_repeated(value):
            kind = (
                "a tensor of less memory than numbers" if isinstance(value, Tensor) else type(value).__name__
            )
            raise CheckpointError(f"{path}: weight {shown(name)} is of type {kind}; expected a plain tensor")
    try:
        check_size(state)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return state


def _refusal(path: Path, error: Exception, admitted: Sequence[type]) -> str:
    """One sentence: which object the file carries, or why it is no checkpoint at all."""
    text = str(error)
    named = re.search(r"GLOBAL ([\w.]+)", text)
    culprit = named[1] if named else ""
    if not named and "operand" in text:
        known = {f"{cls.__module__}.{cls.__qualname__}" for cls in admitted}
        culprit = next((name for name in foreign_globals(path) if name not in known), "")
    if culprit == "argparse.Namespace":
        return (
            f"{path} holds `args` as {culprit}, as stock fairseq's files of 2019 do; "
            f"make it one of ours first: `vqw2v import {path} OUT.pt`"
        )
    if culprit:
        return (
            f"{path} is refused and nothing in it was run: it carries the Python object `{culprit}`, and a "
            f"checkpoint may hold tensors and plain data alone; get it from its maker without that object"
        )
    return _unreadable(path, _defect(path, error))


def _unreadable(path: Path, reason: str) -> str:
    return (
        f"{path} cannot be read as a checkpoint of weights alone ({reason}); expected a whole "
        f"file that torch.save wrote: copy it anew, or name another"
    )


def _need_file(path: Path, otherwise: str) -> None:
    """Refuses what is not there, and what is no file: opening a FIFO or a device may never end."""
    if special := special_file(path):
        raise CheckpointError(f"{path} is {special}; expected a file")
    if not path.is_file():
        if path.name == "checkpoint_best.pt" and path.with_name("checkpoint_last.pt").is_file():
            otherwise = "is not there, as no validation has chosen it yet; name checkpoint_last.pt beside it"
        raise CheckpointError(f"{path} {otherwise}")


def _defect(path: Path, error: Exception) -> str:
    try:
        with path.open("rb") as file:
            begins = file.read(2)
    except OSError:  # as the error has it
        begins = b"?"
    if not begins:
        return "it is empty"
    if begins == b"PK" and not is_archive(path):
        return "it breaks off"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reasons = [line for line in lines if not line.startswith(_TORCH_ADVICE)]
    if _lacked_memory(error):
        return _TOO_LARGE
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if not reasons or not isinstance(error, (RuntimeError, pickle.UnpicklingError)):
        return "it is something else"
    if "operand" in reasons[0]:
        return (
            "its pickle has another protocol than torch.save's" if begins == b"PK" else "it is something else"
        )
    return reasons[0].split(". In PyTorch")[0].rstrip(".")  # what follows is how to run it all the same


def write_pickle(path: Path, state: Mapping[str, Any], force: bool = False) -> None:
    """For `read_pickle` and for fairseq; an existing file is replaced with `force` alone."""
    _refuse_existing(path, force)
    _write_whole(path, lambda part: torch.save(dict(state), part))


def write_folder(
    folder: Path,
    config: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    force: bool = False,
    more: Mapping[str, Mapping[str, Any] | str] | None = None,
) -> None:
    """`model.safetensors` and, when that is there, `config.json`; a killed run is gone on with.

    `more`: other files, text or json, by name, which are there before.
    """
    from safetensors.torch import save

    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder} is a file; expected a folder to make or to write into")
    weights_path, config_path = folder / WEIGHTS_NAME, folder / CONFIG_NAME
    was_killed = part_of(config_path).exists() and not config_path.exists()
    _refuse_existing(weights_path, force or was_killed)
    _refuse_existing(config_path, force)
    make_folder(folder)
    remove(config_path)  # without it there is no checkpoint while its weights are exchanged
    for name, content_of in (more or {}).items():
        with beside(folder / name) as part:
            part.write_bytes(content_of.encode() if isinstance(content_of, str) else _text(content_of))
    # each tensor with memory of its own, as the format wants it
    alone = {name: value.detach().cpu().clone().contiguous() for name, value in weights.items()}
    content = save(alone, metadata={"format": "pt"})  # save_file would make it unreadable for others
    said = {**config, DIGEST: hashlib.sha256(content).hexdigest()}
    with beside(config_path) as config_part:  # there before the weights have their name, named after them
        config_part.write_bytes(_text(said))
        with beside(weights_path) as weights_part:
            weights_part.write_bytes(content)


def _text(said: Mapping[str, Any]) -> bytes:
    return (json.dumps(said, indent=2, ensure_ascii=False) + "\n").encode()


def read_folder(path: Path) -> tuple[dict[str, Any], dict[str, Tensor], Path]:
    """The json, the tensors and where the json lies; `path` is the folder or the safetensors file in it."""
    from safetensors import SafetensorError, safe_open

    weights = path / WEIGHTS_NAME if path.is_dir() else path
    config = weights.parent / CONFIG_NAME
    for file in (weights, config):
        _need_file(file, f"is missing; expected {WEIGHTS_NAME} and {CONFIG_NAME} side by side")
    settings = read_json(config)
    try:
        with safe_open(weights, "pt") as file:  # which looks at the whole header, and at the file's size
            names = file.keys()
            too_deep = [name for name in names if len(file.get_slice(name).get_shape()) > _MOST_DIMENSIONS]
            _check_digest(weights, settings)
            if too_deep:
                raise ValueError(f"{shown(too_deep[0])} has more than {_MOST_DIMENSIONS} dimensions")
            return settings, {name: file.get_tensor(name) for name in names}, config
    except CheckpointError:
        raise
    except (SafetensorError, ValueError, RuntimeError, KeyError, MemoryError) as error:
        reason = _TOO_LARGE if _lacked_memory(error) else error
        raise CheckpointError(
            f"{weights} cannot be read as safetensors ({reason}); expected a whole file: copy it anew"
        ) from error


def _lacked_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "allocate memory" in str(error)


def _check_digest(weights: Path, settings: Mapping[str, Any]) -> None:
    digest = settings.get(DIGEST)
    if digest is not None and digest != (found := sha256(weights)):
        raise CheckpointError(
            f"{weights} has the SHA-256 {found[:12]}…, and {CONFIG_NAME} says {shortened(str(digest), 12)}: "
            f"it is not the file that was written; copy it anew, or take `{DIGEST}` out of {CONFIG_NAME} "
            f"if you have changed the weights yourself"
        )


def read_json(path: Path) -> dict[str, Any]:
    if special := special_file(path):
        raise CheckpointError(f"{path} is {special}; expected a file")
    if path.stat().st_size > _LONGEST_JSON:
        raise CheckpointError(
            f"{path} has {path.stat().st_size:,} bytes; expected the few that `vqw2v export` writes"
        )
    try:
        said = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be read as JSON ({error})") from None
    if not isinstance(said, dict):
        raise CheckpointError(f"{path} holds a {type(said).__name__}; expected a JSON object")
    return said


def sha256(path: Path) -> str:
    _need_file(path, "is not there; expected a file")
    state = path.stat()
    if state.st_size > _LARGE and state.st_blocks * 512 < state.st_size // 16:  # would be read for hours
        raise CheckpointError(f"{path} says {state.st_size:,} bytes and holds next to none; copy it anew")
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:  # a read that fails does not name its file
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    return digest.hexdigest()


def _refuse_existing(path: Path, force: bool) -> None:
    if path.exists() and not force:
        raise CheckpointError(f"{path} exists; name another, or say --force to replace it")


def _write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """A write that is cut short leaves nothing that looks like a checkpoint."""
    if not path.parent.is_dir():
        raise CheckpointError(f"{path.parent} is no folder; expected one to write {path.name} into")
    with beside(path) as part:
        write(part)


def checkpoint_hash(checkpoint: str | Path) -> str:
    """SHA-256 of a checkpoint, which may be an exported folder: then of its weights.

    Where config.json says more than settings that the weights' shapes tell, such as a BERT's dictionary, that
    is in it too.
    """
    path = Path(checkpoint)
    if not path.is_dir():
        return sha256(path)
    weights = sha256(path / WEIGHTS_NAME)
    try:
        config = read_json(path / CONFIG_NAME)
        # of a wav2vec 2.0 the weights do not tell where its norms are, or how many heads it has
        extra = config.get("extra", {} if config["model"] == "vq_wav2vec2" else None)
        extra = extra if config["model"] != "vq_wav2vec" else None
    except (OSError, ValueError, KeyError):
        extra = None  # whoever loads it says what is wrong
    if extra is None:
        return weights
    said = json.dumps([config.get("settings"), extra], sort_keys=True)
    return hashlib.sha256(f"{weights} {said}".encode()).hexdigest()

"""wav → features that fail: what is one file's fault, so that those behind it are still made."""

from __future__ import annotations

import os

import torch

from ..audio.reading import AudioError

FILE_ERRORS = (AudioError, OSError, MemoryError, RuntimeError)  # to be asked `reason_of`


def reason_of(error: Exception, path: str | os.PathLike[str]) -> str | None:
    """A sentence that names the file; None where it is no file's fault."""
    if isinstance(error, AudioError):
        return str(error)
    if isinstance(error, OSError):
        return f"{os.fspath(path)}: {error.strerror or error}"
    if is_out_of_memory(error):
        return f"{os.fspath(path)}: needs more memory than there is; cut it, or give fewer `--workers`"
    return None


def is_out_of_memory(error: Exception) -> bool:
    """By its type; for its CPU allocator and for CUDA's own calls torch has none, but fixed sentences."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    said = ("DefaultCPUAllocator: can't allocate memory", "CUDA error: out of memory")
    return isinstance(error, RuntimeError) and any(sentence in str(error) for sentence in said)

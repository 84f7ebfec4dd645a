"""What is one file's fault, and what ends a run."""

import errno
from pathlib import Path

import pytest
import torch

from vqw2v_plugin.audio.reading import AudioError
from vqw2v_plugin.features.failures import FILE_ERRORS, reason_of

CPU = "[enforce fail at alloc_cpu.cpp:118] . DefaultCPUAllocator: can't allocate memory: you tried to"
CUDA = "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (AudioError("a.wav: holds no audio"), "a.wav: holds no audio"),
        (OSError(errno.EACCES, "Permission denied", "/else/where"), "b.wav: Permission denied"),
        (OSError("odd"), "b.wav: odd"),
        (MemoryError(), "b.wav: needs more memory than there is; cut it, or give fewer `--workers`"),
        (torch.OutOfMemoryError("CUDA out of memory."), "b.wav: needs more memory"),
        (RuntimeError(CPU), "b.wav: needs more memory"),
        (RuntimeError(CUDA), "b.wav: needs more memory"),
    ],
)
def test_one_file_s_fault_is_a_sentence_that_names_it(error: Exception, says: str) -> None:
    assert isinstance(error, FILE_ERRORS)
    found = reason_of(error, Path("b.wav"))
    assert found is not None and found.startswith(says)


@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA error: device-side assert"), ValueError(CPU), KeyError("memory")]
)
def test_what_no_file_has_done_is_none(error: Exception) -> None:
    assert reason_of(error, "b.wav") is None

"""Work on two processes that sum with each other, and what each of them made of it."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist


def on_two_ranks(work: Callable[[int], Any], folder: Path) -> list[Any]:
    """What `work` gives on rank 0 and on rank 1: anything of tensors and plain data."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for number in range(2):
        child = os.fork()
        if not child:
            status = 70
            try:
                # it ends with its process: `destroy_process_group` waits for a thread that may wait for it
                torch.set_num_threads(1)
                dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", world_size=2, rank=number)
                torch.save(work(number), folder / f"rank{number}.pt")
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
    return [torch.load(folder / f"rank{number}.pt") for number in range(2)]

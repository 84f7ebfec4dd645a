"""How models learn, what they are fed: workers, which are forked from a training, leave its memory alone.

Workers are forked anew for each epoch. What Python's garbage collector would find there of the training's is
the training's to free: a tensor of a GPU, or one pinned for it, ends a worker that frees it ("CUDA error:
initialization error", as a fork has no GPU). Whether there is such garbage depends on every library in the
process, so none is looked for: in a fork, all that was there before counts as alive. The other way, a
`forkserver` without the training's memory, would import torch and fairseq for each worker of each epoch.
"""

import gc
import os

_done = False


def leave_memory_alone() -> None:
    """From here on forks of this process collect nothing that is older than they; safe to call twice."""
    global _done
    if not _done:
        os.register_at_fork(after_in_child=gc.freeze)
        _done = True

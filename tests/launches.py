"""What a GPU would be asked to do, counted without one: calls of operators, and waits for their results.

Tensors on the device `meta` hold no numbers and stand for a GPU's. Each call that computes counts as one
launch, views and empty tensors as none; a number or a copy that the processor asks for is a wait.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.module_tracker import ModuleTracker

from vqw2v_plugin.modules.kernels import attention, devices, launching

_ROOMS = ("vqw2v_plugin", "fairseq")  # whose line a wait is said to be of
_NOTHING = (
    "empty",
    "new_empty",
    "empty_like",
    "empty_strided",
    "_unsafe_view",
    "_reshape_alias",
    "lift_fresh",
)
_READS = {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.equal.default}
_GROWS = {
    torch.ops.aten.nonzero.default,
    torch.ops.aten.masked_select.default,
}  # sizes that depend on numbers

_CONVOLUTIONS = {torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default}


def _channels_last(x: Any) -> Any:
    return x.contiguous(memory_format=torch.channels_last) if isinstance(x, Tensor) and x.dim() == 4 else x


class Launches(TorchDispatchMode):
    """Counts by the part of a step that `part` names, while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, Counter[str]] = {}
        self.waits: list[str] = []
        self._parts = ["other"]
        self.tracker = ModuleTracker()  # knows whose forward or backward is on its way

    @property
    def total(self) -> int:
        return sum(sum(calls.values()) for calls in self.calls.values())

    def of(self, part: str) -> int:
        return sum(self.calls.get(part, Counter()).values())

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        self._parts.append(name)
        try:
            yield
        finally:
            self._parts.pop()

    def note(self, name: str) -> None:
        inside = {
            module.split("network.")[1].split(".")[0]
            for module in self.tracker.parents
            if "network." in module
        }
        part = self._parts[-1] if self._parts[-1] == "backward" else next(iter(inside), self._parts[-1])
        self.calls.setdefault(part, Counter())[name] += 1

    def __enter__(self) -> Launches:
        self.tracker.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *args: Any) -> None:
        super().__exit__(*args)
        self.tracker.__exit__(*args)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor) and x.device.type == "meta"]
        if given and func in _READS:
            self._wait(func)
            return 1.0 if given[0].is_floating_point() else 1
        if given and func in _GROWS:
            self._wait(func)
            return torch.empty(1, given[0].dim(), dtype=torch.long, device="meta")
        if given and func is torch.ops.aten._to_copy.default and str(kwargs.get("device", "meta")) == "cpu":
            self._wait(func)
            return torch.ones(given[0].shape, dtype=kwargs.get("dtype") or given[0].dtype)
        out = func(*args, **kwargs)
        if given and func in _CONVOLUTIONS:  # as cuDNN's lie
            out = tree_map(_channels_last, out)
        made = [x for x in tree_leaves(out) if isinstance(x, Tensor) and x.device.type == "meta"]
        if (made or (given and out is None)) and not _is_view(func):
            self.note(str(func.name()).removeprefix("aten::").partition(".")[0])
        return out

    def _wait(self, func: Any) -> None:
        lines = [f for f in traceback.extract_stack() if any(f"/{room}/" in f.filename for room in _ROOMS)]
        where = f"{'/'.join(lines[-1].filename.split('/')[-2:])}:{lines[-1].lineno}" if lines else "?"
        self.waits.append(where)
        self.note("wait")


def _is_view(func: Any) -> bool:
    name = str(func.name()).removeprefix("aten::").partition(".")[0]
    views = [r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns]
    return name in _NOTHING or any(views)


@contextmanager
def on_a_gpu(monkeypatch: Any) -> Iterator[Launches]:
    """What is on `meta` goes the GPU's ways meanwhile, and is counted."""
    launches = Launches()
    with monkeypatch.context() as patched:
        patched.setattr(devices, "is_gpu", lambda x: x.device.type == "meta")
        patched.setattr(launching, "have_triton", lambda: True)
        patched.setattr(attention, "kernel_for", lambda q, *_: "efficient" if q.itemsize > 2 else "flash")
        patched.setattr(launching, "launch", lambda name, *_, **__: launches.note(name))
        patched.setattr(torch.cuda, "is_available", lambda: True)  # fairseq's norm stays on the device then
        patched.setattr(torch.cuda, "current_device", lambda: torch.device("meta"))
        patched.setattr(torch, "autocast", partial(_autocast, torch.autocast))
        for name in ("get_rng_state", "manual_seed", "set_rng_state"):
            patched.setattr(torch.cuda, name, lambda *_: None)
        yield launches


def _autocast(real: Any, device_type: str, *args: Any, **kwargs: Any) -> Any:
    return real("cpu" if device_type == "meta" else device_type, *args, **kwargs)


def count_by_part(launches: Launches, trainer: Any, monkeypatch: Any) -> None:
    """A step of fairseq's trainer by what works in it: the network's modules, loss, logs, norm, optimizer."""
    optimizer, task = trainer.optimizer, trainer.task
    places = {
        "loss": (trainer.criterion, "forward"),
        "backward": (optimizer, "backward"),
        "logs": (task, "reduce_metrics"),
        "norm": (optimizer, "clip_grad_norm"),
        "optimizer": (optimizer, "step"),
        "gradients": (optimizer, "multiply_grads"),
        "zeros": (optimizer, "zero_grad"),
        "update": (trainer.model, "set_num_updates"),
    }
    for name, (owner, method) in places.items():
        monkeypatch.setattr(owner, method, _within(launches, name, getattr(owner, method)))


def _within(launches: Launches, name: str, function: Any) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        with launches.part(name):
            return function(*args, **kwargs)

    return call

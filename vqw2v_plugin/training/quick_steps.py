"""How models learn: an optimizer's step on a GPU in few calls, with one wait for all that is logged of it.

fairseq asks for every parameter by itself (its norm, its copies, its part of Adam) and reads the norm three
times. The numbers are the same sums; states and checkpoints are fairseq's.
"""

import math
from collections import defaultdict
from typing import Any, Callable, Dict, List, Mapping, Sequence, Tuple

import torch
from fairseq.optim.adam import Adam, FairseqAdam
from fairseq.optim.fp16_optimizer import FP16Optimizer
from torch import Tensor

from ..modules.kernels import devices

Logs = Dict[str, Any]


class QuickSteps:
    """`take_over` an optimizer; logs that are `held` come to the processor with the gradient's norm."""

    def __init__(self) -> None:
        self._taken: Any = None
        self._held: List[Logs] = []
        self._brings = False  # whether an optimizer asks for its norm here

    def take_over(self, optimizer: Any) -> None:
        """On a GPU, what fairseq's Adam and its copies in fp32 do becomes few calls."""
        if optimizer is self._taken:
            return
        self._brings = False
        self._taken, inner = optimizer, vars(optimizer).get("fp32_optimizer", optimizer)
        if not isinstance(inner, FairseqAdam) or not all(devices.is_gpu(p) for p in inner.params):
            return
        self._brings = True
        inner.clip_grad_norm = self._norm_of(inner, inner.clip_grad_norm)
        adam = inner.optimizer
        if type(adam) is Adam:
            adam.step = _adam_step(adam, adam.step)
        if type(optimizer) is FP16Optimizer:
            optimizer._sync_fp16_grads_to_fp32 = lambda: _gradients_to_fp32(optimizer)
            optimizer._sync_fp32_params_to_fp16 = lambda: _copy(_pairs(optimizer))
            optimizer.zero_grad = lambda: _zero_grad(optimizer)

    def hold(self, logs: Logs) -> bool:
        """Whether these logs are brought to the processor with the next norm; then they change in place."""
        tensors = [value for value in logs.values() if isinstance(value, Tensor)]
        held = self._brings and any(devices.is_gpu(x) for x in tensors)
        if held:
            self._held.append(logs)
        return held

    def _norm_of(self, inner: Any, plain: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def clip_grad_norm(max_norm: float, aggregate_norm_fn: Any = None) -> Tensor:
            grads = [p.grad.detach() for p in inner.params if p.grad is not None]
            if not grads or any(hasattr(p, "expert") for p in inner.params):
                norm = plain(max_norm, aggregate_norm_fn)
            else:
                norm = _norm(grads)
                norm = norm if aggregate_norm_fn is None else aggregate_norm_fn(norm)
                if max_norm > 0:
                    torch._foreach_mul_(grads, (float(max_norm) / (norm + 1e-6)).clamp_(max=1))
            held, self._held = self._held, []
            return bring(held, norm)

        return clip_grad_norm


def bring(all_logs: Sequence[Logs], norm: Tensor) -> Tensor:
    """Norm and logs on the processor, by one transfer; the logs change in place, and are finite."""
    places = [(logs, key) for logs in all_logs for key, value in logs.items() if isinstance(value, Tensor)]
    norm, *values = to_processor([norm, *(logs[key] for logs, key in places)])
    for (logs, key), value in zip(places, values, strict=True):
        logs[key] = finite(value)
    return norm


def bring_logs(all_logs: Sequence[Mapping[str, Any]]) -> List[Logs]:
    """Logs of which some may still lie on a GPU, as those summed over ranks: on the processor, and finite."""
    tensors = [x for logs in all_logs for x in logs.values() if isinstance(x, Tensor) and devices.is_gpu(x)]
    found = iter(to_processor(tensors))
    on_gpu = {id(x) for x in tensors}
    return [
        {key: finite(next(found)) if id(x) in on_gpu else x for key, x in logs.items()} for logs in all_logs
    ]


def to_processor(tensors: Sequence[Tensor]) -> List[Tensor]:
    """All of them bit by bit, whatever their types, with one wait."""
    if not tensors:
        return []
    order = sorted(range(len(tensors)), key=lambda i: -tensors[i].element_size())  # so that each is aligned
    raw = [tensors[i].detach().reshape(-1).contiguous().view(torch.uint8) for i in order]
    whole = torch.cat(raw).cpu()
    found = {}
    for i, part in zip(order, torch.split(whole, [len(x) for x in raw]), strict=True):
        found[i] = part.view(tensors[i].dtype).reshape(tensors[i].shape)
    return [found[i] for i in range(len(tensors))]


def finite(value: Any) -> Any:
    """What would not spoil the means of an epoch."""
    if torch.is_tensor(value) and value.is_floating_point():
        return value.nan_to_num(0.0, 0.0, 0.0)
    return value


def _norm(grads: List[Tensor]) -> Tensor:
    parts = torch._foreach_norm(grads, 2, dtype=torch.float32)
    norm: Tensor = torch.linalg.vector_norm(torch.stack(list(parts)))
    return norm


def _adam_step(adam: Any, plain: Callable[..., Any]) -> Callable[..., Any]:
    """fairseq's Adam by torch's fused one: the same sums, the same state."""

    def step(closure: Any = None) -> Any:
        groups = adam.param_groups
        params = [p for group in groups for p in group["params"] if p.grad is not None]
        odd = any(p.dtype != torch.float32 or p.grad.dtype != torch.float32 for p in params)
        odd = odd or any(p.stride() != p.grad.stride() for p in params)
        if closure is not None or odd or any(group.get("amsgrad") for group in groups):
            return plain(closure)
        for group in groups:
            for count, members in _by_count(adam.state, group["params"]).items():
                _fused(adam.state, members, count, group)
        return None

    return step


def _by_count(state: Any, params: Sequence[Tensor]) -> Dict[int, List[Tensor]]:
    """Parameters by how many steps they have taken, this one among them."""
    found: Dict[int, List[Tensor]] = defaultdict(list)
    for p in params:
        if p.grad is None:
            continue
        of_p = state[p]
        if not of_p:
            of_p.update(step=0, exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p))
        of_p["step"] += 1
        for name in ("exp_avg", "exp_avg_sq"):
            of_p[name] = of_p[name].to(p)  # those of a checkpoint may lie elsewhere
        found[of_p["step"]].append(p)
    return found


def _fused(state: Any, params: List[Tensor], count: int, group: Mapping[str, Any]) -> None:
    beta1, beta2 = group["betas"]
    # torch adds ε to √(v / (1 − β₂ᵗ)), fairseq to √v
    eps = group["eps"] / math.sqrt(1 - beta2**count)
    at = torch.full((), float(count), device=params[0].device)
    with torch.no_grad():
        torch._fused_adamw_(
            params,
            [p.grad for p in params if p.grad is not None],
            [state[p]["exp_avg"] for p in params],
            [state[p]["exp_avg_sq"] for p in params],
            [],
            [at] * len(params),
            lr=float(group["lr"]),
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"],
            eps=eps,
            amsgrad=False,
            maximize=False,
        )


_Pair = Tuple[Tensor, Tensor]


def _pairs(optimizer: Any) -> List[_Pair]:
    """Each parameter in 16 bit, and its copy in fp32."""
    return [(p.data, wide) for p, wide in zip(optimizer.fp16_params, _wide(optimizer, False), strict=True)]


def _wide(optimizer: Any, gradients: bool) -> List[Tensor]:
    """The copies in fp32, or their gradients: of each parameter, though all of them may be one tensor."""
    kept, params = optimizer.fp32_params, optimizer.fp16_params
    if not optimizer.has_flat_params:
        return [(p.grad if gradients else p.data) for p in kept]
    found: List[Tensor] = []
    for whole in kept.values():  # of one device
        flat = whole.grad.data if gradients else whole.data
        found += [x.view_as(p) for x, p in zip(flat.split([p.numel() for p in params]), params, strict=True)]
    return found


def _gradients_to_fp32(optimizer: Any) -> None:
    if not optimizer._needs_sync:
        return
    wide = _wide(optimizer, True)
    pairs = [(w, p.grad) for w, p in zip(wide, optimizer.fp16_params, strict=True) if p.grad is not None]
    _copy(pairs)
    missing = [w for w, p in zip(wide, optimizer.fp16_params, strict=True) if p.grad is None]
    if missing:
        torch._foreach_zero_(missing)
    optimizer._needs_sync = False


def _copy(pairs: Sequence[_Pair]) -> None:
    with torch.no_grad():
        torch._foreach_copy_([to for to, _ in pairs], [of for _, of in pairs])


def _zero_grad(optimizer: Any) -> None:
    """The copies' gradients are overwritten by the next backward pass or, where it has none, zeroed then."""
    for p in optimizer.fp16_params:
        p.grad = None
    optimizer._needs_sync = False
    if optimizer.scaler is not None:
        optimizer._multiply_factor = 1.0 / float(optimizer.scaler.loss_scale)

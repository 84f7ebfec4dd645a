"""How generator and adversary learn, as fairseq's optimizer `two_adams`: an Adam of its own for each.

fairseq's `composite` does so too, but no command line spells its groups. A schedule moves both rates alike.
"""

import ast
import math
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from fairseq.optim.adam import Adam
from fairseq.optim.composite import CompositeOptimizer
from omegaconf import II, OmegaConf

GENERATOR, DISCRIMINATOR = "generator", "discriminator"
_GROUPS = (GENERATOR, DISCRIMINATOR)


@dataclass
class TwoAdamsConfig(FairseqDataclass):
    discriminator_lr: float = field(
        default=5e-4, metadata={"help": "the adversary's learning rate, where `lr` is the generator's first"}
    )
    adam_betas: Any = field(default=(0.5, 0.98), metadata={"help": "betas of both"})
    adam_eps: float = field(default=1e-6, metadata={"help": "epsilon of both"})
    weight_decay: float = field(default=0.0, metadata={"help": "the generator's weight decay"})
    discriminator_weight_decay: float = field(default=1e-4, metadata={"help": "the adversary's weight decay"})
    lr: List[float] = field(default=II("optimization.lr"))


@register_optimizer("two_adams", dataclass=TwoAdamsConfig)
class TwoAdams(FairseqOptimizer):
    """Steps of one group alone, which a task asks for; without a group both take one."""

    def __init__(self, cfg: TwoAdamsConfig, params: Any) -> None:
        super().__init__(cfg)
        parts: Dict[str, List[Any]] = {name: [] for name in _GROUPS}
        for p in params:
            if (group := getattr(p, "param_group", None)) not in parts:
                raise ValueError(
                    "`optimizer` is two_adams, which learns generator and discriminator of vq_wav2vec_u in "
                    "fp32; take adam for another model, and leave out fp16, bf16 and amp for this one"
                )
            parts[group].append(p)
        lr, ours = _first(cfg.lr), float(cfg.discriminator_lr)
        for name, value in (("lr", lr), ("discriminator_lr", ours)):
            if not 0 < value < math.inf:
                raise ValueError(f"`{name}` is {value}; expected more than 0")
        self._ratio = ours / lr
        rates = {GENERATOR: (lr, cfg.weight_decay), DISCRIMINATOR: (ours, cfg.discriminator_weight_decay)}
        self.adams = {
            name: Adam(parts[name], rate, _betas(cfg.adam_betas), cfg.adam_eps, decay)
            for name, (rate, decay) in rates.items()
        }
        self._optimizer = CompositeOptimizer(self.adams)

    @property
    def supports_groups(self) -> bool:
        return True

    @property
    def optimizer_config(self) -> Dict[str, Any]:
        """Of the options that a training goes on with, none replaces a state's."""
        return {}

    @property
    def param_groups(self) -> Iterator[Dict[str, Any]]:
        for adam in self.adams.values():
            yield from adam.param_groups

    def get_lr(self) -> float:
        return float(self.adams[GENERATOR].param_groups[0]["lr"])

    def set_lr(self, lr: float) -> None:
        for name, rate in ((GENERATOR, lr), (DISCRIMINATOR, lr * self._ratio)):
            for group in self.adams[name].param_groups:
                group["lr"] = rate

    def forget(self, group: str) -> None:
        """As if it had made no step."""
        self.adams[group].state.clear()

    def state_dict(self) -> Dict[str, Any]:
        return {name: adam.state_dict() for name, adam in self.adams.items()}

    def load_state_dict(
        self, state_dict: Dict[str, Any], optimizer_overrides: Optional[Dict[str, Any]] = None
    ) -> None:
        """The rates, betas and decays are those of the options."""
        if lacking := [name for name in self.adams if name not in state_dict]:
            raise ValueError(
                f"the checkpoint's optimizer has no state of the {lacking[0]}; go on with the optimizer that "
                "it was trained with, or say `reset_optimizer`"
            )
        for name, adam in self.adams.items():
            asked = [{k: v for k, v in group.items() if k != "params"} for group in adam.param_groups]
            adam.load_state_dict(state_dict[name])
            for group, own in zip(adam.param_groups, asked, strict=True):
                group.update(own)


def _first(lr: Any) -> float:
    return float(lr[0] if isinstance(lr, Sequence) or OmegaConf.is_list(lr) else lr)


def _betas(said: Any) -> Tuple[float, float]:
    """Read as a literal, never evaluated."""
    try:
        first, second = ast.literal_eval(said) if isinstance(said, str) else said
        if 0 <= first < 1 and 0 <= second < 1:
            return float(first), float(second)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        pass
    raise ValueError(f"`adam_betas` is {said!r:.80}; expected two numbers in [0, 1), such as (0.5, 0.98)")


def forget_steps(optimizer: Any, group: str) -> None:
    """Of fairseq's `composite` too."""
    inner = getattr(optimizer, "adams", None) or getattr(optimizer, "optimizers", {})
    if group not in inner:
        raise ValueError(
            f"`optimizer` has no group {group}; take two_adams, or fairseq's composite with generator and "
            "discriminator"
        )
    held = inner[group]
    adam: torch.optim.Optimizer = getattr(held, "optimizer", held)
    adam.state.clear()

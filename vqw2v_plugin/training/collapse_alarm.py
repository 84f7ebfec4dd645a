"""z ──quantizer──▶ tokens: the alarm when a training no longer uses its codes."""

import dataclasses
import json
import logging

from ..modules.quantizers.base import Quantizer
from ..modules.quantizers.health import CodebookHealth
from ..modules.wav2vec.config import VqWav2VecConfig

logger = logging.getLogger(__name__)

_EVERY = 50  # updates between two looks, each of which waits for the device
_FIRST = 100  # updates before the first look: a codebook needs some to spread
_REPEAT = 1000  # updates until the same alarm is given again


def spelled_cure(quantizer: Quantizer) -> str:
    """What the quantizer says of its cure, and the options that give the values in it."""
    values = dict(quantizer.cure_values)
    weight = values.pop("loss_weight", None)
    options = [] if weight is None else [f"`criterion.loss_weights=[{weight}]`"]
    of_the_model = {setting.name for setting in dataclasses.fields(VqWav2VecConfig)}
    options += [f"`model.{name}={values.pop(name)}`" for name in list(values) if name in of_the_model]
    if values:
        options.append(f"`quantizer_args` '{json.dumps(values)}'")
    return f"{quantizer.cure}; as options: {', '.join(options)}" if options else quantizer.cure


class CollapseError(RuntimeError):
    """A collapse where the user asked to stop at one."""


class CollapseAlarm:
    """Looks at the codes of the last updates; a group below `share` of its perplexity is named."""

    def __init__(self, share: float, stop: bool) -> None:
        if not 0 <= share < 1:
            raise ValueError(f"`collapse_share` is {share}; expected 0 (never warn) or a share such as 0.05")
        self.share, self.stop = share, stop
        self._rang: int | None = None  # the update of the last alarm
        self._looked = 0

    def look(self, num_updates: int, health: CodebookHealth, cure: str) -> None:
        if not self.share or num_updates < max(_FIRST, self._looked + _EVERY):
            return
        self._looked = num_updates
        shares = health.share().tolist()
        low = [group for group, share in enumerate(shares) if share < self.share]
        if not low:
            if self._rang is not None:
                logger.info(f"the codebook has recovered by update {num_updates}: {_shares(shares)} of it")
            self._rang = None
            return
        message = _message(num_updates, health, low, shares, cure)
        if self.stop:
            raise CollapseError(message)
        if self._rang is None or num_updates - self._rang >= _REPEAT:
            self._rang = num_updates
            logger.warning(message)


def _message(num_updates: int, health: CodebookHealth, low: list[int], shares: list[float], cure: str) -> str:
    num_codes = health.window.size(1)
    perplexity, dead = health.perplexity().tolist(), health.dead(_EVERY).tolist()
    groups = ", ".join(
        f"group {g} has perplexity {perplexity[g]:.1f} of {num_codes} and {dead[g]} codes unused for "
        f"{_EVERY} updates"
        for g in low
    )
    return f"the codebook has collapsed by update {num_updates}: {groups}; {cure}"


def _shares(shares: list[float]) -> str:
    return "/".join(f"{share:.0%}" for share in shares)

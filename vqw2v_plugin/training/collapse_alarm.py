"""How encoder and quantizer learn: the alarm when a training does not, which says what of it has died."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..modules.quantizers.base import Quantizer
from ..modules.quantizers.health import CodebookHealth
from ..modules.quantizers.signs import LearningSigns

logger = logging.getLogger(__name__)

CONSTANT = "z or c no longer depends on the audio"
CODES = "the codebook has collapsed"
GUESSING = "the predictions are no better than guessing"

_EVERY = 50  # updates between two looks, each of which waits for the device
_FIRST = 100  # updates before the first look: a codebook needs some to spread
_REPEAT = 1000  # updates until the same alarm is given again
_CONSTANT = (
    0.02  # share of z's power over time, and a quarter of it of c's, below which audio no longer matters
)
_AT_CHANCE = 1.03  # times the accuracy of guessing
_STEADY = "lower the learning rate (to a tenth, say) or warm it up for longer"


class Learner(Protocol):
    """A network that learns by telling frames apart."""

    config: Any
    health: CodebookHealth
    signs: LearningSigns

    @property
    def coder(self) -> Quantizer:
        """Whose codes are looked at."""

    @property
    def chance(self) -> float:
        """How often a guess is right."""


class CollapseError(RuntimeError):
    """A collapse where the user asked to stop at one."""


@dataclass(frozen=True)
class LossSettings:
    """What the criterion asks of the network."""

    infonce: bool = False
    quantizer_weight: float | None = None
    more_weights: tuple[float, ...] = ()  # of terms behind the quantizer's


class CollapseAlarm:
    """Looks at the last updates: z and c that no longer vary, codes out of use, predictions that guess."""

    def __init__(self, share: float, stop: bool, first: int = _FIRST) -> None:
        if not 0 <= share < 1:
            raise ValueError(f"`collapse_share` is {share}; expected 0 (never warn) or a share such as 0.05")
        self.share, self.stop, self.first = share, stop, first
        self._rang: tuple[str, int] | None = None  # the last alarm's kind and update
        self._looked = 0

    def look(self, num_updates: int, network: Learner, loss: LossSettings) -> None:
        if not self.share or num_updates < max(self.first, self._looked + _EVERY):
            return
        self._looked = num_updates
        kind, found = self._trouble(network)
        if not kind:
            if self._rang is not None:
                logger.info(f"the training has recovered by update {num_updates}: {found}")
            self._rang = None
            return
        message = f"{kind} by update {num_updates}: {found}; {advice(kind, network, loss)}"
        if self.stop and kind != GUESSING:
            raise CollapseError(message)
        if self._rang is None or self._rang[0] != kind or num_updates - self._rang[1] >= _REPEAT:
            self._rang = kind, num_updates
            logger.warning(message)

    def _trouble(self, network: Learner) -> tuple[str, str]:
        """The first of the troubles that causes those behind it, and its figures; "": none."""
        signs = network.signs.shares()
        if signs is not None and (signs[1] < _CONSTANT or signs[2] < _CONSTANT / 4):
            return CONSTANT, f"{signs[1]:.1%} of z's power varies over time, {signs[2]:.1%} of c's"
        shares = network.health.share().tolist()
        low = [group for group, share in enumerate(shares) if share < self.share]
        if low:
            return CODES, _groups(network.health, low)
        if signs is not None and signs[0] < _AT_CHANCE * network.chance:
            return GUESSING, f"accuracy {signs[0]:.4f}, that of guessing is {network.chance:.4f}"
        accuracy = "" if signs is None else f"accuracy {signs[0]:.4f}"
        codes = f"{'/'.join(f'{share:.0%}' for share in shares)} of the codebook" if shares else ""
        return "", ", ".join(part for part in (codes, accuracy) if part)


def advice(kind: str, network: Learner, loss: LossSettings) -> str:
    """What helps and is not set yet, spelled as options; a learning rate can always be lower."""
    options = []
    if not vars(network.config).get("centred", True):
        options.append("`model.centred=true`")
    if not loss.infonce:
        options.append("`criterion.infonce=true`")
    if kind == CODES:
        options += quantizer_options(network, loss)
    return f"{_STEADY}; and begin anew with {', '.join(options)}" if options else _STEADY


def quantizer_options(network: Learner, loss: LossSettings) -> list[str]:
    """What the quantizer says of its cure, less what is set."""
    quantizer, config = network.coder, network.config
    values = dict(quantizer.cure_values)
    options = []
    weight = values.pop("loss_weight", None)
    if weight is not None and not (loss.quantizer_weight or quantizer.loss_weight):
        weights = ",".join(f"{each:g}" for each in (weight, *loss.more_weights))
        options.append(f"`criterion.loss_weights=[{weights}]`")
    of_the_model = vars(config)
    options += [
        f"`model.{name}={values[name]}`"
        for name in values
        if name in of_the_model and of_the_model[name] != values[name]
    ]
    given: Mapping[str, Any] = json.loads(config.quantizer_args)
    missing = {name: values[name] for name in values if name not in of_the_model and not given.get(name)}
    if missing:
        options.append(f"`model.quantizer_args='{json.dumps({**given, **missing})}'`")
    return options


def _groups(health: CodebookHealth, low: list[int]) -> str:
    perplexity, dead = health.perplexity().tolist(), health.dead(_EVERY).tolist()
    return ", ".join(
        f"group {g} has perplexity {perplexity[g]:.1f} of {health.window.size(1)} and {dead[g]} codes unused "
        f"for {_EVERY} updates"
        for g in low
    )

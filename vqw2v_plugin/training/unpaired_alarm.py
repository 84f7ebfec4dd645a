"""features ──generator──▶ phones: the alarm where the two have stopped to learn from each other.

Either the adversary is right of everything, and tells nothing; or the generator says few phones.
"""

import logging
from typing import Any, Mapping

logger = logging.getLogger(__name__)

_EVERY, _FIRST, _REPEAT = 50, 400, 1000  # updates between looks, before the first one, until said again
_CERTAIN = 0.995  # of what it judges, that the adversary is right of
_FEW = 0.15  # of the phones, in use


class UnpairedAlarm:
    """Adds what each update's log says up, and looks at the sums now and then."""

    def __init__(self, num_phones: int) -> None:
        self.num_phones = num_phones
        self._sums: dict[str, list[Any]] = {}
        self._looked = self._said = 0
        self._rang = ""

    def add(self, logs: Mapping[str, Any]) -> None:
        for name in ("accuracy_dense", "accuracy_token", "code_ppl"):
            if name in logs:
                self._sums.setdefault(name, []).append(logs[name])

    def look(self, num_updates: int) -> None:
        """Waits for the device, so it does not do so at every update."""
        if num_updates < max(_FIRST, self._looked + _EVERY):
            self._sums = {name: values[-_EVERY:] for name, values in self._sums.items()}
            return
        self._looked = num_updates
        means = {name: sum(map(float, values)) / len(values) for name, values in self._sums.items() if values}
        self._sums = {}
        trouble = self._trouble(means)
        if not trouble:
            if self._rang:
                logger.info(f"generator and adversary learn from each other again by update {num_updates}")
            self._rang = ""
        elif not self._rang or num_updates - self._said >= _REPEAT:
            self._rang, self._said = trouble, num_updates
            logger.warning(f"by update {num_updates} {trouble}")

    def _trouble(self, means: Mapping[str, float]) -> str:
        used = means.get("code_ppl", float(self.num_phones))
        if used < max(1.5, _FEW * self.num_phones):
            return (
                f"the generator says {used:.1f} of {self.num_phones} phones: raise `model.code_penalty`, or "
                "begin with another seed"
            )
        sure = [means.get(f"accuracy_{side}", 0.0) for side in ("dense", "token")]
        if min(sure) > _CERTAIN:
            return (
                f"the adversary tells {min(sure):.1%} of text and output apart, from which nothing is "
                "learnt: raise `model.gradient_penalty` or `dataset.batch_size` (160), lower "
                "`optimizer.discriminator_lr`, say `task.reset_discriminator`, or begin with another seed"
            )
        return ""

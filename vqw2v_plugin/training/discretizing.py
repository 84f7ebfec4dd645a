"""wav ──encoder──▶ z ──quantizer──▶ tokens, inside `fairseq-generate`: what `vqw2v discretize` writes.

fairseq's loop sees one sample, which stands for the split; what it has to print for it is nothing.
"""

import logging
import os
from pathlib import Path
from typing import Any, Callable, Dict, List

import numpy as np
import torch
from fairseq.data import FairseqDataset

from ..common.words import some_of
from ..corpora.manifest import Manifest
from .resumed import as_mapping

logger = logging.getLogger(__name__)

_NAMED = 8


class WholeSplit(FairseqDataset):
    """A manifest as one sample."""

    def __init__(self, manifest: Manifest) -> None:
        super().__init__()
        self.manifest = manifest
        self.sizes = np.ones(1, np.int64)

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        return index

    def num_tokens(self, index: int) -> int:
        return 1

    def size(self, index: int) -> int:
        return 1

    def batch_by_size(self, indices: Any, *limits: Any, **others: Any) -> List[Any]:
        """fairseq drops batches that are smaller than what they should be a multiple of."""
        return [indices]

    def collater(self, samples: List[int]) -> Dict[str, Any]:
        """fairseq wants an id, an input, and a target, of which there is none."""
        return {"id": torch.zeros(1, dtype=torch.int64), "net_input": {}, "target": None, "nsentences": 1}


class _Unprinted(List[Dict[str, Any]]):
    """One answer whose tokens fairseq counts, and none where it asks for those to print."""

    def __getitem__(self, which: Any) -> Any:
        return [] if isinstance(which, slice) else super().__getitem__(which)


class Discretizer:
    """What `fairseq-generate` calls for the sample."""

    def __init__(
        self, cfg: Any, manifest: Manifest, make: Callable[[str, Manifest, str, torch.device], Any]
    ) -> None:
        """`make`: of a checkpoint, a manifest, the tokens' folder and a device, what is missing there."""
        whole = as_mapping(cfg)
        named = whole.get("common_eval") or {}
        path, out = named.get("path"), named.get("results_path")
        if not path or not out:
            raise ValueError(
                f"`--{'path' if not path else 'results-path'}` is not given; expected "
                "`--path CHECKPOINT --results-path TOKENS`, the folder for SPLIT.bin, .idx and .ids"
            )
        if os.pathsep in str(path) or not Path(path).exists():
            raise ValueError(f"`--path` is {path!r}; expected one checkpoint")
        self.path, self.out, self.manifest, self._make = str(path), str(out), manifest, make

    def generate(self, models: Any, sample: Any, **kwargs: Any) -> List[_Unprinted]:
        """Makes what is missing of the split; a killed run goes on with the same command."""
        device = next(models[0].parameters()).device
        outcome = self._make(self.path, self.manifest, self.out, device)
        split = Path(self.manifest.path).stem
        for each in outcome.refused[:_NAMED]:
            logger.warning(f"missing: {each.utt}: {each.reason}")
        if len(outcome.refused) > _NAMED:
            logger.warning(f"missing in all: {some_of([each.utt for each in outcome.refused], _NAMED)}")
        said = {"published": "made", "there": "is there already", "waiting": "waits for the other ranks"}
        logger.info(f"{self.out}/{split}: {said[outcome.state]}; next: vqw2v usage, or BERT on {self.out}")
        return [_Unprinted([{"tokens": torch.zeros(len(self.manifest), dtype=torch.int64)}])]

"""class, judged by `fairseq-generate --scoring vq_recall`: accuracy, unweighted recall, what is confused."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Tuple

from fairseq.dataclass import FairseqDataclass
from fairseq.scoring import BaseScorer, register_scorer
from omegaconf import II

from ..common.files import write_whole
from ..decoding.class_scoring import ClassCounts
from .vq_error import outside


@dataclass
class VqRecallConfig(FairseqDataclass):
    results_path: Optional[str] = II("common_eval.results_path")
    gen_subset: Optional[str] = II("dataset.gen_subset")


@register_scorer("vq_recall", dataclass=VqRecallConfig)
class VqRecallScorer(BaseScorer):
    """Counts over utterances, of one class each."""

    def __init__(self, cfg: VqRecallConfig) -> None:
        super().__init__(cfg)
        self._pairs: List[Tuple[str, str]] = []

    def add_string(self, ref: str, pred: str) -> None:
        self._pairs.append((ref, pred))

    def score(self) -> float:
        return 100 * ClassCounts.of_pairs(self._pairs).uar

    def result_string(self) -> str:
        """The line that fairseq prints; the file is written now that all is counted."""
        counts = ClassCounts.of_pairs(self._pairs)
        folder, split = outside(self.cfg, "results_path"), outside(self.cfg, "gen_subset")
        if folder and split:
            held = json.dumps(counts.summary(), indent=1, ensure_ascii=False)
            write_whole(Path(folder) / f"classes-{split}.json", held + "\n")
            # what fairseq prints goes into its listing then, and the screen would end without a figure
            files = f"classes-{split}.tsv (each answer, and how sure it is), classes-{split}.json"
            print("\n".join([f"{split}: {counts.describe()}", *counts.table(), f"{folder}: {files}"]))
        return "\n".join([counts.describe(), *counts.table()])

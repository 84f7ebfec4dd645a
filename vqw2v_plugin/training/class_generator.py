"""states ──head──▶ class, inside `fairseq-generate`: a class an utterance, with how sure it is.

Shapes: B batch, N classes.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from fairseq.data import Dictionary

from ..common.files import write_whole
from ..common.words import one_line
from ..decoding.paths import TINY
from .resumed import as_mapping

SCORER = "vq_recall"
_HEAD = ("utt", "answer", "probability", "class")


class ClassGenerator:
    """Answers of a batch; the file once all utterances are answered."""

    symbols_to_strip_from_output: frozenset[int] = frozenset()  # </s> goes anyway

    def __init__(
        self,
        models: Sequence[Any],
        cfg: Any,
        num_utterances: int,
        dictionary: Dictionary,
        true: Mapping[str, str],
    ) -> None:
        """`true`: the class of each utterance, as far as it is known."""
        if len(models) != 1:
            raise ValueError(f"`path` names {len(models)} models; expected one")
        _check_scorer(cfg)
        self.model, self._dictionary, self._true = models[0], dictionary, true
        self.model.eval()
        self._left, self._rows = num_utterances, dict[int, str]()
        self._path = Path(cfg.results_path) / f"classes-{cfg.gen_subset}.tsv" if cfg.results_path else None

    def generate(self, models: Any, sample: dict[str, Any], **_: Any) -> list[list[dict[str, Any]]]:
        """The answers to a batch, the most probable first."""
        found, orders = self.model.probabilities(**sample["net_input"]).cpu().sort(1, descending=True)
        answers = []
        for row, (number, utt) in enumerate(zip(sample["id"].tolist(), sample["utts"], strict=True)):
            best = [
                (self.model.classes.names[column], probability)
                for column, probability in zip(orders[row].tolist(), found[row].tolist(), strict=True)
            ]
            name, probability = best[0]
            cells = (utt, name, f"{probability:.4f}", self._true.get(utt, ""))
            self._rows[number] = "\t".join(map(one_line, cells))
            answers.append([self._answer(*each) for each in best])
        self._left -= len(answers)
        if not self._left and self._path is not None:
            lines = ["\t".join(_HEAD), *(self._rows[number] for number in sorted(self._rows))]
            write_whole(self._path, "".join(f"{line}\n" for line in lines))
        return answers

    def _answer(self, name: str, probability: float) -> dict[str, Any]:
        """As `fairseq-generate` wants it."""
        score = math.log(max(probability, TINY))
        known = self._dictionary
        return {
            "tokens": torch.tensor([known.index(name), known.eos()]),
            "score": score,
            "positional_scores": torch.tensor([score, 0.0]),
            "attention": None,
            "alignment": None,
        }


def _check_scorer(cfg: Any) -> None:
    """Refuses those that would count classes as words."""
    scoring = as_mapping(cfg).get("scoring")
    name = scoring.get("_name", SCORER) if isinstance(scoring, Mapping) else SCORER
    if name != SCORER:
        raise ValueError(f"`scoring` is {name}; expected {SCORER}: a class is right or wrong, and no text")

"""text, judged by `fairseq-generate --scoring vq_error`: WER, CER or PER with what went wrong."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from shlex import join, quote
from typing import Any, Dict, List, Mapping, Optional

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.scoring import BaseScorer, register_scorer
from omegaconf import II
from omegaconf.errors import OmegaConfBaseException

from ..common.files import write_whole
from ..common.loud import says_next
from ..decoding.scoring import UNITS, Confusions, Errors, align, characters, count, show_alignment, summary
from ..decoding.settings import BeamSettings
from ..text.phones import FOLDS
from ..text.units import BOUNDARY, PIECE_BEGIN, UNSPOKEN
from ..training.resumed import as_mapping


@dataclass
class VqErrorConfig(FairseqDataclass):
    error_unit: ChoiceEnum(list(UNITS)) = field(  # type: ignore[valid-type]
        default="words", metadata={"help": "what is counted"}
    )
    error_fold: ChoiceEnum(list(FOLDS)) = field(  # type: ignore[valid-type]
        default="none", metadata={"help": "phones: fold both sides to TIMIT's 48 or 39, or take stress away"}
    )
    error_alignment: Optional[str] = field(
        default=None, metadata={"help": "file for the alignment of every utterance"}
    )
    results_path: Optional[str] = II("common_eval.results_path")
    gen_subset: Optional[str] = II("dataset.gen_subset")


@register_scorer("vq_error", dataclass=VqErrorConfig)
class VqErrorScorer(BaseScorer):
    """Counts over utterances; label strings (`h e l l o |`) are joined to words first."""

    def __init__(self, cfg: VqErrorConfig) -> None:
        super().__init__(cfg)
        self.unit, self.fold = str(cfg.error_unit), FOLDS[str(cfg.error_fold)]
        self.errors, self.confusions = Errors(), Confusions()
        self._alignments: List[str] = []

    def add_string(self, ref: str, pred: str) -> None:
        """One utterance, as labels or as text."""
        reference, hypothesis = self._items(ref, pred)
        pairs = align(reference, hypothesis)
        self.errors += count(pairs)
        self.confusions.add(pairs)
        if self.cfg.error_alignment:
            self._alignments.append(f"{self.errors.utterances}\n{show_alignment(pairs)}\n")

    def score(self) -> float:
        return self.errors.rate

    def result_string(self) -> str:
        """The line that fairseq prints; what goes into files is written now that all is counted."""
        if self.cfg.error_alignment:
            write_whole(Path(self.cfg.error_alignment), "\n".join(self._alignments))
        folder, split = outside(self.cfg, "results_path"), outside(self.cfg, "gen_subset")
        if folder and split:
            found = summary(self.errors, self.confusions, self.unit) | decoded_by(as_mapping(self.cfg))
            counted = json.dumps(found, indent=1, ensure_ascii=False)
            write_whole(Path(folder) / f"errors-{split}.json", counted + "\n")
            # what fairseq prints goes into its listing then, and the screen would end without a figure
            print("\n".join([f"{split}: {self.errors.describe(self.unit)}", *self._next(folder, split)]))
        return self.errors.describe(self.unit)

    def _next(self, folder: str, split: str) -> List[str]:
        """Where to look, and what a user would type next; words in capitals are for them to fill in."""
        whole = as_mapping(self.cfg)
        task, path = whole.get("task") or {}, (whole.get("common_eval") or {}).get("path")
        decoder, emissions = (task.get(name) for name in ("decoder", "emissions"))
        labels = task.get("labels") or task.get("measure")
        said = [
            f"{folder}: errors-{split}.json (what is confused), hypotheses-{split}.jsonl and .ctm (times)"
        ]
        if not says_next():
            return said
        if emissions and labels:
            said.append(
                f"next: vqw2v tune {quote(emissions)} --split {split} --labels {quote(labels)} --lm LM"
            )
        elif decoder == "greedy":
            said.append(
                "next: `--decoder lexicon --lexicon LEXICON --lm LM`, which `vqw2v labels` and `lm` make"
            )
        elif decoder and not task.get("weights"):
            said.append(
                "next: `--emissions FOLDER` on a dev set saves what `vqw2v tune` finds the weights by"
            )
        if path and decoder and task.get("_name") != "vq_unpaired":
            said.append(f"next: vqw2v transcribe {quote(path)} FILE{_spoken(task)}")
        return said

    def _items(self, ref: str, pred: str) -> List[List[str]]:
        if self.unit == "phones":
            return [self.fold(p for p in side.split() if p not in UNSPOKEN) for side in (ref, pred)]
        texts = [_joined(side, f"{ref} {pred}") for side in (ref, pred)]
        return [characters(text) if self.unit == "characters" else text.split() for text in texts]


def decoded_by(whole: Mapping[str, Any]) -> Dict[str, Any]:
    """The options of the decoder that answered, to tell rates apart by; {} where there was none."""
    task = whole.get("task") or {}
    if not task.get("decoder"):
        return {}
    options = {"--decoder": str(task["decoder"]), **_files(task)}
    if task["decoder"] != "greedy":
        beam = {**(whole.get("generation") or {}), **task}
        names = ["beam"] if task.get("weights") else ["lm_weight", "word_score", "sil_score", "beam"]
        if task.get("weights") and beam.get("beam") == BeamSettings().beam:
            names = []  # it is that of tuning
        numbers = {name: beam[name] for name in names if beam.get(name) is not None}
        options |= {"--" + name.replace("_", "-"): f"{value:g}" for name, value in numbers.items()}
    return {"decoded": options}


def _files(task: Mapping[str, Any]) -> Dict[str, str]:
    """Those that a search reads, by the options that name them."""
    return {f"--{name}": str(task[name]) for name in ("lexicon", "lm", "weights") if task.get(name)}


def _spoken(task: Mapping[str, Any]) -> str:
    """The decoder as `vqw2v transcribe` is told of it; nothing where it is greedy, as it would be anyway."""
    if task["decoder"] == "greedy":
        return ""
    words = ["--decoder", str(task["decoder"]), *(word for pair in _files(task).items() for word in pair)]
    return f" {join(words)}"


def outside(cfg: Any, name: str) -> Optional[str]:
    """A setting of fairseq's; None where the scorer was built without the rest of them."""
    try:
        value = getattr(cfg, name, None)
    except OmegaConfBaseException:
        return None
    return None if value is None or str(value).startswith("${") else str(value)


def _joined(text: str, both: str) -> str:
    """Text as words: labels are known by the boundaries or the beginnings of pieces in either side."""
    if PIECE_BEGIN in both:
        return text.replace(" ", "").replace(PIECE_BEGIN, " ")
    if BOUNDARY in both.split():
        return text.replace(" ", "").replace(BOUNDARY, " ")
    return text

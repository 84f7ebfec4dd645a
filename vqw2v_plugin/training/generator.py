"""letters ──decoder──▶ text, inside `fairseq-generate`: its options, its generator, what it prints.

Shapes: B batch, T frames, V columns of the emissions.
"""

import logging
import math
import os
import weakref
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Dict, FrozenSet, List, Optional, Sequence

import torch
from fairseq.data import Dictionary
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from omegaconf import II
from torch import Tensor

from ..decoding.decoder import make_decoder
from ..decoding.hypothesis import DecoderPool, Hypothesis
from ..decoding.paths import TINY
from ..decoding.results import ResultFiles
from ..decoding.settings import DECODERS, BeamSettings, DecoderSettings
from ..decoding.tuned import unlike_defaults, with_tuned
from ..stores.emissions import EmissionWriter
from ..stores.labels import LabelError, Labels
from ..text.lexicon import read_lexicon, spells_labels

logger = logging.getLogger(__name__)

ANSWERS = ("auto", "labels", "words")
_BEAM = BeamSettings()


@dataclass
class DecodingConfig(FairseqDataclass):
    """`--beam`, `--nbest` and `--lm-weight` are fairseq's own."""

    decoder: ChoiceEnum(list(DECODERS)) = field(  # type: ignore[valid-type]
        default=DecoderSettings.decoder,
        metadata={"help": "decoding: the best path; words of a lexicon; any labels"},
    )
    lexicon: Optional[str] = field(
        default=None, metadata={"help": "decoding: lines `word label label …`, as `vqw2v labels` writes them"}
    )
    lm: Optional[str] = field(
        default=None,
        metadata={"help": "decoding: n-gram model (ARPA or KenLM's binary), of words or of labels"},
    )
    word_score: float = field(default=_BEAM.word_score, metadata={"help": "decoding: added for every word"})
    sil_score: float = field(default=_BEAM.sil_score, metadata={"help": "decoding: added a frame of silence"})
    beam_threshold: float = field(
        default=_BEAM.beam_threshold, metadata={"help": "decoding: drop what is so much worse than the best"}
    )
    beam_tokens: Optional[int] = field(
        default=None, metadata={"help": "decoding: best labels tried a frame (default: all)"}
    )
    log_add: bool = field(
        default=False, metadata={"help": "decoding: add the paths of one text, in place of the best of them"}
    )
    decode_workers: int = field(default=1, metadata={"help": "decoding: processes that search"})
    answer: ChoiceEnum(list(ANSWERS)) = field(  # type: ignore[valid-type]
        default="auto",
        metadata={"help": "decoding: print and score labels or words; auto: words with the decoder lexicon"},
    )
    emissions: Optional[str] = field(
        default=None, metadata={"help": "decoding: folder to save the emissions in, for `vqw2v tune`"}
    )
    weights: Optional[str] = field(
        default=None,
        metadata={
            "help": "decoding: file of `vqw2v tune`, whose best weights replace those of the options, and "
            "whose beam a default one"
        },
    )
    gen_subset: str = II("dataset.gen_subset")
    results_path: Optional[str] = II("common_eval.results_path")


def decoding_defaults() -> Dict[str, Any]:
    """In place of fairseq's own, which are for translation."""
    return {"beam": _BEAM.beam, "lm_weight": _BEAM.lm_weight, "scoring": "vq_error"}


class AnswerDictionary:
    """Answers and transcripts in fairseq's dictionary, which grows by words where words are printed."""

    def __init__(
        self, dictionary: Dictionary, answer: str, decoder: str, lexicon: Optional[str] = None
    ) -> None:
        self.dictionary, self.answer, self.lexicon = dictionary, str(answer), lexicon
        self.words = self.answer == "words" or (self.answer == "auto" and str(decoder) == "lexicon")

    def choose(self, labels: Labels, kind: str = "letters", counted: str = "words") -> None:
        """Labels are printed where the transcripts are no words, and where no words are decoded or counted.

        `kind`: what the model says; `counted`: the scorer's unit.
        """
        if not self.words:
            return
        reason = None
        if labels.words is None:
            reason = "the labels hold none (no SPLIT.wrd)"
        elif kind == "phones" and counted == "phones":
            reason = "phones are counted (`--error-unit phones`)"
        elif kind != "words" and self.lexicon and spells_labels(read_lexicon(self.lexicon)):
            reason = f"those of {self.lexicon} are {kind}"
        if reason and self.answer == "words":
            raise LabelError(f"`answer` is words, but {reason}; say `--answer labels`")
        if reason and labels.words is not None:
            logger.info(f"answers are printed and scored as {kind}, not as words: {reason}")
        self.words = reason is None

    def target(self, text: Any) -> Any:
        """A transcript's words in one string, or its labels."""
        return self.indexes(text.split() if isinstance(text, str) else text).numpy()

    def indexes(self, symbols: Sequence[str]) -> Tensor:
        """With </s> behind them."""
        known = self.dictionary
        found = [known.add_symbol(s, 0) if self.words else known.index(s) for s in symbols]
        return torch.tensor([*found, known.eos()], dtype=torch.long)

    def answer_of(self, hypothesis: Hypothesis) -> Dict[str, Any]:
        """A hypothesis as `fairseq-generate` wants it."""
        shown = hypothesis.words if self.words else hypothesis.tokens
        confidences = [math.log(max(segment.confidence, TINY)) for segment in shown]
        return {
            "tokens": self.indexes([segment.text for segment in shown]),
            "score": hypothesis.score,
            "positional_scores": torch.tensor([*confidences, 0.0]),
            "attention": None,
            "alignment": None,
        }


class AcousticGenerator:
    """Emissions of a batch, then the decoder in processes; files once all utterances are answered."""

    symbols_to_strip_from_output: FrozenSet[int] = frozenset()  # </s> goes anyway

    def __init__(
        self, models: Sequence[Any], cfg: Any, generation: Any, num_utterances: int, answers: AnswerDictionary
    ) -> None:
        if len(models) != 1:
            raise ValueError(f"`path` names {len(models)} models; expected one, decoding joins no emissions")
        self.model, self.answers = models[0], answers
        self.model.eval()
        units, transitions = self.model.units, self.model.network.transitions
        steps = None if transitions is None else transitions.detach().float().cpu().numpy()
        settings = decoder_settings(cfg, generation)
        logger.info(settings.told())
        decoder = make_decoder(settings, units, steps, self.model.frame_seconds)
        self._left = num_utterances
        self._files: Optional[ResultFiles] = None
        self._writer: Optional[EmissionWriter] = None
        with ExitStack() as open_now:
            if cfg.emissions:
                where = (cfg.emissions, cfg.gen_subset)
                writer = EmissionWriter(*where, units.to_json(), self.model.frame_seconds, steps)
                self._writer = open_now.enter_context(writer)
            if cfg.results_path:
                self._files = ResultFiles(cfg.results_path, cfg.gen_subset, self.model.frame_seconds)
            self.pool = open_now.enter_context(DecoderPool(decoder, cfg.decode_workers))
            self._open = open_now.pop_all()
        # fairseq tells nobody that it has stopped half-way, at a batch that cannot be loaded say
        weakref.finalize(self, _drop, self._open, os.getpid())

    @torch.no_grad()
    def generate(self, models: Any, sample: Dict[str, Any], **_: Any) -> List[List[Dict[str, Any]]]:
        """The answers to a batch, the best first; after the last batch the files are whole."""
        with ExitStack() as closing:
            closing.push(self._open)  # what fails here, or is the end, closes it
            found = self._decode(sample)
            self._left -= len(found)
            if self._left:
                closing.pop_all()
            elif self._files is not None:
                self._files.write()
        return [[self.answers.answer_of(hypothesis) for hypothesis in best_first] for best_first in found]

    def _decode(self, sample: Dict[str, Any]) -> List[List[Hypothesis]]:
        """A batch's hypotheses, which go into the files too."""
        out = self.model(**sample["net_input"])
        emissions = out.emissions.float().cpu().numpy()  # [B, T, V]
        rows = [e[:length] for e, length in zip(emissions, out.lengths.tolist(), strict=True)]
        found, ids = self.pool.decode(rows), sample["id"].tolist()
        for number, utt, row, best_first in zip(ids, sample["utts"], rows, found, strict=True):
            if self._files is not None:
                self._files.add(number, utt, best_first)
            if self._writer is not None:
                self._writer.add(utt, row)
        return found


def _drop(half_done: ExitStack, owner: int) -> None:
    """Closes as if something had failed, unless all is closed; a forked worker leaves it to its parent."""
    if os.getpid() == owner:
        half_done.__exit__(GeneratorExit, GeneratorExit(), None)


def decoder_settings(cfg: Any, generation: Any) -> DecoderSettings:
    """What the command line says of the decoder."""
    beam = BeamSettings(
        beam=generation.beam,
        nbest=generation.nbest,
        lm_weight=generation.lm_weight,
        **{name: getattr(cfg, name) for name in ("beam_threshold", "beam_tokens", "word_score")},
        **{name: getattr(cfg, name) for name in ("sil_score", "log_add")},
    )
    settings = DecoderSettings(str(cfg.decoder), cfg.lexicon, cfg.lm, beam)
    return with_tuned(settings, cfg.weights, unlike_defaults(beam))

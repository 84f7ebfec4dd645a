"""tokens ──BERT──▶ states, learnt without labels: the task that feeds BERT what `vqw2v discretize` wrote."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Tuple

from fairseq.data import Dictionary
from fairseq.tasks import register_task
from omegaconf import MISSING

from ..corpora.mixture import Entry
from ..modules.bert.vocabulary import MASK, Symbols
from ..modules.layers.masks import expected_share
from ..stores.symbols import DICT, TokenError, read_dict
from ..stores.tokens import TokenStore
from ..training.begun import BeginningConfig, BeginningTask
from ..training.datasets.base import BatchDataset
from ..training.datasets.tokens import MaskedTokenDataset, Masking
from ..training.mixing import Mixer, entries_of, need_alike
from ..training.restart import need_folder

logger = logging.getLogger(__name__)


@dataclass
class VqTokenPretrainingConfig(BeginningConfig):
    """The paper's p and M; else stock's option names where stock has the option."""

    data: str = field(
        default=MISSING,
        metadata={
            "help": "folder of the tokens: SPLIT.bin, SPLIT.idx and dict.txt; or a yaml that lists folders"
        },
    )
    tokens_per_sample: int = field(
        default=2048,
        metadata={"help": "longest piece, <s> and </s> in it (2048 = 20 s); longer utterances are split"},
    )
    mask_start_prob: float = field(
        default=0.05,
        metadata={"help": "p, the share of all tokens that start a masked span (stock: mask_prob / length)"},
    )
    mask_length: int = field(default=10, metadata={"help": "M, tokens of a masked span"})
    mask_stdev: float = field(
        default=0.0, metadata={"help": "standard deviation of the spans' lengths, at least 1 token each"}
    )
    leave_unmasked_prob: float = field(
        default=0.1, metadata={"help": "share of the masked tokens that BERT sees as they are"}
    )
    random_token_prob: float = field(
        default=0.1, metadata={"help": "share of the masked tokens that BERT sees as another code"}
    )


@register_task("vq_token_pretraining", dataclass=VqTokenPretrainingConfig)
class VqTokenPretrainingTask(BeginningTask):
    """Batches of masked tokens from the folder `data`."""

    cfg: VqTokenPretrainingConfig
    trains: ClassVar[Tuple[str, ...]] = ("vq_bert",)

    def __init__(self, cfg: VqTokenPretrainingConfig, **kwargs: Any) -> None:
        super().__init__(cfg, **kwargs)
        self.masking = Masking(
            *(cfg.mask_start_prob, cfg.mask_length, cfg.mask_stdev),
            *(cfg.leave_unmasked_prob, cfg.random_token_prob),
        )
        # into every checkpoint: a network whose symbols are known needs no folder beside it
        self.state.add_factory("symbols", lambda: list(self._read_symbols()))

    @cached_property
    def symbols(self) -> Symbols:
        """The dictionary of `data`, or the checkpoint's that is being loaded."""
        return Symbols(tuple(self.state.symbols))

    def _read_symbols(self) -> Any:
        folders = [corpus.data for corpus in entries_of(self.cfg.data)]
        for folder in folders:
            need_folder("data", folder, "dict.txt and SPLIT.idx", TokenError)
        found = {folder: read_dict(Path(folder) / DICT) for folder in folders}
        return need_alike(self.cfg.data, found, DICT)

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Refuses to go on with tokens that mean something else than those before."""
        theirs = tuple(state.get("symbols", self.symbols.lines))
        if theirs != self.symbols.lines:
            ours = self.symbols.lines
            shorter = min(len(ours), len(theirs))
            at = next((i for i in range(shorter) if ours[i] != theirs[i]), shorter)
            raise TokenError(
                f"{Path(self.cfg.data) / DICT}: has {len(ours)} symbols, the checkpoint {len(theirs)}, and "
                f"they differ from line {at + 1} on; train on tokens made with the checkpoint's dictionary"
            )

    def load_dataset(self, split: str, task_cfg: Any = None, **kwargs: Any) -> None:
        """Loads `data`/SPLIT.idx and .bin."""
        # `task_cfg` may be an earlier checkpoint's, which lacks options
        mixer = Mixer("idx", self.make_dataset, self.cfg.seed)
        dataset = mixer.load(self.cfg.data, split, self.trains_on(split))
        length = int(dataset.sizes.mean()) - 2
        how = self.masking
        share = expected_share(length, how.start_prob, how.length, how.stdev)
        logger.info(f"{split}: {share:.1%} of the tokens will be masked, for {length} tokens in a piece")
        self.datasets[split] = dataset

    def make_dataset(self, corpus: Entry, split: str) -> BatchDataset[Any]:
        """Of one folder."""
        store, cfg = TokenStore(corpus.data, split), self.cfg
        return MaskedTokenDataset(store, self.symbols, cfg.tokens_per_sample, self.masking, seed=cfg.seed)

    @cached_property
    def source_dictionary(self) -> Dictionary:
        """For what in fairseq asks for one."""
        dictionary = Dictionary()
        for symbol in self.symbols.lines:
            dictionary.add_symbol(symbol)
        dictionary.add_symbol(MASK)
        return dictionary

    @property
    def target_dictionary(self) -> Dictionary:
        return self.source_dictionary

"""wav → tokens for whole manifests: what `vqw2v discretize` does.

Each utterance is encoded alone, in one thread, or on a GPU beside others that change nothing in it, so its
codes depend neither on its neighbours nor on how many threads, processes or machines share the work.
Shapes: T frames, G groups, N tokens.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..audio.reading import Samples
from ..checkpoints.files import checkpoint_hash, sha256
from ..common.files import copy_whole, remove, sweep
from ..common.locks import Rank
from ..corpora.manifest import Manifest, Utterance
from ..modules.wav2vec.long_clips import MEMORY
from ..stores.symbols import (
    DICT,
    TOKENS,
    Codes,
    SymbolIds,
    TokenError,
    count_symbols,
    in_order_of_use,
    read_dict,
    runs,
    write_dict,
)
from ..stores.token_extras import TokenExtras, check_code_files
from ..stores.tokens import TokenWriter
from ..tokenizer import Tokenizer
from .split_job import Encoder, JobOptions, Outcome, SplitJob
from .work import Heard


@dataclass(frozen=True)
class DiscretizeOptions(JobOptions):
    """What may be asked for beside checkpoint, manifest and folder."""

    dtype: str = "fp32"
    memory: int = MEMORY  # bytes of one layer's outputs, for each worker
    dictionary: str | None = None
    run_length: bool = False
    text: bool = False
    npy: bool = False


def discretize(
    tokenizer: Tokenizer,
    checkpoint: str,
    manifest: Manifest,
    out: str,
    options: DiscretizeOptions,
    rank: Rank,
) -> Outcome:
    """Makes OUT/SPLIT.bin, .idx and .ids, dict.txt and tokens.json, or this rank's share of them."""
    tokenizer.coder.allow(options.memory)
    return DiscretizeJob(tokenizer, checkpoint, manifest, Path(out), options).run(rank)


def agreement(exact: Tokenizer, other: Tokenizer, manifest: Manifest, files: int = 8) -> tuple[int, int, int]:
    """Of some utterances from all over the manifest: (utterances, codes, how many of the codes are equal)."""
    same = total = used = 0
    for i in np.linspace(0, len(manifest) - 1, min(files, len(manifest)), dtype=int).tolist():
        row = manifest[i]
        try:
            pair = [t.encode_file(row) for t in (exact, other)]
        except (ValueError, OSError):
            continue  # the run itself will name it
        same, total, used = same + int((pair[0] == pair[1]).sum()), total + pair[0].numel(), used + 1
    return used, total, same


class DiscretizeJob(SplitJob):
    """Shards of codes → the split's files, with the dictionary that all splits of the folder share."""

    format = TOKENS
    options: DiscretizeOptions

    def __init__(
        self,
        tokenizer: Tokenizer,
        checkpoint: str,
        manifest: Manifest,
        out: Path,
        options: DiscretizeOptions,
    ) -> None:
        self._tokenizer = tokenizer
        self._kind = np.uint16 if tokenizer.num_codes <= 1 << 16 else np.uint32
        model = {
            "checkpoint": {"name": Path(checkpoint).name, "sha256": checkpoint_hash(checkpoint)},
            "device": tokenizer.device.type,
            "dtype": options.dtype,
            "num_codes": tokenizer.num_codes,
            "num_groups": tokenizer.num_groups,
            "receptive_field": tokenizer.geometry.receptive_field,
            "run_length": options.run_length,
            "sample_rate": tokenizer.sample_rate,
            "stride": tokenizer.geometry.stride,
        }
        of_split = {"manifest_sha256": manifest.digest, "npy": options.npy, "text": options.text}
        encoder = Encoder(self._kind, tokenizer.num_groups, tokenizer.sample_rate, tokenizer.device)
        super().__init__(out, manifest, options, encoder, model, of_split)

    def encode(self, utterance: Utterance) -> Codes:  # [T, G]
        return self._tokenizer.encode_file(utterance).numpy().astype(self._kind)

    def encode_read(self, utterance: Utterance, audio: Samples) -> Codes:
        return self._tokenizer.encode_read(audio, utterance).numpy().astype(self._kind)

    def fits(self, samples: Sequence[int]) -> bool:
        return self._tokenizer.fits(samples)

    def begin(self, heard: Heard) -> Callable[[], list[Codes]]:
        found = self._tokenizer.begin([(audio, utterance) for utterance, audio in heard])
        return lambda: [codes.numpy().astype(self._kind) for codes in found()]

    def check(self, rank: Rank) -> None:
        """All splits of a folder are of one dictionary, too."""
        super().check(rank)
        if self.options.npy:
            check_code_files([self.name(row) for row in range(len(self.manifest))], self.manifest.path)
        given, own = self.options.dictionary, self.out / DICT
        if given is None:
            return
        symbols = read_dict(given)
        if own.is_file() and read_dict(own) != symbols:
            raise TokenError(
                f"{own} is there and differs from `--dict` {given}; leave that out, or name another folder"
            )

    def begun_with(self) -> dict[str, Any]:
        """With the dictionary that was given."""
        given = self.options.dictionary
        symbols = None if given is None else "\n".join(read_dict(given))
        digest = None if symbols is None else hashlib.sha256(symbols.encode()).hexdigest()
        return {**super().begun_with(), "dict": digest}

    def clear(self) -> None:
        """With the dictionary, where it was made of this split and no other uses it."""
        about = TOKENS.read_about(self.out)
        super().clear()
        made_by = about.get("dictionary", {}).get("made_by")
        if set(about.get("splits", {})) == {self.split} and made_by == self.split:
            remove(self.out / DICT)

    def merge(self) -> None:
        about = TOKENS.read_about(self.out)
        others = {name: row for name, row in about.get("splits", {}).items() if name != self.split}
        made_by = self._provide_dictionary(about, others)
        symbols = read_dict(self.out / DICT)
        ids, counts, options = SymbolIds(symbols), Counter[str](), self.options
        with TokenWriter(self.out, self.split, len(symbols) + 5, distinct=True) as writer:
            extras = TokenExtras(self.out, self.split, options.run_length, options.text, options.npy)
            for names, codes_of_shard in self.encoded():
                for utt, codes in zip(names, codes_of_shard, strict=True):
                    lengths = runs(codes)
                    kept = codes[np.cumsum(lengths) - lengths] if options.run_length else codes
                    writer.add(utt, len(codes), ids(kept))
                    extras.add(utt, codes, kept, lengths)
                    counts.update(utterances=1, frames=len(codes), tokens=len(kept))
            extras.publish()
            dictionary = {"made_by": made_by, "sha256": sha256(self.out / DICT), "symbols": len(symbols)}
            splits = {**others, self.split: self._row(counts, ids.unknown)}
            TOKENS.write_about(self.out, {**self.model, "dictionary": dictionary, "splits": splits})

    def _row(self, counts: Counter[str], unknown: Counter[str]) -> dict[str, Any]:
        """What tokens.json says of this split."""
        return {
            **self.of_split,
            **counts,
            "manifest": Path(self.manifest.path).name,
            "refused": len(self.manifest) - counts["utterances"],
            "unknown": sum(unknown.values()),
            "unknown_symbols": dict(in_order_of_use(unknown)[:20]),
        }

    def _provide_dictionary(self, about: Mapping[str, Any], others: Mapping[str, Any]) -> str | None:
        """dict.txt as it is there, as it was given, or made of this split's codes; who made it."""
        path = self.out / DICT
        sweep(path)
        made_by = about.get("dictionary", {}).get("made_by")
        if path.is_file() and (others or made_by != self.split):
            return made_by  # type: ignore[no-any-return]
        if self.options.dictionary is not None:
            copy_whole(self.options.dictionary, path)
            return None
        # said before it is there, so that a killed run's dictionary is known for its own
        dictionary = {"made_by": self.split}
        TOKENS.write_about(self.out, {**about, **self.model, "dictionary": dictionary, "splits": others})
        counts = count_symbols(self._kept(codes) for _, codes in self.encoded())
        write_dict(path, in_order_of_use(counts))
        return self.split

    def _kept(self, codes_of_shard: list[Codes]) -> Codes:
        if self.options.run_length:
            lengths = [runs(codes) for codes in codes_of_shard]
            firsts = [np.cumsum(n) - n for n in lengths]
            codes_of_shard = [codes[i] for codes, i in zip(codes_of_shard, firsts, strict=True)]
        return np.concatenate(codes_of_shard)

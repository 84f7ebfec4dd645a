"""wav → tokens for whole manifests: what `vqw2v discretize` does.

Each utterance is encoded alone, in one thread, so its codes depend neither on its neighbours nor on how many
threads, processes or machines share the work. Shapes: T frames, G groups, N tokens.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..checkpoints.files import checkpoint_hash, sha256
from ..common.locks import Rank
from ..corpora.manifest import Manifest, Utterance
from ..stores.shards import ShardFolder, check_same, plan
from ..stores.symbols import (
    DICT,
    Codes,
    SymbolIds,
    TokenError,
    count_symbols,
    in_order_of_use,
    read_about,
    read_dict,
    runs,
    write_about,
    write_dict,
)
from ..stores.tokens import TokenExtras, TokenWriter
from ..tokenizer import Tokenizer
from .shard_run import Work
from .split_run import Outcome, SplitRun, run_split, shard_folder, split_name


@dataclass(frozen=True)
class Wishes:
    """What may be asked for beside checkpoint, manifest and folder."""

    dtype: str = "fp32"
    workers: int = 1
    memory: float = 1.0  # GiB of one layer's outputs, for each worker
    shard_minutes: float = 10.0
    dictionary: str | None = None
    run_length: bool = False
    text: bool = False
    npy: bool = False
    refresh: bool = False
    strict: bool = False


def discretize(
    tokenizer: Tokenizer, checkpoint: str, manifest: Manifest, out: str, wishes: Wishes, rank: Rank
) -> Outcome:
    """Makes OUT/SPLIT.bin, .idx and .ids, dict.txt and tokens.json, or this rank's share of them."""
    tokenizer.clips.memory = int(wishes.memory * 2**30)
    folder, num_codes = Path(out), tokenizer.num_codes
    kind = np.uint16 if num_codes <= 1 << 16 else np.uint32
    shards = ShardFolder(shard_folder(folder, manifest), kind, tokenizer.num_groups)

    def encode(utterance: Utterance) -> Codes:  # [T, G]
        codes = tokenizer.encode_file(utterance)
        return codes.numpy().astype(kind)

    model = {
        "checkpoint": {"name": Path(checkpoint).name, "sha256": checkpoint_hash(checkpoint)},
        "device": tokenizer.device.type,
        "dtype": wishes.dtype,
        "num_codes": num_codes,
        "num_groups": tokenizer.num_groups,
        "receptive_field": tokenizer.geometry.receptive_field,
        "run_length": wishes.run_length,
        "sample_rate": tokenizer.sample_rate,
        "stride": tokenizer.geometry.stride,
    }
    of_split = {"manifest_sha256": manifest.digest, "npy": wishes.npy, "text": wishes.text}
    merger = _Merger(folder, split_name(manifest), model, of_split, wishes)
    run = SplitRun(
        out=folder,
        manifest=manifest,
        shards=shards,
        spans=plan(manifest.sizes, shard_samples(manifest, wishes.shard_minutes, tokenizer.sample_rate)),
        settings={**model, **of_split, "shard_minutes": wishes.shard_minutes},
        work=Work(encode, wishes.workers, one_thread if tokenizer.device.type == "cpu" else lambda: None),
        published=merger.published,
        merge=lambda: merger.merge(run),
        clear=merger.clear,
    )
    merger.check_folder()
    return run_split(run, rank, wishes.refresh, wishes.strict)


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


def one_thread() -> None:
    """Codes so close that rounding decides must not depend on how a product was shared out."""
    torch.set_num_threads(1)


def shard_samples(manifest: Manifest, minutes: float, sample_rate: int) -> int:
    """Samples of a shard; where a file's rate is not in the manifest it counts as the model's."""
    if not minutes > 0:
        raise ValueError(f"`--shard-minutes` is {minutes}; expected a number of minutes above 0")
    rate = sample_rate if manifest.rates is None or not len(manifest) else int(manifest.rates[0])
    return max(1, int(minutes * 60 * rate))


class _Merger:
    """Shards of codes → the split's files."""

    def __init__(
        self, out: Path, split: str, model: dict[str, Any], of_split: dict[str, Any], wishes: Wishes
    ) -> None:
        self.out, self.split, self.model, self.of_split, self.wishes = out, split, model, of_split, wishes

    def published(self) -> bool:
        about = read_about(self.out)
        row = about.get("splits", {}).get(self.split)
        if row is None or not (self.out / f"{self.split}.idx").is_file():
            return False
        now = {**self.model, **self.of_split}
        check_same({k: row.get(k, about.get(k)) for k in now}, now, f"{self.out}/{self.split}")
        return True

    def clear(self) -> None:
        about = read_about(self.out)
        for name in ("idx", "bin", "ids", "durations.npy", "txt", "refused.tsv"):
            (self.out / f"{self.split}.{name}").unlink(missing_ok=True)
        shutil.rmtree(self.out / f"{self.split}.codes", ignore_errors=True)
        if about.get("splits", {}).pop(self.split, None) is None:
            return
        if not about["splits"] and about["dictionary"]["made_by"] == self.split:
            (self.out / DICT).unlink(missing_ok=True)
        write_about(self.out, about)

    def check_folder(self) -> None:
        """All splits of a folder are of one model and one dictionary."""
        about = read_about(self.out)
        if set(about.get("splits", {})) - {self.split}:
            check_same(
                {k: about.get(k) for k in self.model}, self.model, f"{self.out} (its tokens.json)", False
            )
        begun = (self.out / f".{self.split}.parts").exists()
        if (
            not begun
            and self.split not in about.get("splits", {})
            and (self.out / f"{self.split}.idx").exists()
        ):
            raise TokenError(
                f"{self.out / self.split}.idx is there, and tokens.json does not say that this command made "
                f"it; name another folder, or move it away"
            )
        given, own = self.wishes.dictionary, self.out / DICT
        if given is None:
            return
        symbols = read_dict(given)
        if own.is_file() and read_dict(own) != symbols:
            raise TokenError(
                f"{own} is there and differs from `--dict` {given}; leave that out, or name another folder"
            )

    def merge(self, run: SplitRun) -> None:
        about = read_about(self.out)
        others = {name: row for name, row in about.get("splits", {}).items() if name != self.split}
        made_by = self._provide_dictionary(run, about, others)
        symbols = read_dict(self.out / DICT)
        ids, counts = SymbolIds(symbols), Counter[str]()
        with TokenWriter(self.out, self.split, len(symbols) + 5, refresh=True, distinct=True) as writer:
            wishes = self.wishes
            extras = TokenExtras(self.out, self.split, wishes.run_length, wishes.text, wishes.npy)
            for utt, codes in _utterances(run):
                lengths = runs(codes)
                kept = codes[np.cumsum(lengths) - lengths] if self.wishes.run_length else codes
                writer.add(utt, len(codes), ids(kept))
                extras.add(utt, codes, kept, lengths)
                counts.update(utterances=1, frames=len(codes), tokens=len(kept))
            extras.publish()
            row = {**self.of_split, **counts, "manifest": Path(run.manifest.path).name}
            row |= {"refused": len(run.manifest) - counts["utterances"], "unknown": sum(ids.unknown.values())}
            row["unknown_symbols"] = dict(in_order_of_use(ids.unknown)[:20])
            dictionary = {"made_by": made_by, "sha256": sha256(self.out / DICT), "symbols": len(symbols)}
            write_about(
                self.out, {**self.model, "dictionary": dictionary, "splits": {**others, self.split: row}}
            )

    def _provide_dictionary(self, run: SplitRun, about: dict[str, Any], others: dict[str, Any]) -> str | None:
        """dict.txt as it is there, as it was given, or made of this split's codes; who made it."""
        path = self.out / DICT
        made_by = about.get("dictionary", {}).get("made_by")
        if path.is_file() and (others or made_by != self.split):
            return made_by  # type: ignore[no-any-return]
        if self.wishes.dictionary is not None:
            part = path.with_name(f".{DICT}.{os.getpid()}")
            shutil.copyfile(self.wishes.dictionary, part)
            os.replace(part, path)
            return None
        # said before it is there, so that a killed run's dictionary is known for its own
        write_about(
            self.out, {**about, **self.model, "dictionary": {"made_by": self.split}, "splits": others}
        )
        parts = (self._kept(codes) for _, codes in _shards(run))
        write_dict(path, in_order_of_use(count_symbols(parts)))
        return self.split

    def _kept(self, codes_of_shard: list[Codes]) -> Codes:
        if self.wishes.run_length:
            lengths = [runs(codes) for codes in codes_of_shard]
            firsts = [np.cumsum(n) - n for n in lengths]
            codes_of_shard = [codes[i] for codes, i in zip(codes_of_shard, firsts, strict=True)]
        return np.concatenate(codes_of_shard)


def _shards(run: SplitRun) -> Iterator[tuple[list[str], list[Codes]]]:
    """The utterances of each shard, and their codes [T, G]."""
    for span in run.spans:
        shard = run.shards.read(span.index)
        if shard is None or not any(shard.frames):
            continue
        held = np.asarray(run.shards.rows(span.index, shard))
        places = [i for i, frames in enumerate(shard.frames) if frames]
        ends = np.cumsum(shard.frames)
        names = [run.name(span.first + i) for i in places]
        yield names, [held[ends[i] - shard.frames[i] : ends[i]] for i in places]


def _utterances(run: SplitRun) -> Iterator[tuple[str, Codes]]:
    for names, codes in _shards(run):
        yield from zip(names, codes, strict=True)

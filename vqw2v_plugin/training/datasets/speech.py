"""wav ──BERT──▶ states, what it is fed: crops of speech packed one after the other, and their frames' codes.

S samples, T joined frames of a crop and N of a batch, K masked ones, B bands times frames that are joined,
G groups, H codes of a joined frame: each of its frames' groups.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...audio.reading import AudioError
from ...common.words import some_of
from ...corpora.batches import BatchLimits, Ints, cut_packed
from ...corpora.sizes import sizes_at
from ...modules.bert.speech import NO_CODE, SpeechInput
from ...modules.layers.conv_spec import ConvGeometry
from ...modules.layers.masks import check_spans, span_mask
from ...stores.folder import text_lines
from ...stores.frames import FrameTimes, TokenFrames, read_code_sizes
from ...stores.symbols import TokenError
from .audio import CropDataset
from .base import digest_of
from .tokens import digest_of_tokens

logger = logging.getLogger(__name__)

_COUNTED = 1000  # utterances whose codes tell which one is the most frequent
_NAMED = 3
_ROUNDING = 1  # frames by which two ways to count an utterance's samples may differ


@dataclass(frozen=True)
class Spans:
    """Which joined frames are masked; HuBERT's p and M, for 20 ms each."""

    start_prob: float = 0.08
    length: int = 10
    stdev: float = 0.0

    def __post_init__(self) -> None:
        check_spans(self.start_prob, self.length, self.stdev)


@dataclass(frozen=True)
class HeardCrop:
    """What is heard [T, B], the codes of it [T, H], and which of it is masked [T].

    `common`: how many of its masked codes are those that a blind guess would name.
    """

    index: int
    utt: str
    frames: torch.Tensor
    codes: torch.Tensor
    mask: torch.Tensor
    common: int


class SpeechDataset(CropDataset[HeardCrop]):
    """Crops of a manifest's utterances, with the codes that a token folder has for them.

    `heard` makes frames of audio; a code belongs to the frame, of those that are joined, whose centre is the
    nearest. Frames beyond an utterance's codes, and codes that the folder's dictionary lacks, are no targets.
    """

    def __init__(
        self, *args: Any, tokens: TokenFrames, heard: SpeechInput, spans: Spans, **options: Any
    ) -> None:
        self.tokens, self.heard, self.spans = tokens, heard, spans
        super().__init__(*args, **options)
        if not heard.geometry.frames(self.min_sample_size):
            raise ValueError(
                f"`min_sample_size` is {self.min_sample_size}; expected {heard.geometry.receptive_field} "
                f"samples at least, which one of the {heard.stack} joined frames needs"
            )
        num_groups, num_codes = read_code_sizes(tokens.folder)
        tokens.check_codes(num_groups, num_codes)
        self.common = np.tile(_most_frequent(tokens, num_codes), heard.stack)  # [H], as `_codes_at` has them

    def _select(self) -> tuple[Ints, Ints]:
        """Those that have codes too."""
        rows, sizes = super()._select()
        utts = [self.manifest[int(row)].utt for row in rows]
        has = np.array([utt in self.tokens.places for utt in utts])
        self._check_all_have(utts, has)
        rows, sizes = rows[has], sizes[has]
        self._check_lengths([utt for utt, there in zip(utts, has, strict=True) if there], rows)
        return rows, sizes

    def _check_all_have(self, utts: Sequence[str], has: npt.NDArray[np.bool_]) -> None:
        """Only audio that could not be read when the tokens were made may have none."""
        folder, split = self.tokens.folder, self.tokens.split
        refused = folder / f"{split}.refused.tsv"
        known = {line.partition("\t")[0] for line in text_lines(refused)} if refused.is_file() else set()
        without = [utt for utt, there in zip(utts, has, strict=True) if not there]
        if missing := [utt for utt in without if utt not in known]:
            raise TokenError(
                f"{folder / split}: has no tokens of {len(missing):,} of the {len(utts):,} "
                f"utterances in {self.manifest.path} ({some_of(missing, _NAMED)}); make them with "
                f"`vqw2v discretize` of this manifest"
            )
        if without:
            logger.warning(f"{self.manifest.path}: left out {len(without):,} utterances that {refused} names")

    def _check_lengths(self, utts: Sequence[str], rows: Ints) -> None:
        """Codes of other audio under the same name would be noise."""
        times = self.tokens.times
        geometry = ConvGeometry(times.receptive_field, times.stride)
        sizes, held = sizes_at(self.manifest, times.sample_rate)[rows], self.tokens.store.sizes
        for utt, size in zip(utts, sizes.tolist(), strict=True):
            frames, wanted = int(held[self.tokens.places[utt]]), geometry.frames(size)
            if abs(frames - wanted) > _ROUNDING:
                raise TokenError(
                    f"{self.tokens.folder / self.tokens.split}: has {frames:,} tokens of {utt!r}, whose "
                    f"audio in {self.manifest.path} gives {wanted:,}; make them anew, of this manifest"
                )

    def load(self, index: int) -> HeardCrop:
        crop = self.crop(index)
        if len(crop.source) != self.sizes[index]:
            raise AudioError(
                f"{self.manifest.path}: {crop.utt!r} has {len(crop.source):,} samples at {self.sample_rate} "
                f"Hz, expected {self.sizes[index]:,}, so codes would not be in their places; its rate is not "
                f"the first file's: give the manifest a column rate"
            )
        frames = self.heard(crop.source if crop.changed is None else crop.changed)  # [T, B]
        codes = torch.from_numpy(self._codes_at(crop.utt, crop.begin, len(frames)))
        spans = self.spans
        mask = span_mask(len(frames), spans.start_prob, spans.length, spans.stdev, self.generator(index))
        common = int((codes[mask] == torch.from_numpy(self.common)).sum())
        return HeardCrop(index, crop.utt, frames, codes, mask, common)

    def _codes_at(self, utt: str, begin: int, num_frames: int) -> npt.NDArray[np.int64]:  # [T, H]
        """Of a crop that begins at a sample of its utterance."""
        mel, codes = self.heard.mel, self.tokens[utt]  # [frames, G]
        heard = FrameTimes(mel.stride, mel.receptive_field, self.sample_rate)
        place = self.tokens.times.nearest(heard, begin, num_frames * self.heard.stack)  # [T · stack]
        there = (place >= 0) & (place < len(codes))
        found = np.full((len(place), codes.shape[1]), NO_CODE, dtype=np.int64)
        found[there] = codes[place[there]]
        return found.reshape(num_frames, -1)

    def collate(self, items: Sequence[HeardCrop], num_skipped: int) -> dict[str, Any]:
        mask, codes = (torch.cat([getattr(item, name) for item in items]) for name in ("mask", "codes"))
        target = codes[mask]  # [K, H]
        return {
            "id": torch.tensor([item.index for item in items], dtype=torch.int64),
            "net_input": {
                "frames": torch.cat([item.frames for item in items]),  # [N, B]
                "lengths": [len(item.frames) for item in items],  # numbers: nobody waits for a device
                "masked": mask.nonzero().squeeze(1),  # [K]
                "counts": [int(item.mask.sum()) for item in items],
            },
            "target": target,
            "scored": int((target != NO_CODE).sum()),
            "common": sum(item.common for item in items),
            "ntokens": int((codes != NO_CODE).sum()),
            "nsentences": len(items),
            "utts": [item.utt for item in items],
            "skipped": num_skipped,
        }

    def cut_sized(self, indices: Ints, sizes: Ints, limits: BatchLimits) -> list[Ints]:
        return cut_packed(indices, sizes, limits)

    def digest(self) -> str:
        return digest_of(super().digest(), digest_of_tokens(self.tokens.store))


def _most_frequent(tokens: TokenFrames, num_codes: int) -> npt.NDArray[np.int64]:
    """The code of each group [G] that a blind guess would name, by some utterances, evenly spread."""
    utts = list(tokens.places)
    codes = np.concatenate([tokens[utt] for utt in utts[:: max(1, len(utts) // _COUNTED)]])  # [frames, G]
    counts = [np.bincount(group[group != NO_CODE], minlength=num_codes) for group in codes.T]
    return np.array([group.argmax() for group in counts], dtype=np.int64)

"""tokens [N, G] and phones [N] → the table phone × code, purities, bits a second: what codes are good for.

N frames, G groups, P phones, K different tokens. Usage of the codebook and mutual information
are in the second half.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..corpora.ctm import Segments
from ..stores.frames import FrameTimes
from ..stores.symbols import runs, symbols_of

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PhoneCodeTable:
    """How often each phone occurs with each token."""

    phones: tuple[str, ...]  # P, the most frequent first
    tokens: tuple[str, ...]  # K, `12-207`, in the order of the phone that each stands for most often
    counts: npt.NDArray[np.int64]  # [P, K]
    information: PhoneInformation

    @property
    def num_frames(self) -> int:
        return int(self.counts.sum())

    @property
    def phone_purity(self) -> float:
        """Share of frames whose phone is right if each token is read as its most frequent phone."""
        return float(self.counts.max(axis=0).sum() / self.num_frames)

    @property
    def code_purity(self) -> float:
        """Share of frames whose token is right if each phone is written as its most frequent token."""
        return float(self.counts.max(axis=1).sum() / self.num_frames)

    @property
    def chance(self) -> float:
        """The phone purity of a single token for all frames: the share of the most frequent phone."""
        return float(self.counts.sum(axis=1).max() / self.num_frames)

    def given_code(self) -> npt.NDArray[np.float64]:  # [P, K]
        """P(phone | token): each column sums to 1."""
        found: npt.NDArray[np.float64] = self.counts / self.counts.sum(axis=0)
        return found

    def most_used(self, number: int) -> PhoneCodeTable:
        """The columns of the `number` most frequent tokens; `information` is still that of all."""
        kept = np.sort(np.argsort(-self.counts.sum(axis=0), kind="stable")[:number])
        tokens = tuple(self.tokens[i] for i in kept.tolist())
        return PhoneCodeTable(self.phones, tokens, self.counts[:, kept], self.information)


def phone_code_table(codes: Codes, phones: Sequence[str]) -> PhoneCodeTable:  # [N, G], [N]
    if codes.ndim != 2 or len(codes) != len(phones) or not len(codes):
        raise ValueError(
            f"codes have the shape {codes.shape}, and there are {len(phones)} phones; expected "
            f"[frames, groups] and one phone a frame"
        )
    tokens, ids = symbols_of(codes)
    names, labels = np.unique(np.asarray(phones), return_inverse=True)
    counts = np.zeros((len(names), len(tokens)), dtype=np.int64)  # [P, K]
    np.add.at(counts, (labels, ids), 1)
    rows = np.argsort(-counts.sum(axis=1), kind="stable")
    counts = counts[rows]
    best, share = counts.argmax(axis=0), counts.max(axis=0) / counts.sum(axis=0)
    columns = np.lexsort((np.arange(len(tokens)), -share, best))
    return PhoneCodeTable(
        phones=tuple(str(names[i]) for i in rows),
        tokens=tuple(tokens[i] for i in columns.tolist()),
        counts=counts[:, columns],
        information=phone_information(ids, phones),
    )


def frame_phones(
    codes: Mapping[str, Codes], segments: Mapping[str, Segments], times: FrameTimes
) -> tuple[Codes, list[str]]:
    """The codes [N, G] of frames whose centre lies in a phone, without codes below 0, and these phones."""
    kept: list[Codes] = []
    phones: list[str] = []
    for utt, rows in codes.items():
        if utt not in segments:
            continue
        labels = segments[utt].at(times.centres(len(rows)))
        known = np.flatnonzero((rows >= 0).all(axis=1)).tolist()
        places = [i for i in known if labels[i] is not None]
        kept.append(rows[places])
        phones += [labels[i] or "" for i in places]
    groups = next((rows.shape[1] for rows in codes.values()), 0)
    return np.concatenate([np.zeros((0, groups), dtype=np.int64), *kept]), phones


@dataclass(frozen=True)
class Bitrate:
    """Bits a second of the codes, counted in three ways."""

    nominal: float  # frames a second · G · log2 V: codes as they are, the papers' bitrate
    entropy: float  # frames a second · H(token): an ideal code for single tokens
    tokens_per_second: float  # if a run of equal tokens counts as one

    @classmethod
    def of(cls, codes: Iterable[Codes], usage: CodeUsage, rate: float) -> Bitrate:
        """From the codes [T, G] of utterances; `rate` is frames a second."""
        parts = [rows for rows in codes if len(rows)]
        changes, frames = sum(len(runs(rows)) for rows in parts), sum(len(rows) for rows in parts)
        return cls(
            nominal=rate * usage.num_groups * math.log2(usage.num_codes),
            entropy=rate * math.log2(usage.joint_perplexity),
            tokens_per_second=rate * changes / frames if frames else 0.0,
        )


@dataclass(frozen=True)
class CodeUsage:
    """Counts over all frames; perplexities lie between 1 and the number of codes."""

    num_frames: int
    num_codes: int  # V
    used: tuple[int, ...]  # codes seen at least once, one number a group
    perplexity: tuple[float, ...]  # one number a group
    joint_used: int
    joint_perplexity: float

    @property
    def num_groups(self) -> int:
        return len(self.used)

    @property
    def share_used(self) -> float:
        """The share of all codes that are in use, all groups together."""
        return sum(self.used) / (self.num_groups * self.num_codes)


def code_usage(codes: Codes, num_codes: int) -> CodeUsage:  # [N, G]
    if codes.ndim != 2 or not len(codes):
        raise ValueError(
            f"codes have the shape {codes.shape}; expected [frames, groups] with at least one frame"
        )
    counts = [np.bincount(column, minlength=num_codes) for column in codes.T]
    joint = np.bincount(joint_ids(codes))
    return CodeUsage(
        num_frames=len(codes),
        num_codes=num_codes,
        used=tuple(int((c > 0).sum()) for c in counts),
        perplexity=tuple(float(2 ** _entropy(c)) for c in counts),
        joint_used=int((joint > 0).sum()),
        joint_perplexity=float(2 ** _entropy(joint)),
    )


def joint_ids(codes: Codes) -> Codes:  # [N, G] → [N]
    """Each combination of the groups' codes as one number, without gaps."""
    ids: Codes = np.unique(codes, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return ids


@dataclass(frozen=True)
class PhoneInformation:
    """What knowing the code tells about the phone, over frames."""

    num_frames: int
    num_phones: int
    bits: float  # mutual information I(phone; code)
    phone_entropy: float  # H(phone) in bits: the most there is to tell

    @property
    def share(self) -> float:
        """Phone-normalised mutual information, between 0 and 1."""
        return self.bits / self.phone_entropy if self.phone_entropy else 0.0


def phone_information(ids: Codes, phones: Sequence[str]) -> PhoneInformation:
    """Mutual information, with Miller's correction: many codes over few frames do not look informative.

    The correction adds where codes leave cells empty; more than H(phone) no code can tell.
    """
    if len(ids) != len(phones) or not len(ids):
        raise ValueError(f"{len(ids)} codes stand against {len(phones)} phones; expected one phone a frame")
    names, labels = np.unique(np.asarray(phones), return_inverse=True)
    table = np.zeros((len(names), int(ids.max()) + 1), dtype=np.int64)
    np.add.at(table, (labels, ids), 1)
    phone, code, both = table.sum(1), table.sum(0), table.reshape(-1)
    bits = _entropy(phone) + _entropy(code) - _entropy(both)
    cells = int((both > 0).sum()) - int((phone > 0).sum()) - int((code > 0).sum()) + 1
    bits -= cells / (2 * len(ids) * np.log(2))
    most = _entropy(phone)
    return PhoneInformation(len(ids), len(names), min(max(0.0, float(bits)), most), most)


def _entropy(counts: npt.NDArray[np.int64]) -> float:
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log2(p)).sum())

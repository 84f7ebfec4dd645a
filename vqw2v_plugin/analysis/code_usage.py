"""tokens [N, G] → how much of the codebook is in use, and how much the codes say about phones.

N frames, G groups, V codes a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.int64]


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
        """Codes in use over codes there are, all groups together."""
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
    """Mutual information with Miller's correction: many codes over few frames do not look informative."""
    if len(ids) != len(phones) or not len(ids):
        raise ValueError(f"{len(ids)} codes stand against {len(phones)} phones; expected one phone a frame")
    names, labels = np.unique(np.asarray(phones), return_inverse=True)
    table = np.zeros((len(names), int(ids.max()) + 1), dtype=np.int64)
    np.add.at(table, (labels.reshape(-1), ids), 1)
    phone, code, both = table.sum(1), table.sum(0), table.reshape(-1)
    bits = _entropy(phone) + _entropy(code) - _entropy(both)
    cells = int((both > 0).sum()) - int((phone > 0).sum()) - int((code > 0).sum()) + 1
    bits -= cells / (2 * len(ids) * np.log(2))
    return PhoneInformation(len(ids), len(names), max(0.0, float(bits)), _entropy(phone))


def _entropy(counts: npt.NDArray[np.int64]) -> float:
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log2(p)).sum())

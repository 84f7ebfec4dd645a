"""The list of wavs left of the picture's first arrow: how long they are at the rate that models want."""

import numpy as np
import numpy.typing as npt

from ..audio.clip import HIGHEST_RATE
from ..audio.reading import AudioError, audio_info
from ..common.bounds import check_between
from .manifest import Manifest

DEFAULT_RATE = 16_000
_PROBES = 10  # files to ask for their rate before the default is taken


def sizes_at(manifest: Manifest, sample_rate: int) -> npt.NDArray[np.int64]:
    """Samples of each row after resampling; without a column `rate`, one file's rate stands for all."""
    check_between("sample_rate", sample_rate, 1, HIGHEST_RATE)
    rates = probe_rate(manifest) if manifest.rates is None else manifest.rates
    return manifest.sizes * sample_rate // rates


def probe_rate(manifest: Manifest) -> int:
    """The rate of the first file that opens."""
    for i in range(min(_PROBES, len(manifest))):
        try:
            return audio_info(manifest[i].path).sample_rate
        except AudioError:
            continue
    return DEFAULT_RATE
